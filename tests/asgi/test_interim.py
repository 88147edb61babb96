"""What a client gets before the response: 100 Continue once the body is wanted, and early hints."""

import json
import shutil
import subprocess

import pytest
from harness.asgi import conf
from harness.client import TIMEOUT, head, read_all, read_until
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def expecting(path, length=5, *fields, version="1.1"):
    """The head of a request whose client waits."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    fields = (size, "Expect: 100-continue", *fields)
    return head(path, *fields, method="POST", version=version)


def closing(path, length=5):
    return expecting(path, length, "Connection: close")


@pytest.mark.all_mpms
def test_continue_comes_when_the_application_first_receives(serve):
    server = serve(conf(children=3))
    with server.socket() as sock:
        sock.sendall(closing("/when_asked"))
        wait_until(
            lambda: server.get("/events").json().count("waits") == 1, "the application to begin"
        )
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.setblocking(True)
        assert server.get("/open").text == "opened"
        assert read_until(sock, b"\r\n\r\n") == CONTINUE
        sock.sendall(b"hello")
        assert read_all(sock).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 300_000, 2_000_000])
def test_body_that_is_asked_for_is_complete(server, size):
    body = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    with server.socket() as sock:
        sock.sendall(closing("/echo", size))
        assert read_until(sock, b"\r\n\r\n") == CONTINUE
        sock.sendall(body)
        assert read_all(sock).partition(b"\r\n\r\n")[2] == body


def test_body_of_unknown_length_is_asked_for(server):
    with server.socket() as sock:
        sock.sendall(closing("/echo", None))
        assert read_until(sock, b"\r\n\r\n") == CONTINUE
        sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
        assert read_all(sock).endswith(b"\r\n\r\nhello")


@pytest.mark.all_mpms
@pytest.mark.parametrize("length", [5, 100_000, 5_000_000, None])
def test_application_that_does_not_receive_sends_no_continue_and_reads_no_body(server, length):
    with server.socket() as sock:
        sock.sendall(expecting("/ignore_body", length))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"not read")
    # Whether the body follows is not known, so that no other request can.
    assert b"\r\nConnection: close\r\n" in answer


def test_exception_before_the_body_is_asked_for_is_a_500_at_once(server):
    with server.socket() as sock:
        sock.sendall(expecting("/raise", 100_000))
        assert read_all(sock).startswith(b"HTTP/1.1 500 ")
    server.log.expect("WSGI0174: .*ValueError exception raised")
    server.log.expect_traceback("Traceback", "ValueError: on purpose, before the head")


def test_continue_never_lands_inside_a_response(server):
    with server.socket() as sock:
        sock.sendall(closing("/answer_first"))
        early = read_until(sock, b"early|")
        sock.sendall(b"hello")
        answer = early + read_all(sock)
    assert b"100 Continue" not in answer
    assert b"hello" in answer


def test_client_that_does_not_wait_for_continue_is_served(server):
    with server.socket() as sock:
        sock.sendall(closing("/echo") + b"hello")
        answer = read_all(sock)
    assert answer.startswith(CONTINUE + b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


def test_connection_is_kept_after_a_body_that_was_asked_for(server):
    with server.socket() as sock:
        for text in (b"first", b"other"):
            sock.sendall(expecting("/echo"))
            assert read_until(sock, b"\r\n\r\n") == CONTINUE
            sock.sendall(text)
            read_until(sock, text)


def test_request_of_http_1_0_gets_no_interim_response(server):
    with server.socket() as sock:
        sock.sendall(expecting("/echo", version="1.0") + b"hello")
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK\r\n")
    reply = server.raw(head("/scope", version="1.0"))
    assert b"http.response.early_hint" not in reply
    assert server.raw(head("/hints", version="1.0")).startswith(b"HTTP/1.1 500 ")
    server.log.expect_traceback("Traceback", "RuntimeError: 'http.response.early_hint' was sent, ")
    server.log.allow("WSGI0174")


def test_client_that_leaves_before_the_body_is_asked_for_is_a_disconnect(server):
    with server.socket() as sock:
        sock.sendall(expecting("/when_asked"))
        wait_until(
            lambda: server.get("/events").json().count("waits") == 1, "the application to begin"
        )
    assert server.get("/open").text == "opened"
    server.log.allow_traceback("AssertionError: .*http.disconnect")
    server.log.allow("WSGI0174|WSGI0126")
    assert server.get("/process").status == 200


WSGI = """
def application(environ, start_response):
    body = environ["wsgi.input"].read() if environ["PATH_INFO"] == "/read" else b"not read"
    start_response("200 OK", [])
    return [body]
"""


def test_application_of_wsgi_that_was_found_by_auto_asks_by_its_first_read(private):
    lines = "WSGIRestrictEmbedded On\nWSGIDaemonProcess site\n"
    lines += "WSGIScriptAlias / ${ROOT}/app.py interface=auto process-group=site\n"
    server = private(Conf(lines, files=(("app.py", WSGI),)))
    with server.socket() as sock:
        sock.sendall(closing("/read"))
        assert read_until(sock, b"\r\n\r\n") == CONTINUE
        sock.sendall(b"hello")
        assert read_all(sock).endswith(b"\r\n\r\nhello")
    with server.socket() as sock:
        sock.sendall(expecting("/"))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"not read")


# --- early hints ----------------------------------------------------------------------------------

HINTS = (
    b"HTTP/1.1 103 Early Hints\r\n"
    b"Link: </%d.css>; rel=preload\r\nLink: </%d.js>; rel=preload\r\n\r\n"
)


@pytest.mark.all_mpms
@pytest.mark.parametrize("count", [1, 3])
def test_early_hints_come_before_the_response(server, count):
    answer = server.raw(head(f"/hints?{count}", "Connection: close"))
    hints = b"".join(HINTS % (number, number) for number in range(count))
    assert answer.startswith(hints + b"HTTP/1.1 200 OK\r\n")
    response = answer[len(hints) :]
    assert response.count(b"\r\nlink: </own>; rel=next\r\n") == 1
    assert b"preload" not in response
    assert response.endswith(b"hinted")


def test_early_hints_come_at_once(server):
    with server.socket() as sock:
        sock.sendall(head("/hints_then_wait", "Connection: close"))
        assert read_until(sock, b"\r\n\r\n") == HINTS % (0, 0)
        wait_until(
            lambda: server.get("/events").json().count("waits") == 1, "the application to wait"
        )
        assert server.get("/open").text == "opened"
        assert read_all(sock).endswith(b"opened")


def test_early_hints_beyond_sixteen_are_not_sent(server):
    answer = server.raw(head("/hints?50", "Connection: close"))
    assert answer.count(b"HTTP/1.1 103 ") == 16
    assert answer.endswith(b"hinted")


def test_early_hints_that_would_begin_another_header_raise_an_exception(server):
    answer = server.raw(head("/wrong_hints", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"evil" not in answer.partition(b"\r\n\r\n")[0]
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert [text.split(":")[0] for text in said] == [
        "ValueError",
        "ValueError",
        "ValueError",
        "TypeError",
        "sent",
        "sent",
        "ValueError",
        "RuntimeError",
    ]
    assert "carriage return/line feed" in said[0]
    assert said[-1].endswith("was sent after 'http.response.start'")


def test_scope_announces_early_hints_over_http_alone(server):
    assert "http.response.early_hint" in server.get("/scope").json()["extensions"]


def test_early_hints_and_continue_go_together(server):
    with server.socket() as sock:
        sock.sendall(closing("/hints_and_echo"))
        assert read_until(sock, CONTINUE) == HINTS % (0, 0) + CONTINUE
        sock.sendall(b"hello")
        assert read_all(sock).endswith(b"hello")


HOSTILE = '''
import os, socket, stat, struct

async def application(scope, receive, send):
    """Writes a record of its own to the connection to Apache: a link with another header in it."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    content = b"H</a>\\r\\nSet-Cookie: evil=1\\n"
    record = struct.pack("!BcHHBB", 1, b"I", 1, len(content), 0, 0) + content
    for number in range(3, 64):
        try:
            sock = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM:
            try:
                if sock.getsockname():
                    sock.send(record)
            except OSError:
                pass
        sock.detach()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})
'''


def test_link_of_a_hostile_process_begins_no_header(private):
    server = private(conf(app=HOSTILE))
    answer = server.raw(head("/", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 502 ") or b"evil" not in answer
    assert b"evil" not in answer
    server.log.expect("WSGI0148: .*carriage return/line feed character in header value")


def has_http_2(env):
    found = shutil.which("curl")
    lists = found and subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    return env.has_module("http2") and " HTTP2" in (lists or "")


def ask_by_http_2(server, path, *options):
    command = ["curl", "--http2-prior-knowledge", "-s", "-i", "-m", str(TIMEOUT), *options]
    url = f"http://127.0.0.1:{server.port}/{path}"
    return subprocess.run([*command, url], capture_output=True, check=True).stdout


@pytest.fixture
def http_2(serve, env):
    """http_2(more) is a server that speaks it."""
    if not has_http_2(env):
        pytest.skip("needs mod_http2, and a curl with HTTP/2")
    return lambda more="": serve(
        conf(more=f"Protocols h2c http/1.1\n{more}", modules=("http2",), timeout=20)
    )


@pytest.mark.parametrize("is_on", [True, False])
def test_early_hints_go_over_http_2_where_h2earlyhints_is_on(http_2, is_on):
    answer = ask_by_http_2(http_2(f"H2EarlyHints {'On' if is_on else 'Off'}"), "hints")
    # mod_http2 makes one line of those of a name.
    hints = b"HTTP/2 103 \r\nlink: </0.css>; rel=preload, </0.js>; rel=preload\r\n\r\n"
    assert answer.startswith((hints if is_on else b"") + b"HTTP/2 200 \r\n")
    assert answer.endswith(b"hinted")


def test_continue_goes_over_http_2(http_2):
    expecting = ("-H", "Expect: 100-continue", "--expect100-timeout", "20", "-d", "hello")
    answer = ask_by_http_2(http_2(), "echo", *expecting)
    assert answer.startswith(b"HTTP/2 100 \r\n\r\nHTTP/2 200 \r\n")
    assert answer.endswith(b"hello")
