"""deadlock-timeout: a worker in which no thread gets Python's lock is replaced."""

import pytest
from harness.conf import Conf

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

DEADLOCK = """
import ctypes, os
def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        # A C function that keeps Python's lock.
        ctypes.PyDLL(None).pause()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def conf():
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=3 deadlock-timeout=1
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    return Conf(text, files=(("app.py", DEADLOCK),), children=2, threads=8)


@pytest.mark.needs_lock("is about the lock")
def test_deadlock_timeout_replaces_the_worker(start):
    server = start()
    before = server.get("/").text
    response = server.request("POST", "/hold", body=b"x")
    assert response.status == 502
    server.log.expect(r"gets Python's lock, and has not for 1 s .*it serves POST /hold")
    server.log.allow("WSGI0146", "exited with status 1")
    assert server.get("/").text != before
