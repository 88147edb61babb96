"""WebSockets through Apache (RFC 6455; ASGI 3): what goes through, and what is refused."""

import contextlib
import json
import os
import signal

import pytest
from harness.asgi import WEBSOCKET_APP, conf
from harness.client import head, read_until
from harness.httpd import wait_until
from harness.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Closed,
    Refused,
    closing,
    frame,
    handshake,
    open_on,
    websocket,
)

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def sockets(options="", more="", **others):
    return conf(options, more, app=WEBSOCKET_APP, **others)


@pytest.fixture
def server(serve):
    """A server that tests share."""
    return serve(sockets())


def events(server):
    return server.get("/events").json()["events"]


def await_event(server, *wanted):
    wait_until(
        lambda: any(
            wanted == tuple(it[: len(wanted)]) for it in events(server) if isinstance(it, list)
        ),
        f"the application to note {wanted}",
    )


@pytest.mark.all_mpms
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1_000_000])
def test_messages_of_both_kinds_come_back(server, size):
    with websocket(server.port) as ws:
        ws.send_bytes(b"\xff" * size)
        assert ws.receive() == b"\xff" * size
        text = "ü" * (size // 2)
        ws.send_text(text)
        assert ws.receive() == text
        assert ws.close(1000, "done") == (1000, "done")


@pytest.mark.all_mpms
def test_application_is_told_of_the_end(server):
    with websocket(server.port) as ws:
        assert ws.close(3001, "of the client") == (3001, "of the client")
    await_event(server, "disconnect", 3001, "of the client")
    with websocket(server.port) as ws:
        ws.send(frame(CLOSE))
        assert ws.await_close() == (1005, "")
    await_event(server, "disconnect", 1005, "")


@pytest.mark.all_mpms
def test_client_that_vanishes_is_a_disconnect_without_a_code(private):
    server = private(sockets())
    with websocket(server.port):
        pass
    await_event(server, "disconnect", 1006, "")


def test_scope_tells_of_the_handshake(server):
    fields = [
        "Sec-WebSocket-Protocol: chat, superchat",
        "Origin: http://example.com",
        "Cookie: a=1",
    ]
    with websocket(server.port, "/mounted/scope/%C3%BC?q=1", *fields) as ws:
        scope = json.loads(ws.receive())
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["scheme"], scope["http_version"]) == ("ws", "1.1")
    assert (scope["path"], scope["root_path"]) == ("/mounted/scope/ü", "/mounted")
    assert (scope["raw_path"], scope["query_string"]) == ("/mounted/scope/%C3%BC", "q=1")
    assert scope["subprotocols"] == ["chat", "superchat"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"] == ["127.0.0.1", server.port]
    assert "method" not in scope
    headers = dict(scope["headers"])
    assert (headers["origin"], headers["cookie"]) == ("http://example.com", "a=1")


@pytest.mark.all_mpms
def test_application_chooses_a_subprotocol_and_sends_headers(server):
    with websocket(server.port, "/accepts", "Sec-WebSocket-Protocol: chat, superchat") as ws:
        assert ("Sec-WebSocket-Protocol", "chat") in ws.fields
        assert [value for name, value in ws.fields if name == "Set-Cookie"] == ["a=1", "b=2"]
        assert ("X-Own", "yes") in ws.fields
    with websocket(server.port, "/accepts") as ws:
        assert "Sec-WebSocket-Protocol" not in dict(ws.fields)


@pytest.mark.all_mpms
def test_frame_in_the_segment_of_the_handshake_is_not_lost(server):
    early = frame(TEXT, b"early") + frame(BINARY, b"x" * 20_000)
    with websocket(server.port, early=early) as ws:
        assert ws.receive() == "early"
        assert ws.receive() == b"x" * 20_000
        assert ws.close() == (1000, "")


@pytest.mark.all_mpms
def test_fragments_are_one_message_and_pings_may_come_in_between(server):
    with websocket(server.port) as ws:
        ws.send(frame(TEXT, "ü".encode()[:1], fin=False), frame(PING, b"now"))
        assert ws.receive_frame() == (PONG, b"now")
        ws.send(frame(0, "ü".encode()[1:], fin=False), frame(0, b"!", fin=True))
        assert ws.receive() == "ü!"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([frame(TEXT, b"\xff")], 1007),
        # Found in the second fragment, before the last one has come.
        ([frame(TEXT, b"a", fin=False), frame(0, b"\xff", fin=False)], 1007),
        ([frame(TEXT, b"\xc3", fin=True)], 1007),
        ([frame(TEXT, b"x", mask=None)], 1002),
        ([frame(TEXT, b"x", reserved=4)], 1002),
        ([frame(3)], 1002),
        ([frame(PING, b"x" * 126)], 1002),
        ([frame(PING, fin=False)], 1002),
        ([frame(0, b"x")], 1002),
        ([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002),
        ([frame(CLOSE, b"x")], 1002),
        ([closing(1005)], 1002),
        ([frame(CLOSE, b"\x03\xe8\xff")], 1007),
    ],
)
def test_broken_rule_closes_with_a_code_and_nothing_else(server, sent, code):
    with websocket(server.port) as ws:
        ws.send(*sent)
        assert ws.await_close()[0] == code
        assert ws.at_end()
    assert server.get("/").status == 200


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x" * 123), (4999, "ü" * 80)]
)
def test_application_closes_with_its_code_and_reason(private, code, reason):
    server = private(sockets())
    with websocket(server.port, f"/close?{code},{reason if reason.isascii() else ''}") as ws:
        assert ws.await_close()[0] == code
        ws.send(closing(code))
        assert ws.at_end()
    await_event(server, "closed", code)
    await_event(server, "late")


def test_application_that_refuses_is_a_403(server):
    with pytest.raises(Refused) as refused, websocket(server.port, "/refuse"):
        pass
    assert refused.value.status == 403
    await_event(server, "refused", 1006)


@pytest.mark.all_mpms
def test_application_responds_in_its_own_words(server):
    reply = server.raw(
        handshake("/respond", KEY, "X-Close: 1").replace(b"keep-alive, ", b"close, ")
    )
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nx-why: private\r\n" in reply
    assert b"who are you?" in reply.replace(b"\r\n", b"").replace(b"4who ", b"who ").replace(
        b"8are", b"are"
    )


def test_response_to_a_handshake_has_no_files(server):
    reply = server.raw(handshake("/files", KEY).replace(b"keep-alive, ", b"close, "))
    assert reply.startswith(b"HTTP/1.1 401 ")
    for name in ["pathsend", "zerocopysend"]:
        for kind in [f"http.response.{name}", f"websocket.http.response.{name}"]:
            assert f"but got '{kind}';".encode() in reply
    assert reply.count(b"expected ASGI message") == 4


@pytest.mark.parametrize(("method", "version", "key", "status", "field"), [
    ("POST", 13, KEY, 400, ""),
    ("GET", 12, KEY, 426, "Sec-WebSocket-Version: 13"),
    ("GET", None, KEY, 426, "Sec-WebSocket-Version: 13"),
    ("GET", 13, None, 400, ""),
    ("GET", 13, "c2hvcnQ=", 400, ""),
])  # fmt: skip
def test_malformed_handshake_is_refused_before_the_application(
    server, method, version, key, status, field
):
    raw = handshake("/echo", key, "Content-Length: 0", method=method, version=version)
    reply = server.raw(raw.replace(b"keep-alive, ", b"close, "))
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply
    assert field.encode() in reply


def test_upgrade_that_is_not_for_the_next_hop_is_an_ordinary_request(server):
    raw = head("/x", "Upgrade: websocket", "Connection: close", f"Sec-WebSocket-Key: {KEY}")
    assert b'"type": "http"' in server.raw(raw)
    raw = handshake("/x", KEY).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert b'"type": "http"' in server.raw(raw)


@pytest.mark.parametrize(("path", "code"), [("/raise?late", 1011), ("/return?late", 1000)])
def test_application_that_ends_closes_an_open_websocket(private, path, code):
    server = private(sockets())
    if "raise" in path:
        server.log.allow_traceback("KeyError: 'of the test'")
    with websocket(server.port, path) as ws:
        assert ws.await_close()[0] == code


@pytest.mark.parametrize("path", ["/raise", "/return"])
def test_application_that_ends_before_accepting_is_a_500(private, path):
    server = private(sockets())
    server.log.allow_traceback("KeyError: 'of the test'")
    server.log.allow("^WSGI0226: the ASGI application returned without sending a response")
    with pytest.raises(Refused) as refused, websocket(server.port, path):
        pass
    assert refused.value.status == 500


def test_wrong_messages_raise(server):
    with websocket(server.port, "/wrong") as ws:
        said = json.loads(ws.receive())
    assert said == [
        "ValueError", "ValueError", "TypeError", "TypeError", "ValueError",
        "RuntimeError", "RuntimeError", "ValueError", "ValueError", "TypeError",
    ]  # fmt: skip


def test_client_that_leaves_before_the_answer_is_a_disconnect(private):
    server = private(sockets())
    with server.socket() as sock:
        sock.sendall(handshake("/wait", KEY))
        await_event(server, "waits")
    await_event(server, "left", "websocket.disconnect", 1006)


def test_open_socket_and_its_end_are_logged_as_one_request(private):
    more = 'LogFormat "%m %U %>s %X" short\nCustomLog ${ROOT}/short.log short'
    server = private(sockets(more=more))
    with websocket(server.port) as ws:
        # The line is there while the WebSocket is open.
        wait_until(lambda: "GET /echo 101 -" in (server.root / "short.log").read_text(), "the line")
        ws.close()


@pytest.mark.all_mpms
def test_open_sockets_hold_no_thread_of_apache(private):
    """More than there are threads, and requests are answered beside them."""
    server = private(sockets())
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(websocket(server.port)) for _ in range(40)]
        for _ in range(5):
            assert server.get("/").status == 200
        for number, ws in enumerate(opened):
            ws.send_text(str(number))
        assert [ws.receive() for ws in opened] == [str(number) for number in range(40)]


def test_kept_connection_serves_a_request_before_the_handshake(server):
    with server.socket() as sock:
        sock.sendall(head("/"))
        read_until(sock, b'"type": "http"}')
        ws = open_on(sock, "/echo")
        ws.send_text("x")
        assert ws.receive() == "x"


def test_worker_that_is_killed_ends_its_sockets(private):
    server = private(sockets())
    with websocket(server.port, "/pid") as ws:
        os.kill(int(ws.receive()), signal.SIGKILL)
        with pytest.raises(Closed) as closed:
            ws.receive()
        assert closed.value.code == 1006
    server.log.expect(r"worker \d+ was killed by signal 9")
    assert server.get("/").status == 200
