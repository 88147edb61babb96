"""The contract of tests/asgi/test_frameworks.py, by Starlette."""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

DONE = []


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


def blocking(request):
    return PlainTextResponse("from a thread")


async def background(request):
    return PlainTextResponse("later", background=BackgroundTask(DONE.append, "done"))


async def done(request):
    return JSONResponse(DONE)


async def fails(request):
    raise ValueError("on purpose")


application = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/facts", facts),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
        Route("/blocking", blocking),
        Route("/background", background),
        Route("/done", done),
        Route("/fails", fails),
    ],
    lifespan=lifespan,
)
