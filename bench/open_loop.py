"""Requests at a fixed rate, whether or not the ones before have been answered.

wrk waits for an answer before it asks again, so that a pause of the server is one slow request.
Here it is as many as would have come meanwhile, and the time of each counts from the moment at
which it was due (correction for coordinated omission).

The client is a process of its own, with a loop of few system calls, and has a real-time priority
where that is permitted: on a machine that others crowd, the pauses of a client with an ordinary one
are longer than those of the servers, and would be measured in their place. How late requests were
sent although a connection was free says whether that has happened.
"""

import collections
import contextlib
import gc
import json
import os
import select
import socket
import subprocess
import sys
import time

from bench.load import LoadFailed
from bench.stats import percentile

# Above that a request has failed, and its sample with it.
TIMEOUT_SECONDS = 10
MILLISECONDS = 1000
PRIORITY = 10


def run(port, path, connections, seconds, rate):
    """{"p50_ms", "p99_ms", "p999_ms", "late_ms"}; raises LoadFailed.

    `late_ms` is the 99th percentile of how much later than due the client has sent a request for
    which a connection was free.
    """
    arguments = [str(each) for each in (port, path, connections, seconds, rate)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.open_loop", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + TIMEOUT_SECONDS + 20,
        check=False,
    )
    return read(done.stdout, done.stderr)


def read(printed, complaints=""):
    """The figures in what the client printed."""
    try:
        result = json.loads(printed)
    except ValueError:
        raise LoadFailed(f"open loop: {(complaints or printed).strip()[-200:]}") from None
    if result["failed"]:
        raise LoadFailed(f"{result['failed']} of {result['requests']} requests failed")
    return {name: result[name] for name in ("p50_ms", "p99_ms", "p999_ms", "late_ms")}


class Client:
    """Connections that are kept alive, and what their requests took."""

    def __init__(self, port, path, connections):
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.sockets = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self.sockets[connection.fileno()] = connection
        # The connection that has been idle longest is used next: each of them has work.
        self.free = collections.deque(self.sockets)
        self.due = {}
        self.latencies, self.late, self.failed = [], [], 0

    def go(self, rate, seconds):
        """Sends what is due, until all has been answered or has taken too long."""
        began = time.perf_counter()
        count, sent = int(rate * seconds), 0
        last = began + seconds + TIMEOUT_SECONDS
        # When the connection became free that the next request takes.
        freed = began
        while sent < count or self.due:
            now = time.perf_counter()
            while sent < count and self.free and (due := began + sent / rate) <= now:
                self._send(self.free.popleft(), due)
                self.late.append(max(0, now - max(due, freed)))
                sent += 1
            if now > last:
                break
            wait = TIMEOUT_SECONDS
            if sent < count and self.free:
                wait = max(0, began + sent / rate - time.perf_counter())
            # Of all ways to wait this one knows times below a millisecond.
            readable, _, _ = select.select(self.due, (), (), wait)
            for number in readable:
                if not self.free:
                    freed = time.perf_counter()
                self._receive(number)
        self.failed += len(self.due) + count - sent

    def _send(self, number, due):
        self.sockets[number].send(self.request)
        self.due[number] = due

    def _receive(self, number):
        # A short answer comes in one piece.
        answer = self.sockets[number].recv(65536)
        due = self.due.pop(number)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"not an answer: {answer[:60]!r}")
        self.latencies.append(time.perf_counter() - due)
        self.free.append(number)

    def close(self):
        for connection in self.sockets.values():
            connection.close()

    def figures(self):
        latencies, late = sorted(self.latencies) or [0], sorted(self.late) or [0]
        return {
            "requests": len(self.latencies) + self.failed,
            "failed": self.failed,
            "p50_ms": percentile(latencies, 50) * MILLISECONDS,
            "p99_ms": percentile(latencies, 99) * MILLISECONDS,
            "p999_ms": percentile(latencies, 99.9) * MILLISECONDS,
            "late_ms": percentile(late, 99) * MILLISECONDS,
        }


def main(port, path, connections, seconds, rate):
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    gc.disable()
    client = Client(int(port), path, int(connections))
    client.go(float(rate), float(seconds))
    print(json.dumps(client.figures()))


if __name__ == "__main__":
    main(*sys.argv[1:])
