"""What Apache's parent cannot make at a graceful restart ends neither the server nor a group."""

import os
import resource
import signal

import pytest
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
# What the log may say where the parent has too few descriptors; `site` goes on in each case.
SHORT = (
    "WSGI00(13|24): .*Too many open files",
    "cannot start the process that writes the log of daemon processes: Too many open files",
    "takes no commands of mod_wsgi_rs: cannot make the socket",
    "WSGI0117: .*'new'",
)


def conf(options="", text="", **more):
    groups = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=1 {options}
    WSGIDaemonProcess whole
    {text}
    WSGIScriptAlias /whole ${{ROOT}}/app.py process-group=whole application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(groups, files=(("app.py", APP),), **more)


# A group that comes and goes.
NEW = """WSGIDaemonProcess new
WSGIScriptAlias /new ${ROOT}/app.py process-group=new application-group=%{GLOBAL}
"""


def restarts(server):
    """A graceful restart; whether httpd goes on."""
    before = len(server.log.find(READY))
    server.send_signal(signal.SIGUSR1)
    wait_until(
        lambda: not server.running or len(server.log.find(READY)) > before,
        "the restart",
        timeout=30,
    )
    return server.running


# What is one or the other after each restart, and the path of what it concerns.
CHANGES = {
    "threads": (" site threads=1", " site threads=2", "/"),
    "processes": (" site threads=1", " site threads=1 processes=3", "/"),
    "user": ("user=games", "user=nobody", "/"),
    "new group": ("# A new group", NEW, "/new"),
}
ENDS = {"new group": "WSGI0013: .*; its requests are refused until a restart can set it up"}


@pytest.mark.parametrize("change", CHANGES)
def test_graceful_restart_without_descriptors_keeps_server_and_group(start, change):
    """With one fewer at each: something else is wanting each time."""
    before, after, path = CHANGES[change]
    if change == "user" and os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    server = start("user=games" if change == "user" else "", "# A new group")
    parent, file = server.process.pid, server.root / "httpd.conf"
    server.log.allow(*SHORT)
    texts = [file.read_text().replace(before, after), file.read_text()]
    assert texts[0] != texts[1]
    most = max(int(name) for name in os.listdir(f"/proc/{parent}/fd"))
    # Below that Apache's children cannot open their own files.
    for limit in range(most + 20, most - 8, -1):
        file.write_text(texts[limit % 2])
        # The module raises its own limit as far as it may.
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (limit, limit))
        assert restarts(server), limit
        assert server.get("/whole").status == 200, limit
        assert server.get("/").status == 200, limit
        assert server.get(path).status in (200, 503), limit
    server.log.expect(ENDS.get(change, "WSGI00(13|24): .*; daemon process group 'site' goes on as"))
