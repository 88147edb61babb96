"""A deployment whose script does not load: workers that have code of it serve all requests."""

import concurrent.futures
import os
import re
import signal
from urllib.parse import quote

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until
from harness.load import APP

pytestmark = pytest.mark.ours_only("our own processes")

NEW = APP.replace("VERSION = 1", "VERSION = 3")
# Each worker loads the script at its first request; and at its start.
LATE = "WSGIProcessGroup site\nWSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/app.py\n"
EARLY = "WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}\n"

BROKEN = {
    "an exception": "import no_such_module\n" + APP,
    "half a file": APP.rpartition(")")[0],
    "an empty file": "",
}


def conf(alias=LATE, reloading="On", options=""):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site processes=2 threads=4 {options}
    WSGIScriptReloading {reloading}
    WSGIScriptAlias /other ${{ROOT}}/other.py process-group=site application-group=%{{GLOBAL}}
    {alias}
    """
    out = ("out/README", "the application writes here")
    return Conf(text, files=(("app.py", APP), ("other.py", APP), out), children=1, threads=16)


def deploy(server, text, name="app.py"):
    """As deployments should: no reader ever sees half a file."""
    fresh = server.root / "fresh.py"
    fresh.write_text(text)
    fresh.replace(server.root / name)


def allow_failures(server):
    server.log.allow("WSGI0089|WSGI0105", "keeping the current workers")
    server.log.allow_traceback("ModuleNotFoundError", "SyntaxError")


def get(server):
    return server.get("/")


def answers_beside(server, request=get, count=1, path=""):
    """The worker that requests choose first, and answers to requests that come while it has one.

    They choose the other worker.
    """
    number = len(daemons.notes(server))
    release = server.root / f"out/release-{number}"
    waits = f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists('{release}'), True)]"
    expression = quote(f"{waits} and 0 or os.getpid()")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.get, f"{path}/eval?note={server.root}/out/note&what={expression}")
        daemons.wait_for_notes(server, number + 1)
        try:
            answers = [request(server) for _ in range(count)]
        finally:
            release.touch()
        return int(held.result().text), answers


def answer_beside(server, request=get):
    """The only such answer, which is 200: its worker and its version."""
    _, (answer,) = answers_beside(server, request)
    assert answer.status == 200
    pid, version = map(int, answer.text.split())
    return pid, version


def start_both(start, *arguments, **options):
    """A server with two workers that serve, and the first one of them, which has the script."""
    server = start(*arguments, **options)
    allow_failures(server)

    def serve_both():
        first, (answer,) = answers_beside(server, lambda it: it.get("/other/"), path="/other")
        return daemons.pid_of(answer) != first

    wait_until(serve_both, "both workers to serve")
    return server, daemons.pid_of(server.get("/"))


def failures(server):
    """The lines of requests, as opposed to those of workers that start, that tell of the script."""
    return re.findall(r"\[pid \d+\] \d+ WSGI0(?:089|105|109)", server.log.text())


@pytest.mark.parametrize("reloading", ["On", "Wait", "Off"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_worker_that_cannot_load_the_script_leaves_the_request_to_one_that_can(
    start, broken, reloading
):
    server, first = start_both(start, reloading=reloading)
    deploy(server, BROKEN[broken])
    assert answer_beside(server) == (first, 1)
    assert len(failures(server)) == 1
    # A request with a body, too; and the script is not tried again at each of them.
    assert answer_beside(server, lambda it: it.post("/?read=-1", b"x" * 100_000)) == (first, 1)
    if (broken, reloading) == ("an empty file", "Off"):
        return  # It has been loaded, and stays.
    deploy(server, NEW)
    # Neither by the worker that had the script, nor by a replacement of it.
    wait_until(lambda: answer_beside(server)[1] == 3, "the new code")


@pytest.mark.parametrize("alias", [LATE, EARLY], ids=["at a request", "at the start"])
def test_a_worker_that_replaces_a_dead_one_leaves_requests_to_the_one_that_has_the_script(
    start, alias
):
    server, first = start_both(start, alias)
    server.log.allow("was killed by signal 9")
    victim, version = answer_beside(server)
    assert (victim != first, version) == (True, 1)
    deploy(server, BROKEN["an exception"])
    server.get("/")
    server.log.wait_for("keeping the current workers")
    os.kill(victim, signal.SIGKILL)
    # While it starts, the other worker is chosen.
    wait_until(
        lambda: answer_beside(server) == (first, 1) and failures(server),
        "a request of the new worker",
    )


def test_a_script_that_no_worker_has_is_loaded_by_the_one_that_is_asked(start):
    """Its failure is answered at once: no other worker would do better."""
    server = start(prepare=lambda server: deploy(server, BROKEN["an exception"]))
    allow_failures(server)
    assert [server.get("/").status for _ in range(2)] == [500, 500]
    assert len(failures(server)) == 2


def test_a_body_that_has_been_passed_on_in_part_goes_to_no_other_worker(start):
    server, _ = start_both(start, reloading="Off", options="request-buffer-size=0")
    # By then more has been passed on than is kept.
    note = f"import os, time\nprint('loads', file=open('{server.root}/out/loads', 'a'))\n"
    wait = f"while not os.path.exists('{server.root}/out/go'): time.sleep(0.01)\n"
    deploy(server, note + wait + BROKEN["an exception"])

    def pieces():
        yield b"x" * 500_000
        daemons.wait_for_notes(server, 1, "loads")
        yield b"y" * 500_000
        server.write("out/go", "")
        yield b"z"

    headers = {"Content-Length": "1000001"}
    _, (answer,) = answers_beside(server, lambda it: it.post("/", pieces(), headers=headers))
    assert answer.status == 500
    server.log.expect("WSGI0222: daemon process 'site' cannot load the script")
