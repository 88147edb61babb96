"""What applications are told of the start and the end of their workers."""

import os
import signal
import threading

import pytest
from harness.asgi import APP
from harness.conf import Conf
from harness.daemons import await_all_workers
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

FAILING = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    raise AssertionError("a request has come")
"""
FAILING_WITH_TRACEBACK = """
import traceback

async def application(scope, receive, send):
    await receive()
    try:
        raise ConnectionError("no database")
    except ConnectionError:
        # As Starlette does.
        text = traceback.format_exc()
        await send({"type": "lifespan.startup.failed", "message": text})
        raise
"""
UNTIL_FILE = """
import os

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.path.exists(os.path.dirname(__file__) + "/there"):
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
WITHOUT = """
async def application(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr("state" in scope).encode()})
"""
BY_REQUEST = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site interface=asgi
WSGIProcessGroup site
Alias / ${ROOT}/app.py/
<Location />
SetHandler asgi-script
Options +ExecCGI
</Location>
"""
CANCELLED = """
import asyncio

async def application(scope, receive, send):
    raise asyncio.CancelledError
"""
STUCK = """
import asyncio

async def application(scope, receive, send):
    await asyncio.sleep(3600)
"""


def test_application_is_started_before_the_first_request(start):
    server = start("processes=2")
    facts = server.get("/process").json()
    assert facts["starts"] == [facts["pid"]]


def test_application_is_told_of_the_end_after_its_last_request(start):
    server = start("graceful-timeout=10", files=(("app.py.talks", ""),))
    pid = server.get("/process").json()["pid"]
    assert server.get("/background").text == "answered"
    server.stop()
    server.log.wait_for(f"shutdown of {pid}")
    text = server.log.text()
    assert text.index("background work is done") < text.index(f"shutdown of {pid}")
    server.log.allow("background work is done|shutdown of")


# The lines of the workers that end because an application has not started in them.
ENDED = ("WSGI0225", "this worker serves no request", "exited with status 1")


def refused(cause):
    """The line of a request that is refused because of it."""
    return rf"WSGI0117: .*: WSGI0225: .* has not started: .*{cause} \[SF\]$"


REFUSED = refused("no database")


@pytest.mark.parametrize("app", [FAILING, FAILING_WITH_TRACEBACK])
def test_start_that_fails_ends_the_worker_and_requests_are_a_503_with_the_cause(start, app):
    server = start("", app=app)
    assert server.get("/").status == 503
    server.log.expect(REFUSED)
    # It comes from the worker, by another way than the line of the request.
    (line, *_) = server.log.wait_for("^WSGI0225: .*the ASGI application has not started: ")
    assert line.text.endswith("no database")
    server.log.allow_traceback("ConnectionError: no database")
    server.log.allow(*ENDED)


def test_start_that_is_cancelled_by_the_application_itself_has_failed(start):
    server = start("asgi-lifespan=on", app=CANCELLED)
    assert server.get("/").status == 503
    server.log.expect(refused("CancelledError"))
    server.log.expect("^WSGI0225: .*the lifespan scope ended before it began: .*CancelledError")
    server.log.allow_traceback("asyncio.*CancelledError")
    server.log.allow(*ENDED)


def test_application_that_can_start_at_last_is_served_without_a_restart(start):
    server = start("", app=UNTIL_FILE)
    assert server.get("/").status == 503
    server.log.allow(*ENDED, "WSGI0117")
    server.write("there", "")
    wait_until(lambda: server.get("/").status == 200, "the application to start", timeout=30)


@pytest.mark.parametrize("options", ["", "preload=On"])
def test_replacement_whose_application_does_not_start_leaves_the_old_workers(start, options):
    server = start(options, app=UNTIL_FILE, files=(("there", ""),))
    assert server.get("/").status == 200
    (server.root / "there").unlink()
    script = server.root / "app.py"
    later = script.stat().st_mtime_ns + 5_000_000_000
    os.utime(script, ns=(later, later))
    assert server.get("/").status == 200
    server.log.expect("keeping the current workers and their code")
    server.log.allow(*ENDED)
    for _ in range(10):
        assert server.get("/").status == 200


def test_worker_whose_successor_does_not_start_serves_on(start):
    server = start("maximum-requests=2", app=UNTIL_FILE, files=(("there", ""),))
    first = server.get("/").text
    (server.root / "there").unlink()
    server.log.allow(*ENDED)
    wait_until(
        lambda: (server.get("/").status == 200) and server.log.find("restarting|it was starting"),
        "a successor that does not start",
        timeout=30,
    )
    assert server.get("/").text == first
    server.write("there", "")
    wait_until(lambda: server.get("/").text != first, "a successor", timeout=30)


def test_application_that_only_a_request_names_is_a_503_and_not_tried_for_each_request(private):
    server = private(Conf(BY_REQUEST, files=(("app.py", FAILING),), modules=("alias",)))
    assert [server.get("/").status for _ in range(5)] == [503] * 5
    told = server.log.expect(
        r"WSGI0238: .*not started: no database .*; it is not tried again", count=5
    )
    assert told
    assert len(server.log.find("WSGI0225")) < 5
    server.log.allow("WSGI0225")


THIRD_TIME = """
import asyncio, os, sys

starts, is_ready = 0, False

async def application(scope, receive, send):
    global starts, is_ready
    if scope["type"] == "lifespan":
        await receive()
        starts += 1
        start = starts
        # Turns of the loop, in which the scope of the start before ends.
        for _ in range(20):
            await asyncio.sleep(0)
        if start < 3:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            # As Quart does, instead of returning.
            await receive()
        is_ready = True
        scope["state"]["start"] = start
        await send({"type": "lifespan.startup.complete"})
        assert await receive() == {"type": "lifespan.shutdown"}
        print("shutdown of start", start, file=sys.stderr)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    text = f"{is_ready} {scope['state']}"
    await send({"type": "http.response.body", "body": text.encode()})
"""


def test_start_that_has_failed_and_whose_scope_goes_on_does_not_complete_the_next_start(private):
    server = private(Conf(BY_REQUEST, files=(("app.py", THIRD_TIME),), modules=("alias",)))
    answers = []

    def is_served():
        answers.append(server.get("/"))
        return answers[-1].status == 200

    wait_until(is_served, "the third start", timeout=30)
    assert answers[-1].text == "True {'start': 3}"
    assert len(server.log.expect("WSGI0225: .*not started: no database", count=2)) == 2
    server.stop()
    server.log.expect("shutdown of start 3", count=1)
    server.log.allow("WSGI0238")


@pytest.mark.parametrize(("lifespan", "status"), [("auto", 200), ("off", 200), ("on", 503)])
def test_application_without_the_scope_is_served_unless_lifespan_is_on(start, lifespan, status):
    server = start(f"asgi-lifespan={lifespan}", app=WITHOUT)
    answer = server.get("/")
    assert answer.status == status
    if status == 200:
        assert answer.text == "False"
    else:
        server.log.expect("WSGI0225: .*asgi-lifespan=on", refused("NotImplementedError: lifespan"))
        server.log.allow_traceback("NotImplementedError: lifespan")
        server.log.allow(*ENDED)


RAISES_AFTER_RECEIVE = """
import os

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        assert await receive() == {"type": "lifespan.startup"}
        raise ValueError("of the start")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {'state' in scope}".encode()})
"""


def test_exception_after_receive_leaves_the_application_without_lifespan(start):
    """With asgi-lifespan=auto: once in each worker, and none is replaced for that."""
    server = start("", app=RAISES_AFTER_RECEIVE)
    pid, has_state = server.get("/").text.split()
    assert has_state == "False"
    assert [server.get("/").text for _ in range(5)] == [f"{pid} False"] * 5
    what = r"\[script .*app\.py\] goes on without lifespan events \(asgi-lifespan=auto\)"
    assert len(server.log.expect(what, count=1)) == 1
    server.log.expect_traceback("Traceback", "ValueError: of the start")


def test_exception_after_receive_fails_the_start_where_lifespan_is_on(start):
    server = start("asgi-lifespan=on", app=RAISES_AFTER_RECEIVE)
    assert server.get("/").status == 503
    server.log.expect("WSGI0225: .*asgi-lifespan=on", refused("ValueError: of the start"))
    server.log.allow_traceback("ValueError: of the start")
    server.log.allow(*ENDED)


def test_start_that_takes_too_long_fails(start):
    server = start("startup-timeout=10", app=STUCK)
    assert server.get("/").status in (503, 504)
    server.log.expect(r"WSGI0225: .*lifespan.startup.complete was not sent within 8 s")
    # A worker that gets no processor ends after the limit on the whole start, by the manager.
    late = ("did not become ready within startup-timeout", "was killed by signal 9")
    server.log.allow(*ENDED, *late, "WSGI0117", "WSGI0145")


SLOW_START = """
import asyncio

async def application(scope, receive, send):
    await receive()
    await asyncio.sleep(6)
    await send({"type": "lifespan.startup.complete"})
    await receive()
"""


def test_applications_of_a_group_have_one_limit_on_the_time_of_their_start(private):
    text = "WSGIRestrictEmbedded On\nWSGIDaemonProcess site startup-timeout=10\n"
    text += "".join(f"ASGIScriptAlias /{n} ${{ROOT}}/{n}.py process-group=site\n" for n in "ab")
    server = private(Conf(text, files=(("a.py", SLOW_START), ("b.py", SLOW_START))))
    assert server.get("/a").status in (503, 504)
    server.log.expect(r"WSGI0225: .*/b.py.*complete was not sent within 8 s, .* before it took")
    late = ("did not become ready within startup-timeout", "was killed by signal 9")
    server.log.allow(*ENDED, *late, "WSGI0117", "WSGI0145")


NEVER_STOPS = """
import asyncio

async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.sleep(3600)
"""


def test_worker_without_limits_ends_although_an_application_that_has_started_does_not_stop(private):
    options = "startup-timeout=0 shutdown-timeout=0"
    text = f"WSGIRestrictEmbedded On\nWSGIDaemonProcess site {options}\n"
    text += "".join(f"ASGIScriptAlias /{n} ${{ROOT}}/{n}.py process-group=site\n" for n in "ab")
    server = private(Conf(text, files=(("a.py", NEVER_STOPS), ("b.py", FAILING))))
    wait_until(lambda: len(server.log.find("WSGI0225")) > 1, "a second start", timeout=60)
    server.log.expect("did not stop within 10 s after its start has failed; terminating it")
    server.log.allow(*ENDED)


def test_replacement_starts_the_application_again(start):
    server = start("maximum-requests=3")
    first = server.get("/process").json()

    def is_replaced():
        facts = server.get("/process").json()
        assert facts["starts"] == [facts["pid"]]
        return facts["pid"] != first["pid"]

    wait_until(is_replaced, "a new worker", timeout=30)


def test_script_that_is_touched_is_served_by_new_workers(start):
    server = start("processes=2", app=APP)
    await_all_workers(server)
    before = server.get("/process").json()["pid"]
    script = server.root / "app.py"

    later = script.stat().st_mtime_ns + 5_000_000_000
    os.utime(script, ns=(later, later))
    wait_until(lambda: server.get("/process").json()["pid"] != before, "a new worker", timeout=30)


def test_graceful_restart_waits_for_requests_that_are_under_way(start):
    server = start("graceful-timeout=20", children=3)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/sleep?2").text))
    thread.start()
    pid = server.get("/process").json()["pid"]
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: server.get("/process").json()["pid"] != pid, "a new worker", timeout=30)
    thread.join()
    assert answers == ["slept"]
