"""interrupt-timeout: a request that takes too long is interrupted before its worker is given up."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
]

TEXT = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site threads=1 request-timeout=1 interrupt-timeout=2 graceful-timeout=1
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=GROUP
"""
APP = """
import os, time
caught = []
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/busy":
        while True:
            pass
    if path == "/started":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"part")
        while True:
            pass
    if path == "/stubborn":
        while True:
            try:
                while True:
                    pass
            except BaseException as exception:
                caught.append(type(exception).__name__)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def conf(group):
    return Conf(TEXT.replace("GROUP", group), files=(("app.py", APP),))


@pytest.fixture(params=["%{GLOBAL}", "site"], ids=["main", "sub"])
def server(request, start):
    return start(request.param)


def test_an_interrupted_request_is_a_504_and_the_worker_goes_on(server):
    before = server.get("/").text
    assert server.get("/busy").status == 504
    server.log.wait_for("Injected RequestTimeout into thread \\d+ of daemon process 'site'\\.")
    server.log.wait_for(r"Request interrupted by RequestTimeout; thread recovered\.")
    # Not a moment later, in a request that did nothing wrong.
    for _ in range(20):
        response = server.get("/")
        assert (response.status, response.text) == (200, before)


@pytest.mark.needs_lock("the stack of a thread that goes on meanwhile is not shown")
@pytest.mark.ours_only("how the stack is shown is ours")
def test_the_log_shows_where_the_thread_was(server):
    assert server.get("/busy").status == 504
    server.log.wait_for(r"GET /busy is interrupted after \d")
    server.log.wait_for(r"app\.py.*line [78], in application")


@pytest.mark.differs(
    "truncation-daemon",
    "mod_wsgi's Apache takes whatever end a daemon's answer has for its end",
)
def test_an_answer_that_has_begun_is_cut(server):
    before = server.get("/").text
    response = server.get("/started")
    assert (response.body, response.truncated) == (b"part", True)
    server.log.wait_for("RequestTimeout after headers sent; response truncated")
    assert server.get("/").text == before


@pytest.mark.ours_only("our processes, and what they write")
def test_uninterruptible_request_replaces_its_worker(server):
    before = server.get("/").text
    assert server.get("/stubborn").status == 504
    server.log.expect("GET /stubborn takes longer than request-timeout")
    server.log.allow("stopping with GET /stubborn still running", "exceeded request-timeout")
    server.log.allow("hanging request", r"^\[script [^]]*\] [ \t]")
    server.log.allow("did not stop within shutdown-timeout", "exited with status", "killed by")
    wait_until(lambda: server.get("/").text != before, "another worker")
