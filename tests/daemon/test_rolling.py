"""What a process that dies, a restart and a deployment mean for the next request."""

import os
import signal
from pathlib import Path

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.embedded_only("the tests name their own process groups")

# Dies of its first request for /dies.
APP = """
import os, pathlib, signal

VERSION = "one"
DIED = pathlib.Path(__file__).with_name("out") / "died"


def application(environ, start_response):
    if environ["PATH_INFO"] == "/dies" and not DIED.exists():
        DIED.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""


def conf(options):
    text = f"""
    WSGIDaemonProcess site threads=2 {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "the application writes here")))


@pytest.fixture
def start(private):
    def start(options=""):
        server = private(conf(options), lambda server: (server.root / "out").chmod(0o777))
        assert server.get("/").text == "one"
        return server

    return start


@pytest.mark.differs("daemon-replay", "the client of mod_wsgi gets 500 or 502")
def test_a_get_whose_process_dies_is_answered_by_another_process(start):
    server = start("processes=2")
    server.log.allow("killed by signal 9|WSGI0|AH|exit")
    assert server.get("/dies").text == "one"


def sockets(server):
    return {path.name for path in server.root.rglob("*.sock")}


@pytest.mark.differs("socket-rotation", "mod_wsgi makes new sockets")
def test_sockets_outlive_a_restart(start):
    server = start()
    before = sockets(server)
    assert before
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for("resuming normal operations", count=2)
    assert server.get("/").text == "one"
    assert sockets(server) == before


@pytest.mark.differs("daemon-reload", "the request that finds the change is answered by new code")
def test_the_request_that_finds_a_changed_script_is_answered_by_old_code(start):
    server = start("processes=1")
    script = Path(server.root) / "app.py"
    new = script.with_name("app.new")
    new.write_text(APP.replace('"one"', '"two"'))
    new.chmod(0o644)
    os.replace(new, script)
    assert server.get("/").text == "one"
    wait_until(lambda: server.get("/").text == "two", "the new code")


@pytest.mark.differs("daemon-log-source", "records of mod_wsgi's daemons have a source")
def test_records_of_a_daemon_process_have_no_source_location(private):
    script = """
import logging
import mod_wsgi

logging.getLogger().addHandler(mod_wsgi.LogHandler())

def application(environ, start_response):
    logging.getLogger().error("a record")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
"""
    text = 'ErrorLogFormat "[%t] [%-m:%l] [pid %P] %T %M from %F"\n'
    text += conf("").text
    server = private(Conf(text, files=(("app.py", script),)))
    server.log.allow("a record")
    assert server.get("/").text == "logged"
    (line,) = server.log.wait_for("a record")
    assert line.text.endswith(" from mod_wsgi.c(0)")
