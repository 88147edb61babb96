"""A FastCGI server of a test's own, which answers as it is told: what front ends make of that."""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field

from . import fastcgi_client as fastcgi

OVERLOADED = 2


def text(status="200 OK", body="served", headers=()):
    """The stream of a response."""
    lines = [f"Status: {status}", "Content-Type: text/plain", *headers]
    return "\r\n".join([*lines, "", body]).encode("latin-1")


def end(protocol_status=0):
    return fastcgi.record(fastcgi.END_REQUEST, struct.pack("!IB3x", 0, protocol_status))


def response(*arguments, **options):
    """The records of a whole response."""
    return fastcgi.stream(fastcgi.STDOUT, text(*arguments, **options)) + end()


@dataclass
class Backend:
    """Answers each request with the bytes that `answer` gives for it; None: it is closed."""

    answer: object
    requests: list = field(default_factory=list)

    def __post_init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError, EOFError):
            client.settimeout(fastcgi.TIMEOUT)
            while True:
                params, keep = read_request(client)
                self.requests.append((params["REQUEST_METHOD"], params["REQUEST_URI"]))
                answer = self.answer(params)
                if answer is None:
                    return
                client.sendall(answer)
                if not keep:
                    return


def read_request(client):
    """The params of the next request, after its body, and whether the connection is to be kept."""
    params, keep = b"", False
    while True:
        _, kind, _, length, padding, _ = struct.unpack("!BBHHBB", take(client, 8))
        content = take(client, length)
        take(client, padding)
        if kind == fastcgi.BEGIN_REQUEST:
            keep = bool(content[2] & 1)
        elif kind == fastcgi.PARAMS:
            params += content
        elif kind == fastcgi.STDIN and not content:
            return parse(params), keep


def take(client, count):
    taken = b""
    while len(taken) < count:
        piece = client.recv(count - len(taken))
        if not piece:
            raise EOFError
        taken += piece
    return taken


def parse(block):
    found, at = {}, 0
    while at < len(block):
        lengths = []
        for _ in range(2):
            size = 4 if block[at] & 128 else 1
            lengths.append(int.from_bytes(block[at : at + size], "big") & 0x7FFFFFFF)
            at += size
        name, value = block[at : at + lengths[0]], block[at + lengths[0] : at + sum(lengths)]
        found[name.decode()] = value.decode("latin-1")
        at += sum(lengths)
    return found
