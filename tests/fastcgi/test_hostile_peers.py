"""A machine that may connect to wsgi-daemon, or may not, and means ill: half requests, records that
lie, connections without number, params that only Apache's module may send.
"""

import contextlib
import json
import random
import re
import resource
import socket
import struct
import threading
import time

import pytest
from harness import daemons
from harness import fastcgi_client as fastcgi
from harness.httpd import free_ports, ports_locked, wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

WHOLE = fastcgi.request("/", keep=True)
ABORT_REQUEST, UNKNOWN_TYPE = 2, 11
MIB = 1 << 20


@pytest.fixture
def over_tcp(daemon):
    """over_tcp(options) starts the daemon at a port; its address."""

    def start(*options):
        with ports_locked():
            (port,) = free_ports(1)
            daemon.start_at(f"tcp:127.0.0.1:{port}", options=["--log-level", "6", *options])
            wait_until(lambda: is_served(("127.0.0.1", port)), "an answer")
        return "127.0.0.1", port

    return start


def is_served(address):
    with contextlib.suppress(OSError):
        return fastcgi.get(address).status == 200
    return False


def connect_all(stack, address, count, source="127.0.0.1"):
    """So many connections."""
    made = []
    for _ in range(count):
        client = socket.create_connection(address, 20, source_address=(source, 0))
        made.append(stack.enter_context(client))
    return made


def test_requests_that_come_slowly_hold_no_thread_and_end_in_time(daemon, over_tcp):
    address = over_tcp("--threads", "1")
    halves = [b"\x01", WHOLE[:16], WHOLE[:20], WHOLE[:60], b"GET /-/re"]
    stopped = threading.Event()
    with contextlib.ExitStack() as stack:
        clients = connect_all(stack, address, 40)
        for number, client in enumerate(clients):
            client.sendall(halves[number % len(halves)])
        slow = connect_all(stack, address, 10)

        def trickle():
            for byte in WHOLE[:-8]:
                if stopped.wait(0.05):
                    return
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.sendall(bytes([byte]))

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            began = time.monotonic()
            for _ in range(5):
                assert fastcgi.get(address).status == 200
            # A single one of those 50 would hold the only thread for five seconds.
            assert time.monotonic() - began < 4
            # They are closed without another connection that would remind the worker.
            for client in clients:
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            assert 3 < time.monotonic() - began < 5 + 8
        finally:
            stopped.set()
            thread.join()
    line = "a connection was closed: no request has come in time"
    wait_until(lambda: daemon.log().count(line) >= len(clients), "the lines")
    assert fastcgi.get(address).status == 200


def test_request_in_many_pieces_is_served_like_another_one(daemon, over_tcp):
    address = over_tcp("--threads", "1")
    params = {f"HTTP_X_{number}": "v" * 1000 for number in range(600)}
    whole = fastcgi.request("/a", method="POST", body=b"x" * 1000, keep=True, **params)
    with fastcgi.connection(address) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for at in range(0, len(whole), 100_000):
                connection.send(whole[at : at + 100_000])
                time.sleep(0.02)
            said = json.loads(connection.answer().body)
            assert (said["body"], len(said["environ"]["HTTP_X_599"])) == (1000, 1000)
            # The next one begins in the same piece as the end of this one.
            connection.send(whole + whole[:100])
            assert connection.answer().status == 200
            connection.send(whole[100:])
            assert connection.answer().status == 200


def test_requests_that_never_come_whole_have_a_limit_of_memory(daemon, over_tcp):
    address = over_tcp("--threads", "2")
    (worker,) = daemon.workers()
    before = daemons.pss(worker)
    begin = WHOLE[:16]
    pair = bytes([4]) + struct.pack("!I", 1_000_000 | 1 << 31) + b"LONG" + b"x" * 990_000
    records = [pair[at : at + 65535] for at in range(0, len(pair), 65535)]
    half = begin + b"".join(fastcgi.record(fastcgi.PARAMS, piece) for piece in records)
    line = "WSGI0262: a connection of 127.0.0.1 was closed: requests that have not come whole"
    with contextlib.ExitStack() as stack:
        for client in connect_all(stack, address, 100):
            # It may have been closed before it has sent everything.
            with contextlib.suppress(ConnectionError):
                client.sendall(half)
        wait_until(lambda: line in daemon.log(), "the line", timeout=30)
        assert daemons.pss(worker) - before < 100 * MIB
        assert fastcgi.get(address).status == 200
    assert daemon.log().count(line) == 1


def test_idle_connections_keep_no_memory_of_large_requests(daemon, over_tcp):
    address = over_tcp("--threads", "2")
    (worker,) = daemon.workers()
    # As Apache's module sends params that many requests have in common; from elsewhere they are
    # params of one request.
    common = fastcgi.pairs({f"C{number}": "x" * 8000 for number in range(30)})
    own = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "SERVER_NAME": "a"}
    own |= {"SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_LARGE": "x" * 60_000}
    params = fastcgi.pairs({"MOD_WSGI_RS_COMMON": len(common)}) + common + fastcgi.pairs(own)
    request = (
        WHOLE[:16] + fastcgi.stream(fastcgi.PARAMS, params) + fastcgi.stream(fastcgi.STDIN, b"")
    )
    with contextlib.ExitStack() as stack:

        def park(count):
            for _ in range(count):
                client = stack.enter_context(fastcgi.connection(address))
                client.send(request)
                environ = json.loads(client.answer().body)["environ"]
                assert len(environ["C7"]) == 8000
                assert "MOD_WSGI_RS_COMMON" not in environ

        park(70)
        before = daemons.pss(worker)
        park(100)
        assert (daemons.pss(worker) - before) / 100 < 100 * 1024


def test_records_that_lie_cost_their_own_connection_alone(daemon, over_tcp):
    address = over_tcp("--threads", "2")
    pid = json.loads(fastcgi.get(address).body)["pid"]

    def header(kind, length, *, request_id=1, version=1, padding=0):
        return struct.pack("!BBHHBB", version, kind, request_id, length, padding, 0)

    begin, params = WHOLE[:16], fastcgi.PARAMS
    huge = struct.pack("!I", 0xFFFFFFFF)
    lies = [
        header(1, 8, version=2),
        header(1, 7) + b"x" * 7,
        header(1, 8, request_id=0) + b"\0" * 8,
        begin + begin,
        begin + fastcgi.record(fastcgi.STDIN, b"early"),
        begin + fastcgi.record(77, b"x"),
        begin + fastcgi.record(params, huge + huge + b"x"),
        begin + fastcgi.record(params, b"\x04\x7fNAME") + fastcgi.record(params),
        begin + fastcgi.record(params, b"\0\0" * 20_000) + fastcgi.record(params),
        begin + fastcgi.record(ord("F"), b"\0" * 16),
        fastcgi.record(fastcgi.GET_VALUES, huge, 0),
        fastcgi.record(fastcgi.GET_VALUES_RESULT, b"", 0),
        fastcgi.record(fastcgi.GET_VALUES, b"", 7),
        b"\0" * 64,
        b"POST /-/ready HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for lie in lies:
        with fastcgi.connection(address) as connection:
            connection.send(lie)
            began = time.monotonic()
            with pytest.raises((EOFError, ConnectionError)):
                while True:
                    connection.record()
            # At once: nothing more is waited for.
            assert time.monotonic() - began < 4, lie[:40]
    generator = random.Random(18)
    for _ in range(200):
        with fastcgi.connection(address) as connection, contextlib.suppress(OSError):
            spoilt = bytearray(WHOLE)
            for _ in range(generator.randrange(1, 6)):
                spoilt[generator.randrange(len(spoilt))] = generator.randrange(256)
            connection.send(spoilt)
    assert json.loads(fastcgi.get(address).body)["pid"] == pid


def test_connection_goes_on_after_management_records_refused_requests_and_aborted_ones(
    daemon, over_tcp
):
    address = over_tcp("--threads", "1")
    with fastcgi.connection(address) as connection:
        connection.send(
            fastcgi.record(fastcgi.GET_VALUES, fastcgi.pairs({"FCGI_MAX_CONNS": ""}), 0)
        )
        assert connection.record() == (
            fastcgi.GET_VALUES_RESULT,
            fastcgi.pairs({"FCGI_MAX_CONNS": 1}),
        )
        connection.send(fastcgi.record(99, b"", 0))
        assert connection.record() == (UNKNOWN_TYPE, b"\x63" + b"\0" * 7)
        # An unknown role, and a second request beside one: refused, each by its own id.
        connection.send(fastcgi.record(fastcgi.BEGIN_REQUEST, struct.pack("!HB5x", 9, 1), 5))
        assert connection.record() == (fastcgi.END_REQUEST, struct.pack("!IB3x", 0, 3))
        # Given up in the params, and in the body.
        params = fastcgi.record(fastcgi.PARAMS, b"\x01\x7fA")
        connection.send(WHOLE[:16] + params + fastcgi.record(ABORT_REQUEST))
        connection.send(fastcgi.record(fastcgi.STDIN, b"late"))
        assert connection.answer().complete
        assert connection.get(keep=True).status == 200
        body = fastcgi.request("/", method="POST", body=b"x" * 100, keep=True)
        connection.send(body.removesuffix(fastcgi.record(fastcgi.STDIN)))
        connection.send(fastcgi.record(ABORT_REQUEST))
        assert connection.answer().complete
        assert connection.get(keep=True).status == 200


def test_thousand_silent_connections_keep_no_request_from_being_answered(daemon, over_tcp):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, soft - 200)
    # Beside what the application has, there is room for fewer connections than that.
    address = over_tcp("--threads", "2", "--allow", "127.0.0.1")
    (worker,) = daemon.workers()
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (count // 2, count // 2))
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(fastcgi.connection(address))
        assert kept.get(keep=True).status == 200
        # Those that may not connect take no place of those that may.
        for client in connect_all(stack, address, 100, source="127.0.0.2"):
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert kept.get(keep=True).status == 200
        connect_all(stack, address, count)
        began = time.monotonic()
        for _ in range(3):
            assert fastcgi.get(address).status == 200
        assert time.monotonic() - began < 10
    line = re.compile(r"WSGI0248: .*127\.0\.0\.2 is not allowed")
    wait_until(lambda: line.search(daemon.log()), "the line")
    assert daemon.workers() == [worker]
