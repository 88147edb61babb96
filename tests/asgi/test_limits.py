"""Limits on time, number and age, preload and reload, where an event loop serves."""

import concurrent.futures
import os

import pytest
from harness import daemons
from harness.asgi import APP, conf
from harness.httpd import wait_until
from harness.status import serves

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

# The lines that a worker writes about a request for which it is given up.
HANGING = (
    "takes longer than request-timeout",
    "exceeded request-timeout",
    "still running",
    # With the place of its task.
    r"^\[script .*app\.py\] ",
)
# How many processes have imported the script, and which.
IMPORTED = APP + "IMPORTER = os.getpid()\n"


def process(server):
    return server.get("/process").json()


def replaced(server, before):
    """Waits for the answer of another worker than that of `before`; what it says of itself."""
    found = []

    def is_there():
        found.append(process(server))
        return found[-1]["pid"] != before["pid"]

    wait_until(is_there, "another worker", timeout=30)
    return found[-1]


def test_request_beyond_request_timeout_is_a_504_and_others_are_finished(start):
    server = start("request-timeout=2 graceful-timeout=6 shutdown-timeout=2")
    before = process(server)
    server.log.allow(*HANGING, "was killed", "did not stop within")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(server.get, "/sleep?600")
        # It has just begun when the limit of the first one is over.
        wait_until(lambda: server.log.find("takes longer than request-timeout"), "the limit", 30)
        assert slow.result(timeout=30).status == 504
    server.log.expect(r"GET /sleep\?600 takes longer than request-timeout \(2 s\)")
    assert replaced(server, before)["starts"] != before["starts"]


def test_request_timeout_is_taken_as_written_whatever_the_concurrency(start):
    """mod_wsgi's formula makes more of it where there are many threads."""
    server = start("request-timeout=2 asgi-concurrency=1000 threads=50 graceful-timeout=1")
    server.log.allow(*HANGING)
    assert server.get("/sleep?600").status == 504
    server.log.expect(r"takes longer than request-timeout \(2 s\)")


def test_coroutine_that_keeps_the_lock_costs_its_worker_after_deadlock_timeout(start):
    app = APP + "\n\nasync def do_hold(scope, receive, send):\n"
    app += "    import ctypes\n    ctypes.PyDLL(None).pause()\n"
    server = start("deadlock-timeout=4", app=app)
    before = process(server)
    assert server.post("/hold", b"x").status == 502
    server.log.expect(r"gets Python's lock, and has not for 4 s .*it serves POST /hold")
    server.log.allow("WSGI0146", "exited with status 1")
    replaced(server, before)


def test_request_that_waits_for_room_longer_than_queue_timeout_is_a_504(start):
    page = "<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>\n"
    server = start("asgi-concurrency=1 queue-timeout=2", page)
    server.log.allow("queue-timeout")
    # One that has waited for the start of the worker may have waited too long as well.
    wait_until(lambda: daemons.serves(server, "/process"), "an answer")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # Longer than the limit and than a crowded machine may take to send the second one.
        first = pool.submit(server.get, "/sleep?8")
        wait_until(lambda: serves(server, "/sleep"), "the first request")
        second = pool.submit(server.get, "/scope")
        assert first.result().status == 200
        assert second.result().status == 504
    server.log.expect("waited longer than queue-timeout")
    wait_until(lambda: daemons.serves(server, "/scope"), "an answer")


def test_maximum_requests_replaces_the_worker_and_finishes_open_requests(start):
    server = start("maximum-requests=3 graceful-timeout=20")
    first = process(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.get, "/sleep?3")
        replaced(server, first)
        assert slow.result(timeout=30).text == "slept"


def test_restart_interval_replaces_the_worker(start):
    server = start("restart-interval=2")
    first = process(server)
    later = replaced(server, first)
    assert later["starts"] == [later["pid"]]


def test_inactivity_timeout_stops_the_application_too(start):
    server = start("inactivity-timeout=2", files=(("app.py.talks", ""),))
    pid = process(server)["pid"]
    server.log.expect(f"shutdown of {pid}")
    server.log.allow("shutdown of")
    assert process(server)["pid"] != pid


def test_template_of_preload_imports_and_each_worker_starts_the_application(start):
    app = IMPORTED + "\n\nasync def do_importer(scope, receive, send):\n"
    app += "    await reply(send, json.dumps([os.getpid(), IMPORTER, STARTS]))\n"
    server = start("processes=2 preload=On", app=app)
    daemons.await_all_workers(server)
    seen = {}

    def all_have_answered():
        pid, importer, starts = server.get("/importer").json()
        seen[pid] = importer, starts
        return len(seen) == 2

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wait_until(
            lambda: any(pool.map(lambda _: all_have_answered(), range(4))), "both", timeout=30
        )
    ((template, _), _) = seen.values()
    for pid, (importer, starts) in seen.items():
        assert importer == template != pid
        # The lifespan runs where requests do, on a loop that was made after the fork.
        assert starts == [pid]


def test_module_that_changes_replaces_the_workers_where_reload_is_on(start):
    app = "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\nimport part\n" + APP
    app += "\n\nasync def do_part(scope, receive, send):\n    await reply(send, part.VERSION)\n"
    server = start("reload=On", app=app, files=(("part.py", 'VERSION = "one"\n'),))
    assert server.get("/part").text == "one"
    server.write("part.new", 'VERSION = "second"\n').replace(server.root / "part.py")
    wait_until(lambda: server.get("/part").text == "second", "the new code", timeout=30)
    facts = process(server)
    assert facts["starts"] == [facts["pid"]]


@pytest.mark.parametrize("kind", ["auto", "uvloop"])
def test_loop_is_that_of_uvloop(serve, uvloop, kind):
    server = serve(conf(f"asgi-loop={kind} python-path={uvloop}"))
    facts = process(server)
    assert facts["loop"] == "uvloop"
    body = os.urandom(300_000)
    assert server.post("/echo", [body], chunked=True).body == body
    assert len(server.get("/large?5000000").body) == 5_000_000
    assert server.get("/sleep?0.1").text == "slept"


def test_loop_is_that_of_the_standard_library_where_uvloop_is_not_wanted(serve, uvloop):
    server = serve(conf(f"asgi-loop=asyncio python-path={uvloop}"))
    assert process(server)["loop"] == "asyncio"


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("threads", [1, 7])
def test_executor_of_the_loop_has_as_many_threads_as_the_group(serve, uvloop, kind, threads):
    server = serve(conf(f"threads={threads} asgi-loop={kind} python-path={uvloop}"))
    names = server.get(f"/executor?{threads}").json()
    assert names == [f"wsgi-executor_{number}" for number in range(threads)]


def test_worker_that_serves_with_uvloop_stops_and_is_replaced(start, uvloop):
    server = start(f"asgi-loop=uvloop python-path={uvloop} preload=On maximum-requests=3")
    first = process(server)
    assert replaced(server, first)["loop"] == "uvloop"


def test_uvloop_that_is_wanted_and_not_installed_is_named_in_the_log(start):
    server = start("asgi-loop=uvloop")
    assert server.get("/").status == 503
    server.log.expect("WSGI0227", "No module named 'uvloop'", "WSGI0117: .*does not start")
    server.log.allow_traceback("ModuleNotFoundError: No module named 'uvloop'")
    server.log.allow("there is no event loop", "exited with status 1")
