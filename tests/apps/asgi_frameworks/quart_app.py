"""The contract of tests/asgi/test_frameworks.py, by Quart."""

import asyncio

from quart import Quart, jsonify, make_response, request, websocket

application = Quart(__name__)
STARTED = []
DONE = []
GO = asyncio.Event()
ROOM = set()
CLOSED = []


@application.before_serving
async def start():
    STARTED.append("yes")


@application.get("/hello/<name>")
async def hello(name):
    return f"hello {name}"


@application.get("/facts")
async def facts():
    response = await make_response(
        jsonify(
            path=request.root_path + request.path,
            root_path=request.root_path,
            query=dict(request.args),
            started=STARTED[0],
            cookie=request.cookies.get("a"),
            host=request.headers["host"],
        )
    )
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@application.post("/echo")
async def echo():
    return await request.get_data()


@application.get("/stream")
async def stream():
    async def pieces():
        for number in range(100):
            yield f"line {number}\n".encode()
            await asyncio.sleep(0)

    return pieces()


@application.get("/events")
async def events():
    async def pieces():
        yield b"data: first\n\n"
        await GO.wait()
        yield b"data: second\n\n"

    response = await make_response(pieces(), {"Content-Type": "text/event-stream"})
    # Quart ends a response after 60 s otherwise.
    response.timeout = None
    return response


@application.get("/go")
async def go():
    GO.set()
    return "gone on"


@application.get("/endless")
async def endless():
    async def pieces():
        try:
            while True:
                yield b"data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    response = await make_response(pieces(), {"Content-Type": "text/event-stream"})
    response.timeout = None
    return response


@application.get("/blocking")
def blocking():
    return "from a thread"


@application.get("/background")
async def background():
    application.add_background_task(later)
    return "later"


async def later():
    DONE.append("done")


@application.get("/done")
async def done():
    return jsonify(DONE)


@application.get("/fails")
async def fails():
    raise ValueError("on purpose")


@application.get("/closed")
async def closed():
    return jsonify(CLOSED)


@application.websocket("/ws/echo")
async def ws_echo():
    try:
        while True:
            await websocket.send(await websocket.receive())
    except asyncio.CancelledError:
        # A disconnect; Quart does not tell its code.
        CLOSED.append(None)
        raise


async def copy(queue):
    while True:
        await websocket.send(await queue.get())


@application.websocket("/ws/room")
async def ws_room():
    await websocket.accept()
    queue = asyncio.Queue()
    ROOM.add(queue)
    task = asyncio.ensure_future(copy(queue))
    try:
        while True:
            text = await websocket.receive()
            for each in ROOM:
                each.put_nowait(text)
    finally:
        ROOM.discard(queue)
        task.cancel()


@application.websocket("/ws/facts")
async def ws_facts():
    await websocket.accept({"x-own": "yes", "set-cookie": "a=1"}, "chat")
    await websocket.send_json(
        {
            "path": websocket.root_path + websocket.path,
            "root_path": websocket.root_path,
            "query": dict(websocket.args),
            "started": STARTED[0],
            "cookie": websocket.cookies.get("a"),
            "header": websocket.headers["x-some"],
            "subprotocols": websocket.requested_subprotocols,
        }
    )


@application.websocket("/ws/close")
async def ws_close():
    await websocket.accept()
    await websocket.close(3001, "of the application")


@application.websocket("/ws/refused")
async def ws_refused():
    await websocket.close(1000)


@application.websocket("/ws/denied")
async def ws_denied():
    return "who are you?", 401, {"x-why": "private"}


@application.websocket("/ws/fails")
async def ws_fails():
    await websocket.accept()
    raise ValueError("on purpose")
