"""Workers whose descriptors the application has closed, or of which there are too few."""

import pytest
from harness import daemons
from harness.conf import Conf

pytestmark = pytest.mark.ours_only("our own processes")

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
def test_a_worker_that_has_lost_its_descriptors_is_replaced(servers, mpm, path, how):
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    server = servers.make(Conf(text, files=(("app.py", LOST),)), mpm, "embedded")
    server.start()
    server.log.allow("exited with status 1", "was killed by signal 9", "WSGI01", "WSGI0069")
    old = int(server.get("/").text)
    body = b"x" * 10  # A POST is sent once.
    assert server.post(path, body).status in (502, 503)
    server.log.expect(how)
    (new,) = daemons.settled(server, 1, without=[old])
    assert int(server.get("/").text) == new
    assert not daemons.is_alive(old)
    assert len(server.log.find(how)) == 1
    server.stop()
