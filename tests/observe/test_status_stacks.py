"""The status page shows where the oldest requests are in Python, whatever their threads do."""

import contextlib
import time
from pathlib import Path

import pytest
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import LIMIT, Texts, group, serves, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handler")

APP = r"""
import ctypes, os, time
HERE = os.path.dirname(__file__)
def spins():
    while True:
        pass
def sleeps():
    time.sleep(60)
def holds_the_lock():
    ctypes.PyDLL(None).sleep(60)
def pretends():
    # In the place of the stack, which the worker itself writes anew each second.
    with open("/proc/self/maps") as maps:
        shared = [line.split()[0] for line in maps if "rw-s" in line and "memfd:" in line]
    text = b"<b>\x1b\t7\t<script>\xff\n" * 120
    until = time.monotonic() + 60
    while time.monotonic() < until and not os.path.exists(os.path.join(HERE, "out/finish")):
        for place in shared:
            first, last = (int(end, 16) for end in place.split("-"))
            words = (ctypes.c_uint64 * ((last - first) // 8)).from_address(first)
            if words[0] != int.from_bytes(b"wsgi-sb6", "big"):
                continue
            for record in range(64, 64 + words[1] * words[3], words[3]):
                since = words[record + 276]
                if since:
                    words[record + 20] = 2
                    words[record + 21:record + 25] = [0, since, since, 1 << 63]
                    ctypes.memmove(first + 8 * (record + 25), text, 2008)
        time.sleep(0.001)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/lock":
        holds_the_lock()
    if path == "/spin":
        spins()
    if path == "/sleep":
        sleeps()
    if path == "/pretend":
        pretends()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def conf(options):
    text = f"""
    WSGIDaemonProcess site {options} graceful-timeout=1 shutdown-timeout=1
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    <Location /-/>
        SetHandler wsgi-health
    </Location>
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, timeout=60, threads=32)


def stacks(server, name="site"):
    """The stacks of the oldest requests of the group's workers, as they are in the JSON."""
    requests = [it for worker in group(server, name)["workers"] for it in worker["requests"]]
    return [it["stack"] for it in requests if it["stack"]]


STUCK = ["still running", "did not stop", "stopping", "WSGI0245", "hanging", r"^\[script"]
STUCK_IN = {"/app/spin": "spins", "/app/sleep": "sleeps", "/app/lock": "holds_the_lock"}


@pytest.mark.parametrize("path", STUCK_IN)
def test_status_answers_at_once_while_each_thread_of_each_worker_is_stuck(start, path):
    server = start("processes=2 threads=2")
    server.log.allow(*STUCK)
    # With the lock held Python is not finalised, and the process ends after shutdown-timeout.
    server.log.allow("exited with status 1 while serving GET /app/lock")
    function = STUCK_IN[path]

    def are_there():
        found = stacks(server)
        places = [{frame["function"] for frame in it["frames"]} for it in found]
        return len(found) == 2 and all(function in it for it in places) and found

    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(server.socket()).sendall(head(path))

        def is_full():
            seen = group(server)
            return (seen["requests_active"], seen["queue_depth"]) == (4, 2)

        wait_until(is_full, "the queue", timeout=30)
        for found in wait_until(are_there, "the stacks", timeout=30):
            frames = [(Path(it["file"]).name, it["function"]) for it in found["frames"]]
            assert frames == [("app.py", function), ("app.py", "application")]
            at, line = (found["frames"][index]["line"] for index in (0, 1))
            code = APP.splitlines()
            assert code[line - 1] == f"        {function}()"
            assert code.index(f"def {function}():") < at - 1 <= code.index(f"def {function}():") + 2
            assert found["is_cut"] is False
        took = []
        for query in ("", "json", "prometheus", "json&group=site") * 5:
            began = time.monotonic()
            text = status(server, query)
            took.append(time.monotonic() - began)
        assert "site" in str(text)
        assert max(took) < LIMIT, took
        page = Texts(status(server, ""))
        assert sum(f" {function}" in text for text in page.texts) == 2
        seen = group(server)
        assert (seen["requests_active"], seen["workers_ready"]) == (4, 2)
        assert {it["line"] for worker in seen["workers"] for it in worker["requests"]} == {
            f"GET {path}"
        }
        assert server.get("/-/healthy").text == "healthy\n"
        assert server.get("/-/ready").status == 200


def test_stack_is_that_of_its_request_alone_and_text_of_a_hostile_worker(start):
    server = start("processes=1 threads=1")
    server.log.allow(*STUCK)

    def pretended():
        return "<b>\ufffd:7 <script>\ufffd" in Texts(status(server, "")).texts

    with server.socket() as sock:
        sock.sendall(head("/app/pretend"))
        wait_until(pretended, "the text of the worker", timeout=30)
        page = Texts(status(server, ""))
        assert "script" not in page.tags
        assert "b" not in page.tags
        frames = {tuple(it.values()) for stack in stacks(server) for it in stack["frames"]}
        assert all(len(frame) == 3 for frame in frames)
        (server.root / "out/finish").touch()
        assert b"200 OK" in sock.recv(1000)
    with server.socket() as sock:
        sock.sendall(head("/app/sleep"))
        wait_until(lambda: serves(server, "/app/sleep"), "the request")
        [request] = group(server)["workers"][0]["requests"]
        # A machine that others use may take a second until here.
        assert request["stack"] is None or request["age_seconds"] > 1
        wait_until(lambda: stacks(server), "the stack", timeout=30)
        [stack] = stacks(server)
        assert stack["frames"][0]["function"] == "sleeps"
