"""What applications are told of the start and the end of their workers."""

import os
import signal
import threading

import pytest
from harness.asgi import APP
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
WITHOUT = """
async def application(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr("state" in scope).encode()})
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
    text = server.log.text()
    assert text.index("background work is done") < text.index(f"shutdown of {pid}")
    server.log.allow("background work is done|shutdown of")


def test_start_that_fails_is_in_the_log_and_requests_are_500(start):
    server = start("", app=FAILING)
    assert server.get("/").status == 500
    server.log.expect("WSGI0225: .*the ASGI application has not started: no database")
    server.log.allow("WSGI0225|wsgi")


@pytest.mark.parametrize(("lifespan", "status"), [("auto", 200), ("off", 200), ("on", 500)])
def test_application_without_the_scope_is_served_unless_lifespan_is_on(start, lifespan, status):
    server = start(f"asgi-lifespan={lifespan}", app=WITHOUT)
    answer = server.get("/")
    assert answer.status == status
    if status == 200:
        assert answer.text == "False"
    else:
        server.log.expect("WSGI0225: .*asgi-lifespan=on")
        server.log.allow_traceback("NotImplementedError: lifespan")
        server.log.allow("WSGI0225|wsgi")


def test_start_that_takes_too_long_fails(start):
    server = start("startup-timeout=5", app=STUCK)
    assert server.get("/").status == 500
    server.log.expect(r"WSGI0225: .*lifespan.startup.complete was not sent within 4 s")
    server.log.allow("WSGI0225|wsgi")


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
