"""The contract of tests/asgi/test_frameworks.py, by BlackSheep."""

import asyncio

from blacksheep import Application, Content, Cookie, Request, Response, StreamedContent, json, text

application = Application()
STARTED = []
DONE = []
TASKS = set()


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
