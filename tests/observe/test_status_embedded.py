"""The status page tells of Apache's children that run Python, and of what hangs in them."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from harness.client import head
from harness.conf import Conf
from harness.daemons import httpd_children
from harness.httpd import READY, START_TIMEOUT, wait_until
from harness.status import LIMIT, Texts, status

pytestmark = [
    pytest.mark.ours_only("mod_wsgi has no such handler"),
    pytest.mark.all_mpms,
]

APP = r"""
import ctypes, os, time
HERE = os.path.dirname(__file__)
def is_over():
    return os.path.exists(os.path.join(HERE, "out", "finish"))
def waits():
    while not is_over():
        time.sleep(0.01)
def spins():
    while not is_over():
        pass
def holds_the_lock():
    while not is_over():
        # usleep with the lock.
        ctypes.PyDLL(None).usleep(300_000)
def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/wait"):
        waits()
    if environ["PATH_INFO"] == "/spin":
        spins()
    if environ["PATH_INFO"] == "/lock":
        holds_the_lock()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
# An access script that hangs as well.
ACCESS = APP.replace("def application(environ, start_response)", "def allow_access(environ, host)")
ACCESS = ACCESS.partition("    start_response")[0].replace('"PATH_INFO"', '"REQUEST_URI"')
ACCESS = ACCESS.replace('startswith("/wait")', 'endswith("/wait")')
ACCESS += "    return True\n"
PROCESSES = {"event": 2, "worker": 2, "prefork": 6}
THREADS = {"event": 4, "worker": 4, "prefork": 1}
# A child that is killed, or that has a request until the end.
KILLED = ["exit signal Killed", "still did not exit", "did not exit", r"^\[script"]


def conf(mpm, lines="", children=0, aliases="WSGIScriptAlias /app ${ROOT}/app.py", **more):
    text = f"""
    {aliases}
    <Location /wsgi-status>
        SetHandler wsgi-status
        {lines}
    </Location>
    <Location /-/>
        SetHandler wsgi-health
    </Location>
    """
    count = children or PROCESSES[mpm]
    files = (("app.py", APP), ("access.py", ACCESS), ("out/README", "the tests write here"))
    options = {"start": count, "children": count, "threads": THREADS[mpm], "timeout": 60}
    return Conf(text, files=files, **(options | more))


@pytest.fixture
def start(private, mpm):
    def start(*arguments, **options):
        server = private(conf(mpm, *arguments, **options))
        server.log.allow(*KILLED)
        return server

    return start


@pytest.fixture
def stuck():
    """stuck(server, count, path): so many requests that wait for server.root/out/finish."""
    with contextlib.ExitStack() as stack:

        def stuck(server, count, path="/app/wait?token=x"):
            for _ in range(count):
                stack.enter_context(server.socket()).sendall(head(path))
            stack.callback((server.root / "out/finish").touch)
            return wait_until(
                lambda: (
                    status(server)["embedded"]["requests_active"] == count
                    and status(server)["embedded"]
                ),
                f"{count} requests",
                timeout=30,
            )

        yield stuck


def requests(embedded):
    return [it for child in embedded["children"] for it in child["requests"]]


def pids(server):
    return {child["pid"] for child in status(server)["embedded"]["children"]}


def metrics(server):
    text = server.get("/-/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_status_answers_at_once_while_all_threads_but_one_are_stuck(start, stuck, mpm):
    server = start()
    count = PROCESSES[mpm] * THREADS[mpm] - 1
    embedded = stuck(server, count)
    assert [it["line"] for it in requests(embedded)] == ["GET /app/wait"] * count
    assert all(0 < it["age_seconds"] < 60 for it in requests(embedded))
    oldest = max(it["age_seconds"] for it in requests(embedded))
    assert embedded["oldest_request_seconds"] == oldest
    with_requests = [child for child in embedded["children"] if child["requests"]]
    assert {child["pid"] for child in with_requests} <= set(httpd_children(server))
    for child in with_requests:
        assert child["state"] == "ready"
        assert len(child["requests"]) <= THREADS[mpm]
        assert child["resident_bytes"] > child["private_bytes"] > 1_000_000
        assert child["cpu_seconds"] > 0
        assert child["age_seconds"] > max(it["age_seconds"] for it in child["requests"])
    wait_until(lambda: status(server)["embedded"]["oldest_request_seconds"] > oldest, "a later age")
    took = []
    for query in ("", "json", "prometheus") * 5:
        began = time.monotonic()
        status(server, query)
        took.append(time.monotonic() - began)
    assert max(took) < LIMIT, took
    page = Texts(status(server, ""))
    assert page.texts.count("GET /app/wait") == count
    values = metrics(server)
    ready = embedded["children_ready"]
    assert ready == len(embedded["children"])
    assert embedded["threads_per_child"] == THREADS[mpm]
    assert values['wsgi_workers_ready{group=""}'] >= ready
    assert values['wsgi_threads{group=""}'] >= ready * THREADS[mpm]
    assert values['wsgi_threads_busy{group=""}'] == count
    assert values['wsgi_oldest_request_seconds{group=""}'] > oldest
    memory = 'wsgi_process_resident_memory_bytes{group="",slot="'
    assert min(value for name, value in values.items() if name.startswith(memory)) > 1_000_000
    assert not any("exits" in name or "starts" in name for name in values if 'group=""' in name)
    (server.root / "out/finish").touch()
    wait_until(lambda: not status(server)["embedded"]["requests_active"], "the end", timeout=30)
    assert status(server)["embedded"]["oldest_request_seconds"] == 0

    def served():
        return sum(child["served"] for child in status(server)["embedded"]["children"])

    # A request that is not listed any more is counted next.
    wait_until(lambda: served() >= count, "the count")
    assert served() == count


@pytest.mark.parametrize(
    ("path", "function"),
    [("/app/wait", "waits"), ("/app/spin", "spins"), ("/app/lock", "holds_the_lock")],
)
def test_stack_of_an_embedded_request_that_hangs_is_shown(start, stuck, path, function):
    server = start()
    stuck(server, 1, path)

    def stack():
        [request] = requests(status(server)["embedded"])
        frames = [it["function"] for it in (request["stack"] or {"frames": []})["frames"]]
        return frames[-2:] == [function, "application"] and request["stack"]

    found = wait_until(stack, "the stack", timeout=30)
    outer = found["frames"][-1]
    assert outer["file"].endswith("/app.py")
    assert APP.splitlines()[outer["line"] - 1] == f"        {function}()"
    assert 0 <= found["age_seconds"] < 30
    page = Texts(status(server, ""))
    assert any(function in text for text in page.texts)
    (server.root / "out/finish").touch()
    wait_until(lambda: not status(server)["embedded"]["requests_active"], "the end", timeout=30)
    # The thread that writes stacks does not keep the child from finalising Python.
    server.stop()


def threads(server):
    """The names of the threads of Apache's children."""
    files = [
        file for pid in httpd_children(server) for file in Path(f"/proc/{pid}/task").glob("*/comm")
    ]
    return {file.read_text().strip() for file in files}


def test_thread_that_writes_stacks_is_there_where_there_is_a_status_page(start, private):
    server = start()
    assert server.get("/app").status == 200
    assert "wsgi-oldest" in threads(server)
    page_less = Conf("WSGIScriptAlias /app ${ROOT}/app.py", files=(("app.py", APP),))
    other = private(page_less)
    assert other.get("/app").status == 200
    assert "wsgi-oldest" not in threads(other)


def test_child_that_is_killed_is_not_on_the_page(start, stuck):
    server = start()
    embedded = stuck(server, 2)
    killed = {child["pid"] for child in embedded["children"] if child["requests"]}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def are_gone():
        # A child that is killed may have accepted the connection.
        with contextlib.suppress(OSError):
            return not pids(server) & killed

    wait_until(are_gone, "other children", timeout=30)
    assert status(server)["embedded"]["requests_active"] == 0
    # The parent finds it and starts others, which have the records of those that were killed.
    wait_until(lambda: not set(httpd_children(server)) & killed, "other children", timeout=30)
    seen = stuck(server, 2)
    assert {child["pid"] for child in seen["children"]} <= set(httpd_children(server))
    assert len(requests(seen)) == 2


def test_old_children_are_shown_until_their_end_at_a_graceful_restart(start, stuck):
    # There are slots for new children beside those that leave.
    server = start(children=4, start=1)
    old = {child["pid"] for child in stuck(server, 1)["children"] if child["requests"]}
    ready = len(server.log.find(READY))
    server.send_signal(signal.SIGUSR1)
    server.log.wait_for(READY, count=ready + 1, timeout=START_TIMEOUT)

    def are_both():
        # Another child that leaves may have answered.
        pid = int(server.get("/app").text)
        states = {it["pid"]: it["state"] for it in status(server)["embedded"]["children"]}
        return {states.get(it) for it in old} == {"leaving"} and states.get(pid) == "ready"

    def serve_requests():
        """The children that have one; one that has been answered may still be listed."""
        seen = status(server)["embedded"]
        serving = {child["pid"] for child in seen["children"] if child["requests"]}
        return (serving, seen["requests_active"])

    wait_until(are_both, "a child that leaves and one that serves", timeout=30)
    wait_until(lambda: serve_requests() == (old, 1), "the request of the old child alone")
    (server.root / "out/finish").touch()
    wait_until(lambda: not pids(server) & old, "the end of the old child", timeout=30)
    assert status(server)["embedded"]["requests_active"] == 0


def test_restart_without_grace_leaves_no_old_child_on_the_page(start, stuck):
    server = start()
    old = pids(server) | set(httpd_children(server))
    stuck(server, 1)
    ready = len(server.log.find(READY))
    server.send_signal(signal.SIGHUP)
    server.log.wait_for(READY, count=ready + 1, timeout=START_TIMEOUT)
    wait_until(lambda: not pids(server) & old, "new children alone", timeout=30)
    assert status(server)["embedded"]["requests_active"] == 0


@pytest.mark.parametrize(
    ("lines", "shown"),
    [("Off", None), ("Path", "GET /app/wait"), ("Full", "GET /app/wait?token=x")],
)
def test_lines_of_embedded_requests_are_shown_as_configured(start, stuck, lines, shown):
    server = start(f"WSGIStatusRequestLines {lines}")
    assert [it["line"] for it in requests(stuck(server, 1))] == [shown]


def test_access_script_that_hangs_is_shown_and_counts_as_no_request(start, stuck):
    aliases = """
    WSGIRestrictEmbedded On
    <Location /checked>
        WSGIAccessScript ${ROOT}/access.py
    </Location>
    """
    server = start(aliases=aliases)
    embedded = stuck(server, 1, "/checked/wait")
    assert [it["line"] for it in requests(embedded)] == ["GET /checked/wait"]
    (server.root / "out/finish").touch()
    wait_until(lambda: not status(server)["embedded"]["requests_active"], "the end", timeout=30)
    assert {child["served"] for child in status(server)["embedded"]["children"]} == {0}


def test_server_that_runs_no_python_of_its_own_shows_no_children(start):
    server = start(aliases="WSGIRestrictEmbedded On")
    assert "children" not in status(server)["embedded"]
    assert not any(name.startswith('wsgi_threads{group=""') for name in metrics(server))
    assert "none has started" not in status(server, "")


def test_child_without_python_is_not_shown(start):
    server = start(aliases="WSGIDaemonProcess site\nWSGIProcessGroup site")
    embedded = status(server)["embedded"]
    assert (embedded["children"], embedded["children_ready"]) == ([], 0)
    assert "none has started Python" in status(server, "")
