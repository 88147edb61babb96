"""What goes wrong, or slowly, in one part of a request is not held against another part."""

import time

import pytest
from harness import daemons
from harness.client import head, read_all, split
from harness.conf import Conf

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import os, time
def application(environ, start_response):
    took = time.time() - float(environ["mod_wsgi.queue_start"])
    path = environ["PATH_INFO"]
    body = environ["wsgi.input"].read()
    if path == "/nap":
        time.sleep(2.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        def pieces():
            for _ in range(25):
                yield b" "
                time.sleep(0.1)
            yield b"%d" % os.getpid()
        return pieces()
    return [b"%d" % os.getpid() if path != "/queued" else b"%.3f %d" % (took, len(body))]
"""


@pytest.fixture
def start(servers, mpm):
    """start(options) is a server of the test's own; its log is watched to the end."""
    own = []

    def start(options, extra=""):
        text = f"""
        WSGIDaemonProcess site {options}
        WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
        {extra}
        """
        server = servers.make(Conf(text, files=(("app.py", APP),)), mpm, "embedded")
        own.append(server)
        server.start()
        return server

    yield start
    for server in own:
        server.stop()
        lines = server.log.unexpected()
        assert not lines, "unexpected in the error log:\n" + "\n".join(map(str, lines))


@pytest.mark.parametrize("size", [10, 60_000, 100_000])
def test_a_client_that_sends_its_body_slowly_does_not_wait_for_a_thread(start, size):
    """queue-timeout is for requests that nobody takes up; the queue begins behind the body."""
    server = start("processes=1 threads=2 queue-timeout=1")
    fields = ("Connection: close", f"Content-Length: {size}")
    with server.socket() as sock:
        sock.sendall(head("/app/queued", *fields, method="POST") + b"x" * (size // 2))
        daemons.pause(1.5)
        sock.sendall(b"x" * (size - size // 2))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    took, read = split(answer)[1].split()
    assert int(read) == size
    assert float(took) < 1


@pytest.mark.parametrize("path", ["/app/nap", "/app/stream"])
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
    server.log.wait_for("is to be replaced: no request came for 2 s")
