"""Clients that ask without a pause, as browsers do: what fails, and what the slowest answer takes.

The rule for a connection that ends: a server may close one that is idle, and the client's next
request may then already be on its way. A request on a connection that has been used before, of
which no byte of an answer came, is therefore sent once more on a new connection, as every browser
does with a GET; it counts as `retried`, and its time runs on. Everything else is a failure: a
connection that cannot be made, an answer that ends early, no answer on a new connection, any status
but 200.
"""

import functools
import socket
import threading
import time
from dataclasses import dataclass, field

from .conf import Conf
from .env import TESTS

APP = (TESTS / "apps/faults.py").read_text()
TIMEOUT = 30
CLIENTS = 8


def load_conf(options="processes=2 threads=8", extra="", **more):
    """One group, `app.py` at the root, room for all clients."""
    # A graceful restart has the old children and the new ones side by side.
    text = f"""
    MaxKeepAliveRequests 0
    <IfModule !mpm_prefork_module>
        MinSpareThreads 8
        MaxSpareThreads 64
    </IfModule>
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {extra}
    """
    return Conf(
        text,
        files=(("app.py", APP), ("out/README", "the application writes here")),
        children=16,
        start=8,
        threads=16,
        **more,
    )


@dataclass
class Tally:
    """What became of the requests."""

    sent: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def plus(self, other):
        return Tally(
            self.sent + other.sent,
            self.retried + other.retried,
            self.failed + other.failed,
            max(self.slowest, other.slowest),
        )

    def __str__(self):
        return (
            f"{self.sent} sent, {len(self.failed)} failed, {self.retried} retried,"
            f" slowest {self.slowest * 1000:.0f} ms"
        )


class Closed(Exception):
    """The connection ended; `received` is what had come."""

    def __init__(self, received, why):
        super().__init__(f"{why or 'the connection ended'} after {len(received)} bytes")
        self.received = received


class Connection:
    """One kept-alive connection, which knows exactly what came over it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.used = False

    def get(self, request):
        """(status, body, whether the connection can be used again)."""
        received = b""
        try:
            self.socket.sendall(request)
            while b"\r\n\r\n" not in received:
                received += self._more(received)
            head, _, body = received.partition(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
            )
            length = int(fields.get(b"content-length", 0))
            while len(body) < length:
                piece = self._more(received)
                received += piece
                body += piece
        except OSError as why:
            raise Closed(received, why)
        self.used = True
        return int(head.split(b" ", 2)[1]), body, fields.get(b"connection") != b"close"

    def _more(self, received):
        piece = self.socket.recv(65536)
        if not piece:
            raise Closed(received, None)
        return piece


class Load:
    """`with Load(server.port, "/path") as load:` asks as long as the block runs."""

    def __init__(self, port, path, clients=CLIENTS):
        self.port = port
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.tallies = [Tally() for _ in range(clients)]
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(tally,)) for tally in self.tallies]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, tally):
        connection = None
        while not self.stopped.is_set():
            began = time.monotonic()
            try:
                connection = self._one(connection, tally)
            except OSError as why:
                tally.failed.append(f"cannot connect: {why}")
                connection = None
                # Else a server that is down is asked a thousand times a second.
                self.stopped.wait(0.05)
            tally.sent += 1
            tally.slowest = max(tally.slowest, time.monotonic() - began)
        if connection:
            connection.socket.close()

    def _one(self, connection, tally):
        """One request; gives the connection for the next, if there is one."""
        while True:
            connection = connection or Connection(self.port)
            try:
                status, body, keep = connection.get(self.request)
            except Closed as why:
                idle = connection.used and not why.received
                connection.socket.close()
                connection = None
                if idle:
                    tally.retried += 1
                    continue
                tally.failed.append(str(why))
                return None
            if status != 200:
                tally.failed.append(f"{status}: {body[:60]!r}")
            if keep:
                return connection
            connection.socket.close()
            return None

    def forget_slowest(self):
        """The slowest answer is that of requests that end from now on."""
        for tally in self.tallies:
            tally.slowest = 0.0

    @property
    def total(self):
        """The sum of all clients."""
        return functools.reduce(Tally.plus, self.tallies)
