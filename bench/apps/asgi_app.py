"""The application of ASGI: a path for each case, and WebSockets that echo."""

BLOCK = b"x" * 65536
BLOCKS = 1024


def start(length, kind=b"text/plain"):
    headers = [(b"content-type", kind), (b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": 200, "headers": headers}


HELLO = b"Hello, world!"
HELLO_BODY = {"type": "http.response.body", "body": HELLO}


async def hello(send):
    await send(start(len(HELLO)))
    await send(HELLO_BODY)


async def stream(send):
    await send(start(len(BLOCK) * BLOCKS, b"application/octet-stream"))
    for number in range(1, BLOCKS + 1):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": number < BLOCKS})


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def lifespan(receive, send):
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


PATHS = {"/hello": hello, "/stream": stream}


async def application(scope, receive, send):
    if scope["type"] == "http":
        await PATHS[scope["path"]](send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        await lifespan(receive, send)
