"""What metrics and JSON tell of the executors of event loops: functions that block, in threads."""

import re

import pytest
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

# Each request of /default or /sensitive has as many functions wait for the gate as its query says.
APP = """
import asyncio, threading

GATE = threading.Event()
TASKS = []

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    name, count = scope["path"].strip("/"), int(scope["query_string"] or 0)
    if name == "sensitive":
        from asgiref.sync import sync_to_async
    for _ in range(count):
        call = asyncio.to_thread(GATE.wait) if name == "default" else sync_to_async(GATE.wait)()
        TASKS.append(asyncio.create_task(call))
    if name == "cancel":
        for task in TASKS:
            task.cancel()
    if name == "open":
        GATE.set()
        await asyncio.gather(*TASKS, return_exceptions=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""
MORE = """
<Location /wsgi-status>
    SetHandler wsgi-status
</Location>
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def server(start, request, packages, uvloop):
    options = f"threads=3 processes=1 asgi-loop={request.param} python-path={packages}:{uvloop}"
    # asgiref is imported before the start, as with Django and Channels.
    return start(options, MORE, app="import asgiref.sync\n" + APP)


def ask(server, path):
    assert server.get(path).text == "done"


def loads(server):
    """(threads, busy, waiting) by executor, as the JSON has them; the metrics have the same."""
    (group,) = server.get("/wsgi-status?json").json()["groups"]
    found = {
        name: (load["threads"], load["busy"], load["waiting"])
        for name, load in group["executors"].items()
    }
    return found


def metrics(server):
    text = server.get("/wsgi-status?prometheus").text
    kinds = ("threads", "threads_busy", "queue_depth")
    return {
        name: tuple(
            int(
                re.search(
                    rf'^wsgi_executor_{kind}{{group="site",executor="{name}"}} (\d+)$', text, re.M
                )[1]
            )
            for kind in kinds
        )
        for name in ("default", "thread_sensitive")
    }


IDLE = {"default": (3, 0, 0), "thread_sensitive": (1, 0, 0)}


def await_loads(server, default, sensitive):
    expected = {"default": (3, *default), "thread_sensitive": (1, *sensitive)}
    wait_until(lambda: loads(server) == expected, f"{expected}, not {loads(server)}", timeout=30)
    assert metrics(server) == expected


def test_functions_that_block_are_busy_up_to_the_number_of_threads_and_wait_beyond(server):
    ask(server, "/")
    assert loads(server) == metrics(server) == IDLE
    ask(server, "/default?2")
    await_loads(server, (2, 0), (0, 0))
    ask(server, "/default?3")
    await_loads(server, (3, 2), (0, 0))
    ask(server, "/sensitive?4")
    await_loads(server, (3, 2), (1, 3))
    ask(server, "/open")
    await_loads(server, (0, 0), (0, 0))


def test_function_that_is_cancelled_in_the_queue_does_not_wait(server):
    ask(server, "/default?5")
    await_loads(server, (3, 2), (0, 0))
    ask(server, "/cancel")
    # Those that run cannot be cancelled.
    await_loads(server, (3, 0), (0, 0))
    ask(server, "/open")
    await_loads(server, (0, 0), (0, 0))


def test_group_of_wsgi_has_no_executors(start):
    more = (
        MORE
        + """
    WSGIDaemonProcess other
    WSGIScriptAlias /other ${APPS}/environ.py process-group=other
    """
    )
    server = start("", more)
    server.get("/scope")
    groups = {it["name"]: it for it in server.get("/wsgi-status?json").json()["groups"]}
    assert groups["other"]["executors"] is None
    assert 'executor_threads{group="other"' not in server.get("/wsgi-status?prometheus").text
