"""What reload, drain and recycling come to where they overlap and old workers still serve."""

import concurrent.futures
import os
import signal

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such commands")

APP = r"""
import os, time
OUT = os.path.join(os.path.dirname(__file__), "out")
VERSION = "one"
def note(name):
    with open(os.path.join(OUT, name), "a") as file:
        file.write(f"{os.getpid()}\n")
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/wait/"):
        name = path.rpartition("/")[2]
        note("begun-" + name)
        while not os.path.exists(os.path.join(OUT, "finish-" + name)):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode() + b" " + str(os.getpid()).encode()]
"""


def conf(options, groups="", files=(), app=APP):
    text = f"""
    WSGIDaemonProcess site processes=1 threads=2 {options}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    <Location /-/>
        SetHandler wsgi-health
    </Location>
    {groups}
    """
    files = (("app.py", app), ("out/README", "the application writes here"), *files)
    return Conf(text, files=files, timeout=60, threads=16)


@pytest.fixture
def background():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        yield pool


def replace(server, name, text):
    """Other code, at once."""
    new = server.write(name + ".new", text)
    os.replace(new, server.root / name)


def group_of(asks, server):
    [group] = [it for it in asks(server, "status")["groups"] if it["name"] == "site"]
    return group


def workers_of(asks, server):
    """The states of the workers, by process."""
    return {it["pid"]: it["state"] for it in group_of(asks, server)["workers"] if it["pid"]}


def serving(asks, server, without=()):
    """The worker that serves, once that is none of `without`."""

    def one():
        states = workers_of(asks, server)
        ready = [pid for pid, state in states.items() if state == "ready" and pid not in without]
        return ready[0] if ready else None

    return wait_until(one, "a worker", timeout=30)


def request_under_way(server, background, name):
    answer = background.submit(server.get, f"/app/wait/{name}")
    wait_until((server.root / f"out/begun-{name}").exists, "the request", timeout=30)
    return answer


def finish(server, name):
    server.write(f"out/finish-{name}", "")


def versions(server):
    return {server.get("/app").text.split()[0] for _ in range(6)}


@pytest.mark.parametrize("command", ["reload", "recycle"])
def test_new_code_answers_once_the_command_returns_also_where_an_old_worker_is_slow(
    start, asks, background, command
):
    server = start("")
    old = serving(asks, server)
    replace(server, "app.py", APP.replace('"one"', '"two"'))
    # The old worker cannot see for a while that it is to stop.
    daemons.freeze(old)
    try:
        target = "site" if command == "reload" else str(old)
        done = background.submit(asks, server, command, target)
        new = serving(asks, server, without=[old])
        # The command would have returned long before these.
        assert [serving(asks, server, without=[old]) for _ in range(5)] == [new] * 5
        assert not done.done()
    finally:
        os.kill(old, signal.SIGCONT)
    assert done.result(timeout=30)["replaced"] == [{"slot": 0, "old_pid": old, "pid": new}]
    assert versions(server) == {"two"}


HANGS_AT_ITS_END = r"""
import atexit, os, time
def wait():
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "out", "finish-end")):
        time.sleep(0.01)
atexit.register(wait)
raise RuntimeError("on purpose")
"""


def test_reload_does_not_wait_for_a_worker_that_has_never_served(start, asks, background):
    server = start("shutdown-timeout=0")
    server.log.allow_traceback("RuntimeError: on purpose")
    server.log.allow("could not load its scripts")
    replace(server, "app.py", HANGS_AT_ITS_END)
    assert "on purpose" in asks(server, "reload", "site", status=1)["error"]
    replace(server, "app.py", APP.replace('"one"', '"two"'))
    reload = background.submit(asks, server, "reload", "site")
    try:
        assert reload.result(timeout=30)["done"]
        assert versions(server) == {"two"}
        assert "leaving" in workers_of(asks, server).values()
    finally:
        finish(server, "end")


def test_drain_that_a_reload_overtakes_is_answered(start, run, asks, background):
    server = start("shutdown-timeout=60")
    answer = request_under_way(server, background, "a")
    drain = background.submit(run, server, "drain", "site")
    try:
        wait_until(lambda: group_of(asks, server)["condition"] == "draining", "the drain")
        assert asks(server, "reload", "site")["done"]
        done = drain.result(timeout=30)
    finally:
        finish(server, "a")
    assert done.returncode == 1
    assert "is not drained: the group serves again meanwhile" in done.stderr
    assert answer.result().status == 200


def test_worker_that_reads_two_orders_to_stop_at_once_obeys_the_shorter_time(
    start, run, asks, background
):
    server = start("graceful-timeout=60 shutdown-timeout=3")
    server.log.allow("WSGI0117", "stopping with ")
    old = serving(asks, server)
    answer = request_under_way(server, background, "a")
    daemons.freeze(old)
    try:
        reload = background.submit(run, server, "reload", "site")
        serving(asks, server, without=[old])
        drain = background.submit(run, server, "drain", "site")
        wait_until(lambda: group_of(asks, server)["condition"] == "draining", "the drain")
    finally:
        os.kill(old, signal.SIGCONT)
    try:
        assert answer.result(timeout=30).status == 503
    finally:
        finish(server, "a")
    server.log.expect("WSGI0245: GET /app/wait/a: ")
    assert drain.result().returncode == 0
    done = reload.result()
    assert done.returncode == 1
    assert "the group has been stopped meanwhile" in done.stderr


SERVICE = r"""
import os, time
while True:
    with open(os.path.join(os.path.dirname(__file__), "out", "ticks"), "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.05)
"""
# Loaded by site before the service script, as what a package manager has left behind may be.
BROKEN_INSTALLATION = r"""
import os
if os.path.exists(os.path.join(os.path.dirname(__file__), "..", "out", "broken")):
    os._exit(7)
"""


def test_service_script_goes_on_where_the_one_in_its_place_does_not_start(start, asks):
    groups = """
    WSGIDaemonProcess service threads=0 python-path=${ROOT}/lib
    WSGIImportScript ${ROOT}/service.py process-group=service application-group=%{GLOBAL}
    """
    files = (
        ("service.py", SERVICE),
        ("lib/broken.pth", "import broken_installation\n"),
        ("lib/broken_installation.py", BROKEN_INSTALLATION),
    )
    server = start("", groups, files)
    server.log.allow("exited with status 7", "could not load its scripts")
    pid = wait_until(lambda: daemons.notes(server, "ticks"), "the service", timeout=30)[0]
    server.write("out/broken", "")
    assert "status 7" in asks(server, "reload", "service", status=1)["error"]
    before = len(daemons.notes(server, "ticks"))
    wait_until(lambda: len(daemons.notes(server, "ticks")) > before + 10, "the service to go on")
    assert set(daemons.notes(server, "ticks")) == {pid}
    (server.root / "out/broken").unlink()
    [replaced] = asks(server, "reload", "service", status=0)["replaced"]
    assert replaced["old_pid"] == int(pid)


IMPORTING_APP = r"""
import os
import site_code
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [site_code.VERSION.encode() + b" " + str(os.getpid()).encode()]
"""
# Says that it is being imported, and waits for a file.
SLOW_CODE = r"""
import os, time
OUT = os.path.join(os.path.dirname(__file__), "..", "out")
open(os.path.join(OUT, "importing"), "w").close()
while not os.path.exists(os.path.join(OUT, "go")):
    time.sleep(0.01)
"""
OLD_CODE = ("lib/site_code.py", 'VERSION = "one"\n')


def start_reload(server, asks, background, code):
    """A reload with new code, which is being imported."""
    replace(server, "lib/site_code.py", SLOW_CODE + code)
    reload = background.submit(asks, server, "reload", "site")
    wait_until((server.root / "out/importing").exists, "the import", timeout=30)
    return reload


def use_up(server, worker):
    """Has the worker ask for its replacement, because of maximum-requests."""

    def is_due():
        server.get("/app")
        return server.log.find(f"replacing worker {worker}: ")

    wait_until(is_due, "maximum-requests", timeout=30)


@pytest.mark.parametrize("event", ["recycling", "crash"])
def test_reload_with_preload_brings_the_new_code_also_where_a_worker_ends_meanwhile(
    start, asks, background, event
):
    options = "python-path=${ROOT}/lib preload=On maximum-requests=20"
    server = start(options, files=[OLD_CODE], app=IMPORTING_APP)
    old = serving(asks, server)
    reload = start_reload(server, asks, background, 'VERSION = "two"\n')
    try:
        if event == "recycling":
            use_up(server, old)
        else:
            os.kill(old, signal.SIGKILL)
            server.log.expect(f"worker {old} was killed by signal 9")
            # One with older code is better than none.
            serving(asks, server, without=[old])
            assert server.get("/app").text.startswith("one ")
    finally:
        server.write("out/go", "")
    assert reload.result(timeout=30)["done"]
    assert versions(server) == {"two"}


def test_code_that_does_not_load_displaces_no_worker_that_is_due_to_be_replaced(
    start, asks, background
):
    options = "python-path=${ROOT}/lib maximum-requests=20"
    server = start(options, files=[OLD_CODE], app=IMPORTING_APP)
    server.log.allow_traceback("RuntimeError: on purpose")
    server.log.allow("could not load its scripts")
    old = serving(asks, server)
    reload = start_reload(server, asks, background, "raise RuntimeError('on purpose')\n")
    try:
        use_up(server, old)
    finally:
        server.write("out/go", "")
    answer = reload.result(timeout=30)
    assert not answer["done"]
    assert "on purpose" in answer["error"]
    assert {server.get("/app").text for _ in range(6)} == {f"one {old}"}
    # It is replaced all the same, without another order.
    replace(server, "lib/site_code.py", 'VERSION = "new"\n')
    serving(asks, server, without=[old])
    assert versions(server) == {"new"}


def lines_of(asks, server):
    """The requests under way."""
    workers = group_of(asks, server)["workers"]
    return sorted(it["line"] for worker in workers for it in worker["requests"])


def test_workers_replaced_one_after_the_other_keep_their_requests_apart(
    start, run, asks, background
):
    server = start("graceful-timeout=60 shutdown-timeout=2")
    server.log.allow("WSGI0117", "stopping with ")
    first = serving(asks, server)
    answers = [request_under_way(server, background, "a")]
    assert asks(server, "reload", "site")["done"]
    second = serving(asks, server, without=[first])
    answers.append(request_under_way(server, background, "b"))
    assert asks(server, "reload", "site")["done"]
    third = serving(asks, server, without=[first, second])
    assert lines_of(asks, server) == ["GET /app/wait/a", "GET /app/wait/b"]
    # The end of the first one is not taken for that of the third.
    finish(server, "a")
    assert answers[0].result(timeout=30).status == 200
    wait_until(lambda: first not in workers_of(asks, server), "the end of the first one")
    assert server.get("/-/ready").status == 200
    assert workers_of(asks, server) == {second: "leaving", third: "ready"}
    assert asks(server, "reload", "site")["done"]
    assert lines_of(asks, server) == ["GET /app/wait/b"]
    # The second one knows what it has to answer.
    drain = background.submit(run, server, "drain", "site")
    try:
        assert answers[1].result(timeout=30).status == 503
    finally:
        finish(server, "b")
    server.log.expect("WSGI0245: GET /app/wait/b: ")
    assert drain.result().returncode == 0
    assert daemons.notes(server, "begun-b") == [str(second)]


def test_oldest_worker_of_a_slot_ends_where_another_one_would_be_too_many(start, asks, background):
    server = start("graceful-timeout=60 shutdown-timeout=5")
    server.log.allow("stopping with ")
    answers, pids = [], []
    try:
        for name in ("a", "b", "c"):
            pids.append(serving(asks, server, without=pids))
            answers.append(request_under_way(server, background, name))
            assert asks(server, "reload", "site")["done"]
        assert len(workers_of(asks, server)) == 4
        # The next one takes the place of the first.
        assert asks(server, "reload", "site")["done"]
        assert answers[0].result(timeout=30).status == 503
        server.log.expect("WSGI0245: GET /app/wait/a: ")
        server.log.expect(f"worker {pids[0]} is to end before graceful-timeout is over")
        assert lines_of(asks, server) == ["GET /app/wait/b", "GET /app/wait/c"]
    finally:
        for name in ("a", "b", "c"):
            finish(server, name)
    assert [answer.result().status for answer in answers] == [503, 200, 200]
    assert [daemons.notes(server, f"begun-{name}") for name in "abc"] == [[str(it)] for it in pids]
