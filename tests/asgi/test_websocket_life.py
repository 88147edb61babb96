"""Open WebSockets: how many there may be, how long they live, and what slow ends cost."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest
from harness import daemons
from harness.asgi import WEBSOCKET_APP, conf
from harness.conf import tls_host
from harness.httpd import wait_until
from harness.websocket import TEXT, Closed, Refused, closing, frame, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]


# Of mod_ssl, for the certificate of the tests.
TLS = "AH01873|AH01882|AH01906"


def sockets(options="", more="", **others):
    return conf(options, more, app=WEBSOCKET_APP, **others)


def events(server):
    return server.get("/events").json()["events"]


@pytest.fixture
def encrypted(certificate):
    """encrypted(options) is a configuration whose second port speaks TLS."""

    def encrypted(options="", **others):
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        return sockets(options, tls_host(certificate, alias), modules=("ssl",), **others)

    return encrypted


@pytest.mark.all_mpms
def test_over_tls_messages_of_all_sizes_come_back(private, encrypted, mpm):
    server = private(encrypted())
    server.log.allow(TLS)
    early = frame(TEXT, b"early")
    if mpm == "prefork":
        # Each process is one thread: half of them is none.
        with pytest.raises(Refused) as refused, websocket(server.port2, tls=True):
            pass
        server.log.expect("WSGI0231")
        assert refused.value.status == 503
        assert "\r\nRetry-After: " in refused.value.text
        return
    with websocket(server.port2, tls=True, early=early) as ws:
        assert ws.receive() == "early"
        for size in (0, 1, 70_000, 2_000_000):
            data = os.urandom(size)
            # Whole messages are echoed. One thread: TLS of Python has no lock before 3.13.
            ws.send_bytes(data)
            assert ws.receive() == data
        assert ws.close(1000, "done") == (1000, "done")


# Under event they hold no thread: test_websocket_parked.py.
@pytest.mark.parametrize("mpm", ["worker"])
def test_over_tls_half_of_the_threads_are_left_to_requests(private, encrypted, mpm):
    server = private(encrypted(children=1, start=1, threads=16))
    server.log.allow(TLS)
    port = server.port2
    with contextlib.ExitStack() as stack:
        opened = []
        with pytest.raises(Refused) as refused:
            for _ in range(64):
                opened.append(stack.enter_context(websocket(port, tls=True)))
        assert refused.value.status == 503
        assert "\r\nRetry-After: " in refused.value.text
        server.log.expect("WSGI0231: a WebSocket for daemon process 'site' is refused")
        assert len(opened) == 8
        for _ in range(5):
            assert server.get("/").status == 200
        opened[0].close()

        def has_room():
            try:
                stack.enter_context(websocket(port, tls=True))
            except Refused:
                return False
            return True

        wait_until(has_room, "room for another one")


@pytest.mark.parametrize("mpm", ["worker"])
def test_over_tls_a_client_that_has_left_holds_no_thread_while_its_worker_takes_nothing(
    private, encrypted, mpm
):
    server = private(encrypted("websocket-ping-interval=0", threads=2, timeout=2))
    server.log.allow(TLS)
    port = server.port2
    with websocket(port, "/deaf", tls=True) as ws:
        # Longer than a busy machine leaves Apache's child without a processor.
        ws.sock.settimeout(5)
        message = frame(2, b"x" * 65536)
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                ws.sock.sendall(message)
        # One of the two threads is left to requests.
        with pytest.raises(Refused), websocket(port, tls=True):
            pass
        server.log.expect("WSGI0231")
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ws.sock.close()

    def has_room():
        try:
            with websocket(port, tls=True):
                return True
        except Refused:
            return False

    wait_until(has_room, "the thread of the client that has left", timeout=30)
    (server.root / "app.py.listen").touch()


@pytest.mark.all_mpms
def test_limit_of_a_process_is_a_503_before_the_101(private):
    server = private(sockets("websocket-limit=2"))
    with websocket(server.port) as one, websocket(server.port):
        with pytest.raises(Refused) as refused, websocket(server.port):
            pass
        assert refused.value.status == 503
        assert "\r\nRetry-After: " in refused.value.text
        server.log.expect("WSGI0233: a WebSocket is refused: 2 are open")
        assert server.get("/").status == 200
        one.close()

        def has_room():
            try:
                with websocket(server.port):
                    return True
            except Refused:
                return False

        wait_until(has_room, "room for another one")


def test_open_sockets_take_no_places_of_requests(private):
    server = private(sockets("asgi-concurrency=2"))
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(websocket(server.port)) for _ in range(6)]
        assert server.get("/").status == 200
        for ws in opened:
            ws.send_text("x")
            assert ws.receive() == "x"


def test_request_in_the_former_place_of_a_websocket_outlives_the_websocket(private):
    """A handshake has a place among requests, which another request gets once it is open."""
    server = private(sockets("asgi-concurrency=1"))
    answers = []
    with websocket(server.port, "/beside") as ws:
        # One that Apache does not repeat.
        request = threading.Thread(
            target=lambda: answers.append(server.post("/until_closed", b"x"))
        )
        request.start()
        assert ws.receive() == "a request waits"
        assert ws.close() == (1000, "")
    request.join(30)
    assert answers[0].json()["events"][0] == ["http waits"]


@pytest.mark.parametrize("pieces", [1, 3])
def test_message_that_is_too_long_closes(private, pieces):
    server = private(sockets("websocket-max-message=1000"))
    with websocket(server.port) as ws:
        ws.send_bytes(b"x" * 1000)
        assert ws.receive() == b"x" * 1000
        size = 1001 // pieces + 1
        ws.send(
            *(frame(2 if not n else 0, b"x" * size, fin=n == pieces - 1) for n in range(pieces))
        )
        assert ws.await_close()[0] == 1009
    told = ["disconnect", 1009, "message too big"]
    wait_until(lambda: told in events(server), "the application to be told")


def test_limit_of_messages_is_none_of_pings_and_closes(private):
    server = private(sockets("websocket-max-message=20"))
    with websocket(server.port) as ws:
        ws.send(frame(9, b"x" * 125))
        assert ws.receive_frame() == (10, b"x" * 125)
        ws.send_bytes(b"x" * 20)
        assert ws.receive() == b"x" * 20
        assert ws.close(1000, "a reason of more than twenty") == (
            1000,
            "a reason of more than twenty",
        )


@pytest.mark.parametrize("length", [1 << 63, (1 << 63) - 1, 1 << 46, (1 << 30) + 1])
def test_frame_that_announces_more_than_there_is_ends_its_own_websocket_alone(serve, length):
    server = serve(sockets("websocket-max-message=0"))
    with websocket(server.port) as other, websocket(server.port) as ws:
        ws.send(b"\x82\xff" + length.to_bytes(8, "big") + b"\0\0\0\0")
        assert ws.await_close()[0] == 1009
        other.send_text("still here")
        assert other.receive() == "still here"


def test_client_that_answers_no_pings_is_closed(private):
    server = private(sockets("websocket-ping-interval=1"))
    with websocket(server.port) as ws:
        ws.sock.settimeout(60)
        while ws.pings < 3:
            opcode, data = ws.receive_frame()
            assert opcode == 9, (opcode, data)
            ws.pings += 1
            ws.send(frame(10, data))
        # From now on it does not answer.
        with pytest.raises(Closed) as closed:
            ws.receive(answers_pings=False)
        assert closed.value.code == 1011


@pytest.mark.all_mpms
def test_slow_reader_holds_its_own_application_back(private):
    server = private(sockets("websocket-ping-interval=0"))
    count = 300
    with websocket(server.port, f"/flood?{count}", buffer=65536) as ws:
        seen = []

        def is_held():
            seen.append(len(events(server)))
            return len(seen) > 10 and seen[-1] == seen[-8]

        wait_until(is_held, "the application to wait", timeout=60)
        assert seen[-1] < count
        for number in range(count):
            assert ws.receive() == bytes([number % 256]) * 65536
        assert ws.close() == (1000, "")


def test_application_that_does_not_receive_holds_its_client_back(private):
    server = private(sockets("websocket-ping-interval=0"))
    with websocket(server.port, "/deaf") as ws:
        ws.sock.settimeout(0.5)
        sent, message = 0, frame(2, b"x" * 65536)
        with pytest.raises(TimeoutError):
            while sent < 2000:
                ws.sock.sendall(message)
                sent += 1
        assert sent < 2000
        assert server.get("/").status == 200
        (server.root / "app.py.listen").touch()
        # The piece of a frame that has been sent is all that is left.
        ws.sock.close()
    wait_until(
        lambda: any(it[0] == "heard" and it[1] >= sent for it in events(server)),
        "all whole messages to be heard",
    )


def test_client_that_vanishes_ends_an_application_that_only_sends(private):
    server = private(sockets())
    with websocket(server.port, "/talk") as ws:
        assert ws.receive() == "tick"
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: ["gone", "ClientDisconnected"] in events(server), "the application to stop")


@pytest.mark.all_mpms
@pytest.mark.parametrize("how", ["touched script", "SIGUSR1 to the worker", "maximum-requests"])
def test_replaced_worker_closes_its_sockets_with_1012(private, how):
    options = "graceful-timeout=2 eviction-timeout=2 websocket-ping-interval=0"
    if how == "maximum-requests":
        options += " maximum-requests=3"
    server = private(sockets(options))
    with websocket(server.port, "/pid") as ws:
        old = int(ws.receive())
        if how == "touched script":
            os.utime(server.root / "app.py", (1, 1))
        elif how == "maximum-requests":
            server.get("/")
        else:
            os.kill(old, signal.SIGUSR1)

        def is_new():
            assert server.get("/").status == 200
            # Both accept WebSockets until the old one has been told to leave.
            with contextlib.suppress(Closed), websocket(server.port, "/pid") as other:
                return int(other.receive()) != old
            return False

        wait_until(is_new, "a new worker", timeout=30)
        began = time.monotonic()
        ws.sock.settimeout(60)
        assert ws.await_close()[0] == 1012
        assert time.monotonic() - began < 30
        ws.send(closing(1012))
        assert ws.at_end()
        wait_until(lambda: not daemons.is_alive(old), "the old worker to end", timeout=30)


@pytest.mark.all_mpms
def test_sockets_go_on_through_a_graceful_restart_of_apache(private):
    server = private(sockets("graceful-timeout=60"))
    with websocket(server.port, "/echo") as ws:
        before = daemons.httpd_children(server)
        server.send_signal(signal.SIGUSR1)
        wait_until(
            lambda: not set(before) & set(daemons.httpd_children(server)),
            "new children",
            timeout=30,
        )
        assert server.get("/").status == 200
        ws.send_text("still here")
        assert ws.receive() == "still here"


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_carried_sockets_end_with_their_child_of_apache(private, encrypted, mpm):
    """Over TLS: a graceful restart gives them graceful-timeout, then they are closed with 1012."""
    server = private(encrypted("graceful-timeout=2 websocket-ping-interval=0"))
    server.log.allow(TLS)
    with websocket(server.port2, tls=True) as ws:
        ws.sock.settimeout(60)
        before = daemons.httpd_children(server)
        server.send_signal(signal.SIGUSR1)
        ws.send_text("still here")
        assert ws.receive() == "still here"
        assert ws.await_close()[0] == 1012
        wait_until(
            lambda: not set(before) & set(daemons.httpd_children(server)),
            "old children to end",
            timeout=30,
        )


def test_server_that_stops_does_not_wait_for_sockets(private):
    server = private(sockets("graceful-timeout=1 shutdown-timeout=5"))
    with websocket(server.port) as ws:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 60
        assert ws.await_close()[0] in (1006, 1012)


@pytest.mark.all_mpms
def test_access_control_of_apache_holds_for_handshakes(private):
    more = """
    <Location /echo>
        Require expr %{HTTP:X-Who} == 'me'
    </Location>
    """
    server = private(sockets(more=more))
    server.log.allow("AH01630")
    with pytest.raises(Refused) as refused, websocket(server.port):
        pass
    assert refused.value.status == 403
    with websocket(server.port, "/echo", "X-Who: me") as ws:
        ws.send_text("x")
        assert ws.receive() == "x"


def test_page_that_tells_of_a_refusal_is_no_websocket(private):
    """An ErrorDocument that leads to an application gets the headers of the handshake."""
    more = """
    <Location /echo>
        Require all denied
    </Location>
    ErrorDocument 403 /accepts
    """
    server = private(sockets(more=more))
    server.log.allow("AH01630")
    with pytest.raises(Refused) as refused, websocket(server.port):
        pass
    assert '"type": "http"' in refused.value.text


def test_trusted_proxy_says_where_the_handshake_comes_from(private):
    more = """
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto
    """
    server = private(sockets(more=more))
    fields = ["X-Forwarded-For: 10.1.2.3", "X-Forwarded-Proto: https"]
    with websocket(server.port, "/scope", *fields) as ws:
        scope = json.loads(ws.receive())
    assert (scope["client"][0], scope["scheme"]) == ("10.1.2.3", "wss")


def test_idle_socket_is_activity(private):
    server = private(sockets("inactivity-timeout=1 websocket-ping-interval=0"))
    with websocket(server.port, "/pid") as ws:
        pid = int(ws.receive())
        daemons.pause(4)
        # One that is replaced would stay for its WebSocket, beside another one.
        assert daemons.workers(server) == [pid]
        ws.close()
    wait_until(lambda: not daemons.is_alive(pid), "the idle worker to end", timeout=60)


def test_open_websockets_are_spread_over_the_processes(private):
    server = private(sockets("processes=2"))
    with contextlib.ExitStack() as stack:
        pids = []

        def opened():
            pids.append(stack.enter_context(websocket(server.port, "/pid")).receive())
            return pids[-1]

        # The second process is ready later.
        wait_until(lambda: opened() != pids[0], "the second process", timeout=60)
        first, second = pids[0], pids[-1]
        missing = pids.count(first) - 1
        assert [opened() for _ in range(missing)] == [second] * missing
        assert {opened(), opened()} == {first, second}
        # Requests go where fewer are open.
        fewer = {first, second} - {opened()}
        assert {str(server.get("/").json()["pid"]) for _ in range(5)} == fewer
