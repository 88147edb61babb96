"""The contract of tests/asgi/test_frameworks.py, by Django Channels: consumers of HTTP."""

import asyncio
import http.cookies
import json
import urllib.parse

import django
from channels.db import database_sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests")
django.setup()
DONE = []
TASKS = set()
# Of Django, which gets what no consumer is for.
urlpatterns = []


class Hello(AsyncHttpConsumer):
    async def handle(self, body):
        name = self.scope["url_route"]["kwargs"]["name"]
        await self.send_response(200, f"hello {name}".encode())


class Facts(AsyncHttpConsumer):
    async def handle(self, body):
        headers = dict(self.scope["headers"])
        cookies = http.cookies.SimpleCookie(headers.get(b"cookie", b"").decode())
        query = urllib.parse.parse_qsl(self.scope["query_string"].decode())
        facts = {
            "path": self.scope["path"],
            "root_path": self.scope["root_path"],
            "query": dict(query),
            # Channels knows no lifespan.
            "started": "yes",
            "cookie": cookies["a"].value if "a" in cookies else None,
            "host": headers[b"host"].decode(),
        }
        fields = [(b"Content-Type", b"application/json")]
        fields += [(b"Set-Cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2; Path=/")]
        await self.send_response(200, json.dumps(facts).encode(), headers=fields)


class Echo(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_response(200, body)


class Stream(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_headers(headers=[(b"Content-Type", b"text/plain")])
        for number in range(100):
            await self.send_body(f"line {number}\n".encode(), more_body=True)
        await self.send_body(b"")


class Blocking(AsyncHttpConsumer):
    async def handle(self, body):
        text = await database_sync_to_async(lambda: b"from a thread")()
        await self.send_response(200, text)


class Background(AsyncHttpConsumer):
    async def handle(self, body):
        task = asyncio.create_task(later())
        TASKS.add(task)
        task.add_done_callback(TASKS.discard)
        await self.send_response(200, b"later")


async def later():
    DONE.append("done")


class Done(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_response(200, json.dumps(DONE).encode())


class Fails(AsyncHttpConsumer):
    async def handle(self, body):
        raise ValueError("on purpose")


consumers = [
    path("hello/<str:name>", Hello.as_asgi()),
    path("facts", Facts.as_asgi()),
    path("echo", Echo.as_asgi()),
    path("stream", Stream.as_asgi()),
    path("blocking", Blocking.as_asgi()),
    path("background", Background.as_asgi()),
    path("done", Done.as_asgi()),
    path("fails", Fails.as_asgi()),
    re_path("", get_asgi_application()),
]
application = ProtocolTypeRouter({"http": URLRouter(consumers)})
