"""What becomes of a request whose application fails, and what it leaves behind."""

import os
import signal
import socket
import threading

import pytest
from harness import daemons
from harness.asgi import APP, WEBSOCKET_APP
from harness.client import head, read_until, reset
from harness.httpd import wait_until
from harness.websocket import websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

FAILING = (
    APP
    + """
import contextlib, time

FOLDER = os.path.dirname(__file__)


async def log_much():
    open(FOLDER + "/begun", "w").close()
    while not os.path.exists(FOLDER + "/go"):
        await asyncio.sleep(0.01)
    for number in range(2000):
        print("line", number, file=sys.stderr)
    # The request is over by then.
    asyncio.get_running_loop().call_later(0.1, lambda: open(FOLDER + "/done", "w").close())


async def do_log_and_raise(scope, receive, send):
    await log_much()
    raise ValueError("on purpose, behind many lines")


async def do_log_and_return(scope, receive, send):
    await log_much()


async def do_cancel(scope, receive, send):
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def do_cancel_late(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"some", "more_body": True})
    raise asyncio.CancelledError


async def do_cancelled_receives(scope, receive, send):
    import gc

    def futures():
        gc.collect()
        return sum(isinstance(it, asyncio.Future) for it in gc.get_objects())

    await receive()
    before = futures()
    for _ in range(200):
        receiving = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait({receiving})
    await reply(send, futures() - before)


async def note_received(receive):
    EVENTS.append((await receive())["type"])


async def do_sends_only(scope, receive, send):
    EVENTS.clear()
    await receive()
    listening = asyncio.ensure_future(note_received(receive))
    await start(send)
    with contextlib.suppress(OSError):
        while True:
            # Nothing here lets the event loop look at the connection.
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
            time.sleep(0.01)
    await listening
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise


async def do_returns_before_its_task(scope, receive, send):
    EVENTS.clear()
    await receive()
    globals()["left"] = asyncio.ensure_future(note_received(receive))
    await asyncio.sleep(0)
"""
)
# What sends on a WebSocket does not let the event loop look at the connection either.
SENDING = (
    WEBSOCKET_APP
    + """
import contextlib, time


async def note_received(receive):
    EVENTS.append((await receive())["type"])


async def do_sends_only(scope, receive, send):
    await accept(receive, send)
    listening = asyncio.ensure_future(note_received(receive))
    await asyncio.sleep(0)
    with contextlib.suppress(OSError):
        while True:
            await text(send, "some")
            time.sleep(0.01)
    await listening
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise
"""
)


@pytest.fixture
def failing(start):
    return start(app=FAILING, prepare=lambda server: server.root.chmod(0o777))


@pytest.mark.parametrize("path", ["/log_and_raise", "/log_and_return"])
def test_error_response_is_sent_behind_log_lines_for_which_there_was_no_room(failing, path):
    server = failing
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get(path)))
    thread.start()
    wait_until((server.root / "begun").exists, "the application", timeout=30)
    children = daemons.httpd_children(server)
    try:
        for pid in children:
            daemons.freeze(pid)
        server.write("go", "")
        wait_until((server.root / "done").exists, "the end of the request", timeout=30)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGCONT)
    thread.join()
    assert [answer.status for answer in answers] == [500]
    if path == "/log_and_raise":
        server.log.expect("WSGI0174: .*ValueError exception raised")
        server.log.expect_traceback("Traceback", "ValueError: on purpose, behind many lines")
    else:
        server.log.expect("WSGI0226: the ASGI application returned without sending a response")
    lines = server.log.find(r"\bline \d+$")
    assert len(lines) == 2000
    server.log.allow(r"\bline \d+$")
    # The place of the request is free, and the connection serves the next one.
    assert server.get("/scope").status == 200


def test_cancelled_error_of_the_application_s_own_making_has_its_traceback_in_the_log(failing):
    assert failing.get("/cancel").status == 500
    failing.log.expect("WSGI0174: .*CancelledError exception raised")
    failing.log.expect_traceback("Traceback", "asyncio.exceptions.CancelledError")
    answer = failing.get("/cancel_late")
    assert (answer.status, answer.body, answer.truncated) == (200, b"some", True)
    failing.log.expect("WSGI0174: .*CancelledError exception raised", count=2)
    failing.log.allow_traceback("asyncio.exceptions.CancelledError")
    failing.log.allow("WSGI0108|truncated|response")


def test_receive_that_is_cancelled_leaves_nothing_behind(failing):
    assert int(failing.get("/cancelled_receives").text) < 20


def test_client_that_only_send_finds_gone_is_a_disconnect_for_tasks_that_receive(start):
    server = start("graceful-timeout=1", app=FAILING)
    with server.socket() as sock:
        sock.sendall(head("/sends_only"))
        read_until(sock, b"some")
        reset(sock)
    expected = ["http.disconnect", "cancelled"]
    wait_until(lambda: server.get("/events").json() == expected, "the disconnect", timeout=20)


def test_websocket_that_only_send_finds_gone_is_a_disconnect_for_tasks_that_receive(start):
    server = start("graceful-timeout=1", app=SENDING)
    with websocket(server.port, "/sends_only") as ws:
        assert ws.receive() == "some"
        ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    expected = ["websocket.disconnect", "cancelled"]
    wait_until(lambda: server.get("/").json()["events"] == expected, "the disconnect", timeout=20)


def test_task_that_receives_beyond_the_end_of_its_application_is_told_of_the_end(start):
    server = start(app=FAILING)
    assert server.get("/returns_before_its_task").status == 500
    server.log.expect("WSGI0226: the ASGI application returned without sending a response")
    expected = ["http.disconnect"]
    wait_until(lambda: server.get("/events").json() == expected, "the disconnect", timeout=20)
