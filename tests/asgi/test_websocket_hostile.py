"""WebSocket clients that read nothing, are slow or vanish; applications that keep `send`."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest
from harness import daemons
from harness.asgi import WEBSOCKET_APP, conf
from harness.conf import tls_host
from harness.httpd import wait_until
from harness.valgrind import SLOWER
from harness.websocket import BINARY, PING, frame, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

# Of mod_ssl, for the certificate of the tests.
TLS = "AH01873|AH01882|AH01906"
MEGABYTE = 1 << 20


@pytest.fixture
def start(private, certificate):
    """start(options, tls) is a server and the port of its WebSockets."""

    def start(options="", tls=False):
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        more = tls_host(certificate, alias) if tls else ""
        modules = ("ssl",) if tls else ()
        server = private(conf(options, more, app=WEBSOCKET_APP, modules=modules))
        if tls:
            server.log.allow(TLS)
        return server, server.port2 if tls else server.port

    return start


def events(server):
    return server.get("/events").json()["events"]


def resident(pid):
    return int(daemons.status_of(pid)["VmRSS"].split()[0]) * 1024


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Over TLS the hub carries the bytes under event, a thread of Apache under worker.
@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("tls", [False, True], ids=["passed", "carried"])
def test_pings_of_a_client_that_does_not_read_fill_no_memory(start, mpm, tls):
    server, port = start("websocket-ping-interval=0", tls)
    worker = server.get("/events").json()["pid"]
    ping = frame(PING, b"x" * 125)
    pings, most = ping * 500, 96 * MEGABYTE
    with websocket(port, tls=tls, buffer=65536) as ws:
        before = resident(worker)
        ws.sock.settimeout(3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < most:
                sent += ws.sock.send(pings[sent % len(pings) :])
        assert resident(worker) - before < 16 * MEGABYTE
        assert sent < most
        if not tls:
            ws.sock.settimeout(60)
            pong = b"\x8a\x7d" + b"x" * 125
            left = sent // len(ping) * len(pong)
            while left:
                left -= len(ws.sock.recv(min(left, 65536)))
            ws.send(ping[sent % len(ping) :])
            ws.send_text("all answered")
            assert ws.receive() == "all answered"


# Over TLS the hub carries the bytes under event, a thread of Apache under worker.
@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("tls", [False, True], ids=["passed", "carried"])
def test_reset_while_nothing_is_received_costs_no_processor(start, mpm, tls):
    server, port = start("websocket-ping-interval=0", tls)
    worker = server.get("/events").json()["pid"]
    with websocket(port, "/deaf", tls=tls) as ws:
        ws.send(*[frame(BINARY, b"x")] * 100)
        # Behind it, the reset finds the inbox full.
        daemons.pause(1)
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ws.sock.close()
    before = processor_seconds(worker)
    daemons.pause(3)
    assert processor_seconds(worker) - before < 0.3
    (server.root / "app.py.listen").touch()
    # What had come is received first.
    wait_until(lambda: ["heard", 100] in events(server), "all messages and the end")


def test_application_that_receives_nothing_is_cancelled_after_a_reset(start):
    server, port = start("websocket-ping-interval=0 graceful-timeout=1 websocket-limit=1")
    with websocket(port, "/deaf") as ws:
        ws.send(*[frame(BINARY, b"x")] * 100)
        daemons.pause(1)
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ws.sock.close()
    wait_until(lambda: ["deaf", "CancelledError"] in events(server), "the application to end")


def test_slow_reader_that_takes_something_all_the_time_is_not_closed(start):
    _, port = start("websocket-ping-interval=1")
    with websocket(port, "/flood?2000", buffer=65536) as ws:
        until, number = time.monotonic() + 7, 0
        while time.monotonic() < until:
            assert ws.receive() == bytes([number % 256]) * 65536
            number += 1
            daemons.pause(0.03)
        assert number < 2000 - 100


def test_reader_that_takes_nothing_is_closed(start):
    server, port = start("websocket-ping-interval=1 graceful-timeout=1")
    with websocket(port, "/flood?2000", buffer=65536):
        wait_until(lambda: ["flooded", "ClientDisconnected"] in events(server), "the end")


def test_frame_that_takes_longer_than_a_ping_is_no_silence(start):
    _, port = start("websocket-ping-interval=1")
    with websocket(port) as ws:
        data = b"x" * 60
        for byte in frame(BINARY, data):
            ws.send(bytes([byte]))
            daemons.pause(0.08)
        assert ws.receive() == data


def test_client_that_is_not_listened_to_is_not_closed(start):
    server, port = start("websocket-ping-interval=1")
    with websocket(port, "/deaf") as ws:
        ws.send(*[frame(BINARY, b"x")] * 100)
        for _ in range(4):
            assert ws.receive_frame()[0] == PING
            ws.send(frame(10))
        (server.root / "app.py.listen").touch()
        assert ws.close() == (1000, "")
    wait_until(lambda: ["heard", 100] in events(server), "all messages and the end")


def test_application_may_keep_send_and_receive_of_closed_sockets(start):
    server, port = start("websocket-limit=3")
    for number in range(8):
        with websocket(port, "/keep") as ws:
            ws.close(3000 + number)
        # Its end is noted before the number is free.
        ends = number + 1
        wait_until(lambda ends=ends: len(events(server)) >= ends, "the application to end")
    with websocket(port, "/stale") as ws:
        said = json.loads(ws.receive())
    gone = ["ClientDisconnected"] * 3
    assert said == [one for it in range(8) for one in [["websocket.disconnect", 3000 + it], *gone]]


@pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "one_byte"])
def test_message_of_endless_fragments_does_not_hold_other_requests_up(start, data):
    server, port = start("websocket-max-message=0")
    answered = threading.Event()
    fragments = frame(0, data, fin=False) * 20_000
    # Bounded, where the other request is never answered.
    until = time.monotonic() + 20 * SLOWER

    def flood(ws):
        with contextlib.suppress(OSError):
            ws.send(frame(BINARY, b"x", fin=False))
            while not answered.is_set() and time.monotonic() < until:
                ws.send(fragments)

    with websocket(port, "/echo") as ws:
        sender = threading.Thread(target=flood, args=(ws,))
        sender.start()
        try:
            for _ in range(5):
                assert server.get("/events").status == 200
            assert time.monotonic() < until
        finally:
            answered.set()
            sender.join()
