"""A process of Apache's user, or an Apache that is stopped, that leaves requests unfinished."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest
from harness import daemons
from harness import fastcgi_client as fastcgi
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has another protocol")

APP = """
import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/read":
        open(os.path.join(os.path.dirname(__file__), "out/begun"), "w").close()
        try:
            environ["wsgi.input"].read()
        finally:
            open(os.path.join(os.path.dirname(__file__), "out/ended"), "w").close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]
"""

# How long the head of a request may take (`Connections::close_late`), and what a busy machine adds.
HEAD_LIMIT, MARGIN = 5, 8


def conf(options="threads=2", **more):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, **more)


def prepare(server):
    (server.root / "out").chmod(0o777)


def socket_of(server):
    """The path of the socket of the only worker."""
    (worker,) = daemons.workers(server)
    paths = re.findall(
        r"(/\S+\.sock)$", os.fsdecode(Path(f"/proc/{worker}/net/unix").read_bytes()), re.M
    )
    (path,) = {path for path in paths if f".{server.process.pid}." in path}
    return path


@pytest.mark.parametrize("half", [b"\x01", fastcgi.request()[:16]])
def test_half_a_request_of_another_process_holds_no_thread(private, half):
    server = private(conf(), prepare)
    assert server.get("/").body == b"answered"
    path, begun = socket_of(server), time.monotonic()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(fastcgi.connection(path)) for _ in range(4)]
        for connection in connections:
            connection.send(half)
        assert server.get("/").body == b"answered"
        for connection in connections:
            with contextlib.suppress(ConnectionResetError):
                assert connection.socket.recv(1) == b""
    assert 3 < time.monotonic() - begun < HEAD_LIMIT + MARGIN


def test_thread_that_reads_a_body_waits_for_a_stopped_apache_no_longer_than_its_timeout(private):
    server = private(conf("threads=1 request-buffer-size=0", timeout=2), prepare)
    # Where the machine is busy a worker takes longer than that to start, and Apache, once it goes
    # on, may find that the worker has been silent for so long.
    server.log.allow("WSGI0145")
    wait_until(lambda: daemons.serves(server), "the worker")
    with server.socket() as sock:
        fields = ("Content-Length: 200000",)
        sock.sendall(head("/read", *fields, method="POST") + b"x" * 100_000)
        out = server.root / "out"
        wait_until((out / "begun").exists, "the request")
        begun, children = time.monotonic(), daemons.httpd_children(server)
        for pid in children:
            daemons.freeze(pid)
        try:
            wait_until((out / "ended").exists, "the end of the request", timeout=30)
            # Two seconds longer than Timeout.
            assert time.monotonic() - begun < 2 + 2 + MARGIN
        finally:
            for pid in children:
                os.kill(pid, signal.SIGCONT)
    server.log.allow(r"mod_wsgi", r"Timeout", r"timed out", r"Traceback", r"OSError", r"File ")
    assert server.get("/").body == b"answered"
