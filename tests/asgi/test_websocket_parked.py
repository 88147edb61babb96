"""WebSockets under the event MPM that cannot be passed on: none holds a thread of Apache."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from harness import c_modules, daemons
from harness.asgi import WEBSOCKET_APP, conf
from harness.conf import tls_host
from harness.httpd import wait_until
from harness.valgrind import SLOWER
from harness.websocket import (
    BINARY,
    TEXT,
    Closed,
    Refused,
    frame,
    handshake,
    open_on,
    websocket,
)

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

FACTOR = "AsyncRequestWorkerFactor 400\n"
# One child at a time, and slots for those that leave.
ONE_CHILD = "MinSpareThreads 1\nMaxSpareThreads 100\nMaxRequestWorkers 3\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture
def start(private, certificate):
    """start(options, more): a server whose child has three threads; its second port has TLS."""

    def start(options="", more=FACTOR, modules=(), prepare=lambda server: None, **others):
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        text = more + tls_host(certificate, alias)
        others = {"threads": 3, "timeout": 30, "modules": ("ssl", *modules), **others}
        server = private(conf(options, text, WEBSOCKET_APP, **others), prepare)
        # Of mod_ssl, for the certificate of the tests.
        server.log.allow("AH01873|AH01882|AH01906")
        return server

    return start


def events(server):
    return server.get("/events").json()["events"]


@contextlib.contextmanager
def sockets(server, count, path="/echo", tls=True):
    port = server.port2 if tls else server.port
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(websocket(port, path, tls=tls)) for _ in range(count)]


def are_threads_free(server):
    """Whether three requests are answered at once by a child with more sockets than threads."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: server.get("/").status, range(3)))
    return answers == [200] * 3 and time.monotonic() - began < 15 * SLOWER


@pytest.mark.parametrize("tls", [False, True])
def test_time_limits_of_requests_do_not_hold_for_open_sockets(start, tls):
    more = FACTOR + "RequestReadTimeout header=2 body=2\n"
    server = start("websocket-ping-interval=0", more, modules=("reqtimeout",))
    with sockets(server, 1, tls=tls) as [ws]:
        opened = time.monotonic()

        def lasts():
            ws.send_text("x")
            assert ws.receive() == "x"
            return time.monotonic() - opened > 3 * 2

        wait_until(lasts, "three times the limit", timeout=60)


def test_sockets_over_tls_hold_no_thread(start):
    server = start()
    with sockets(server, 30) as opened:
        assert are_threads_free(server)
        assert daemons.has_hub(server)
        for number, ws in enumerate(opened):
            ws.send_text(f"text {number}")
        for number, ws in enumerate(opened):
            assert ws.receive() == f"text {number}"
        assert are_threads_free(server)
        assert opened[0].close(1000, "done") == (1000, "done")
        wait_until(lambda: ["disconnect", 1000, "done"] in events(server), "the end")
    wait_until(lambda: len(events(server)) == 30, "all ends")


TOLD = """
LogFormat "%U %>s %X %{WSGI_FLAGS}e %{WSGI_QUEUE_TIME}e" told
CustomLog ${ROOT}/told.log told
<Location /-/status>
    SetHandler wsgi-status
</Location>
"""


def counted(server):
    """The requests of the group, by the class of their status."""
    (group,) = server.get("/-/status?json").json()["groups"]
    return group["requests"]["by_class"]


def test_socket_is_counted_and_logged_once_and_at_its_opening(start):
    # mod_status has httpd keep times in the place of the thread.
    server = start(more=FACTOR + TOLD, modules=("status",))

    def lines():
        text = (server.root / "told.log").read_text()
        return [line for line in text.splitlines() if line.startswith("/echo")]

    before = counted(server)["1xx"]
    with sockets(server, 1) as (ws,):
        wait_until(lines, "the line of the log")
        assert counted(server)["1xx"] == before + 1
        ws.send_text("x")
        assert ws.receive() == "x"
        ws.close()
    wait_until(lambda: len(events(server)) == 1, "the end")
    (line,) = lines()
    path, status, kept, flags, queue = line.split()
    assert (path, status, kept, flags) == ("/echo", "101", "-", "-")
    assert int(queue) >= 0
    assert counted(server)["1xx"] == before + 1


def test_socket_whose_connection_breaks_before_the_thread_has_left_is_logged(start, env):
    def prepare(server):
        c_modules.build(env, server.root, "broken", c_modules.BROKEN)

    more = FACTOR + TOLD + "LoadModule broken ${ROOT}/broken.so\n"
    server = start(more=more, prepare=prepare)
    before = counted(server)["1xx"]
    with websocket(server.port2, "/echo?broken", tls=True) as ws:
        assert ws.await_close()[0] == 1006
    log = server.root / "told.log"
    wait_until(lambda: "/echo" in log.read_text(), "the line of the log")
    wait_until(lambda: events(server), "the end")
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("/echo")]
    assert line.split()[:4] == ["/echo", "101", "X", "-"]
    assert counted(server)["1xx"] == before + 1


def test_bytes_behind_the_handshake_are_not_lost(start):
    server = start()
    with websocket(server.port2, tls=True, early=frame(TEXT, b"early")) as ws:
        assert ws.receive() == "early"
        for size in (0, 1, 16_384, 70_000, 3_000_000):
            data = os.urandom(size)
            # Whole messages are echoed.
            ws.send_bytes(data)
            assert ws.receive() == data


def test_clogged_client_does_not_hold_up_another_one(start):
    server = start("websocket-ping-interval=0")
    messages = 200
    with (
        websocket(server.port2, f"/flood?{messages}", tls=True, buffer=65536) as slow,
        websocket(server.port2, tls=True) as live,
    ):
        # The application waits for the client by now.
        wait_until(lambda: held_up(server), "the flood to be held up")
        for number in range(20):
            live.send_text(str(number))
            assert live.receive() == str(number)
        assert are_threads_free(server)
        for number in range(messages):
            assert slow.receive() == bytes([number % 256]) * 65536


def held_up(server):
    before = events(server)
    daemons.pause(0.2)
    return before and events(server) == before


def test_client_that_takes_nothing_is_given_up_after_timeout(start):
    server = start("websocket-ping-interval=0 response-socket-timeout=2")
    with websocket(server.port2, "/flood?1000", tls=True, buffer=65536):
        wait_until(lambda: ends(server), "the end", timeout=30)


def ends(server):
    """How floods have ended."""
    return [event for event in events(server) if isinstance(event, list)]


def test_reset_of_a_clogged_client_is_noticed(start):
    server = start("websocket-ping-interval=0")
    with websocket(server.port2, "/flood?1000", tls=True, buffer=65536) as ws:
        wait_until(lambda: held_up(server), "the flood to be held up")
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ws.sock.close()
        wait_until(lambda: ends(server), "the end")


def test_worker_that_is_killed_ends_its_sockets(start):
    server = start()
    server.log.allow("worker \\d+ was killed")
    with sockets(server, 5) as opened:
        for pid in daemons.workers(server):
            os.kill(pid, signal.SIGKILL)
        for ws in opened:
            assert ws.await_close()[0] == 1006
    assert server.get("/").status == 200


def test_module_that_sees_all_bytes_is_no_obstacle(start):
    more = "DumpIOInput On\nDumpIOOutput On\nLogLevel dumpio:trace7\n"
    server = start(more=FACTOR + more, modules=("dumpio",))
    with sockets(server, 6, tls=False) as opened:
        assert are_threads_free(server)
        assert daemons.has_hub(server)
        for ws in opened:
            ws.send_text("x")
            assert ws.receive() == "x"


def test_sockets_beyond_the_limit_hold_at_most_half_of_the_threads(start):
    # Eight threads and the factor 4: eight sockets without a thread, four with one.
    server = start(more="AsyncRequestWorkerFactor 4\n", threads=8)
    with contextlib.ExitStack() as stack:
        opened = []
        with pytest.raises(Refused) as refused:
            for _ in range(64):
                opened.append(stack.enter_context(websocket(server.port2, tls=True)))
        assert refused.value.status == 503
        server.log.expect("WSGI0231: a WebSocket for daemon process 'site' is refused")
        assert len(opened) == 12
        for ws in opened:
            ws.send_text("x")
            assert ws.receive() == "x"
        assert server.get("/").status == 200


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_sockets_end_when_apache_stops_or_restarts(start, signum):
    server = start("graceful-timeout=1 shutdown-timeout=5")
    with sockets(server, 10) as opened:
        assert are_threads_free(server)
        children = daemons.httpd_children(server)
        began = time.monotonic()
        server.send_signal(signum)
        for ws in opened:
            assert ws.await_close()[0] in (1006, 1012)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the child")
        assert time.monotonic() - began < 8 * SLOWER
    if signum == signal.SIGTERM:
        server.process.wait(30 * SLOWER)


def test_stop_after_a_graceful_restart_ends_the_old_child_too(start):
    server = start("graceful-timeout=60", more=FACTOR + ONE_CHILD, children=4)
    with sockets(server, 5) as opened:
        old = daemons.httpd_children(server)
        before = len(server.log.find("resuming normal operations"))
        server.send_signal(signal.SIGUSR1)
        server.log.wait_for("resuming normal operations", count=before + 1)
        wait_until(lambda: set(daemons.httpd_children(server)) - set(old), "a new child")
        opened[0].send_text("still here")
        assert opened[0].receive() == "still here"
        # Apache looks for children that it has told to stop; this one does not read its pipe.
        server.log.allow("AH00045")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30 * SLOWER)
        assert time.monotonic() - began < 8 * SLOWER


def await_close(opened, began):
    """Each is closed with 1012; the seconds from `began` to the first and to the last one."""
    seconds = []
    for ws in opened:
        ws.sock.settimeout(60)
        assert ws.await_close()[0] == 1012
        seconds.append(time.monotonic() - began)
    return min(seconds), max(seconds)


def test_graceful_restart_leaves_sockets_open_for_graceful_timeout(start):
    server = start("graceful-timeout=4", more=FACTOR + ONE_CHILD, children=4)
    with sockets(server, 5) as opened:
        old = daemons.httpd_children(server)
        began = time.monotonic()
        server.send_signal(signal.SIGUSR1)
        first, last = await_close(opened, began)
        assert first > 3.5
        assert last < 30
        wait_until(lambda: not set(old) & set(daemons.httpd_children(server)), "the end", 30)
        with sockets(server, 5) as others:
            others[0].send_text("new")
            assert others[0].receive() == "new"


def test_second_graceful_restart_closes_no_socket_of_before_the_first(start):
    server = start("graceful-timeout=60", more=FACTOR + ONE_CHILD, children=6)
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(2):
            opened += stack.enter_context(sockets(server, 5))
            seen = set(daemons.httpd_children(server))
            server.send_signal(signal.SIGUSR1)
            wait_until(lambda seen=seen: set(daemons.httpd_children(server)) - seen, "a child", 30)
            assert are_threads_free(server)
            for ws in opened:
                ws.send_text("still here")
                assert ws.receive() == "still here"


def test_child_that_has_had_its_connections_closes_its_sockets_after_graceful_timeout(start):
    more = FACTOR + ONE_CHILD + "MaxConnectionsPerChild 20\n"
    server = start("graceful-timeout=4", more=more, children=4)
    with sockets(server, 5) as opened:
        [old] = daemons.httpd_children(server)

        def leaves():
            assert server.get("/").status == 200
            return set(daemons.httpd_children(server)) - {old}

        wait_until(leaves, "a child in its place", timeout=30)
        began = time.monotonic()
        opened[0].send_text("still here")
        assert opened[0].receive() == "still here"
        _, last = await_close(opened, began)
        assert last < 30
        wait_until(lambda: not daemons.is_alive(old), "the old child to end", timeout=30)
        assert server.get("/").status == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_new_keys_of_tls_leave_the_socket_open(start):
    server = start()
    command = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-tls1_3", "-connect"]
    address = f"127.0.0.1:{server.port2}"
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, address], stdin=pipe, stdout=pipe, stderr=pipe) as client:
        try:
            client.stdin.write(handshake("/echo", KEY))
            client.stdin.flush()
            assert read_pipe(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            for number in range(3):
                # Asks the server for new keys, too.
                client.stdin.write(b"K\n")
                client.stdin.flush()
                daemons.pause(0.2)
                client.stdin.write(frame(TEXT, b"after %d" % number))
                client.stdin.flush()
                assert read_pipe(client, b"after %d" % number)
        finally:
            client.kill()


def read_pipe(client, end):
    received = b""
    while not received.endswith(end):
        piece = client.stdout.read1(65536)
        assert piece, (received, client.stderr.read1(65536))
        received += piece
    return received


def test_thousands_of_short_sockets_leave_nothing_behind(start):
    server = start()
    (child,) = daemons.httpd_children(server)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def some(number):
        """In five ways, three of which are no close."""
        for count in range(number):
            sock = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port2)))
            with sock:
                sock.settimeout(20 * SLOWER)
                ws = open_on(sock, "/echo", key=KEY)
                kind = count % 5
                if kind < 3:
                    ws.send(frame(BINARY, b"x" * 100 * kind))
                if kind == 1:
                    assert ws.receive() == b"x" * 100
                if kind == 2:
                    ws.close()
                if kind == 3:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    files = Path(f"/proc/{child}/fd")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(some, [10 if SLOWER == 1 else 2] * 8))
        wait_until(lambda: len(list(files.iterdir())) < 60, "descriptors to be closed", timeout=30)
        before = len(list(files.iterdir()))
        list(pool.map(some, [100 if SLOWER == 1 else 5] * 8))
    wait_until(lambda: len(list(files.iterdir())) <= before + 8, "descriptors", timeout=30)
    assert daemons.httpd_children(server) == [child]
    with pytest.raises(Closed), websocket(server.port2, "/close?1000,", tls=True) as ws:
        ws.receive()
