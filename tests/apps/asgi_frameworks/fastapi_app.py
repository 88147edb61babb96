"""The contract of tests/asgi/test_frameworks.py, by FastAPI."""

import asyncio
import contextlib

from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

DONE = []


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


@application.get("/blocking", response_class=PlainTextResponse)
def blocking():
    return "from a thread"


@application.get("/background", response_class=PlainTextResponse)
async def background(tasks: BackgroundTasks):
    tasks.add_task(DONE.append, "done")
    return "later"


@application.get("/done")
async def done():
    return DONE


@application.get("/fails")
async def fails():
    raise ValueError("on purpose")
