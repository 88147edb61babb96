"""The contract of tests/asgi/test_frameworks.py, by Django."""

import asyncio

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

DONE = []
GO = asyncio.Event()


async def hello(request, name):
    return HttpResponse(f"hello {name}", content_type="text/plain")


async def facts(request):
    facts = {
        "path": request.path,
        "root_path": request.META["SCRIPT_NAME"],
        "query": dict(request.GET.items()),
        # Django knows no lifespan.
        "started": "yes",
        "cookie": request.COOKIES.get("a"),
        "host": request.get_host(),
    }
    response = JsonResponse(facts)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@csrf_exempt
async def echo(request):
    return HttpResponse(request.body)


async def stream(request):
    async def pieces():
        for number in range(100):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingHttpResponse(pieces())


async def events(request):
    async def pieces():
        yield "data: first\n\n"
        await GO.wait()
        yield "data: second\n\n"

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


async def go(request):
    GO.set()
    return HttpResponse("gone on")


async def endless(request):
    async def pieces():
        try:
            while True:
                yield "data: more\n\n"
                await asyncio.sleep(0.02)
        finally:
            DONE.append("left")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


def blocking(request):
    return HttpResponse("from a thread")


async def background(request):
    asyncio.get_running_loop().call_soon(DONE.append, "done")
    return HttpResponse("later")


async def done(request):
    return JsonResponse(DONE, safe=False)


async def fails(request):
    raise ValueError("on purpose")


urlpatterns = [
    path("hello/<str:name>", hello),
    path("facts", facts),
    path("echo", echo),
    path("stream", stream),
    path("events", events),
    path("go", go),
    path("endless", endless),
    path("blocking", blocking),
    path("background", background),
    path("done", done),
    path("fails", fails),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}
settings.configure(
    LOGGING=LOGGING, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests", DEBUG=False
)
django.setup()
application = get_asgi_application()
