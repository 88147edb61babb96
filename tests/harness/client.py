"""An HTTP client for well-formed requests, and a bare socket for the others."""

import base64
import contextlib
import http.client
import json
import socket
import struct
from dataclasses import dataclass
from urllib.parse import quote

from .valgrind import SLOWER

TIMEOUT = 30 * SLOWER


@dataclass(frozen=True)
class Response:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    # The connection ended before the answer did.
    truncated: bool = False
    version: int = 11

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        assert self.status == 200, f"{self.status} {self.reason}: {self.text}"
        return json.loads(self.body)

    def header(self, name):
        """The value of the header, None when it is absent; an error when it came twice."""
        values = self.header_values(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def header_values(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]


def read_response(reply):
    truncated = False
    try:
        body = reply.read()
    except http.client.IncompleteRead as error:
        body, truncated = error.partial, True
    except ConnectionResetError:
        body, truncated = b"", True
    return Response(reply.status, reply.reason, reply.getheaders(), body, truncated, reply.version)


class Client:
    """Requests to one port of the loopback interface, each on a connection of its own."""

    def __init__(self, port):
        self.port = port

    def request(
        self,
        method,
        path,
        *,
        headers=None,
        body=None,
        host="localhost",
        chunked=False,
        timeout=TIMEOUT,
    ):
        """`timeout`: seconds for each read and write."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        fields = {"Host": host, "Connection": "close"}
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
        fields |= headers or {}
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=fields, encode_chunked=chunked)
            return read_response(connection.getresponse())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body, **options):
        return self.request("POST", path, body=body, **options)

    @contextlib.contextmanager
    def connection(self):
        """A kept-alive http.client connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            yield connection

    @contextlib.contextmanager
    def socket(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as sock:
            yield sock

    def raw(self, data, *, end=False):
        """Send these bytes; everything that comes back until the server closes."""
        with self.socket() as sock:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)


def read_all(sock):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            received += piece
    return received


def read_until(sock, marker):
    """What comes, up to and with `marker`."""
    received = b""
    while marker not in received:
        piece = sock.recv(65536)
        assert piece, f"the server closed before {marker!r}; it sent {received!r}"
        received += piece
    return received


def reset(sock):
    """Makes the close of the connection a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def basic(credentials):
    """The Authorization header of `user:password`."""
    return "Basic " + base64.b64encode(credentials.encode("latin-1")).decode()


def split(raw):
    """(head, body) of a response's bytes."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


def head(target, *fields, method="GET", version="1.1", host="localhost"):
    """The bytes of a request's head; `fields` are whole header lines, str or bytes."""
    target = target if isinstance(target, bytes) else target.encode()
    lines = [
        b"%s %s HTTP/%s" % (method.encode(), target, version.encode()),
        b"Host: " + host.encode(),
    ]
    lines += [field if isinstance(field, bytes) else field.encode() for field in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def ask(server, expression, mount="", **options):
    """What the expression is worth inside the server, where apps/ask.py is mounted."""
    return server.get(f"{mount}/?{quote(expression)}", **options).json()
