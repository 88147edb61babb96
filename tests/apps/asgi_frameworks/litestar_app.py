"""The contract of tests/asgi/test_frameworks.py, by Litestar."""

import asyncio

from litestar import Litestar, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect
from litestar.logging import LoggingConfig
from litestar.response import Stream

DONE = []
GO = asyncio.Event()
ROOM = set()
CLOSED = []


async def start(app: Litestar) -> None:
    app.state.started = "yes"


@get("/hello/{name:str}", media_type="text/plain")
async def hello(name: str) -> str:
    return f"hello {name}"


@get("/facts")
async def facts(request: Request, state: State) -> Response:
    facts = {
        # Litestar leaves the root path out.
        "path": request.scope["root_path"] + request.scope["path"],
        "root_path": request.scope["root_path"],
        "query": dict(request.query_params.items()),
        "started": state.started,
        "cookie": request.cookies.get("a"),
        "host": request.headers["host"],
    }
    response = Response(facts)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@post("/echo", media_type="application/octet-stream", status_code=200)
async def echo(request: Request) -> bytes:
    return await request.body()


@get("/stream")
async def stream() -> Stream:
    async def pieces():
        for number in range(100):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return Stream(pieces())


@get("/events")
async def events() -> Stream:
    async def pieces():
        yield "data: first\n\n"
        await GO.wait()
        yield "data: second\n\n"

    return Stream(pieces(), media_type="text/event-stream")


@get("/go", media_type="text/plain")
async def go() -> str:
    GO.set()
    return "gone on"


@get("/endless")
async def endless() -> Stream:
    async def pieces():
        try:
            while True:
                yield "data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    return Stream(pieces(), media_type="text/event-stream")


@get("/blocking", media_type="text/plain", sync_to_thread=True)
def blocking() -> str:
    return "from a thread"


async def later() -> None:
    DONE.append("done")


@get("/background")
async def background() -> Response:
    return Response("later", media_type="text/plain", background=BackgroundTask(later))


@get("/done")
async def done() -> list[str]:
    return DONE


@get("/fails")
async def fails() -> None:
    raise ValueError("on purpose")


@get("/closed")
async def closed() -> list[int]:
    return CLOSED


@websocket("/ws/echo")
async def ws_echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(code=message["code"], detail="")
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as why:
        CLOSED.append(why.code)


@websocket("/ws/room")
async def ws_room(socket: WebSocket) -> None:
    await socket.accept()
    ROOM.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for each in list(ROOM):
                await each.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        ROOM.discard(socket)


@websocket("/ws/facts")
async def ws_facts(socket: WebSocket, state: State) -> None:
    facts = {
        # Litestar leaves the root path out.
        "path": socket.scope["root_path"] + socket.scope["path"],
        "root_path": socket.scope["root_path"],
        "query": dict(socket.query_params.items()),
        "started": state.started,
        "cookie": socket.cookies.get("a"),
        "header": socket.headers["x-some"],
        "subprotocols": socket.scope["subprotocols"],
    }
    await socket.accept("chat", headers=[(b"x-own", b"yes"), (b"set-cookie", b"a=1")])
    await socket.send_json(facts)
    await socket.close()


@websocket("/ws/close")
async def ws_close(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close(3001, "of the application")


@websocket("/ws/refused")
async def ws_refused(socket: WebSocket) -> None:
    await socket.close()


@websocket("/ws/denied")
async def ws_denied(socket: WebSocket) -> None:
    # Litestar has no response for it: the messages themselves.
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"private")]
    await socket.send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await socket.send({"type": "websocket.http.response.body", "body": b"who are you?"})


@websocket("/ws/fails")
async def ws_fails(socket: WebSocket) -> None:
    await socket.accept()
    raise ValueError("on purpose")


HTTP = [hello, facts, echo, stream, blocking, background, done, fails, closed]
STREAMS = [events, go, endless]
WEBSOCKETS = [ws_echo, ws_room, ws_facts, ws_close, ws_refused, ws_denied, ws_fails]
application = Litestar(
    [*HTTP, *STREAMS, *WEBSOCKETS],
    on_startup=[start],
    openapi_config=None,
    # It logs exceptions in debug mode only.
    logging_config=LoggingConfig(log_exceptions="always", disable_stack_trace={404}),
)
