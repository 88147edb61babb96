"""Workers whose descriptors the application has closed, or of which there are too few."""

import pytest
from harness import daemons
from harness.conf import Conf

pytestmark = pytest.mark.ours_only("our own processes")


def conf(text, app, files=(), **more):
    return Conf(text, files=(("app.py", app), *files), **more)


LOST = """
import os
def application(environ, start_response):
    if environ["PATH_INFO"] == "/exec":
        os.execv("/bin/sleep", ["sleep", "300"])
    if environ["PATH_INFO"] == "/close":
        os.closerange(3, 200)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/exec", "lives on without its connection to the manager; .*it is killed and replaced"),
        ("/close", "cannot wait for requests any more: .*descriptors that are not its own"),
    ],
)
def test_a_worker_that_has_lost_its_descriptors_is_replaced(start, path, how):
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    server = start(text, LOST)
    server.log.allow("exited with status 1", "was killed by signal 9", "WSGI01", "WSGI0069")
    old = int(server.get("/").text)
    body = b"x" * 10  # A POST is sent once.
    assert server.post(path, body).status in (502, 503)
    server.log.expect(how)
    (new,) = daemons.settled(server, 1, without=[old])
    assert int(server.get("/").text) == new
    assert not daemons.is_alive(old)
    assert len(server.log.find(how)) == 1


SHORT = """
import os, resource
def limit():
    most = len(os.listdir("/proc/self/fd")) + 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if os.path.exists(os.path.join(os.path.dirname(__file__), "at-once")):
    limit()
def application(environ, start_response):
    if environ["PATH_INFO"] == "/limit":
        limit()
    if environ["PATH_INFO"] == "/open":
        open(__file__).close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@pytest.mark.parametrize(
    ("when", "line"),
    [
        ("at-once", r"this worker is near its limit of \d+ open files \(ulimit -n"),
        ("later", r"cannot accept a connection: .* this worker is at its limit of \d+ open files"),
    ],
)
def test_a_worker_short_of_descriptors_gives_idle_connections_up(start, mpm, when, line):
    """Also before there is none left for the application, where it has its limit from the start."""
    if mpm != "prefork":
        pytest.skip("children with one connection each")
    text = """
    MinSpareServers 30
    MaxSpareServers 30
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    WSGIImportScript ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    server = start(text, SHORT, ((when, ""),), children=30, start=30)
    server.log.allow("cannot accept a connection", "open files")
    path = "/open" if when == "at-once" else "/"
    assert server.get("/limit" if when == "later" else path).status == 200
    # One after the other, and whichever child it reaches: never more than one is at work.
    answers = [server.get(path).status for _ in range(90)]
    assert set(answers) == {200}
    server.log.wait_for(line)
    assert len(server.log.find("open files")) == 1
