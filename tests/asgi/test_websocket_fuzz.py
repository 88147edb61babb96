"""Frames at random, right ones and then a wrong one, and what RFC 6455 says has to come back.

Some hundreds of conversations in `make test`; with LIMITS=1 (`make soak`) for SECONDS=60. A
conversation that fails names its seed: SEED=7 runs that one alone.
"""

import codecs
import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest
from harness.asgi import WEBSOCKET_APP, conf
from harness.client import TIMEOUT
from harness.httpd import wait_until
from harness.websocket import BINARY, CLOSE, PING, PONG, TEXT, Closed, closing, frame, open_on

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

LONG = bool(os.environ.get("LIMITS"))
SECONDS = float(os.environ.get("SECONDS", "60"))
COUNT = 200
MOST = 20_000
TEXTS = ["", "x", "ü", "€uro", "😀" * 9, "plain text " * 40, "\0", "\ud7ff\ue000\U0010ffff"]
# Cut anywhere or not, these are no UTF-8.
NO_TEXT = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\x80", b"\xe2\x82"]
GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999]


class Conversation:
    """Bytes that a client sends, and what the server has to answer."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.wire, self.echoes, self.pongs = [], [], []
        # What the server closes with, as far as that is up to it.
        self.code = None
        for _ in range(self.random.randrange(8)):
            self.message()
        self.ending()

    def mask(self):
        return self.random.randbytes(4)

    def put(self, opcode, data, **how):
        self.wire.append(frame(opcode, data, **{"mask": self.mask(), **how}))

    def control(self):
        if self.random.random() < 0.3:
            data = self.random.randbytes(self.random.choice([0, 1, 124, 125]))
            self.put(PING, data)
            self.pongs.append(data)
        if self.random.random() < 0.1:
            self.put(PONG, self.random.randbytes(self.random.randrange(126)))

    def pieces(self, data):
        """The data cut at random, also into nothing."""
        cuts = sorted(
            self.random.randrange(len(data) + 1) for _ in range(self.random.choice([0, 0, 1, 3]))
        )
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def message(self):
        self.control()
        if self.random.random() < 0.5:
            text = "".join(self.random.choices(TEXTS, k=self.random.randrange(1, 4)))
            opcode, data = TEXT, text.encode()
            self.echoes.append(text)
        else:
            size = self.random.choice([0, 1, 125, 126, 127, 4095, 4096, 4097, 65535 % MOST, MOST])
            opcode, data = BINARY, self.random.randbytes(size)
            self.echoes.append(data)
        parts = self.pieces(data)
        for number, part in enumerate(parts):
            self.put(opcode if number == 0 else 0, part, fin=number == len(parts) - 1)
            self.control()

    def begun(self):
        """Perhaps the first part of a message, which is never echoed."""
        if begun := self.random.random() < 0.3:
            self.put(BINARY, b"begun", fin=False)
        return begun

    def ending(self):
        kinds = [
            "good close", "empty close", "cut", "bad code", "short close", "reason", "text",
            "too big", "reserved", "opcode", "no mask", "long ping", "part of a ping",
            "continuation", "interrupted",
        ]  # fmt: skip
        self.kind = self.random.choice(kinds)
        getattr(self, "end_" + self.kind.replace(" ", "_"))()

    def end_good_close(self):
        self.begun()
        self.code = self.random.choice(GOOD_CODES)
        reason = self.random.choice(["", "bye", "ü" * 61])
        self.wire.append(closing(self.code, reason))

    def end_empty_close(self):
        self.code = 1005
        self.put(CLOSE, b"")

    def end_cut(self):
        """The client goes in the midst of a frame."""
        self.wire.append(frame(BINARY, b"x" * 100)[: self.random.randrange(1, 100)])
        self.code = 1006

    def wrong(self, code, opcode, data, **how):
        self.code = code
        self.put(opcode, data, **how)
        # What comes behind it says nothing any more.
        self.wire.append(self.random.randbytes(self.random.choice([0, 0, 1, 50])))

    def end_bad_code(self):
        self.begun()
        self.wrong(1002, CLOSE, struct.pack("!H", self.random.choice(BAD_CODES)) + b"why")

    def end_short_close(self):
        self.wrong(1002, CLOSE, b"x")

    def end_reason(self):
        self.wrong(1007, CLOSE, b"\x03\xe8" + self.random.choice(NO_TEXT))

    def end_text(self):
        data = self.random.choice(TEXTS).encode() + self.random.choice(NO_TEXT)
        parts = self.pieces(data)
        decoder = codecs.getincrementaldecoder("utf-8")()
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            opcode = TEXT if number == 0 else 0
            try:
                decoder.decode(part, last)
            except UnicodeDecodeError:
                return self.wrong(1007, opcode, part, fin=last)
            self.put(opcode, part, fin=last)
        raise AssertionError(data)

    def end_too_big(self):
        if self.random.random() < 0.5:
            return self.wrong(1009, BINARY, b"x" * (MOST + self.random.randrange(1, 5000)))
        self.put(BINARY, b"x" * MOST, fin=False)
        return self.wrong(1009, 0, b"x", fin=self.random.random() < 0.5)

    def end_reserved(self):
        self.begun()
        self.wrong(1002, PING, b"", reserved=self.random.randrange(1, 8))

    def end_opcode(self):
        self.begun()
        self.wrong(1002, self.random.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"x")

    def end_no_mask(self):
        self.wrong(1002, TEXT, b"x", mask=None)

    def end_long_ping(self):
        self.begun()
        self.wrong(1002, PING, b"x" * self.random.choice([126, 200, MOST]))

    def end_part_of_a_ping(self):
        self.wrong(1002, PING, b"x", fin=False)

    def end_continuation(self):
        self.wrong(1002, 0, b"x", fin=self.random.random() < 0.5)

    def end_interrupted(self):
        self.put(BINARY, b"begun", fin=False)
        self.wrong(1002, self.random.choice([TEXT, BINARY]), b"x")

    def segments(self):
        """The bytes, cut as a network might cut them."""
        data = b"".join(self.wire)
        while data:
            size = self.random.choice([1, 2, 3, 7, 100, 4096, len(data), len(data)])
            yield data[:size]
            data = data[size:]

    def run(self, port):
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Some of it may come with the handshake.
            segments = list(self.segments())
            early = segments.pop(0) if segments and self.random.random() < 0.3 else b""
            ws = open_on(sock, "/echo", early=early)
            sender = threading.Thread(target=self.send, args=(sock, segments))
            sender.start()
            try:
                self.judge(ws)
            finally:
                sender.join()

    def send(self, sock, segments):
        # The server may have closed before the last of what it need not read.
        with contextlib.suppress(OSError):
            for segment in segments:
                sock.sendall(segment)
            if self.kind == "cut":
                sock.shutdown(socket.SHUT_WR)

    def judge(self, ws):
        echoes, pongs, code = [], [], None
        while code is None:
            try:
                opcode, data = ws.receive_frame()
            except Closed:
                code = 1006
                break
            if opcode == PONG:
                pongs.append(data)
            elif opcode == CLOSE:
                code = struct.unpack("!H", data[:2])[0] if data else 1005
            else:
                echoes.append(data.decode() if opcode == TEXT else data)
        assert code == self.code
        # What ends a conversation may overtake what the application has not sent yet.
        assert echoes == self.echoes[: len(echoes)]
        rest = iter(self.pongs)
        assert all(pong in rest for pong in pongs)
        assert ws.at_end()


def seeds():
    if "SEED" in os.environ:
        yield int(os.environ["SEED"])
        return
    began, seed = time.monotonic(), 0
    while seed < COUNT or (LONG and time.monotonic() - began < SECONDS):
        yield seed
        seed += 1


def test_frames_at_random_are_answered_as_rfc_6455_says(private, record_property):
    server = private(
        conf(f"websocket-max-message={MOST} websocket-ping-interval=0", app=WEBSOCKET_APP)
    )
    worker = server.get("/").json()["pid"]
    before = len(server.open_files(worker))
    kinds = {}
    for seed in seeds():
        conversation = Conversation(seed)
        try:
            conversation.run(server.port)
        except (AssertionError, OSError) as why:
            raise AssertionError(f"SEED={seed} ({conversation.kind}): {why}")
        kinds[conversation.kind] = kinds.get(conversation.kind, 0) + 1
    record_property("load", f"{sum(kinds.values())} conversations: {kinds}")
    assert server.get("/").json()["pid"] == worker
    # Apache may keep a connection for each of its threads.
    wait_until(
        lambda: len(server.open_files(worker)) <= before + 16,
        f"all sockets to be closed: {before} files open before, now {server.open_files(worker)}",
    )
