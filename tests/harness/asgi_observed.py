"""What is to be seen of requests of ASGI, whatever MPM, event loop and Python serve them: one round
with the application of apps/asgi_observed.py.
"""

import concurrent.futures
import re

from . import daemons
from .conf import Conf
from .env import TESTS
from .httpd import wait_until
from .websocket import websocket

APP = (TESTS / "apps/asgi_observed.py").read_text()
CONF = """
WSGIRestrictEmbedded On
WSGISlowRequests 0.3
WSGIDaemonProcess site asgi-concurrency=10 shutdown-timeout=60 {options}
WSGIDaemonProcess strict request-timeout=1 interrupt-timeout=60 shutdown-timeout=60 {options}
ASGIScriptAlias /strict ${{ROOT}}/app.py process-group=strict
ASGIScriptAlias / ${{ROOT}}/app.py process-group=site
"""
# How many connections a round has at once, and how often a stack is asked for where the machine
# leaves the loop without a processor for so many seconds.
CONNECTIONS, ATTEMPTS, PAUSE = 8, 3, 0.5
# Longer than a busy machine leaves a process without a processor.
PATIENCE = 60


def conf(options, before="", **others):
    text = before + CONF.format(options=options)
    return Conf(text, files=(("app.py", APP),), **{"threads": 16, "timeout": PATIENCE, **others})


def heard(server, path, ends=1):
    """The events of the requests of this path, once so many have ended."""

    def events():
        told = server.get(f"/heard?{path}").json()
        return told if [name for name, _ in told].count("request_finished") == ends else None

    return wait_until(events, f"the end of {path}", timeout=PATIENCE)


def places(server):
    """The functions in the stacks that are in the log, the innermost of each one last."""
    lines = [found.text for found in server.log.find(r"app\.py\] .*File ")]
    return [re.search(r" in (\w+)$", text)[1] for text in lines]


def slow_requests(server, pool, path, function):
    """Requests that wait for `/release`; the stack of the last is in the log, with this function.

    Usually there is one: a loop that gets no processor for a second does not say where its tasks
    are. Then it has itself measured that.
    """
    begun = []
    server.get("/pauses")
    for _ in range(ATTEMPTS):
        silent = len(server.log.find("event loop is held up"))
        begun.append(pool.submit(server.get, path, timeout=PATIENCE))
        pattern = f"slow request GET {re.escape(path)} has taken"
        server.log.wait_for(pattern, count=len(begun), timeout=PATIENCE)

        def told(silent=silent):
            is_silent = len(server.log.find("event loop is held up")) > silent
            return function in places(server) or is_silent

        wait_until(told, f"the stack of {path}", timeout=PATIENCE)
        if function in places(server):
            break
        assert server.get("/pauses", timeout=PATIENCE).json() > PAUSE, "the loop was not held up"
    return begun


def check(server, *, is_locked=True):
    """Slow requests, one that holds the loop up, one that is cancelled, events, data, metrics."""
    server.log.allow(r"app\.py\] ", "WSGI0275", r"\b504\b")
    for path in ("/quick", "/strict/quick"):
        wait_until(lambda path=path: daemons.serves(server, path), path, timeout=PATIENCE)
    assert server.get("/record").text == "recording"
    assert server.get("/subscribe").text == "subscribed"
    assert "/list" in server.get("/list").json()
    with (
        concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool,
        websocket(server.port, "/socket") as opened,
    ):
        cancelled = pool.submit(server.get, "/strict/cleans_up?600", timeout=PATIENCE)
        stream = pool.submit(server.get, "/stream?inf", timeout=PATIENCE)
        waiting = slow_requests(server, pool, "/sleep?inf", "do_sleep")
        waiting += slow_requests(server, pool, "/tasks?inf", "over_numbers")
        assert server.get("/data?x").json() == [True, True, True, {"query": "x"}]
        assert server.get("/release").text == "released"
        assert {it.result().text for it in waiting} == {"slept", "gathered"}
        assert stream.result().body.count(b"data") == 2
        opened.close()
        assert cancelled.result().text == "cancelled"
    for path in ("sleep", "tasks"):
        server.log.wait_for(rf"slow request GET /{path}\?inf took", timeout=PATIENCE)
    assert not server.log.find("slow request GET /(?:stream|socket)")
    found = places(server)
    at = found.index("do_sleep")
    assert found[at - 1 : at + 3] == ["application", "do_sleep", "innermost", "wait"]
    at = found.index("over_numbers")
    assert found[at : at + 4] == ["over_numbers", "numbers", "innermost", "wait"]
    server.log.wait_for("WSGI0275: cancelled request GET /strict/cleans_up", timeout=PATIENCE)
    if is_locked:
        check_block(server)
    check_events(server)
    check_metrics(server)


def check_block(server):
    """A request that holds the loop up is logged meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/block_until?here", timeout=PATIENCE)
        server.log.wait_for("in hold_the_loop", timeout=PATIENCE)
        server.write("here", "")
        assert waiting.result().text == "blocked"


def check_events(server):
    events = heard(server, "/data")
    names = [name for name, _ in events]
    assert names == ["request_started", "response_started", "request_finished"]
    assert len({payload["request_id"] for _, payload in events}) == 1
    assert events[-1][1]["status"] == 200
    assert events[-1][1]["application_time"] >= 0.09
    assert heard(server, "/socket")[-1][1]["status"] == 101


def check_metrics(server):
    def alone():
        """What is measured once those that have their answers have ended."""
        requests, process = server.get("/metrics").json()
        return requests if process["active_requests"] == 1 else None

    requests = wait_until(alone, "the ends of the others", timeout=PATIENCE)
    assert requests["request_count"] >= 6
    assert requests["application_time_max_us"] >= 300_000
    assert requests["request_threads_started"] == 1
    assert requests["gil_wait_time"] is None
