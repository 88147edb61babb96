"""What goes wrong, or slowly, in one part of a request is not held against another part."""

import socket
import time

import pytest
from harness import daemons
from harness.client import head, read_all, split
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import os, time
def hold(note):
    open(note, "w").close()
    until = time.monotonic() + 30
    while time.monotonic() < until and not os.path.exists(note + ".go"):
        time.sleep(0.01)
def application(environ, start_response):
    took = time.time() - float(environ["mod_wsgi.queue_start"])
    path = environ["PATH_INFO"]
    if "HTTP_X_BEGUN" in environ:
        open(environ["HTTP_X_BEGUN"], "w").close()
    try:
        body = environ["wsgi.input"].read()
    except OSError:
        hold(environ["HTTP_X_NOTE"])
        raise
    if path == "/once" and not os.path.exists(environ["HTTP_X_NOTE"]):
        open(environ["HTTP_X_NOTE"], "w").close()
        time.sleep(2)
        os._exit(1)
    if path == "/sleep":
        time.sleep(2.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/gaps":
        def gaps():
            try:
                while True:
                    yield b"x" * 1000
                    time.sleep(0.05)
            except GeneratorExit:
                hold(environ["HTTP_X_NOTE"])
                raise
        return gaps()
    if path == "/stream":
        def pieces():
            for _ in range(25):
                yield b" "
                time.sleep(0.1)
            yield b"%d" % os.getpid()
        return pieces()
    return [b"%d" % os.getpid() if path != "/queued" else b"%.3f %d" % (took, len(body))]
"""


def conf(options, extra=""):
    text = f"""
    WSGIDaemonProcess site {options}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {extra}
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "the application writes here")))


def test_fatal_request_does_not_wait_for_the_next_worker(start):
    server = start("threads=1 queue-timeout=1")
    server.log.allow("exited with status 1")
    note = str(server.root / "out/once")
    assert server.get("/app/once", headers={"X-Note": note}).status == 200
    assert (server.root / "out/once").exists()


@pytest.mark.parametrize("size", [10, 60_000, 100_000])
def test_a_client_that_sends_its_body_slowly_does_not_wait_for_a_thread(start, size):
    """queue-timeout is for requests that no thread takes up; the queue begins behind the body."""
    server = start("processes=1 threads=2 queue-timeout=2")
    fields = ("Connection: close", f"Content-Length: {size}")
    with server.socket() as sock:
        sock.sendall(head("/app/queued", *fields, method="POST") + b"x" * (size // 2))
        daemons.pause(3)
        sock.sendall(b"x" * (size - size // 2))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    took, read = split(answer)[1].split()
    assert int(read) == size
    assert float(took) < 2


@pytest.mark.parametrize("path", ["/app/sleep", "/app/stream"])
def test_a_worker_is_idle_since_the_end_of_its_last_request(start, path):
    """One that takes longer than inactivity-timeout does not end its worker when it is over."""
    extra = "<Location /app/health>\n    WSGIIgnoreActivity On\n</Location>"
    server = start("processes=1 threads=2 inactivity-timeout=2", extra)
    first = server.get(path).text.strip()
    # Workers look at the clock every second.
    until = time.monotonic() + 1.4
    while time.monotonic() < until:
        assert server.get("/app/health").text == first
        daemons.pause(0.1)
    server.log.wait_for(r"replacing worker \d+: no request came for 2 s")


@pytest.mark.parametrize(
    ("request_line", "body"),
    [("GET /app/gaps", b""), ("POST /app/upload", b"x" * 100_000)],
)
def test_abandoned_request_does_not_block_new_requests(start, request_line, body):
    """Where the client has left, the application notices late; other workers are idle meanwhile."""
    server = start("processes=3 threads=1 request-buffer-size=0")
    daemons.settled(server, 3)
    note = server.root / "out/note"
    method, path = request_line.split()
    begun = server.root / "out/begun"
    fields = [f"X-Note: {note}", f"X-Begun: {begun}"] + ["Content-Length: 200000"] * bool(body)
    with server.socket() as sock:
        sock.sendall(head(path, *fields, method=method) + body)
        if not body:
            sock.recv(100)
        else:
            wait_until(begun.exists, "the application to read the body")
    wait_until(note.exists, "the application to have other things to do")
    try:
        # One that waited for that worker would have no answer.
        assert {server.get("/app/").status for _ in range(20)} == {200}
    finally:
        (server.root / "out/note.go").touch()


# --- error pages of applications ------------------------------------------------------------------

PAGES = """
    WSGIDaemonProcess site threads=2
    WSGIScriptAlias /daemon ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    WSGIScriptAlias /embedded ${ROOT}/app.py process-group=%{GLOBAL} application-group=%{GLOBAL}
    LimitRequestBody 200000
    ErrorDocument 400 /daemon/page
    ErrorDocument 408 /daemon/page
    ErrorDocument 411 /daemon/page
    ErrorDocument 413 /daemon/page
    <Location /embedded>
        ErrorDocument 400 /embedded/page
        ErrorDocument 408 /embedded/page
        ErrorDocument 411 /embedded/page
        ErrorDocument 413 /embedded/page
    </Location>
"""
PAGE = """
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    status = environ.get("REDIRECT_STATUS", "200")
    start_response(f"{status} Page", [("Content-Type", "text/plain")])
    return [f"the page for {status}, {len(body)} bytes, {environ['REQUEST_METHOD']}".encode()]
"""


@pytest.fixture
def paged(serve):
    return serve(Conf(PAGES, files=(("app.py", PAGE),), timeout=2))


def answer_of(sock):
    """(status, body, seconds it took)"""
    began = time.monotonic()
    top, body = split(read_all(sock))
    return int(top.split()[1]), body.decode(), time.monotonic() - began


@pytest.mark.embedded_only("both modes stand in the configuration")
@pytest.mark.parametrize("place", ["/daemon", "/embedded"])
@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("Content-Length: 10", b"12345"),
        ("Content-Length: 150000", b"x" * 70_000),
    ],
)
@pytest.mark.parametrize("end", [True, False])
def test_an_error_page_does_not_wait_for_a_body_that_did_not_come(paged, place, field, part, end):
    """The client stalls, or sends no more; Timeout passes once, and the page is there."""
    with paged.socket() as sock:
        sock.sendall(head(place, field, "Connection: close", method="POST") + part)
        if end:
            sock.shutdown(socket.SHUT_WR)
        status, text, took = answer_of(sock)
    assert status == (400 if end else 408)
    assert text == f"the page for {status}, 0 bytes, GET"
    # Timeout is two seconds.
    assert took < (2 if end else 4)


@pytest.mark.embedded_only("both modes stand in the configuration")
@pytest.mark.parametrize("place", ["/daemon", "/embedded"])
@pytest.mark.parametrize(
    ("field", "part", "status"),
    [
        ("Content-Length: 300000", b"", 413),
        ("Content-Length: 300000", b"x" * 300_000, 413),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", 411),
    ],
)
def test_error_page_is_served_for_a_body_over_the_limit(paged, place, field, part, status):
    paged.log.allow(r"WSGI01(39|40): ")
    with paged.socket() as sock:
        sock.sendall(head(place, field, "Connection: close", method="POST") + part)
        assert answer_of(sock)[:2] == (status, f"the page for {status}, 0 bytes, GET")
    assert paged.get(place).text == "the page for 200, 0 bytes, GET"
