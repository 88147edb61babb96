"""WebSockets that begin or end while the application waits for something else."""

import socket
import time

import pytest
from harness.asgi import WEBSOCKET_APP, conf
from harness.httpd import wait_until
from harness.websocket import PING, TEXT, closing, frame, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = (
    WEBSOCKET_APP
    + """
async def until_told(name):
    while not os.path.exists(f"{__file__}.{name}"):
        await asyncio.sleep(0.02)


async def until_cancelled():
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise


async def flood(send):
    try:
        await send({"type": "websocket.send", "bytes": b"x" * 32_000_000})
    except OSError as why:
        EVENTS.append(type(why).__name__)


async def do_reads_up(scope, receive, send):
    await accept(receive, send)
    sending = asyncio.ensure_future(flood(send)) if scope["query_string"] else None
    await until_told("go")
    for _ in range(2):
        EVENTS.append((await receive())["text"])
    if sending is not None:
        await sending
    await until_cancelled()


async def do_waits_for_something_else(scope, receive, send):
    await accept(receive, send)
    await until_cancelled()


async def do_sends_beside_accept(scope, receive, send):
    await receive()
    accepting = asyncio.ensure_future(send({"type": "websocket.accept"}))
    # It has begun, and waits for the 101 of Apache.
    await asyncio.sleep(0)
    await asyncio.gather(text(send, "one"), text(send, "two"))
    await accepting
    await until_disconnect(receive)


async def do_closes_when_told(scope, receive, send):
    await accept(receive, send)
    await until_told("go")
    await send({"type": "websocket.close", "code": 4000})
"""
)
# As many messages as wait for the application, and one more.
MESSAGES = [frame(TEXT, b"%d" % number) for number in range(17)]


@pytest.fixture
def start(private):
    def start(options=""):
        return private(conf(f"graceful-timeout=1 {options}", app=APP))

    return start


def await_events(server, *expected):
    def are_there():
        return server.get("/").json()["events"] == list(expected)

    wait_until(are_there, f"{expected}", timeout=20)


@pytest.mark.parametrize("sends", ["", "?too"])
def test_end_that_is_read_to_make_room_is_noticed(start, sends):
    """The client sends no more, behind messages that the application begins to receive."""
    server = start("websocket-ping-interval=0")
    with websocket(server.port, f"/reads_up{sends}") as ws:
        ws.send(*MESSAGES)
        ws.sock.shutdown(socket.SHUT_WR)
        server.write("app.py.go", "")
        told = ["ClientDisconnected"] if sends else []
        await_events(server, "0", "1", *told, "cancelled")


def test_application_that_waits_for_something_else_is_cancelled_once_pings_are_not_answered(start):
    server = start("websocket-ping-interval=1")
    with websocket(server.port, "/waits_for_something_else") as ws:
        ws.sock.settimeout(60)
        assert ws.receive_frame()[0] == PING
        await_events(server, "cancelled")


def test_messages_of_tasks_beside_the_one_that_accepts_wait_for_the_101(start):
    with websocket(start().port, "/sends_beside_accept") as ws:
        assert [ws.receive(), ws.receive()] == ["one", "two"]
        assert ws.close() == (1000, "")


def test_close_that_was_read_behind_messages_answers_that_of_the_application(start):
    server = start("websocket-ping-interval=0")
    with websocket(server.port, "/closes_when_told") as ws:
        ws.sock.settimeout(60)
        ws.send(*MESSAGES, closing(1000))
        server.write("app.py.go", "")
        assert ws.await_close() == (4000, "")
        began = time.monotonic()
        assert ws.at_end()
        # A client that has not answered has ten seconds.
        assert time.monotonic() - began < 8
