"""An application of ASGI that is looked at: each path does one thing, or tells what callbacks have
heard, what is listed and what is measured.
"""

import asyncio
import json
import math
import os
import time

import mod_wsgi

heard = []
scope_of = {}


def plain(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return getattr(value, "__name__", None) or type(value).__name__


def note(name, **payload):
    scope = payload.pop("request_scope", None)
    if scope is not None:
        scope_of[payload["request_id"]] = scope["path"]
        payload["has_scope"] = scope["type"]
    if name == "request_started" and scope["path"].endswith("/replaced"):
        payload["request_data"]["mark"] = "from the start"
        return {"application_object": other}
    if name == "request_started" and scope["path"].endswith("/broken_callback"):
        raise ValueError("of the callback")
    heard.append([name, plain(payload)])
    return None


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["path"][len(scope["root_path"]) :].strip("/").split("/")[0]
    await globals()[f"do_{name}"](scope, receive, send)


async def other(scope, receive, send):
    await reply(send, mod_wsgi.request_data())


async def reply(send, body, status=200, more=False):
    body = body if isinstance(body, str) else json.dumps(body)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode(), "more_body": more})


async def do_pauses(scope, receive, send):
    """The longest one since the request before."""
    pauses.begin()
    await reply(send, pauses.take())


async def do_quick(scope, receive, send):
    await reply(send, str(os.getpid()))


class Pauses:
    """The longest time, in seconds, that this loop has not gone on for since it was last asked."""

    EVERY = 0.05

    def __init__(self):
        self.last = self.longest = None

    def begin(self):
        if self.last is None:
            self.take()
            self.last = time.monotonic()
            self.look()

    def look(self):
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last - self.EVERY)
        self.last = now
        asyncio.get_running_loop().call_later(self.EVERY, self.look)

    def take(self):
        longest, self.longest = self.longest, 0
        return longest


pauses = Pauses()
released = asyncio.Event()


async def innermost(seconds):
    """`inf`: until `/release`."""
    await (released.wait() if seconds == math.inf else asyncio.sleep(seconds))


async def do_release(scope, receive, send):
    released.set()
    await reply(send, "released")


async def do_sleep(scope, receive, send):
    await innermost(float(scope["query_string"]))
    await reply(send, "slept")


async def do_cleans_up(scope, receive, send):
    """Answers by itself when it is cancelled."""
    try:
        await innermost(float(scope["query_string"]))
    except asyncio.CancelledError:
        await reply(send, "cancelled")


async def numbers(seconds):
    await innermost(seconds)
    yield 1


async def over_numbers(seconds):
    async for _ in numbers(seconds):
        pass


async def do_tasks(scope, receive, send):
    """Waits for two tasks, one of which waits in an asynchronous generator."""
    seconds = float(scope["query_string"])
    await asyncio.gather(
        asyncio.create_task(over_numbers(seconds), name="one\nof two"),
        asyncio.wait_for(innermost(seconds), 60),
    )
    await reply(send, "gathered")


def hold_the_loop(seconds):
    time.sleep(seconds)


async def do_block(scope, receive, send):
    hold_the_loop(float(scope["query_string"]))
    await reply(send, "blocked")


async def do_block_until(scope, receive, send):
    """Until there is a file of this name beside the script."""
    path = os.path.join(os.path.dirname(__file__), scope["query_string"].decode())
    while not os.path.exists(path):
        hold_the_loop(0.05)
    await reply(send, "blocked")


async def do_stream(scope, receive, send):
    """An event stream, which lasts as long as it was asked to."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    await innermost(float(scope["query_string"]))
    await send({"type": "http.response.body", "body": b"data: 2\n\n"})


async def do_raise(scope, receive, send):
    raise ValueError("raised for the event")


async def do_replaced(scope, receive, send):
    await reply(send, "not replaced")


async def do_broken_callback(scope, receive, send):
    await reply(send, "fine")


async def do_reads(scope, receive, send):
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message["body"]), message["more_body"]
    await reply(send, "x" * length, status=201, more=True)
    await send({"type": "http.response.body", "body": b"more"})


async def do_data(scope, receive, send):
    """Its own data, in a task and a thread that it starts, while others are served."""
    mine = mod_wsgi.request_data()
    mine["query"] = scope["query_string"].decode()
    await asyncio.sleep(0.1)

    async def in_task():
        return mod_wsgi.request_data()

    found = [
        mod_wsgi.request_data(),
        await asyncio.create_task(in_task()),
        await asyncio.to_thread(mod_wsgi.request_data),
    ]
    await reply(send, [it is mine for it in found] + [mine])


async def do_outside(scope, receive, send):
    """request_data() where there is no request."""
    said = []

    def ask():
        try:
            said.append(repr(mod_wsgi.request_data()))
        except RuntimeError as error:
            said.append(str(error))

    import contextvars

    contextvars.Context().run(ask)
    await reply(send, said[0])


async def do_subscribe(scope, receive, send):
    mod_wsgi.subscribe_events(note)
    await reply(send, "subscribed")


async def do_heard(scope, receive, send):
    wanted = scope["query_string"].decode()
    mine = {id for id, path in scope_of.items() if path == wanted}
    await reply(send, [it for it in heard if it[1]["request_id"] in mine])


async def do_list(scope, receive, send):
    mod_wsgi.request_data()["path"] = scope["path"]
    await reply(send, [data.get("path") for data in mod_wsgi.active_requests.values()])


async def do_listed_sleep(scope, receive, send):
    mod_wsgi.request_data()["path"] = scope["path"]
    await do_sleep(scope, receive, send)


async def do_record(scope, receive, send):
    mod_wsgi.start_recording_metrics()
    await reply(send, "recording")


async def do_metrics(scope, receive, send):
    await reply(send, [mod_wsgi.request_metrics(), mod_wsgi.process_metrics()])


async def do_socket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
