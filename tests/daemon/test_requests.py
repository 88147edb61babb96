"""Daemon mode through httpd: what tests of both modes cannot see."""

import concurrent.futures
import contextlib
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head
from harness.conf import Conf
from harness.daemons import (
    await_all_workers,
    is_alive,
    manager,
    pid_of,
    under_load,
    wait_for_notes,
    workers,
)
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("our own processes")

TEXT = """
WSGIDaemonProcess site processes=2 threads=2 python-path=${APPS} graceful-timeout=5
WSGIRestrictEmbedded On
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
"""
APP = """
import os, time
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        if environ["QUERY_STRING"]:
            with open(environ["QUERY_STRING"], "a") as note:
                note.write("begun\\n")
        time.sleep(1)
    if path == "/hold":
        note = environ["QUERY_STRING"]
        with open(note, "a") as begun:
            begun.write("begun\\n")
        while not os.path.exists(note + ".go"):
            time.sleep(0.01)
    if path == "/die":
        os.kill(os.getpid(), 9)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {os.getuid()} one".encode()]
"""


def conf(text=TEXT, app=APP, files=(), *, children=2, **more):
    files = (("app.py", app), ("out/README", "the application writes here"), *files)
    return Conf(text, files=files, children=children, **more)


@pytest.fixture
def server(start):
    server = start(threads=8)
    await_all_workers(server)
    server.log.allow("was killed by signal 9", "WSGI0146", "WSGI0119")
    return server


def test_requests_are_served_by_other_processes_as_apaches_user(server, env):
    served = {pid_of(server.get("/")) for _ in range(20)}
    assert served <= set(workers(server))
    if env.user:
        assert server.get("/").text.split()[1] == str(env.user.pw_uid)


def test_a_request_never_waits_behind_a_busy_worker_while_another_is_idle(server):
    def pair():
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            slow = [pool.submit(server.get, "/slow") for _ in range(2)]
            return {pid_of(future.result()) for future in slow}

    # Until it is ready a worker is no candidate.
    wait_until(lambda: pair() == set(workers(server)), "both workers")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(server.get, f"/hold?{server.root}/out/note") for _ in range(2)]
        try:
            # Else the quick one may come before the second slow one and take its place.
            wait_for_notes(server, 2)
            assert server.get("/").status == 200
            assert not any(future.done() for future in slow)
        finally:
            (server.root / "out/note.go").touch()
        assert {pid_of(future.result()) for future in slow} == set(workers(server))


def test_a_worker_that_dies_is_named_and_replaced(server):
    before = set(workers(server))
    assert server.get("/die").status == 502
    # In the request's own record, not only in that of the manager.
    server.log.wait_for(r"WSGI0146: .*: worker \d+ was killed by signal 9 while serving GET /die")
    wait_until(
        lambda: len(workers(server)) == 2 and set(workers(server)) != before,
        "a new worker",
    )
    assert server.get("/").status == 200


def test_no_get_fails_while_every_worker_is_killed_in_turn(server):
    server.get("/")

    def kill():
        for _ in range(4):
            victim = workers(server)[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(
                lambda victim=victim: victim not in workers(server) and len(workers(server)) == 2,
                "a replacement",
            )

    assert under_load(server, kill) == []


def test_no_get_fails_while_workers_are_replaced_after_a_touch(server):
    server.get("/")
    before = set(workers(server))
    script = server.root / "app.py"

    def touch():
        fresh = server.root / "fresh.py"
        fresh.write_text(APP.replace("one", "two"))
        # Whole: a worker may read it at any time.
        fresh.replace(script)
        wait_until(lambda: not before & set(workers(server)), "new workers")

    assert under_load(server, touch) == []
    assert server.get("/").text.endswith("two")


def test_graceful_restart_fails_no_get_and_replaces_workers(server):
    server.get("/")
    before = set(workers(server))

    def graceful():
        server.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: not before & set(workers(server)), "new workers")

    assert under_load(server, graceful) == []


def test_killed_manager_is_restarted_and_its_workers_exit(server):
    server.get("/")
    first, orphans = manager(server), workers(server)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: manager(server) != first, "another manager")
    wait_until(lambda: not any(is_alive(pid) for pid in orphans), "the orphans to leave")
    server.log.allow("its manager .* was killed by signal 9")
    wait_until(lambda: server.get("/").status == 200, "an answer")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_remains_after_a_stop_or_a_kill_of_the_parent(start, signum):
    server = start(threads=8)
    await_all_workers(server)
    server.get("/")
    left = [manager(server), *workers(server)]
    children = server.children()
    if signum == signal.SIGKILL:
        server.expected_status = -signum
    server.send_signal(signum)
    server.process.wait(10)
    wait_until(lambda: not any(map(is_alive, left)), "the daemons to leave")
    if signum == signal.SIGTERM:
        assert not list(Path(server.root).glob("**/*.sock"))
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_log_distinguishes_exit_status_and_signal(start):
    server = start(TEXT.replace("processes=2", "processes=2 home=/nonexistent"))
    (line, *_) = server.log.expect("its manager .* it is started again")
    assert "ended with exit status 1; it is started again" in line.text
    server.log.allow("cannot change to the directory /nonexistent: No such file")


def test_restarts_during_the_pause_of_a_manager_leave_one_that_serves(server):
    server.get("/")
    for died in range(1, 5):
        os.kill(manager(server), signal.SIGKILL)
        server.log.wait_for("its manager .* it is started again", count=died)
    # The next one waits 1.6 seconds before it reads messages; a restart ends the pause.
    for signum in (signal.SIGUSR1, signal.SIGHUP):
        restart(server, signum)
    # Until then requests are refused.
    server.log.allow("WSGI0117: daemon process 'site' does not start")
    wait_until(lambda: serves(server), "answers of both", timeout=20)
    serving = manager(server)
    assert server.get("/").status == 200
    assert manager(server) == serving


def test_a_manager_that_cannot_be_started_is_started_later(start):
    # All children there may be are there: httpd would exit if it could not start one.
    server = start(children=1, start=1)
    assert server.get("/").status == 200
    parent = server.process.pid
    before = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (4, before[1]))
    os.kill(manager(server), signal.SIGKILL)
    server.log.expect("WSGI0024: cannot start daemon process group 'site'")
    server.log.expect("its manager .* was killed by signal 9$")
    assert not server.log.find("it is started again")
    resource.prlimit(parent, resource.RLIMIT_NOFILE, before)
    # httpd looks around every ten seconds.
    server.log.wait_for("'site': manager started after [0-9]+ failed attempts", timeout=30)
    server.log.allow("WSGI0117")
    wait_until(lambda: server.get("/").status == 200, "an answer", timeout=20)


def test_programs_that_an_application_starts_ignore_no_signal(start):
    """Although Apache's parent and the manager ignore some."""
    look = """
import subprocess
SEEN = subprocess.check_output(["grep", "SigIgn", "/proc/self/status"], text=True).split()[1]
"""
    app = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [SEEN.encode()]
"""
    text = f"""{TEXT}
    WSGIDaemonProcess service threads=0
    WSGIImportScript ${{ROOT}}/service.py process-group=service application-group=%{{GLOBAL}}
    """
    service = f"{look}open(__file__.replace('service.py', 'out/seen'), 'w').write(SEEN)\n"
    # The C library keeps two for itself: they stay as they were where the tests were started.
    settable = ~sum(1 << number - 1 for number in (32, 33))
    server = start(text, look + app, (("service.py", service),))
    assert int(server.get("/").text, 16) & settable == 0
    seen = server.root / "out/seen"
    word = wait_until(lambda: seen.exists() and seen.read_text(), "the service to write")
    assert int(word, 16) & settable == 0


# --- sockets that are removed ---------------------------------------------------------------------


@pytest.fixture
def with_run(start):
    """A server whose sockets are in a directory of their own."""
    server = start("WSGISocketPrefix ${ROOT}/run/wsgi\n" + TEXT, files=(("run/x", ""),))
    wait_until(lambda: serves(server), "answers of both", timeout=20)
    yield server
    server.stop()
    assert not [*(server.root / "run").glob("*.sock")]


def sockets(server):
    return sorted((server.root / "run").glob("*.sock"))


def restart(server, signum=signal.SIGUSR1):
    """A graceful restart unless told otherwise; managers may stay."""
    before = len(server.log.find(READY))
    server.send_signal(signum)
    server.log.wait_for(READY, count=before + 1)


def serves(server):
    """Whether both processes answer, side by side."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(server.get, ["/slow"] * 4)]
    return len({pid_of(answer) for answer in answers if answer.status == 200}) == 2


def test_removed_socket_is_recreated_on_graceful_restart(with_run):
    """By tmpwatch, say. Without root no file is given away, and no error would show it."""
    server = with_run
    gone, stays = sockets(server)
    gone.unlink()
    restart(server)
    (line, *more) = server.log.expect("its socket .* has been removed")
    assert str(gone) in line.text
    assert not more
    assert stays in sockets(server)
    assert len(sockets(server)) == 2
    wait_until(lambda: serves(server), "answers of both", timeout=20)


def test_foreign_socket_paths_are_skipped(with_run):
    """Such paths can be foreseen: the number of the parent, and a running one."""
    server = with_run
    for serial in range(2, 22):
        (server.root / f"run/wsgi.{server.process.pid}.{serial}.sock").mkdir()
    sockets(server)[0].unlink()
    restart(server)
    server.log.expect("its socket .* has been removed")
    assert (server.root / f"run/wsgi.{server.process.pid}.22.sock").is_socket()
    wait_until(lambda: serves(server), "answers of both", timeout=20)
    for path in sockets(server):
        if path.is_dir():
            path.rmdir()


def test_a_restart_that_cannot_make_sockets_leaves_the_server_running(with_run):
    server = with_run
    run, away = server.root / "run", server.root / "away"
    run.rename(away)
    conf = (server.root / "httpd.conf").read_text()
    late = "WSGIDaemonProcess late\nWSGIScriptAlias /late ${ROOT}/app.py process-group=late\n"
    (server.root / "httpd.conf").write_text(
        conf.replace("WSGIDaemonProcess site", late + "WSGIDaemonProcess site")
    )
    old = daemons.httpd_children(server)
    restart(server)
    # They know no group `late`, and have connections to workers.
    wait_until(lambda: not set(old) & set(daemons.httpd_children(server)), "the old children")
    server.log.expect("WSGI0013: cannot make the socket .* of daemon process group 'site'")
    server.log.expect("WSGI0013: cannot make the socket .* of daemon process group 'late'")
    server.log.allow("WSGI0117")
    assert server.get("/late").status == 503
    assert server.get("/").status == 503
    away.rename(run)
    restart(server)
    wait_until(lambda: serves(server), "answers of both", timeout=20)
    wait_until(lambda: server.get("/late").status == 200, "the other group", timeout=20)


# --- paths that are not UTF-8 ---------------------------------------------------------------------

CAFE = os.fsdecode(b"caf\xe9")
LATIN = """
import os, sys, beside
SEEN = {
    "script": __file__, "home": os.getcwd(), "prefix": sys.prefix, "beside": beside.__file__,
    "imported": getattr(sys, "imported_script", ""),
}
VERSION = 1
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {name: os.fsencode(path).decode("latin-1") for name, path in SEEN.items()}
    told |= {"root": environ["SCRIPT_FILENAME"], "version": VERSION}
    return [__import__("json").dumps(told).encode()]
"""


def test_paths_that_are_not_utf_8_reach_the_daemon_unchanged(start, env, tmp_path):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2 python-home=${{ROOT}}/{CAFE}/venv home=${{ROOT}}/{CAFE} \\
        python-path=${{ROOT}}/{CAFE}/lib
    WSGIImportScript ${{ROOT}}/{CAFE}/import.py process-group=site application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/{CAFE}/app.py process-group=site application-group=%{{GLOBAL}}
    WSGISocketPrefix ${{ROOT}}/{CAFE}/socket
    """
    files = {"app.py": LATIN, "import.py": "import sys\nsys.imported_script = __file__\n"}
    files["lib/beside.py"] = ""
    files = tuple((f"{CAFE}/{name}", content) for name, content in files.items())
    python = f"/usr/bin/python{env.python}"
    if not Path(python).exists():
        pytest.skip("the module was not built for the system's Python")

    def prepare(server):
        # venv itself cannot write such a name down.
        plain = server.root / "venv"
        subprocess.run([python, "-m", "venv", "--without-pip", plain], check=True)
        plain.rename(server.root / CAFE / "venv")

    server = start(text, files=files, prepare=prepare)
    folder = server.root / CAFE
    shown = os.fsencode(folder).decode("latin-1")
    assert server.get("/").json() == {
        "script": f"{shown}/app.py",
        "home": shown,
        "prefix": f"{shown}/venv",
        "beside": f"{shown}/lib/beside.py",
        "imported": f"{shown}/import.py",
        "root": f"{folder}/app.py",
        "version": 1,
    }
    # The worker names the file that has changed to its manager.
    server.write(f"{CAFE}/app.py", LATIN.replace("VERSION = 1", "VERSION = 2"))
    wait_until(lambda: server.get("/").json()["version"] == 2, "the new version")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([f"X-{number}: x" for number in range(17_000)], "more than 16384 headers"),
        ([f"X-{number}: {'x' * 8000}" for number in range(140)], "more than 1048576 bytes"),
        (["X" * 17_000 + ": x"], "a name of more than 16384 bytes"),
    ],
)
def test_a_request_that_is_too_long_for_a_daemon_is_the_clients_fault(start, fields, why):
    server = start(TEXT + "LimitRequestFields 0\nLimitRequestFieldSize 20000\n")
    raw = server.raw(head("/", *fields, "Connection: close"))
    assert raw.startswith(b"HTTP/1.1 431 ")
    server.log.expect(f"WSGI0121: the request cannot be passed to a daemon process: .* {why}")
    assert server.get("/").status == 200


def test_hanging_worker_gets_no_requests_that_others_can_serve(start):
    """Little goes on, so each request finds both workers idle, and the one that hangs no busier."""
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site processes=2 threads=2 socket-timeout=2
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    server = start(text, children=1, start=1)
    server.log.allow("WSGI0145")

    def stop_one():
        pid = pid_of(server.get("/"))
        daemons.freeze(pid)
        if server.get("/").status == 504:
            return pid
        # The other one was not ready when that one was asked.
        os.kill(pid, signal.SIGCONT)
        return None

    hung = wait_until(stop_one, "a request that runs into a worker that hangs")
    try:
        began = time.monotonic()
        while time.monotonic() - began < 1:
            answer = server.get("/")
            assert (answer.status, pid_of(answer) == hung) == (200, False)
    finally:
        os.kill(hung, signal.SIGCONT)
    # It is tried again by and by.
    wait_until(lambda: pid_of(server.get("/")) == hung, "an answer of the one that hung")
