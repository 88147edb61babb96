"""Many slow clients in a process of their own: each sends, or reads, a kilobyte a second.

`python -m bench.slow_clients upload|download PORT PATH COUNT now|begun` prints a line, at once or
when all responses have begun, runs until it is told to stop, and then prints how many connections
the server had ended before that.
"""

import contextlib
import selectors
import signal
import socket
import subprocess
import sys
import time

from bench.servers.server import die_with_parent

PIECE = b"x" * 1024
UPLOAD = 256 * 1024
# The kernel would read on for a client that does not: as little as it permits.
RECEIVE_BUFFER = 4096
# Clients come one after the other.
CONNECT_INTERVAL = 0.005
STOP_SECONDS = 10
# How long the server may take to begin all the responses: 200 of 30 MB are 6 GB, which it may have
# to write to a disk.
BEGIN_SECONDS = 60


@contextlib.contextmanager
def running(kind, port, path, count, begun):
    """So many slow clients for as long as a block runs.

    `begun`: it runs only once the server has begun all the responses; else from the first
    connection on. Gives a function that ends them and returns how many the server had cut off.
    """
    when = "begun" if begun else "now"
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.slow_clients", kind, str(port), path, str(count), when],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )

    def end():
        process.terminate()
        printed, _ = process.communicate(timeout=STOP_SECONDS)
        return int(printed)

    try:
        process.stdout.readline()
        yield end
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Client:
    def __init__(self, kind, port, path):
        self.sends = kind == "upload"
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.connect(("127.0.0.1", port))
        self.left, self.begun = UPLOAD, self.sends
        method = "POST" if self.sends else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if self.sends:
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {UPLOAD}\r\n"
        self.socket.sendall(f"{head}\r\n".encode())
        self.socket.setblocking(False)

    def go_on(self):
        """A kilobyte; False once the connection is of no use."""
        try:
            if self.sends:
                self.left -= self.socket.send(PIECE[: self.left])
                return self.left > 0
            self.begun = self.socket.recv(len(PIECE)) != b""
            return self.begun
        except BlockingIOError:
            return True
        except OSError:
            return False


class Stopped(Exception):
    """The signal to stop has come."""


def stop(*_):
    raise Stopped


class Clients:
    """All of them; `ended` counts those that the server has cut off."""

    def __init__(self):
        self.clients, self.ended = set(), 0
        # An upload has nothing to read before it is complete.
        self.early = selectors.DefaultSelector()

    def add(self, client):
        self.clients.add(client)
        if client.sends:
            self.early.register(client.socket, selectors.EVENT_READ, client)

    def have_begun(self):
        return all(client.begun for client in self.clients)

    def second(self):
        """Each client goes on once."""
        end = time.monotonic() + 1
        for client in list(self.clients):
            if not client.go_on():
                self._drop(client)
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.early.select(left):
                self._drop(key.data)

    def _drop(self, client):
        if client.sends:
            self.early.unregister(client.socket)
        self.clients.discard(client)
        client.socket.close()
        self.ended += 1


def main(kind, port, path, count, when):
    signal.signal(signal.SIGTERM, stop)
    clients = Clients()
    with contextlib.suppress(Stopped):
        if when == "now":
            print("now", flush=True)
        for _ in range(int(count)):
            clients.add(Client(kind, int(port), path))
            time.sleep(CONNECT_INTERVAL)
        until = time.monotonic() + BEGIN_SECONDS
        while when == "begun" and not clients.have_begun() and time.monotonic() < until:
            clients.second()
        if when == "begun":
            print("begun", flush=True)
        while True:
            clients.second()
    print(clients.ended, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
