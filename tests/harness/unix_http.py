"""HTTP over a Unix socket, as managers speak it at their admin sockets."""

import http.client
import socket


class UnixClient(http.client.HTTPConnection):
    """A connection to the socket at a path."""

    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)
