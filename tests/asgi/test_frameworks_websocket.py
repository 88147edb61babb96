"""Applications of real frameworks, each written to one contract: WebSockets.

The same ones are run by ours, by uvicorn and by gunicorn.
"""

import contextlib
import json
import socket

import pytest
from harness.asgi_contract import WITH_WEBSOCKETS
from harness.httpd import wait_until
from harness.websocket import CLOSE, PING, PONG, Refused, closing, frame, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
    pytest.mark.parametrize("framework", WITH_WEBSOCKETS, indirect=True, scope="module"),
]


@contextlib.contextmanager
def opened(contract, path, *fields, **how):
    with websocket(contract.port, f"{contract.mount}/ws/{path}", *fields, **how) as ws:
        yield ws


def closed(contract):
    """The codes that the application has seen WebSockets end with."""
    return contract.get(f"{contract.mount}/closed").json()


def await_closed(contract, framework, count, code):
    """Quart tells an application of the end, not of its code."""
    wait_until(lambda: len(closed(contract)) > count, "the application to be told of the end")
    assert closed(contract)[count:] == [None if framework == "quart" else code]


def test_text_and_bytes_come_back(contract):
    with opened(contract, "echo") as ws:
        for text in ("", "ü€😀", "x" * 100_000):
            # Quart takes an empty one for none.
            if text or "quart" not in contract.mount:
                ws.send_text(text or "y")
                assert ws.receive() == (text or "y")
        for size in (1, 70_000, 1_000_000):
            ws.send_bytes(b"\xff" * size)
            assert ws.receive() == b"\xff" * size
        assert ws.close() == (1000, "")


def test_many_messages_in_one_segment_keep_their_order(contract):
    texts = [f"message {number}" for number in range(300)]
    with opened(contract, "echo") as ws:
        ws.send(*(frame(1, text.encode()) for text in texts))
        assert [ws.receive() for _ in texts] == texts


def test_ping_is_answered_by_the_server(contract):
    with opened(contract, "echo") as ws:
        ws.send(frame(PING, b"are you there?"))
        assert ws.receive_frame() == (PONG, b"are you there?")


def test_fragments_are_one_message(contract):
    with opened(contract, "echo") as ws:
        ws.send(frame(1, b"one ", fin=False), frame(0, b"message"))
        assert ws.receive() == "one message"


def test_message_goes_to_every_client_in_the_room(contract):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(contract, "room")) for _ in range(5)]
        for number, client in enumerate(clients):
            # One that has its own message is in the room.
            client.send_text(f"here {number}")
            while client.receive() != f"here {number}":
                pass
        clients[3].send_text("to all")
        for client in clients:
            while client.receive() != "to all":
                pass
        assert clients.pop().close() == (1000, "")
        clients[0].send_text("to the others")
        for client in clients:
            assert client.receive() == "to the others"


def test_view_knows_and_answers_the_handshake(contract):
    fields = ["Sec-WebSocket-Protocol: chat, superchat", "Cookie: a=0", "X-Some: thing"]
    with opened(contract, "facts?x=1&y=%C3%BC", *fields) as ws:
        assert json.loads(ws.receive()) == {
            "path": f"{contract.mount}/ws/facts",
            "root_path": contract.mount,
            "query": {"x": "1", "y": "ü"},
            "started": "yes",
            "cookie": "0",
            "header": "thing",
            "subprotocols": ["chat", "superchat"],
        }
        named = {name.lower(): value for name, value in ws.fields}
        assert named["sec-websocket-protocol"] == "chat"
        assert (named["x-own"], named["set-cookie"]) == ("yes", "a=1")
        assert ws.await_close() == (1000, "")


def test_code_and_reason_of_the_application_reach_the_client(contract):
    with opened(contract, "close") as ws:
        assert ws.await_close() == (3001, "of the application")
        ws.send(closing(3001))
        assert ws.at_end()


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_code_of_the_client_reaches_the_application_and_is_echoed(contract, framework, code):
    before = len(closed(contract))
    with opened(contract, "echo") as ws:
        ws.send_text("x")
        assert ws.receive() == "x"
        assert ws.close(code, "of the client")[0] == code
    await_closed(contract, framework, before, code)


def test_close_without_a_code_is_1005(contract, framework):
    before = len(closed(contract))
    with opened(contract, "echo") as ws:
        ws.send(frame(CLOSE))
        assert ws.await_close() == (1005, "")
    await_closed(contract, framework, before, 1005)


@pytest.mark.parametrize("reset", [False, True])
def test_client_that_vanishes_is_1006(contract, framework, reset):
    before = len(closed(contract))
    with opened(contract, "echo") as ws:
        ws.send_text("x")
        assert ws.receive() == "x"
        if reset:
            ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await_closed(contract, framework, before, 1006)


def test_refused_handshake_is_a_403(contract):
    with pytest.raises(Refused) as refused, opened(contract, "refused"):
        pass
    assert refused.value.status == 403
    assert contract.get(f"{contract.mount}/hello/again").text == "hello again"


def test_denied_handshake_is_the_response_of_the_application(contract):
    with pytest.raises(Refused) as refused, opened(contract, "denied"):
        pass
    assert refused.value.status == 401
    assert "x-why: private" in refused.value.text.lower()


def test_exception_closes_with_a_code_of_an_error(contract, framework):
    with opened(contract, "fails") as ws:
        code, _ = ws.await_close()
    # Those of Litestar are statuses of HTTP; Quart closes as if nothing were wrong.
    assert code == {"litestar": 4500, "quart": 1000}.get(framework, 1011)
    contract.log.wait_for("ValueError: on purpose")
    contract.log.allow_traceback("ValueError: on purpose")
    contract.log.allow(
        "WSGI0174|Exception|Uncaught exception|Internal Server Error|Error on request"
    )


def test_message_that_is_not_utf_8_closes_with_1007(contract):
    with opened(contract, "echo") as ws:
        ws.send(frame(1, b"\xff"))
        assert ws.await_close()[0] == 1007


def test_frame_without_a_mask_closes_with_1002(contract):
    with opened(contract, "echo") as ws:
        ws.send(frame(1, b"x", mask=None))
        assert ws.await_close()[0] == 1002
