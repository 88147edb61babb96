"""WSGILogFormat json: lines of an application of ASGI say which request they are of, where one
thread serves several at once.
"""

import concurrent.futures

import pytest
from harness.asgi import conf
from harness.httpd import wait_until
from harness.json_lines import records
from harness.websocket import websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = r"""
import asyncio
import logging
import sys

log = logging.getLogger("site")
other = None
tasks = set()


async def meet():
    # Returns once two requests are here.
    global other
    if other is None:
        other = asyncio.get_running_loop().create_future()
        await other
    else:
        other.set_result(None)
        other = None
        await asyncio.sleep(0)


def say(name, when):
    log.warning("%s logs %s", name, when)
    print(f"{name} prints {when}")


async def in_task(name):
    await asyncio.sleep(0)
    say(name, "in a task")


async def outlive(name, task):
    await asyncio.wait({task})
    say(name, "on its own")


async def lifespan(receive, send):
    await receive()
    print("starts")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    name = scope["path"].strip("/")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        say(name, "while open")
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    await meet()
    say(name, "before its answer")
    await meet()
    print(name, end=" ")
    await meet()
    print("prints in pieces")
    await asyncio.create_task(in_task(name))
    await asyncio.to_thread(say, name, "in a thread")
    await meet()
    try:
        raise ValueError(name)
    except ValueError:
        log.exception("%s fails", name)
    print(f"{name} is told", file=sys.stderr)
    await meet()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name.encode()})
    await meet()
    say(name, "behind its answer")
    tasks.add(asyncio.create_task(outlive(name, asyncio.current_task())))
"""
MORE = """
WSGILogFormat json
<VirtualHost *>
    ServerName localhost
    ErrorLog "${ROOT}/host_log"
    ErrorLogFormat "%L %M"
</VirtualHost>
"""
MOMENTS = ("before its answer", "in a task", "in a thread", "behind its answer")


def of(name, *moments):
    return {f"{name} {how} {when}" for how in ("logs", "prints") for when in moments}


def test_line_has_the_identifier_of_its_own_request_while_two_take_turns(private):
    server = private(conf(more=MORE, app=APP))
    server.log.allow('"time"')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = pool.map(server.get, ["/one", "/two"])
        assert [answer.text for answer in answers] == ["one", "two"]
    with websocket(server.port, "/three") as opened:
        opened.close()
    host_log = server.root / "host_log"
    last = of("one", "on its own") | of("two", "on its own") | of("three", "while open")

    def written():
        found = records(host_log.read_text() + server.log.text())
        ids = {record["message"]: record["request_id"] for record in found}
        return ids if last <= ids.keys() else None

    ids = wait_until(written, "the last lines")
    # Outside of a request: before the first one, and in tasks that outlive theirs.
    assert ids.pop("starts") is None
    for message in of("one", "on its own") | of("two", "on its own"):
        assert ids.pop(message) is None
    expected = {"three": of("three", "while open")}
    for name in ("one", "two"):
        more = {f"{name} prints in pieces", f"{name} fails", f"{name} is told"}
        expected[name] = of(name, *MOMENTS) | more
    assert set(ids) == set.union(*expected.values())
    known = {name: {ids[message] for message in expected[name]} for name in expected}
    assert [len(it) for it in known.values()] == [1, 1, 1]
    assert len(set.union(*known.values()) - {None}) == 3
    # httpd says the same of the lines that are in the log of the request's virtual host.
    lines = [line for line in host_log.read_text().splitlines() if '{"time"' in line]
    assert len(lines) >= 2 * len(expected["one"] - of("one", "behind its answer"))
    assert [line.partition(" ")[0] for line in lines] == [
        record["request_id"] for line in lines for record in records(line)
    ]
