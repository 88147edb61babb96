"""warm-up=: a new process answers a request by itself before it serves."""

import os
import signal

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("an option of our own")

APP = """
import json, os, threading
seen = []
NAMES = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "HTTP_HOST",
         "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "mod_wsgi.process_group"]
local = threading.local()
class Kept:
    def __del__(self):
        seen.append("let go")
def application(environ, start_response):
    if environ["PATH_INFO"] == "/seen":
        body = json.dumps([os.getpid(), *seen])
    else:
        if environ["PATH_INFO"] == "/fails":
            environ["wsgi.errors"].write("asked\\n")
        seen.append([os.getpid(), environ["wsgi.input"].read().decode(), *map(environ.get, NAMES)])
        local.kept = Kept()
        if environ["PATH_INFO"] == "/raises":
            raise ValueError("not yet")
        body = "warm"
    start_response("500 No" if environ["PATH_INFO"] == "/fails" else "200 OK", [])
    return iter([body.encode()])
other = application
"""


def conf(options, alias="/ ${ROOT}/app.py process-group=site application-group=%{GLOBAL}"):
    text = f"""
    ServerName www.example.com
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias {alias}
    """
    return Conf(text, files=(("app.py", APP),), children=1, start=1)


def seen(server, path="/seen"):
    pid, *requests = server.get(path).json()
    return pid, requests


def test_each_process_answers_the_warm_up_request_before_clients(start):
    server = start("processes=2 threads=2 warm-up=/health?deep=1")
    pid, requests = seen(server)
    # The thread that asked is gone, and with it what was kept for it.
    (asker, body, *environ), let_go = requests
    assert (asker, body, let_go) == (pid, "", "let go")
    assert environ[:5] == ["GET", "", "/health", "deep=1", "/health?deep=1"]
    assert environ[5:] == ["www.example.com", "www.example.com", "80", "http", "site"]
    server.log.wait_for(r"^warm-up: GET /health: 200, after \d+ ms", count=2)


def test_template_answers_the_warm_up_request_once(start):
    server = start("processes=2 threads=2 preload=On warm-up=/health")
    pid, requests = seen(server)
    ((asker, *_), let_go) = requests
    assert let_go == "let go"
    assert asker != pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not daemons.is_alive(pid), "the worker to leave")
    _, requests = seen(server)
    assert requests[0][0] == asker
    # The log is complete when the server has stopped.
    server.stop()
    assert len(server.log.find(r"^warm-up: GET /health: 200")) == 1


def test_replacement_answers_the_warm_up_request(start):
    server = start("threads=2 warm-up=/health")
    before, _ = seen(server)
    (server.root / "app.py").write_text(APP + "# another\n")
    told = lambda: (found := seen(server))[0] != before and found  # noqa: E731
    pid, requests = wait_until(told, "another worker")
    assert requests[0][0] == pid


def test_warm_up_request_goes_to_the_application_of_its_path(start):
    options = "warm-up=https://shop.example.com:8443/shop/health threads=2"
    alias = "/shop ${ROOT}/app.py process-group=site application-group=shop callable-object=other"
    server = start(options, alias)
    _, (request, *_) = seen(server, "/shop/seen")
    expected = ["GET", "/shop", "/health", "", "/shop/health", "shop.example.com:8443"]
    assert request[2:8] == expected
    assert request[8:] == ["shop.example.com", "8443", "https", "site"]


@pytest.mark.parametrize("preload", ["Off", "On"])
@pytest.mark.parametrize(
    ("path", "said"), [("/raises", "ValueError: not yet"), ("/fails", "asked")]
)
def test_warm_up_failure_is_logged_and_the_process_serves(start, preload, path, said):
    server = start(f"threads=2 preload={preload} warm-up={path}")
    server.log.allow_traceback("ValueError: not yet")
    assert len(seen(server)[1]) >= 1
    # The manager writes what a worker logs outside of a request, after the worker has served, too.
    (line,) = server.log.expect(rf"^warm-up: GET {path}: 500, after \d+ ms", rf"{said}$")
    assert (line.module, line.level) == ("wsgi", "warn")


@pytest.mark.parametrize(
    ("options", "alias", "said"),
    [
        ("warm-up=health", None, 'warm-up="health" must be a path such as /health'),
        ("warm-up=/a%20b", None, "without %"),
        ("warm-up=/x", "/y ${ROOT}/app.py process-group=site", "no WSGIScriptAlias leads /x"),
        ("warm-up=/x", "/ ${ROOT}/app.py", "give the alias process-group=site"),
        ("warm-up=/x", "/ ${ROOT}/ process-group=site", "no WSGIScriptAlias leads /x"),
        (
            "warm-up=/x",
            "/ ${ROOT}/app.py process-group=site application-group=%{HOST}",
            "the application group of /x of warm-up= depends on the request",
        ),
    ],
)
def test_wrong_warm_up_is_one_sentence_at_configtest(servers, mpm, options, alias, said):
    arguments = [options] if alias is None else [options, alias]
    accepted, printed = servers.make(conf(*arguments), mpm, "embedded").configtest()
    assert not accepted
    assert said in printed
