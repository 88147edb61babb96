"""A client of many WebSockets: some that are idle, or each of which echoes at intervals.

It is a process of its own, so that none of its processor time is a server's. It says `open`, is
told `echo SECONDS INTERVAL` and prints a line of JSON, and keeps the WebSockets until its input
ends.
"""

import base64
import contextlib
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time

TIMEOUT = 30
SIZE = 100
MASK = b"\1\2\3\4"
# A message of 100 bytes as a client sends it, and as it comes back.
SENT = (
    bytes([0x82, 0x80 | SIZE]) + MASK + bytes(ord("x") ^ MASK[place % 4] for place in range(SIZE))
)
ECHO = bytes([0x82, SIZE]) + b"x" * SIZE
# Files of a process beside its WebSockets.
OTHER_FILES = 200


class SocketsFailed(Exception):
    """A WebSocket was not opened, or not echoed: the figures mean nothing."""


class Clients:
    """The client process of a sample."""

    def __init__(self, port, count):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if most < count + OTHER_FILES:
            raise SocketsFailed(f"{count} WebSockets need more open files than ulimit -Hn, {most}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.sockets", str(port), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._expect("open")
        except BaseException:
            self.close()
            raise

    def _expect(self, word):
        line = self.process.stdout.readline().strip()
        if line.split(" ")[0] != word:
            raise SocketsFailed(line or self.process.stderr.read().strip()[-200:])
        return line

    def echo(self, seconds, interval):
        """What was counted: echoes, late and lost ones, p50 and p99 in seconds."""
        self.process.stdin.write(f"echo {seconds} {interval}\n")
        self.process.stdin.flush()
        return json.loads(self._expect("counted").removeprefix("counted "))

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open_one(port):
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):
        piece = sock.recv(4096)
        if not piece:
            break
        reply += piece
    if b" 101 " not in reply.split(b"\r\n")[0]:
        raise SocketsFailed(f"the handshake was answered with {reply[:100]!r}")
    return sock


class Echoes:
    """One message a turn on each WebSocket, the turns spread evenly over the interval."""

    def __init__(self, sockets):
        self.by_number = {sock.fileno(): sock for sock in sockets}
        self.order = list(self.by_number)
        self.poll = select.epoll()
        for number in self.order:
            self.poll.register(number, select.EPOLLIN)
        self.sent, self.came = {}, {}
        self.took, self.late, self.lost = [], 0, 0

    def send(self, number):
        if number in self.sent:
            self.late += 1
            return
        self.sent[number] = time.perf_counter()
        self.came[number] = 0
        self.by_number[number].sendall(SENT)

    def receive(self, timeout):
        for number, _ in self.poll.poll(timeout):
            piece = self.by_number[number].recv(4096)
            if not piece:
                self.lost += 1
                self.poll.unregister(number)
                continue
            self.came[number] = self.came.get(number, 0) + len(piece)
            if self.came[number] >= len(ECHO) and number in self.sent:
                self.took.append(time.perf_counter() - self.sent.pop(number))

    def run(self, seconds, interval):
        began, turns = time.perf_counter(), 0
        step = interval / len(self.order)
        while (now := time.perf_counter()) < began + seconds:
            while now >= began + turns * step:
                self.send(self.order[turns % len(self.order)])
                turns += 1
            self.receive(max(0, began + turns * step - time.perf_counter()))
        until = time.perf_counter() + TIMEOUT
        while self.sent and not self.lost and time.perf_counter() < until:
            self.receive(1)

    def figures(self):
        took = sorted(self.took)
        return {
            "echoes": len(took),
            "late": self.late,
            "lost": self.lost + len(self.sent),
            "p50": took[len(took) // 2] if took else 0,
            "p99": took[len(took) * 99 // 100] if took else 0,
        }


def main(port, count):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(open_one(int(port))) for _ in range(int(count))]
        print("open", flush=True)
        for line in sys.stdin:
            _, seconds, interval = line.split()
            echoes = Echoes(sockets)
            echoes.run(float(seconds), float(interval))
            print("counted", json.dumps(echoes.figures()), flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (SocketsFailed, OSError) as error:
        sys.exit(f"{error}")
