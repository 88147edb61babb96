"""A POST whose client says something, hears the answer, and goes on, in HTTP/1.1 and HTTP/2."""

import http.client
import socket

from harness.client import head


class Chunks:
    """In chunks of HTTP/1.1."""

    def __init__(self, sock, path):
        self.sock = sock
        self.reply = None
        sock.sendall(head(path, "Transfer-Encoding: chunked", method="POST"))

    def say(self, data, *, last=False):
        framed = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
        self.sock.sendall(framed + (b"0\r\n\r\n" if last else b""))

    def hear(self):
        """The next piece; empty at the end."""
        if not self.reply:
            self.reply = http.client.HTTPResponse(self.sock)
            self.reply.begin()
        return self.reply.read1(65536)


class Stream:
    """As the first stream of an HTTP/2 connection that expects nothing unusual (RFC 9113)."""

    DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0, 1, 3, 4, 7

    def __init__(self, sock, path):
        self.sock = sock
        self.file = sock.makefile("rb")
        self.ended = False
        # Two frames in a row are not held back until the first is acknowledged.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(self.SETTINGS, 0, 0, b"")
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path)]
        fields += [(":authority", "localhost"), ("content-type", "text/plain")]
        # Literals with new names, not indexed (RFC 7541, 6.2.2).
        block = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields
        )
        self.frame(self.HEADERS, 4, 1, block)

    def frame(self, kind, flags, stream, payload):
        length = len(payload).to_bytes(3, "big")
        self.sock.sendall(length + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    def say(self, data, *, last=False):
        for at in range(0, len(data), 16384):
            self.frame(self.DATA, 0, 1, data[at : at + 16384])
        if last:
            self.frame(self.DATA, 1, 1, b"")

    def hear(self):
        """The next piece; empty at the end."""
        while not self.ended:
            start = self.file.read(9)
            assert len(start) == 9, "the connection has ended"
            kind, flags = start[3], start[4]
            payload = self.file.read(int.from_bytes(start[:3], "big"))
            assert kind not in (self.RESET, self.GOAWAY), (kind, payload)
            if kind == self.SETTINGS and not flags & 1:
                self.frame(self.SETTINGS, 1, 0, b"")
            self.ended = kind in (self.DATA, self.HEADERS) and flags & 1
            if kind == self.DATA and payload:
                return payload
        return b""
