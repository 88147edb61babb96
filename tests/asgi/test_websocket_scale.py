"""Many WebSockets at once: hundreds in `make test`, ten thousand with LIMITS=1 (`make soak`)."""

import contextlib
import json
import os
import resource
import signal
import socket
import time

import pytest
from harness import daemons, namespaces
from harness.asgi import WEBSOCKET_APP, conf
from harness.client import read_until
from harness.httpd import wait_until
from harness.load import Load
from harness.websocket import Closed, closing, open_on

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

LONG = bool(os.environ.get("LIMITS"))
IDLE = 10_000 if LONG else 300
SLOW = 1_000 if LONG else 40
OPEN = 1_000 if LONG else 60
KIB = 1 << 10
# What httpd, Python and this process have open beside WebSockets.
OTHER_FILES = 300


@pytest.fixture
def start(private):
    """start(options) is a server with one worker, which may have as many files open as can be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))

    def start(options="", **others):
        options += " websocket-limit=60000 websocket-ping-interval=0"
        return private(conf(options, app=WEBSOCKET_APP, **others))

    yield start
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def room_for(count):
    """Skips the test where a process may not have so many files open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < count + OTHER_FILES:
        pytest.skip(f"needs {count + OTHER_FILES} open files a process (ulimit -Hn is {most})")


@contextlib.contextmanager
def opened(server, count, path="/echo", buffer=None):
    """So many open WebSockets to a path."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.settimeout(120)
            sock.connect(("127.0.0.1", server.port))
            sockets.append(open_on(sock, path))
        yield sockets


def memory(pids):
    return sum(daemons.pss(pid) for pid in pids)


def threads(pids):
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)


def descriptors(pids):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def test_idle_websockets_cost_apache_neither_memory_nor_threads(start, record_property):
    room_for(IDLE)
    # One child, with far fewer threads than there are WebSockets.
    server = start(threads=8)
    with opened(server, 20):
        # What the first ones bring with them is no cost of each.
        assert server.get("/").status == 200
    (worker,) = daemons.workers(server)
    children = daemons.httpd_children(server)
    before = memory(children), memory([worker]), threads(children), descriptors([worker])
    with opened(server, IDLE) as sockets:
        for _ in range(20):
            assert server.get("/").status == 200
        assert daemons.httpd_children(server) == children
        wait_until(lambda: descriptors(children) < 200, "Apache to let the sockets go")
        of_apache = (memory(children) - before[0]) / IDLE
        of_worker = (memory([worker]) - before[1]) / IDLE
        grown = threads(children) - before[2]
        record_property(
            "memory",
            f"{IDLE} idle WebSockets: {of_apache / KIB:.1f} KiB of Apache and"
            f" {of_worker / KIB:.1f} KiB of the worker each, {grown} more threads of Apache",
        )
        assert grown == 0
        # Below the pages that any 20 requests may touch: some hundreds say nothing of each.
        assert memory(children) - before[0] < max(12 * KIB * IDLE, 4096 * KIB)
        assert memory([worker]) - before[1] < max(64 * KIB * IDLE, 16384 * KIB)
        for ws in sockets[:: max(1, IDLE // 100)]:
            ws.send_text("still there")
            assert ws.receive() == "still there"
    wait_until(
        lambda: descriptors([worker]) <= before[3] + 5, "the worker to close them", timeout=120
    )
    assert server.get("/").status == 200


def test_slow_readers_hold_no_request_up_and_fill_no_memory(start, record_property):
    room_for(SLOW)
    server = start(threads=8)
    assert server.get("/").status == 200
    (worker,) = daemons.workers(server)
    before = memory([worker])
    # 6 MB for each, of which a client reads nothing at first.
    with opened(server, SLOW, "/flood?100", buffer=16384) as sockets:

        def is_held():
            seen.append(len(server.get("/events").json()["events"]))
            return len(seen) > 10 and seen[-1] == seen[-8]

        seen = []
        wait_until(is_held, "all applications to wait", timeout=120)
        assert seen[-1] < SLOW * 100
        kept = (memory([worker]) - before) / SLOW
        with Load(server.port, "/", clients=2) as load:
            for _ in range(5):
                daemons.pause(0.3)
                for ws in sockets:
                    # 4 KB of a message of 64 KB.
                    assert ws.sock.recv(4096)
        record_property(
            "load",
            f"{SLOW} slow readers: {kept / KIB:.0f} KiB of the worker each; beside them"
            f" {load.total}",
        )
        assert load.total.failed == []
        # A message of 64 KB waits for each, and what the allocator has beside it.
        assert kept < 400 * KIB

    def told():
        events = server.get("/").json()["events"]
        return sum(isinstance(it, list) and it[0] == "flooded" for it in events)

    # All of them have gone in the midst of a message.
    wait_until(lambda: told() == SLOW, "all applications to be told", timeout=120)


def test_killed_worker_ends_all_websockets_at_once(start, record_property):
    room_for(OPEN)
    server = start()
    assert server.get("/").status == 200
    children = daemons.httpd_children(server)
    before = descriptors(children)
    with opened(server, OPEN) as sockets:
        (worker,) = daemons.workers(server)
        began = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        for ws in sockets:
            ws.sock.settimeout(30)
            with pytest.raises(Closed) as closed:
                ws.receive()
            assert closed.value.code == 1006
        record_property(
            "load",
            f"{OPEN} WebSockets of a killed worker: ended in {time.monotonic() - began:.2f} s",
        )
    server.log.expect(r"worker \d+ was killed by signal 9")
    wait_until(lambda: server.get("/").json()["pid"] != worker, "a new worker", timeout=30)
    assert daemons.httpd_children(server) == children
    # A connection to the new worker may be kept.
    wait_until(lambda: descriptors(children) <= before + 4, "Apache to have nothing left")


def test_graceful_restart_closes_all_websockets_and_no_request_fails(start, record_property):
    room_for(OPEN)
    server = start("graceful-timeout=3 eviction-timeout=3", children=4, start=1)
    with opened(server, OPEN) as sockets, Load(server.port, "/", clients=2) as load:
        old = server.get("/").json()["pid"]
        server.send_signal(signal.SIGUSR1)
        codes = {ws.await_close()[0] for ws in sockets}
        assert codes == {1012}
        for ws in sockets:
            ws.send(closing(1012))
        assert all(ws.at_end() for ws in sockets)
        wait_until(lambda: server.get("/").json()["pid"] != old, "a new worker", timeout=60)
        # A page that connects anew.
        with opened(server, OPEN) as again:
            for ws in again:
                ws.send_text("again")
                assert ws.receive() == "again"
    record_property("load", f"a graceful restart with {OPEN} open WebSockets: {load.total}")
    assert load.total.failed == []
    wait_until(lambda: not daemons.is_alive(old), "the old worker to end", timeout=60)


@pytest.mark.skipif(
    bool(namespaces.missing("ip", "nsenter")), reason=str(namespaces.missing("ip", "nsenter"))
)
@pytest.mark.parametrize("is_sending", [False, True], ids=["idle", "that-is-sent-to"])
def test_client_that_vanishes_without_a_word_is_found_by_pings(private, is_sending):
    """Its network goes away: no FIN and no RST ever comes."""

    def prepare(server):
        server.wrapper = namespaces.OWN_NETWORK

    options = "websocket-ping-interval=2 graceful-timeout=2"
    # On a busy machine a worker takes long to start.
    server = private(conf(options, app=WEBSOCKET_APP, timeout=60), prepare)
    httpd = server.process.pid
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(20):
            sock = stack.enter_context(namespaces.connect_in(httpd, server.port))
            sockets.append(open_on(sock, "/talk" if is_sending else "/echo"))
        (worker,) = daemons.workers(server)
        before = descriptors([worker])
        namespaces.set_loopback(httpd, "down")
        try:
            wait_until(
                lambda: descriptors([worker]) <= before - 20, "the worker to give up", timeout=60
            )
        finally:
            namespaces.set_loopback(httpd, "up")

        def events():
            with namespaces.connect_in(httpd, server.port) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                reply = read_until(sock, b"}")
            return json.loads(reply.partition(b"\r\n\r\n")[2])["events"]

        told = ["disconnect", 1011, "no answer to a ping"]
        told = ["gone", "ClientDisconnected"] if is_sending else told
        wait_until(lambda: events() == [told] * 20, "all applications to be told")
