"""WebSockets: each path does one thing with the messages. HTTP: the notes of all."""

import asyncio
import json
import os

EVENTS = []
KEPT = []


async def application(scope, receive, send):
    path = scope["path"][len(scope["root_path"]) :].strip("/")
    name = path.split("/")[0]
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    if scope["type"] == "http":
        if name == "until_closed":
            EVENTS.append(["http waits"])
            while not any(event[0] == "disconnect" for event in EVENTS):
                await asyncio.sleep(0.01)
            for _ in range(10):
                # The server ends what belonged to the WebSocket.
                await asyncio.sleep(0)
        body = json.dumps({"pid": os.getpid(), "events": EVENTS, "type": scope["type"]}).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    assert scope["type"] == "websocket", scope
    await globals()[f"do_{name}"](scope, receive, send)


async def accept(receive, send, **message):
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept", **message})


async def text(send, value):
    await send({"type": "websocket.send", "text": value})


async def until_disconnect(receive):
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            EVENTS.append(["disconnect", message["code"], message["reason"]])
            return


async def do_echo(scope, receive, send):
    await accept(receive, send)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            EVENTS.append(["disconnect", message["code"], message["reason"]])
            assert await receive() == message
            return
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def do_pid(scope, receive, send):
    await accept(receive, send)
    await text(send, str(os.getpid()))
    await until_disconnect(receive)


async def do_beside(scope, receive, send):
    """Says when a request waits for the end of this WebSocket."""
    await accept(receive, send)
    while ["http waits"] not in EVENTS:
        await asyncio.sleep(0.01)
    await text(send, "a request waits")
    await until_disconnect(receive)


async def do_scope(scope, receive, send):
    await accept(receive, send)
    plain = {name: value for name, value in scope.items() if name != "state"}
    await text(send, json.dumps(plain, default=lambda value: value.decode("latin-1")))
    await until_disconnect(receive)


async def do_accepts(scope, receive, send):
    subprotocol = scope["subprotocols"][0] if scope["subprotocols"] else None
    headers = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"X-Own", b"yes")]
    await accept(receive, send, subprotocol=subprotocol, headers=headers)
    await until_disconnect(receive)


async def do_close(scope, receive, send):
    code, _, reason = scope["query_string"].decode().partition(",")
    await accept(receive, send)
    await send({"type": "websocket.close", "code": int(code), "reason": reason})
    EVENTS.append(["closed", (await receive())["code"]])
    try:
        await text(send, "late")
    except RuntimeError as why:
        EVENTS.append(["late", str(why)])


async def do_refuse(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})
    EVENTS.append(["refused", (await receive())["code"]])


async def do_respond(scope, receive, send):
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"private")]
    start = {"type": "websocket.http.response.start", "status": 401, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


async def do_files(scope, receive, send):
    """A response to a handshake has no files: what is said of them is its body."""
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401})
    said = []
    with open(__file__, "rb") as file:
        for name in ["pathsend", "zerocopysend"]:
            for kind in [f"http.response.{name}", f"websocket.http.response.{name}"]:
                try:
                    await send({"type": kind, "path": __file__, "file": file})
                except RuntimeError as why:
                    said.append(f"{why};")
    await send({"type": "websocket.http.response.body", "body": "".join(said).encode()})


async def do_raise(scope, receive, send):
    if scope["query_string"] == b"late":
        await accept(receive, send)
    raise KeyError("of the test")


async def do_return(scope, receive, send):
    if scope["query_string"] == b"late":
        await accept(receive, send)


async def do_flood(scope, receive, send):
    """Messages of 64 KB, and how many have been handed on."""
    await accept(receive, send)
    for number in range(int(scope["query_string"])):
        try:
            await send({"type": "websocket.send", "bytes": bytes([number % 256]) * 65536})
        except OSError as why:
            EVENTS.append(["flooded", type(why).__name__])
            raise
        EVENTS.append(number)
    await until_disconnect(receive)


async def do_deaf(scope, receive, send):
    """Receives nothing before it is told to, over HTTP no more than over the WebSocket."""
    await accept(receive, send)
    try:
        while not os.path.exists(f"{__file__}.listen"):
            await asyncio.sleep(0.02)
    except asyncio.CancelledError as why:
        EVENTS.append(["deaf", type(why).__name__])
        raise
    count = 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            EVENTS.append(["heard", count])
            return
        count += 1


async def do_keep(scope, receive, send):
    """Keeps `receive` and `send` beyond the end of the WebSocket."""
    KEPT.append((receive, send))
    await accept(receive, send)
    await until_disconnect(receive)


async def do_stale(scope, receive, send):
    """What `receive` and `send` of closed WebSockets say."""
    await accept(receive, send)
    said = []
    for stale_receive, stale_send in KEPT:
        message = await stale_receive()
        said.append([message["type"], message["code"]])
        for kind in ["accept", "send", "close"]:
            try:
                await stale_send({"type": f"websocket.{kind}", "text": "x"})
                said.append("sent")
            except OSError as why:
                said.append(type(why).__name__)
    await text(send, json.dumps(said))
    await until_disconnect(receive)


async def do_talk(scope, receive, send):
    """Sends for as long as there is a client."""
    await accept(receive, send)
    try:
        while True:
            await text(send, "tick")
            await asyncio.sleep(0.01)
    except OSError as why:
        EVENTS.append(["gone", type(why).__name__])


async def do_wait(scope, receive, send):
    """Says nothing of the handshake, and notes that its client goes."""
    assert (await receive())["type"] == "websocket.connect"
    EVENTS.append(["waits"])
    message = await receive()
    EVENTS.append(["left", message["type"], message["code"]])


async def do_wrong(scope, receive, send):
    """What may not be sent, and what it is told of that."""
    await accept(receive, send)
    wrong = [
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": "x", "bytes": b"x"},
        {"type": "websocket.send", "text": b"x"},
        {"type": "websocket.send", "bytes": "x"},
        {"type": "websocket.send", "text": "\udc80"},
        {"type": "websocket.accept"},
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "code": 1},
        "no message",
    ]
    said = []
    for message in wrong:
        try:
            await send(message)
        except (RuntimeError, TypeError, ValueError) as why:
            said.append(type(why).__name__)
    await text(send, json.dumps(said))
    await until_disconnect(receive)
