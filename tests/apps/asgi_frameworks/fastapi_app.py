"""The contract of tests/asgi/test_frameworks.py, by FastAPI."""

import asyncio
import contextlib
import gc

from fastapi import (
    BackgroundTasks,
    FastAPI,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import PlainTextResponse, StreamingResponse

DONE = []
GO = asyncio.Event()
ROOM = set()
CLOSED = []


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"started": "yes"}


application = FastAPI(lifespan=lifespan)


@application.get("/hello/{name}", response_class=PlainTextResponse)
async def hello(name: str):
    return f"hello {name}"


@application.get("/facts")
async def facts(request: Request, response: Response):
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return {
        "path": request.url.path,
        "root_path": request.scope["root_path"],
        "query": dict(request.query_params),
        "started": request.state.started,
        "cookie": request.cookies.get("a"),
        "host": request.headers["host"],
    }


@application.post("/echo", response_class=PlainTextResponse)
async def echo(request: Request):
    return PlainTextResponse(await request.body())


@application.get("/stream")
async def stream():
    async def pieces():
        for number in range(100):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


@application.get("/events")
async def events():
    async def pieces():
        yield "data: first\n\n"
        await GO.wait()
        yield "data: second\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


@application.get("/go", response_class=PlainTextResponse)
async def go():
    GO.set()
    return "gone on"


@application.get("/endless")
async def endless():
    async def pieces():
        try:
            while True:
                yield "data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    return StreamingResponse(pieces(), media_type="text/event-stream")


@application.get("/blocking", response_class=PlainTextResponse)
def blocking():
    return "from a thread"


@application.get("/background", response_class=PlainTextResponse)
async def background(tasks: BackgroundTasks):
    tasks.add_task(DONE.append, "done")
    return "later"


@application.get("/done")
async def done():
    # Starlette leaves the generator of a client that has gone to the collector.
    gc.collect()
    return DONE


@application.get("/fails")
async def fails():
    raise ValueError("on purpose")


@application.get("/closed")
async def closed():
    return CLOSED


@application.websocket("/ws/echo")
async def ws_echo(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as why:
        CLOSED.append(why.code)


@application.websocket("/ws/room")
async def ws_room(websocket: WebSocket):
    await websocket.accept()
    ROOM.add(websocket)
    try:
        async for text in websocket.iter_text():
            for each in list(ROOM):
                await each.send_text(text)
    finally:
        ROOM.discard(websocket)


@application.websocket("/ws/facts")
async def ws_facts(websocket: WebSocket, x: str, y: str):
    facts = {
        "path": websocket.url.path,
        "root_path": websocket.scope["root_path"],
        "query": {"x": x, "y": y},
        "started": websocket.state.started,
        "cookie": websocket.cookies.get("a"),
        "header": websocket.headers["x-some"],
        "subprotocols": websocket.scope["subprotocols"],
    }
    await websocket.accept("chat", headers=[(b"x-own", b"yes"), (b"set-cookie", b"a=1")])
    await websocket.send_json(facts)
    await websocket.close()


@application.websocket("/ws/close")
async def ws_close(websocket: WebSocket):
    await websocket.accept()
    await websocket.close(3001, "of the application")


@application.websocket("/ws/refused")
async def ws_refused(websocket: WebSocket):
    raise WebSocketException(1008)


@application.websocket("/ws/denied")
async def ws_denied(websocket: WebSocket):
    response = PlainTextResponse("who are you?", 401, {"x-why": "private"})
    await websocket.send_denial_response(response)


@application.websocket("/ws/fails")
async def ws_fails(websocket: WebSocket):
    await websocket.accept()
    raise ValueError("on purpose")
