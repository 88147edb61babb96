"""The contract of tests/asgi/test_frameworks.py, by Litestar."""

import asyncio

from litestar import Litestar, Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State
from litestar.logging import LoggingConfig
from litestar.response import Stream

DONE = []


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


application = Litestar(
    [hello, facts, echo, stream, blocking, background, done, fails],
    on_startup=[start],
    openapi_config=None,
    # It logs exceptions in debug mode only.
    logging_config=LoggingConfig(log_exceptions="always", disable_stack_trace={404}),
)
