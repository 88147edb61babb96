"""The status answers at once while all threads of several groups are stuck, each in its own way."""

import contextlib
import time

import pytest
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import LIMIT, Texts, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

APP = r"""
import ctypes, socket, time
def spins():
    while True:
        pass
def sleeps():
    time.sleep(300)
def holds_the_lock():
    ctypes.PyDLL(None).sleep(300)
def waits_for_a_peer():
    one, other = socket.socketpair()
    one.recv(1)
STUCK = {"/spin": spins, "/sleep": sleeps, "/lock": holds_the_lock, "/peer": waits_for_a_peer}
def application(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        STUCK[environ["SCRIPT_NAME"]]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
LOOP = r"""
def blocks():
    while True:
        pass
async def application(scope, receive, send):
    if scope["path"].endswith("/stuck"):
        blocks()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""
# By group: the function in which its threads are.
GROUPS = {
    "spin": "spins",
    "sleep": "sleeps",
    "lock": "holds_the_lock",
    "peer": "waits_for_a_peer",
    "loop": "blocks",
}
PROCESSES, THREADS, WAITING = 2, 2, 2
ASKED = PROCESSES * THREADS + WAITING


def conf():
    lines = ["WSGIScriptAlias /app ${ROOT}/app.py process-group=sleep"]
    for name in GROUPS:
        times = "graceful-timeout=1 shutdown-timeout=1 deadlock-timeout=0"
        threads = 1 if name == "loop" else THREADS
        lines.append(f"WSGIDaemonProcess {name} processes={PROCESSES} threads={threads} {times}")
        alias, script = ("ASGI", "loop.py") if name == "loop" else ("WSGI", "app.py")
        where = f"process-group={name} application-group=%{{GLOBAL}}"
        lines.append(f"{alias}ScriptAlias /{name} ${{ROOT}}/{script} {where}")
    lines.append("<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>")
    lines.append("<Location /-/>\nSetHandler wsgi-health\n</Location>")
    files = (("app.py", APP), ("loop.py", LOOP), ("out/README", ""))
    threads = len(GROUPS) * ASKED + 16
    return Conf("\n".join(lines), files=files, timeout=300, threads=threads)


def seen(group):
    """Processes that have a request, requests, and stacks that show where these are stuck."""
    workers = group["workers"]
    requests = [request for worker in workers for request in worker["requests"]]
    stacks = [it["stack"]["frames"] for it in requests if it["stack"]]
    places = [{frame["function"] for frame in frames} for frames in stacks]
    busy = sum(bool(worker["requests"]) for worker in workers)
    return busy, len(requests), sum(GROUPS[group["name"]] in it for it in places)


def is_stuck(group):
    """Whether no process of the group can serve another request."""
    busy, requests, stacks = seen(group)
    is_full = group["name"] == "loop" or requests == PROCESSES * THREADS
    return is_full and busy == stacks == PROCESSES


@pytest.mark.slow
def test_page_json_and_metrics_answer_at_once_while_all_threads_of_all_groups_are_stuck(start):
    server = start()
    server.log.allow("still running", "did not stop", "stopping", "WSGI0245", "hanging")
    server.log.allow(r"^\[script", "exited with status 1 while serving GET /", "killed")
    for name in GROUPS:
        assert server.get(f"/{name}/fine").status == 200

    def ready():
        return [it["workers_ready"] for it in status(server)["groups"]]

    # An event loop has room for all requests, and gets them until that of another process serves.
    wait_until(lambda: ready() == [PROCESSES] * len(GROUPS), "all processes to serve", timeout=60)
    with contextlib.ExitStack() as stack:
        for name in GROUPS:
            for _ in range(ASKED):
                stack.enter_context(server.socket()).sendall(head(f"/{name}/stuck"))

        def others():
            groups = status(server)["groups"]
            return {it["name"]: seen(it) for it in groups if not is_stuck(it)}

        with contextlib.suppress(AssertionError):
            wait_until(lambda: not others(), "all threads of all groups to be stuck", timeout=60)
        assert others() == {}
        took = {}
        paths = [f"/wsgi-status?{query}" for query in ("", "json", "prometheus", "group=lock")]
        for path in [*paths, "/-/metrics", "/-/healthy", "/-/ready"] * 5:
            began = time.monotonic()
            answer = server.get(path)
            took[path] = max(took.get(path, 0), time.monotonic() - began)
            assert answer.status == 200, path
        assert max(took.values()) < LIMIT, took
        texts = Texts(status(server, "")).texts
        metrics = status(server, "prometheus")
        for name, function in GROUPS.items():
            assert sum(text.endswith(f" {function}") for text in texts) >= PROCESSES, name
            waiting = next(it for it in status(server)["groups"] if it["name"] == name)
            assert name == "loop" or waiting["queue_depth"] >= WAITING, name
            assert f'wsgi_workers_ready{{group="{name}"}} {PROCESSES}\n' in metrics
