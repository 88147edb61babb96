"""WSGIScriptReloading: which code answers after a script has changed or asked for its reload."""

import concurrent.futures
import os
import time
from pathlib import Path

import pytest
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


def test_old_code_answers_when_the_new_takes_longer_than_startup_timeout(start):
    # Long enough for the first process, which is not to be replaced by the time limit itself.
    server = start("Wait", "threads=2 startup-timeout=3", APP)
    assert version(server) == "one"
    flag = Path(server.root) / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.05)\n"
    deploy(server, 'VERSION = "one"', f'{wait}VERSION = "two"')
    assert version(server) == "one"
    server.log.allow("startup-timeout", "exited|killed|keeping the current workers")
    flag.write_text("")


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
    # The new code does not ask.
    pid = server.get("/").text.split()[0]
    assert server.get("/").text.split()[0] == pid
