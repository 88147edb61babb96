"""Where requests of an event loop are: mod_wsgi_rs stacks, and the status page."""

import contextlib
import os
import re
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import Texts, functions, status
from harness.status import group as group_status

pytestmark = pytest.mark.ours_only("mod_wsgi knows no ASGI")

APP = r"""
import asyncio, ctypes, os, time, weakref
OUT = os.path.join(os.path.dirname(__file__), "out/")
FINISH = OUT + "finish"

async def lasts():
    while not os.path.exists(FINISH):
        await asyncio.sleep(0.05)

def blocks():
    while not os.path.exists(FINISH):
        time.sleep(0.01)

def holds_the_lock():
    ctypes.PyDLL(None).pause()

async def holds_the_lock_until_the_fifo_is_opened():
    ctypes.PyDLL(None).open(os.fsencode(OUT + "fifo"), os.O_RDONLY)

async def comes_later():
    open(OUT + "later", "w").close()
    await lasts()

class Payload:
    pass

async def gathers():
    payload = Payload()
    of_payload = weakref.ref(payload)
    await asyncio.gather(lasts())
    payload = None
    return b"kept" if of_payload() else b"gone"

async def waits_for_the_client(receive):
    while (await receive())["type"] != "http.disconnect":
        pass

async def helps(receive):
    await waits_for_the_client(receive)

async def lifespan(receive, send):
    await receive()
    await lasts()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if scope["type"] == "websocket":
        await lasts()
        await send({"type": "websocket.close"})
        return
    if path == "/app/tasks":
        other = asyncio.create_task(lasts(), name="other")
        helper = asyncio.create_task(helps(receive), name="my \x1bhelper")
        await helper
        return
    if path == "/blocked":
        blocks()
    if path == "/app/hold":
        holds_the_lock()
    if path == "/app/fifo":
        await holds_the_lock_until_the_fifo_is_opened()
    if path == "/app/later":
        await comes_later()
    body = await gathers() if path == "/app/gather" else b"fine"
    headers = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
HANDSHAKE = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
]
# A request for each group, the calls that the page shows, and the answer in the end.
REQUESTS = {
    "app": (["/app/tasks?secret=x"], ["waits_for_the_client", "helps", "application"], None),
    "starting": (["/starting/app.py"], ["lasts", "lifespan", "application"], b" 200 "),
    "socket": (["/socket", *HANDSHAKE], ["lasts", "application"], b" 403 "),
    "blocked": (["/blocked"], ["blocks", "application"], b" 200 "),
}
HELPER = "my \ufffdhelper"
STUCK = ["still running", "did not stop", "stopping", "WSGI0245", "hanging", r"^\[script"]


def conf(options="", groups=tuple(REQUESTS)):
    text = """
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    for name in groups:
        # Which scripts there are behind an alias of a folder is not known before a request comes.
        of_folder = name == "starting"
        lifespan, alias = (
            ("on", f"/{name}/ ${{ROOT}}/") if of_folder else ("off", f"/{name} ${{ROOT}}/app.py")
        )
        text += f"""
        WSGIDaemonProcess {name} asgi-lifespan={lifespan} shutdown-timeout=1 {options}
        ASGIScriptAlias {alias} process-group={name}
        """
    files = (("app.py", APP), ("out/README", "the test writes here"))
    return Conf(text, files=files, timeout=60, threads=32)


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request, start):
    """A server whose groups have event loops of this kind."""
    options = f"asgi-loop={request.param}"
    if request.param == "uvloop":
        options += f" python-path={request.getfixturevalue('uvloop')}"
    return start(options)


def shown(server, name):
    """The functions in which the oldest request of a group is, as the status page has them."""
    requests = [it for worker in group_status(server, name)["workers"] for it in worker["requests"]]
    return next((functions(it["stack"]) for it in requests if it["stack"]), [])


def is_shown(server, name, *calls):
    """Whether these call one another there, the innermost first."""
    found = shown(server, name)
    return list(calls) in [found[at : at + len(calls)] for at in range(len(found))]


@pytest.fixture
def tasks(asks):
    """tasks(server, "app"): those of the group's worker by their names, as the command has them."""

    def tasks(server, name):
        [worker] = asks(server, "stacks", name, status=0)["workers"]
        assert worker["error"] is None
        return {it["name"]: it for it in worker["tasks"]}

    return tasks


def test_tasks_have_their_names_places_and_requests(env, server, run, tasks):
    def found():
        found = tasks(server, "app")
        helper = found.get(HELPER, {"frames": [], "request": None})
        # A request that has begun during the look is not told of.
        own = [it for it in found.values() if functions(it) == ["application"]]
        is_whole = all(it["request"] for it in [*own, helper])
        return is_whole and functions(helper) == ["waits_for_the_client", "helps"] and found

    def runs():
        return any("blocks" in functions(it) for it in tasks(server, "blocked").values())

    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(server.socket()) for name in REQUESTS}
        for name, (words, _, _) in REQUESTS.items():
            sockets[name].sendall(head(*words))
        all_of_them = wait_until(found, "the tasks", timeout=30)
        [own] = [it for it in all_of_them.values() if functions(it) == ["application"]]
        line = own["frames"][0]["line"]
        assert APP.splitlines()[line - 1] == "        await helper"
        for task in (own, all_of_them[HELPER]):
            assert task["request"]["line"] == "GET /app/tasks"
            assert 0 < task["request"]["age_seconds"] < 60
        assert "lasts" in functions(all_of_them["other"])
        # From Python 3.12 on a task tells its context.
        line = "GET /app/tasks" if env.python_version >= (3, 12) else None
        assert (all_of_them["other"]["request"] or {}).get("line") == line
        text = run(server, "stacks", "app").stdout
        assert re.search(r"task Task-\d+: GET /app/tasks for \d", text), text
        assert re.search(r"task my .helper: GET.*\n.*app.py:\d+ waits_for_the_client\n", text), text
        assert "secret" not in text
        for name, (_, calls, _) in REQUESTS.items():
            wait_until(lambda at=(name, *calls): is_shown(server, *at), name, timeout=30)
        if not env.free_threading:
            wait_until(runs, "the task that runs", timeout=30)
        (server.root / "out/finish").touch()
        for name, (_, _, answer) in REQUESTS.items():
            assert answer is None or answer in sockets[name].recv(1000)


@pytest.mark.needs_lock("is about the lock")
def test_status_shows_the_function_that_holds_the_lock_of_an_event_loop(start, run, asks):
    server = start("graceful-timeout=1", groups=["app"])
    server.log.allow(*STUCK, "was killed by signal 9", "WSGI0146")
    with server.socket() as sock:
        # A GET would be sent to the next worker.
        sock.sendall(head("/app/hold", "Content-Length: 0", method="POST"))
        calls = ["holds_the_lock", "application"]
        wait_until(lambda: is_shown(server, "app", *calls), "the stack", timeout=30)
        assert any(" holds_the_lock" in text for text in Texts(status(server, "")).texts)
        [worker] = asks(server, "stacks", "app", status=0)["workers"]
        assert (worker["lock_obtained"], worker["tasks"]) == (False, [])
        assert any(functions(it)[:2] == calls for it in worker["threads"]), worker
        assert "and the tasks of an event loop" in run(server, "stacks", "app").stdout
        [pid] = daemons.workers(server)
        os.kill(pid, 9)
        assert b" 502 " in sock.recv(1000)


def threads_named(pid, name):
    """The threads of a process that have this name in the kernel."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (thread / "comm").read_text().strip() == name:
                found.append(thread.name)
    return found


@contextlib.contextmanager
def fifo_that_holds_the_lock(server):
    """A function that opens the FIFO of a request of /app/fifo; at the end it is opened anyway."""
    path = server.root / "out/fifo"
    os.mkfifo(path)
    path.chmod(0o666)

    def release():
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    try:
        yield release
    finally:
        # Fails where no request waits.
        with contextlib.suppress(OSError):
            release()


@pytest.mark.needs_lock("is about the lock")
def test_stacks_shows_no_answer_of_python_that_came_too_late(start, asks):
    server = start(groups=["app"])
    [pid] = daemons.workers(server)

    def report():
        [worker] = asks(server, "stacks", "app", status=0)["workers"]
        return worker

    def is_late():
        return not report()["lock_obtained"] and threads_named(pid, "wsgi-names")

    def obtained():
        worker = report()
        return worker["lock_obtained"] and [functions(it) for it in worker["tasks"]]

    with server.socket() as held, server.socket() as later:
        with fifo_that_holds_the_lock(server) as release:
            held.sendall(head("/app/fifo"))
            wait_until(is_late, "a report that does not obtain the lock", timeout=30)
            release()
            assert b" 200 " in held.recv(1000)
        # The thread that has asked Python has its answer, which no report has taken.
        wait_until(lambda: not threads_named(pid, "wsgi-names"), "the late answer", timeout=30)
        later.sendall(head("/app/later"))
        wait_until((server.root / "out/later").exists, "the second request", timeout=30)
        calls = wait_until(obtained, "a report that obtains the lock", timeout=30)
        assert any("comes_later" in it for it in calls), calls
        assert not any("holds_the_lock_until_the_fifo_is_opened" in it for it in calls), calls
        (server.root / "out/finish").touch()
        assert b" 200 " in later.recv(1000)


def test_a_look_at_a_request_keeps_none_of_its_local_variables(start):
    server = start(groups=["app"])
    with server.socket() as sock:
        sock.sendall(head("/app/gather"))
        calls = ["lasts", "gathers", "application"]
        wait_until(lambda: is_shown(server, "app", *calls), "the stack", timeout=30)
        (server.root / "out/finish").touch()
        answer = b""
        while not answer.endswith((b"gone", b"kept")):
            answer += sock.recv(1000) or pytest.fail(f"an answer that ends: {answer}")
        assert answer.endswith(b"gone")
