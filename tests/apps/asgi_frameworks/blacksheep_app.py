"""The contract of tests/asgi/test_frameworks.py, by BlackSheep."""

import asyncio

from blacksheep import (
    Application,
    Content,
    Cookie,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    json,
    text,
)

application = Application()
STARTED = []
DONE = []
GO = asyncio.Event()
TASKS = set()
ROOM = set()
CLOSED = []


@application.on_start
async def start(_):
    STARTED.append("yes")


@application.router.get("/hello/{name}")
async def hello(name: str):
    return text(f"hello {name}")


@application.router.get("/facts")
async def facts(request: Request):
    root_path = request.scope["root_path"]
    query = {name: values[0] for name, values in request.query.items()}
    response = json(
        {
            "path": request.scope["path"],
            "root_path": root_path,
            "query": query,
            "started": STARTED[0],
            "cookie": request.cookies.get("a"),
            "host": request.host,
        }
    )
    response.set_cookie(Cookie("a", "1"))
    response.set_cookie(Cookie("b", "2"))
    return response


@application.router.post("/echo")
async def echo(request: Request):
    return Response(200, content=Content(b"application/octet-stream", await request.read()))


@application.router.get("/stream")
async def stream():
    async def pieces():
        for number in range(100):
            yield f"line {number}\n".encode()
            await asyncio.sleep(0)

    return Response(200, content=StreamedContent(b"text/plain", pieces))


@application.router.get("/events")
async def events():
    async def pieces():
        yield b"data: first\n\n"
        await GO.wait()
        yield b"data: second\n\n"

    return Response(200, content=StreamedContent(b"text/event-stream", pieces))


@application.router.get("/go")
async def go():
    GO.set()
    return text("gone on")


@application.router.get("/endless")
async def endless(request: Request):
    async def pieces():
        try:
            while not await request.is_disconnected():
                yield b"data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    return Response(200, content=StreamedContent(b"text/event-stream", pieces))


@application.router.get("/blocking")
async def blocking():
    return text(await asyncio.to_thread(lambda: "from a thread"))


@application.router.get("/background")
async def background():
    task = asyncio.create_task(later())
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return text("later")


async def later():
    DONE.append("done")


@application.router.get("/done")
async def done():
    return json(DONE)


@application.router.get("/fails")
async def fails():
    raise ValueError("on purpose")


@application.router.get("/closed")
async def closed():
    return json(CLOSED)


@application.router.ws("/ws/echo")
async def ws_echo(socket: WebSocket):
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnectError as why:
        CLOSED.append(why.code)


@application.router.ws("/ws/room")
async def ws_room(socket: WebSocket):
    await socket.accept()
    ROOM.add(socket)
    try:
        while True:
            message = await socket.receive_text()
            for each in list(ROOM):
                await each.send_text(message)
    except WebSocketDisconnectError:
        pass
    finally:
        ROOM.discard(socket)


@application.router.ws("/ws/facts")
async def ws_facts(socket: WebSocket):
    facts = {
        "path": socket.scope["path"],
        "root_path": socket.scope["root_path"],
        "query": {name: values[0] for name, values in socket.query.items()},
        "started": STARTED[0],
        "cookie": socket.cookies.get("a"),
        "header": socket.get_first_header(b"x-some").decode(),
        "subprotocols": socket.scope["subprotocols"],
    }
    await socket.accept([(b"x-own", b"yes"), (b"set-cookie", b"a=1")], "chat")
    await socket.send_json(facts)
    await socket.close()


@application.router.ws("/ws/close")
async def ws_close(socket: WebSocket):
    await socket.accept()
    await socket.close(3001, "of the application")


@application.router.ws("/ws/refused")
async def ws_refused(socket: WebSocket):
    await socket.close()


@application.router.ws("/ws/denied")
async def ws_denied(socket: WebSocket):
    # BlackSheep has no response for it: the messages themselves.
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"private")]
    await socket._send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await socket._send({"type": "websocket.http.response.body", "body": b"who are you?"})


@application.router.ws("/ws/fails")
async def ws_fails(socket: WebSocket):
    await socket.accept()
    raise ValueError("on purpose")
