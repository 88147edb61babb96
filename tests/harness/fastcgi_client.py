"""A small FastCGI client: what a web server says to wsgi-daemon, and what it hears."""

import contextlib
import socket
import struct
from dataclasses import dataclass, field

TIMEOUT = 15
BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7
GET_VALUES, GET_VALUES_RESULT = 9, 10
LOG, FILE = ord("L"), ord("F")


@dataclass
class Answer:
    head: dict = field(default_factory=dict)
    body: bytes = b""
    stderr: bytes = b""
    logs: list = field(default_factory=list)
    spans: list = field(default_factory=list)
    files: list = field(default_factory=list)
    app_status: int | None = None
    protocol_status: int | None = None

    @property
    def status(self):
        return int(self.head["status"].split()[0]) if self.head else None

    @property
    def complete(self):
        return self.app_status is not None


def record(kind, content=b"", request_id=1):
    return struct.pack("!BBHHBB", 1, kind, request_id, len(content), 0, 0) + content


def stream(kind, content):
    pieces = [content[at : at + 65535] for at in range(0, len(content), 65535)]
    return b"".join(record(kind, piece) for piece in pieces) + record(kind)


def pairs(items):
    def length(value):
        return bytes([len(value)]) if len(value) < 128 else struct.pack("!I", len(value) | 1 << 31)

    encoded = [(name.encode(), str(value).encode("latin-1")) for name, value in items.items()]
    return b"".join(length(name) + length(value) + name + value for name, value in encoded)


def request(path="/", *, method="GET", body=b"", keep=False, **params):
    """The bytes of a request; other params by their names, None for one that is not
    sent.
    """
    path, _, query = path.partition("?")
    known = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_URI": path + (query and f"?{query}"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
    }
    if body:
        known["CONTENT_LENGTH"] = len(body)
    begin = record(BEGIN_REQUEST, struct.pack("!HB5x", 1, keep))
    sent = {name: value for name, value in (known | params).items() if value is not None}
    return begin + stream(PARAMS, pairs(sent)) + stream(STDIN, body)


class Connection:
    """One connection; used for one request after the other. The address is a path, or a pair of
    host and port.
    """

    def __init__(self, address):
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, TIMEOUT)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(str(address))
        self.received = b""
        self.files = []

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def get(self, path="/", **options):
        self.send(request(path, **options))
        return self.answer()

    def answer(self):
        """All of an answer; it is not `complete` when the connection ended before it did."""
        answer, stdout = Answer(), b""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while not answer.complete:
                kind, content = self.record()
                if kind == STDOUT:
                    stdout += content
                elif kind == STDERR:
                    answer.stderr += content
                elif kind == LOG:
                    answer.logs.append((content[0], content[1:]))
                elif kind == FILE:
                    answer.spans.append(struct.unpack("!QQ", content))
                elif kind == END_REQUEST:
                    answer.app_status, answer.protocol_status = struct.unpack("!IB3x", content)
        answer.files, self.files = self.files, []
        head, _, answer.body = stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n") if line]
        answer.head = {name.lower(): value for name, _, value in lines}
        return answer

    def record(self):
        _, kind, _, length, padding, _ = struct.unpack("!BBHHBB", self._take(8))
        content = self._take(length)
        self._take(padding)
        return kind, content

    def ended(self):
        """Whether the other end has closed, which this waits for."""
        return self.socket.recv(1) == b""

    def _take(self, count):
        while len(self.received) < count:
            piece, files, _, _ = socket.recv_fds(self.socket, 65536, 8)
            self.files += files
            if not piece:
                raise EOFError
            self.received += piece
        taken, self.received = self.received[:count], self.received[count:]
        return taken


@contextlib.contextmanager
def connection(path):
    with contextlib.closing(Connection(path)) as opened:
        yield opened


def get(path, url="/", **options):
    """One request on a connection of its own."""
    with connection(path) as opened:
        return opened.get(url, **options)
