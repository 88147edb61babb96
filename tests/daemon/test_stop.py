"""`apachectl stop` and `restart` while a request hangs in a daemon process."""

import signal
import time

import pytest
from harness import daemons
from harness.client import head, read_until
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
    pytest.mark.all_mpms,
    pytest.mark.differs(
        "stop-with-hanging-request", "Apache waits, then kills its children", always=False
    ),
]

# Writes down that it is called, and hangs: before the head, or in the middle of a body.
APP = """
import pathlib, time

NOTE = pathlib.Path(__file__).with_name("out") / "called"


def application(environ, start_response):
    if environ["PATH_INFO"] == "/":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]
    if environ["PATH_INFO"] == "/body":
        start_response("200 OK", [("Content-Type", "text/plain")])(b"begun" * 40000)
    with NOTE.open("a") as note:
        note.write("called\\n")
    time.sleep(60)
"""
# shutdown-timeout, in seconds.
LIMIT = 2
# For a busy machine; Apache itself would kill its children after ten seconds.
MARGIN = 5
# A worker ends by itself; one that gets no processor for a second after that is killed.
ENDS = (
    "stopping with (GET|POST) /|with a connection",
    "did not stop within shutdown-timeout",
    r"worker \d+ was killed by signal 9 while serving",
)


def conf():
    text = f"""
    WSGIRestrictEmbedded On
    WSGIChunkedRequest On
    WSGIDaemonProcess site threads=4 shutdown-timeout={LIMIT}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "")))


@pytest.fixture
def server(private):
    server = private(conf(), lambda server: (server.root / "out").chmod(0o777))
    assert server.get("/").body == b"served"
    return server


def hang(server, path, sock):
    if path == "/post":
        # Of no known length, so that it is not gathered first; the rest never comes.
        sock.sendall(head(path, "Transfer-Encoding: chunked", method="POST"))
        sock.sendall(b"186a0\r\n" + b"x" * 100000 + b"\r\n")
    else:
        sock.sendall(head(path))
    wait_until((server.root / "out/called").exists, "the request to hang")
    if path == "/body":
        read_until(sock, b"begun")


@pytest.mark.parametrize("path", ["/head", "/body", "/post"])
def test_stop_does_not_wait_longer_for_a_hanging_request_than_shutdown_timeout(server, path):
    with server.socket() as sock:
        hang(server, path, sock)
        begun = time.monotonic()
        server.stop(signal.SIGTERM)
        assert time.monotonic() - begun < LIMIT + MARGIN
    server.log.allow(*ENDS)
    assert not server.log.find("AH00045|AH00046|WSGI0146|WSGI0119")


def test_restart_does_not_wait_for_a_hanging_request(server):
    with server.socket() as sock:
        hang(server, "/head", sock)
        old, starts = daemons.httpd_children(server), len(server.log.find(READY))
        begun = time.monotonic()
        server.send_signal(signal.SIGHUP)
        server.log.wait_for(READY, count=starts + 1)
        assert not set(old) & set(daemons.httpd_children(server))
        assert server.get("/").body == b"served"
        assert time.monotonic() - begun < LIMIT + MARGIN
        server.stop(signal.SIGTERM)
    server.log.allow(*ENDS)
    assert not server.log.find("AH00045|AH00046|WSGI0146|WSGI0119")
