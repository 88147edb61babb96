"""The contract of tests/asgi/test_frameworks.py, by Quart."""

import asyncio

from quart import Quart, jsonify, make_response, request

application = Quart(__name__)
STARTED = []
DONE = []


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
