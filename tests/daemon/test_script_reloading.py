"""WSGIScriptReloading: which code answers after a script has changed or asked for its reload."""

import concurrent.futures
import os
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import TESTS
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = (TESTS / "apps/version.py").read_text()
# Reads its body, and takes a while to import, so that old code has time to answer.
SLOW = "import time\ntime.sleep(0.5)\n" + APP
# Its import lasts until there is a file beside it.
WAITING = (
    """
import os, time

GO = __file__ + "-go"
open(GO + "-importing", "w").close()
while not os.path.exists(GO):
    time.sleep(0.02)
"""
    + APP
)
REQUIRED = (
    APP
    + """
import pathlib

FLAG = pathlib.Path(__file__).with_name("wanted")
SEEN = FLAG.exists()


def reload_required(path):
    return FLAG.exists() != SEEN
"""
)


def conf(reloading, options="threads=2", app=SLOW, text=""):
    lines = f"""
WSGIRestrictEmbedded On
WSGIDaemonProcess site {options}
WSGIProcessGroup site
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptReloading {reloading}
WSGIScriptAlias / ${{ROOT}}/app.py
{text}
"""
    return Conf(lines, files=(("app.py", app),), children=2, threads=8)


def deploy(server, old, new):
    path = Path(server.root) / "app.py"
    beside = path.with_suffix(".new")
    beside.write_text(path.read_text().replace(old, new))
    beside.chmod(0o644)
    os.replace(beside, path)


def writable(server):
    """The application writes beside its script, as another user."""
    server.root.chmod(0o777)


def version(server, **request):
    return server.get("/", **request).text.split()[2]


@pytest.mark.parametrize("options", ["threads=2", "threads=2 preload=On", "processes=3 threads=2"])
def test_requests_wait_for_the_new_code_where_reloading_is_wait(start, options):
    server = start("Wait", options)
    assert version(server) == "one"
    for old, new in (("one", "two"), ("two", "three")):
        deploy(server, f'"{old}"', f'"{new}"')
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: version(server), range(12)))
        assert answers == [new] * 12
    # A body goes to the worker with new code, too.
    deploy(server, '"three"', '"four"')
    assert server.post("/", b"x" * 1000).text.split()[2] == "four"


def test_old_code_answers_until_the_new_is_loaded_where_reloading_is_on(start):
    server = start("On")
    assert version(server) == "one"
    deploy(server, '"one"', '"two"')
    assert version(server) == "one"
    wait_until(lambda: version(server) == "two", "the new code")


def test_old_code_answers_where_the_new_cannot_be_loaded(start):
    server = start("Wait")
    assert version(server) == "one"
    deploy(server, "VERSION =", "raise ValueError('not yet')\nVERSION =")
    begun = time.monotonic()
    assert version(server) == "one"
    # It waits for the failure, not for a time limit.
    assert time.monotonic() - begun < 9
    server.log.expect("^ValueError: not yet", "WSGI0109: ", "keeping the current workers")
    server.log.allow("WSGI0174: ", "^Traceback ", r"^\s")
    assert version(server) == "one"
    deploy(server, "raise ValueError('not yet')\nVERSION = \"one\"", 'VERSION = "two"')
    assert version(server) == "two"


FOUND_TWICE = """
WSGIDaemonProcess site threads=2 reload=On
WSGIScriptReloading Wait
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
"""


def test_broken_script_is_tried_once_where_a_request_and_reload_on_find_the_change(private):
    server = private(Conf(FOUND_TWICE, files=(("app.py", APP),), children=2, threads=8))
    assert version(server) == "one"
    deploy(server, "VERSION =", "raise ValueError('not yet')\nVERSION =")
    assert version(server) == "one"
    server.log.expect("keeping the current workers")
    # Either one may have come first.
    changed, known = "app.py has changed; ", "app.py is as it was when it could not be loaded"
    server.log.wait_for(f"{changed}|{known}", count=2)
    lines = [line.text for line in server.log.find(f"{changed}|keeping the current workers")]
    failed = next(at for at, line in enumerate(lines) if "keeping" in line)
    assert not [line for line in lines[failed:] if "has changed" in line]
    server.log.allow_traceback("ValueError: not yet")


COUNTING = """
import pathlib
import mod_wsgi

FLAG = pathlib.Path(__file__).with_name("wanted")
if FLAG.exists():
    raise ValueError("not yet")
mod_wsgi.start_recording_metrics()


def reload_required(path):
    return FLAG.exists()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    metrics = mod_wsgi.request_metrics() or {}
    return [repr([metrics.get(f"status_{n}xx") for n in range(1, 6)]).encode()]
"""


def test_a_request_that_is_given_back_is_no_error_of_the_process(start):
    server = start("Wait", app=COUNTING)
    for _ in range(2):
        server.get("/")
    (Path(server.root) / "wanted").write_text("")
    # Given back until the new code is known to be broken.
    assert server.get("/").text == "[0, 1, 0, 0, 0]"
    server.log.expect("^ValueError: not yet", "WSGI0109: ", "keeping the current workers")
    server.log.allow("WSGI0174: ", "^Traceback ", r"^\s")


def versions_around_a_deployment(server, old, new):
    """What a request before it and one after it get, both during the import of WAITING."""
    go = Path(server.root) / "app.py-go"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(version, server)
        wait_until(go.with_name("app.py-go-importing").exists, "the import")
        deploy(server, old, new)
        second = pool.submit(version, server)
        wait_until(lambda: daemons.connections(server) >= 2, "the second request")
        go.write_text("")
        return first.result(), second.result()


@pytest.mark.parametrize("reloading", ["On", "Wait"])
def test_old_code_that_loads_while_a_broken_script_is_deployed_answers(start, reloading):
    """Also where the second request comes before the first one has been answered."""
    server = start(reloading, app=WAITING, prepare=writable)
    broken = ("VERSION =", "raise ValueError('not yet')\nVERSION =")
    assert versions_around_a_deployment(server, *broken) == ("one", "one")
    server.log.expect("^ValueError: not yet", "WSGI0109: ", "keeping the current workers")
    server.log.allow("WSGI0174: ", "^Traceback ", r"^\s")
    assert version(server) == "one"


def test_a_script_that_is_replaced_during_the_import_is_loaded_again(start):
    server = start("Wait", app=WAITING, prepare=writable)
    new = ('VERSION = "one"', 'VERSION = "two"')
    assert versions_around_a_deployment(server, *new) == ("one", "two")


@pytest.mark.parametrize("reloading", ["On", "Wait"])
def test_a_script_without_the_callable_is_loaded_again_in_the_same_process(start, reloading):
    server = start(reloading, app=APP.replace("def application", "def app"))
    for _ in range(2):
        assert server.get("/").status == 500
    server.log.expect("WSGI0089: .* does not contain WSGI application 'application'")
    server.log.allow("callable-object=app")
    deploy(server, "def app(", "def application(")
    assert version(server) == "one"


@pytest.mark.parametrize("preload", ["", " preload=On"])
def test_old_code_answers_while_the_new_takes_longer_than_startup_timeout(start, preload):
    """The time limit says nothing of the code: it is tried again, as at the first start."""
    # Long enough for the first process, which is not to be replaced by the time limit itself.
    server = start("Wait", f"threads=2 startup-timeout=3{preload}", APP)
    assert version(server) == "one"
    flag = Path(server.root) / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.05)\n"
    deploy(server, 'VERSION = "one"', f'{wait}VERSION = "two"')
    assert version(server) == "one"
    server.log.expect("not ready within startup-timeout; keeping the current workers")
    server.log.allow("did not become ready within startup-timeout", "exited|killed")
    # The old code answers at once from here on: no request waits for each start that is tried.
    began = time.monotonic()
    assert version(server) == "one"
    assert time.monotonic() - began < 2
    flag.write_text("")
    wait_until(lambda: version(server) == "two", "the new code", timeout=60)


@pytest.mark.parametrize("reloading", ["On", "Wait"])
def test_a_script_may_ask_for_its_own_reload(start, reloading):
    server = start(reloading, app=REQUIRED)
    pid = server.get("/").text.split()[0]
    assert server.get("/").text.split()[0] == pid
    (Path(server.root) / "wanted").write_text("")
    if reloading == "Wait":
        assert server.get("/").text.split()[0] != pid
    else:
        wait_until(lambda: server.get("/").text.split()[0] != pid, "the new process")
    # Both accept requests until the old one has been told to leave.
    wait_until(lambda: not daemons.is_alive(int(pid)), "the old process to leave")
    # The new code does not ask.
    pid = server.get("/").text.split()[0]
    assert server.get("/").text.split()[0] == pid
