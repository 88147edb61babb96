"""An application of ASGI: each path does one thing with the messages."""

import asyncio
import contextvars
import json
import os
import sys
import threading
from urllib.parse import unquote

STARTS = []
value = contextvars.ContextVar("value", default=None)
gate = None
EVENTS = []


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    name = scope["path"][len(scope["root_path"]) :].strip("/").split("/")[0]
    await globals().get(f"do_{name}", do_scope)(scope, receive, send)


async def lifespan(scope, receive, send):
    message = await receive()
    assert message == {"type": "lifespan.startup"}
    STARTS.append(os.getpid())
    value.set("of the lifespan")
    scope["state"]["shared"] = {"count": 0}
    scope["state"]["own"] = 0
    await send({"type": "lifespan.startup.complete"})
    assert await receive() == {"type": "lifespan.shutdown"}
    if os.path.exists(f"{__file__}.talks"):
        print("shutdown of", os.getpid(), file=sys.stderr, flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def start(send, status=200, headers=()):
    headers = [(name.encode(), text.encode()) for name, text in headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def end(send, body=b""):
    await send({"type": "http.response.body", "body": body})


async def reply(send, body, status=200, headers=()):
    await start(send, status, [("content-type", "text/plain"), *headers])
    await end(send, body if isinstance(body, bytes) else str(body).encode())


def plain(thing):
    """As JSON can say it."""
    if isinstance(thing, bytes):
        return {"bytes": thing.decode("latin-1")}
    if isinstance(thing, dict):
        return {name: plain(item) for name, item in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(item) for item in thing]
    return thing


async def do_scope(scope, receive, send):
    await reply(send, json.dumps(plain({k: v for k, v in scope.items() if k != "app"})))


async def do_echo(scope, receive, send):
    pieces, more = [], True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        more = message["more_body"]
    await reply(send, b"".join(pieces), headers=[("x-pieces", str(len(pieces)))])


async def do_duplex(scope, receive, send):
    """Each piece comes back as soon as it is here."""
    await start(send)
    more = True
    while more:
        message = await receive()
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        more = message["more_body"]
    await end(send)


async def do_large(scope, receive, send):
    size = int(scope["query_string"])
    await start(send)
    piece = b"x" * 65536
    while size > 0:
        count = min(size, len(piece))
        size -= count
        await send({"type": "http.response.body", "body": piece[:count], "more_body": size > 0})


async def do_one_message(scope, receive, send):
    await reply(send, b"y" * int(scope["query_string"]))


async def do_slow_reader(scope, receive, send):
    """Sends until there is no room, and says how much of it was taken at once."""
    EVENTS.clear()
    await start(send)
    for _ in range(int(scope["query_string"])):
        await send({"type": "http.response.body", "body": b"z" * 65536, "more_body": True})
        EVENTS.append("sent")
    await end(send)


async def do_events(scope, receive, send):
    await reply(send, json.dumps(EVENTS))


async def do_disconnect(scope, receive, send):
    """Waits for the client to go."""
    EVENTS.clear()
    await receive()
    await start(send)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    EVENTS.append((await receive())["type"])
    try:
        await send({"type": "http.response.body", "body": b"second", "more_body": True})
    except OSError as error:
        EVENTS.append(f"{isinstance(error, OSError)} {error}")


async def do_cancelled(scope, receive, send):
    EVENTS.clear()
    await receive()
    await start(send)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        EVENTS.append("cancelled")
        raise


async def do_endless(scope, receive, send):
    """Sends until the client has gone, and raises what the query says."""
    EVENTS.clear()
    kind = scope["query_string"]

    async def pieces():
        while True:
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0.01)

    await start(send)
    try:
        if kind == b"group":
            async with asyncio.TaskGroup() as group:
                group.create_task(pieces())
        else:
            await pieces()
    except BaseException as error:
        EVENTS.append(type(error).__name__)
        raise


async def do_listen(scope, receive, send):
    """Ends what sends when the request ends, as Django does."""
    await receive()
    body = b"w" * int(scope["query_string"])
    listening = asyncio.create_task(receive())
    sending = asyncio.create_task(reply(send, body))
    await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
    for task in (listening, sending):
        task.cancel()
    await asyncio.wait({listening, sending})


async def do_after(scope, receive, send):
    """What comes after the response."""
    await receive()
    await reply(send, "done")
    EVENTS[:] = [(await receive())["type"]]
    try:
        await end(send)
    except RuntimeError as error:
        EVENTS.append(str(error))


async def do_wait(scope, receive, send):
    """Waits until another request opens the gate."""
    global gate
    gate = gate or asyncio.Event()
    EVENTS.append("waits")
    await gate.wait()
    await reply(send, "opened")


async def do_open(scope, receive, send):
    global gate
    if gate is not None:
        gate.set()
    gate = None
    EVENTS.clear()
    await reply(send, "opened")


async def do_sleep(scope, receive, send):
    await asyncio.sleep(float(scope["query_string"] or 0))
    await reply(send, "slept")


async def do_background(scope, receive, send):
    await reply(send, "answered")
    await asyncio.sleep(0.3)
    print("background work is done", file=sys.stderr, flush=True)


async def do_raise(scope, receive, send):
    raise ValueError("on purpose, before the head")


async def do_raise_late(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"some", "more_body": True})
    raise ValueError("on purpose, after the head")


async def do_nothing(scope, receive, send):
    pass


async def do_incomplete(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"some", "more_body": True})


async def do_status(scope, receive, send):
    await start(send, int(scope["query_string"]), [("x-method", scope["method"])])
    await end(send, b"" if scope["query_string"] in (b"204", b"304") else b"body")


async def do_cookies(scope, receive, send):
    cookies = [("set-cookie", "a=1"), ("x-other", "1"), ("set-cookie", "b=2")]
    await reply(send, "ok", headers=cookies)


async def do_headers(scope, receive, send):
    """A response with the headers of the query, a list of pairs."""
    await reply(send, "ok", headers=json.loads(unquote(scope["query_string"].decode())))


async def do_length(scope, receive, send):
    said, sent = scope["query_string"].split(b",")
    await start(send, headers=[("content-length", said.decode())])
    await end(send, b"x" * int(sent))


async def do_wrong(scope, receive, send):
    """Messages that are not allowed: what is said of each."""
    good = {"type": "http.response.start", "status": 200, "headers": []}
    said = []
    for message in [
        None,
        {},
        {"type": "http.request"},
        {"type": "http.response.body", "body": b""},
        good | {"status": "200"},
        good | {"status": 99},
        good | {"status": 101},
        good | {"headers": [("a", "b")]},
        good | {"headers": [(b"a", b"b\nc")]},
        good | {"headers": [(b"a b", b"c")]},
        good | {"headers": [(b"a",)]},
        good | {"headers": [(b"content-length", b"x")]},
        good | {"trailers": True},
    ]:
        try:
            await send(message)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        else:
            said.append("sent")
    await send(good)
    for message in [good, {"type": "http.response.body", "body": "text"}]:
        try:
            await send(message)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    await end(send, json.dumps(said).encode())


async def do_context(scope, receive, send):
    before = value.get()
    value.set(scope["query_string"].decode())
    scope["state"]["shared"]["count"] += 1
    scope["state"]["own"] += 1
    await asyncio.sleep(0)
    await reply(send, json.dumps([before, value.get(), scope["state"]]))


async def do_log(scope, receive, send):
    name = scope["query_string"].decode()
    print(f"{name}: printed", file=sys.stderr)
    await asyncio.sleep(0.05)

    def of_a_thread():
        print(f"{name}: printed by a thread", file=sys.stderr)

    await asyncio.to_thread(of_a_thread)
    await asyncio.create_task(printing(name))
    await reply(send, "logged")


async def printing(name):
    print(f"{name}: printed by a task", file=sys.stderr)


async def do_executor(scope, receive, send):
    """The threads that run functions, of which as many as the query says have to run at once."""
    count = int(scope["query_string"])
    barrier = threading.Barrier(count)

    def name():
        barrier.wait(60)
        return threading.current_thread().name

    names = await asyncio.gather(*(asyncio.to_thread(name) for _ in range(3 * count)))
    await reply(send, json.dumps(sorted(set(names))))


async def do_process(scope, receive, send):
    loop = asyncio.get_running_loop()
    facts = {
        "pid": os.getpid(),
        "starts": STARTS,
        "loop": type(loop).__module__.partition(".")[0],
    }
    await reply(send, json.dumps(facts))


async def do_ignore_body(scope, receive, send):
    """Answers without a look at the body."""
    await reply(send, "not read")


async def do_when_asked(scope, receive, send):
    """Asks for the body once another request opens the gate."""
    global gate
    gate = gate or asyncio.Event()
    EVENTS.append("waits")
    await gate.wait()
    await do_echo(scope, receive, send)


async def do_count_when_asked(scope, receive, send):
    """Counts the bytes of the body, once another request opens the gate."""
    global gate
    gate = gate or asyncio.Event()
    EVENTS.append("waits")
    await gate.wait()
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message["body"])
        more = message["more_body"]
    await reply(send, count)


async def do_answer_first(scope, receive, send):
    """Begins to answer, then asks for the body."""
    await start(send)
    await send({"type": "http.response.body", "body": b"early|", "more_body": True})
    await end(send, (await receive())["body"])


async def hint(send, *links):
    await send({"type": "http.response.early_hint", "links": list(links)})


async def do_hints(scope, receive, send):
    """As many early hints as the query says, each with two links."""
    for number in range(int(scope["query_string"] or 1)):
        await hint(send, b"</%d.css>; rel=preload" % number, b"</%d.js>; rel=preload" % number)
    await reply(send, "hinted", headers=[("link", "</own>; rel=next")])


async def do_hints_then_wait(scope, receive, send):
    await hint(send, b"</0.css>; rel=preload", b"</0.js>; rel=preload")
    await do_wait(scope, receive, send)


async def do_hints_and_echo(scope, receive, send):
    await hint(send, b"</0.css>; rel=preload", b"</0.js>; rel=preload")
    await do_echo(scope, receive, send)


async def do_wrong_hints(scope, receive, send):
    """What is said of early hints that are not allowed."""
    said = []

    async def attempt(message):
        try:
            await send({"type": "http.response.early_hint"} | message)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        else:
            said.append("sent")

    for links in [(b"</a>\r\nSet-Cookie: evil=1",), (b"</a>\n",), (b"\0",), ("text",), (), None]:
        await attempt({"links": links} if links is not None else {})
    await attempt({"links": [b"x" * 5000, b"y" * 5000]})
    await start(send)
    await attempt({"links": [b"</late>"]})
    await end(send, json.dumps(said).encode())
