"""mod_wsgi_rs stacks: where the threads of a group's workers are, at a real server's socket."""

import contextlib
import json
import os
import pwd
import re
import subprocess
import threading
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such command")

APP = r"""
import ctypes, os, threading, time
OUT = os.path.join(os.path.dirname(__file__), "out")

def mark(name):
    open(os.path.join(OUT, name), "w").close()

def waits_for_the_test():
    mark("waits")
    while not os.path.exists(os.path.join(OUT, "finish")):
        time.sleep(0.01)

def holds_the_lock():
    mark("holds")
    # A function of C that keeps Python's lock, for ever.
    ctypes.PyDLL(None).pause()

def works_in_background():
    while not os.path.exists(os.path.join(OUT, "finish")):
        time.sleep(0.01)

def hostile():
    code = "def f():\n    waits_for_the_test()\nf()"
    exec(compile(code, "\x1b[2Jevil\n\u202e", "exec"), globals())

def churns():
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        threads = [threading.Thread(target=sum, args=(range(500),)) for _ in range(5)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]

def application(environ, start_response):
    path = environ["PATH_INFO"]
    todo = {"/wait": waits_for_the_test, "/hold": holds_the_lock}
    todo |= {"/hostile": hostile, "/churn": churns}
    if path == "/background":
        threading.Thread(target=works_in_background, name="my \x1bthread", daemon=True).start()
    elif path in todo:
        todo[path]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def conf(process="processes=1 threads=3", group="%{GLOBAL}", **more):
    text = f"""
    WSGIDaemonProcess site {process} shutdown-timeout=2
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group={group}
    # The only application of a group would have the main interpreter.
    WSGIScriptAlias /other ${{ROOT}}/app.py process-group=site application-group=other
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, **({"timeout": 60} | more))


@pytest.fixture
def stacks(asks):
    """stacks(server): the workers of the group `site` with the stacks of their threads."""

    def stacks(server, *words, status=0):
        return asks(server, "stacks", "site", *words, status=status)["workers"]

    return stacks


@contextlib.contextmanager
def begin(server, path, mark, *fields, **options):
    """A request that is under way."""
    with server.socket() as sock:
        sock.sendall(head(path, *fields, **options))
        wait_until((server.root / "out" / mark).exists, f"the request of {path}")
        yield sock


def thread_of(worker, function):
    found = [
        thread
        for thread in worker["threads"]
        if any(frame["function"] == function for frame in thread["frames"])
    ]
    assert len(found) == 1, worker
    return found[0]


@pytest.mark.parametrize("group", ["%{GLOBAL}", "shop"])
def test_stack_of_a_request_has_its_place_and_its_request_line(env, start, run, stacks, group):
    server = start(group=group)
    # Threads of the system have names from Python 3.11 on.
    name = r"wsgi-\d.*" if env.python_version >= (3, 11) else r"\? .*"
    with begin(server, "/app/wait?secret=x", "waits") as sock:
        [worker] = stacks(server)
        assert worker["pid"] == daemons.workers(server)[0]
        assert (worker["error"], worker["lock_obtained"]) == (None, True)
        thread = thread_of(worker, "waits_for_the_test")
        assert thread["request"]["line"] == "GET /app/wait"
        assert 0 < thread["request"]["age_seconds"] < 60
        assert thread["application_group"] == group.replace("%{GLOBAL}", "")
        places = [(frame["function"], Path(frame["file"]).name) for frame in thread["frames"]]
        assert places[:2] == [("waits_for_the_test", "app.py"), ("application", "app.py")]
        line = APP.split("\n").index("        time.sleep(0.01)") + 1
        assert thread["frames"][0]["line"] in (line, line - 1)
        text = run(server, "stacks", "site").stdout
        assert re.search(rf"thread {name}: GET /app/wait for \d", text), text
        assert re.search(r"app.py:\d+ waits_for_the_test\n", text), text
        assert "secret" not in text
        assert [it["pid"] for it in stacks(server, "--pid", str(worker["pid"]))] == [worker["pid"]]
        (server.root / "out/finish").touch()
        assert b"200 OK" in sock.recv(1000)


@pytest.mark.needs_lock("is about the lock")
def test_stack_comes_while_c_code_holds_the_lock_for_ever(start, run, stacks):
    server = start()
    with begin(server, "/app/hold", "holds", "Content-Length: 0", method="POST") as sock:
        [worker] = stacks(server)
        assert (worker["error"], worker["lock_obtained"]) == (None, False)
        thread = thread_of(worker, "holds_the_lock")
        assert thread["frames"][0]["function"] == "holds_the_lock"
        assert thread["request"]["line"] == "POST /app/hold"
        # Once more: a thread of the worker still waits for the lock.
        assert thread_of(stacks(server)[0], "holds_the_lock")["frames"] == thread["frames"]
        assert "the GIL was not free" in run(server, "stacks", "site").stdout
        os.kill(worker["pid"], 9)
        assert b" 502 " in sock.recv(1000)
        server.log.expect("WSGI0146.* was killed by signal 9 while serving POST /app/hold")
        server.log.allow("was killed by signal 9")


def test_thread_of_the_application_has_its_name_and_texts_are_harmless(start, run, stacks):
    server = start()
    assert server.get("/app/background").status == 200
    with begin(server, "/app/hostile", "waits"):
        [worker] = stacks(server)
        assert thread_of(worker, "works_in_background")["name"] == "my \\u001bthread"
        files = [frame["file"] for frame in thread_of(worker, "hostile")["frames"]]
        assert "\\u001b[2Jevil\\u000a\\u202e" in files
        for done in [run(server, "stacks", "site"), run(server, "stacks", "site", "--json")]:
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)
        (server.root / "out/finish").touch()


def test_healthy_worker_survives_many_dumps_while_its_threads_come_and_go(start, stacks):
    server = start("processes=1 threads=5")
    pid = int(server.get("/app").text)
    failed, end = [], threading.Event()

    def browse():
        while not end.is_set():
            answer = server.get("/app/churn")
            if (answer.status, answer.text) != (200, str(pid)):
                failed.append((answer.status, answer.text))

    threads = [threading.Thread(target=browse) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        complete = 0
        for _ in range(60):
            [worker] = stacks(server)
            assert (worker["pid"], worker["error"]) == (pid, None)
            complete += not worker["incomplete"]
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert complete >= 55
    # No copy of the process is left.
    assert daemons.workers(server) == [pid]


def test_stopped_worker_keeps_nothing_waiting(start, run, stacks):
    server = start("processes=2 threads=1")
    one, other = daemons.settled(server, 2)

    def all_answer():
        done = run(server, "stacks", "site", "--json")
        found = json.loads(done.stdout)["workers"]
        return len(found) == 2 and all(it["error"] is None for it in found)

    wait_until(all_answer, "both workers")
    daemons.freeze(one)
    try:

        def answers():
            workers = {worker["pid"]: worker for worker in stacks(server, status=1)}
            assert workers[one]["error"] == "the process has not answered in time"
            # A busy machine may leave this one without a processor for as long.
            return workers[other]["error"] is None and workers[other]

        assert wait_until(answers, "the answer of the other", timeout=60)["threads"]
    finally:
        os.kill(one, 18)


def test_unknown_worker_and_group_are_named(start, run):
    server = start()
    done = run(server, "stacks", "site", "--pid", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no worker is process 1" in done.stderr
    assert "there is no process group 'other'" in run(server, "stacks", "other").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
def test_only_root_and_the_user_of_the_group_see_stacks(start):
    server = start()
    [path] = server.root.rglob("*.admin")
    path.chmod(0o666)
    for folder in [server.root, *server.root.parents]:
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o005)
    other_user = pwd.getpwnam("nobody").pw_uid
    program = f"""
import os, socket
os.setuid({other_user})
sock = socket.socket(socket.AF_UNIX)
sock.connect({str(path)!r})
sock.sendall(b"GET /-/stacks HTTP/1.1\\r\\n\\r\\n")
print(sock.recv(1000).decode().splitlines()[0])
"""
    told = subprocess.run(["python3", "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "HTTP/1.1 403 Forbidden\n"
    server.log.allow("a request to stacks was refused")
