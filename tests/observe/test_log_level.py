"""mod_wsgi_rs log-level: what the processes of a group write, changed while they run."""

import json
import re
import signal
import threading

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such command")

APP = r"""
import logging, os, threading, time
HERE = os.path.dirname(__file__)
log = logging.getLogger("site")
log.setLevel(logging.DEBUG)
logging.lastResort.setLevel(logging.DEBUG)
def write(path):
    log.debug("debug of %s", path)
    log.warning("warning of %s", path)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        open(os.path.join(HERE, "out", "begun"), "a").close()
        while not os.path.exists(os.path.join(HERE, "out", "finish")):
            time.sleep(0.01)
    if path.startswith("/thread"):
        thread = threading.Thread(target=write, args=(path,))
        thread.start()
        thread.join()
    else:
        write(path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"""

LOOP = r"""
import logging
log = logging.getLogger("loop")
log.setLevel(logging.DEBUG)
logging.lastResort.setLevel(logging.DEBUG)
async def application(scope, receive, send):
    log.debug("debug of %s", scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""


def conf():
    text = """
    LogLevel warn wsgi:info
    WSGIDaemonProcess site processes=2 threads=2
    WSGIDaemonProcess loop interface=asgi
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    ASGIScriptAlias /loop ${ROOT}/loop.py process-group=loop application-group=%{GLOBAL}
    """
    files = (("app.py", APP), ("loop.py", LOOP), ("out/README", ""))
    return Conf(text, files=files, timeout=60)


@pytest.fixture
def server(start):
    server = start()
    server.log.allow("warning of", "debug of", "command", "log level")
    return server


@pytest.fixture
def sets(run, server):
    """sets("site", "debug"): the command, its exit status and what it prints."""
    return lambda *words: run(server, "log-level", *words)


def level(sets, group="site"):
    done = sets(group, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["level"]


def test_level_of_a_group_changes_at_once_for_all_its_processes(server, sets):
    log = server.log
    server.get("/app/before")
    log.wait_for("warning of /before")
    held = threading.Thread(target=lambda: server.get("/app/wait"))
    held.start()
    wait_until((server.root / "out/begun").exists, "the request")

    done = sets("site", "debug")
    assert (done.returncode, done.stdout) == (
        0,
        "process group 'site' logs at level debug until it is reloaded or Apache restarts "
        "(configured: info)\n",
    )
    answer = json.loads(sets("site", "--json").stdout)
    assert answer == {
        "group": "site",
        "server_pid": server.process.pid,
        "level": "debug",
        "configured": "info",
    }
    # Requests under way, new ones, and what belongs to none; whichever process has it.
    (server.root / "out/finish").touch()
    held.join()
    for number in range(4):
        server.get(f"/app/during{number}")
        server.get(f"/app/thread{number}")
    for path in ("wait", *(f"{kind}{it}" for kind in ("during", "thread") for it in range(4))):
        [line] = log.wait_for(f"debug of /{path}$")
        assert line.level == "debug"
    assert log.find("debug of /before") == []
    # The other group goes on as it was, until its own is set.
    server.get("/loop/before")
    assert level(sets, "loop") == "info"
    assert sets("loop", "debug").returncode == 0
    server.get("/loop/during")
    log.wait_for("debug of /(loop/)?during$")
    assert log.find("debug of /(loop/)?before") == []

    # A quieter level, too.
    assert sets("site", "error").returncode == 0
    server.get("/app/quiet")
    server.get("/app/thread-quiet")
    assert sets("site", "warn").returncode == 0
    server.get("/app/after")
    server.get("/app/thread-after")
    log.wait_for("warning of /after")
    log.wait_for("warning of /thread-after")
    assert log.find("quiet") == []
    assert sets("site").stdout.startswith("process group 'site' logs at level warn until")


def test_level_lasts_until_the_group_is_reloaded_or_apache_restarts(server, sets, run, asks):
    assert sets("site", "debug").returncode == 0
    assert run(server, "reload", "site").returncode == 0
    done = sets("site")
    assert done.stdout == "process group 'site' logs at level info\n"
    server.get("/app/reloaded")
    server.log.wait_for("warning of /reloaded")
    assert sets("site", "debug").returncode == 0
    # A new worker has the level as well.
    [one, *_] = [worker["pid"] for worker in asks(server, "ps", "site")["workers"]]
    assert run(server, "recycle", str(one)).returncode == 0
    assert level(sets) == "debug"
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: level(sets) == "info", "the level of the configuration", timeout=30)
    server.get("/app/restarted")
    server.log.wait_for("warning of /restarted")
    assert server.log.find("debug of") == []


def test_wrong_level_and_group_are_refused(sets):
    done = sets("site", "loud")
    assert done.returncode == 2
    assert re.search(r"emerg, alert, crit, error, warn, notice, info, debug, trace1", done.stderr)
    done = sets("other", "debug")
    assert done.returncode == 1
    assert "there is no process group 'other'" in done.stderr
