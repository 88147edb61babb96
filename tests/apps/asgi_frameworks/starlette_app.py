"""The contract of tests/asgi/test_frameworks.py, by Starlette."""

import asyncio
import contextlib
import gc

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

DONE = []
GO = asyncio.Event()
ROOM = set()
CLOSED = []


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"started": "yes"}


async def hello(request):
    return PlainTextResponse(f"hello {request.path_params['name']}")


async def facts(request):
    facts = {
        "path": request.url.path,
        "root_path": request.scope["root_path"],
        "query": dict(request.query_params),
        "started": request.state.started,
        "cookie": request.cookies.get("a"),
        "host": request.headers["host"],
    }
    response = JSONResponse(facts)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def echo(request):
    return PlainTextResponse(await request.body())


async def stream(request):
    async def pieces():
        for number in range(100):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


async def events(request):
    async def pieces():
        yield "data: first\n\n"
        await GO.wait()
        yield "data: second\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def go(request):
    GO.set()
    return PlainTextResponse("gone on")


async def endless(request):
    async def pieces():
        try:
            while True:
                yield "data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    return StreamingResponse(pieces(), media_type="text/event-stream")


def blocking(request):
    return PlainTextResponse("from a thread")


async def background(request):
    return PlainTextResponse("later", background=BackgroundTask(DONE.append, "done"))


async def done(request):
    # Starlette leaves the generator of a client that has gone to the collector.
    gc.collect()
    return JSONResponse(DONE)


async def fails(request):
    raise ValueError("on purpose")


async def ws_echo(websocket):
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


async def ws_room(websocket):
    await websocket.accept()
    ROOM.add(websocket)
    try:
        async for text in websocket.iter_text():
            for each in list(ROOM):
                await each.send_text(text)
    finally:
        ROOM.discard(websocket)


async def ws_facts(websocket):
    facts = {
        "path": websocket.url.path,
        "root_path": websocket.scope["root_path"],
        "query": dict(websocket.query_params),
        "started": websocket.state.started,
        "cookie": websocket.cookies.get("a"),
        "header": websocket.headers["x-some"],
        "subprotocols": websocket.scope["subprotocols"],
    }
    await websocket.accept("chat", headers=[(b"x-own", b"yes"), (b"set-cookie", b"a=1")])
    await websocket.send_json(facts)
    await websocket.close()


async def ws_close(websocket):
    await websocket.accept()
    await websocket.close(3001, "of the application")


async def ws_refused(websocket):
    await websocket.close()


async def ws_denied(websocket):
    response = PlainTextResponse("who are you?", 401, {"x-why": "private"})
    await websocket.send_denial_response(response)


async def ws_fails(websocket):
    await websocket.accept()
    raise ValueError("on purpose")


async def closed(request):
    return JSONResponse(CLOSED)


application = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/facts", facts),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
        Route("/events", events),
        Route("/go", go),
        Route("/endless", endless),
        Route("/blocking", blocking),
        Route("/background", background),
        Route("/done", done),
        Route("/fails", fails),
        Route("/closed", closed),
        WebSocketRoute("/ws/echo", ws_echo),
        WebSocketRoute("/ws/room", ws_room),
        WebSocketRoute("/ws/facts", ws_facts),
        WebSocketRoute("/ws/close", ws_close),
        WebSocketRoute("/ws/refused", ws_refused),
        WebSocketRoute("/ws/denied", ws_denied),
        WebSocketRoute("/ws/fails", ws_fails),
    ],
    lifespan=lifespan,
)
