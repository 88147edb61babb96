"""The contract of tests/asgi/test_frameworks.py, by Django Channels: consumers."""

import asyncio
import contextlib
import http.cookies
import json
import urllib.parse

import django
from channels.db import database_sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for tests", CHANNEL_LAYERS=LAYERS
)
django.setup()
DONE = []
GO = asyncio.Event()
TASKS = set()
CLOSED = []
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


class Events(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_headers(headers=[(b"Content-Type", b"text/event-stream")])
        await self.send_body(b"data: first\n\n", more_body=True)
        await GO.wait()
        await self.send_body(b"data: second\n\n")


class Go(AsyncHttpConsumer):
    async def handle(self, body):
        GO.set()
        await self.send_response(200, b"gone on")


class Endless(AsyncHttpConsumer):
    async def http_request(self, message):
        # The consumer is told of a disconnect once this has returned.
        self.task = asyncio.create_task(self.pieces())

    async def pieces(self):
        await self.send_headers(headers=[(b"Content-Type", b"text/event-stream")])
        with contextlib.suppress(OSError):
            while True:
                await self.send_body(b"data: more\n\n", more_body=True)
                await asyncio.sleep(0.02)

    async def disconnect(self):
        self.task.cancel()
        DONE.append("left")


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


class Closed(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_response(200, json.dumps(CLOSED).encode())


class SocketEcho(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code):
        CLOSED.append(code)


class SocketRoom(AsyncWebsocketConsumer):
    groups = ("room",)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "room.message", "text": text_data})

    async def room_message(self, event):
        await self.send(text_data=event["text"])


class SocketFacts(AsyncWebsocketConsumer):
    async def connect(self):
        headers = dict(self.scope["headers"])
        cookies = http.cookies.SimpleCookie(headers[b"cookie"].decode())
        facts = {
            "path": self.scope["path"],
            "root_path": self.scope["root_path"],
            "query": dict(urllib.parse.parse_qsl(self.scope["query_string"].decode())),
            # Channels knows no lifespan.
            "started": "yes",
            "cookie": cookies["a"].value,
            "header": headers[b"x-some"].decode(),
            "subprotocols": self.scope["subprotocols"],
        }
        await self.accept("chat", [(b"x-own", b"yes"), (b"set-cookie", b"a=1")])
        await self.send(json.dumps(facts))
        await self.close()


class SocketClose(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.close(3001, "of the application")


class SocketRefused(AsyncWebsocketConsumer):
    async def connect(self):
        await self.close()


class SocketDenied(AsyncWebsocketConsumer):
    async def connect(self):
        # Channels has no response for it: the messages themselves.
        headers = [(b"content-type", b"text/plain"), (b"x-why", b"private")]
        await self.base_send(
            {"type": "websocket.http.response.start", "status": 401, "headers": headers}
        )
        await self.base_send({"type": "websocket.http.response.body", "body": b"who are you?"})


class SocketFails(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        raise ValueError("on purpose")


consumers = [
    path("hello/<str:name>", Hello.as_asgi()),
    path("facts", Facts.as_asgi()),
    path("echo", Echo.as_asgi()),
    path("stream", Stream.as_asgi()),
    path("events", Events.as_asgi()),
    path("go", Go.as_asgi()),
    path("endless", Endless.as_asgi()),
    path("blocking", Blocking.as_asgi()),
    path("background", Background.as_asgi()),
    path("done", Done.as_asgi()),
    path("fails", Fails.as_asgi()),
    path("closed", Closed.as_asgi()),
    re_path("", get_asgi_application()),
]
sockets = [
    path("ws/echo", SocketEcho.as_asgi()),
    path("ws/room", SocketRoom.as_asgi()),
    path("ws/facts", SocketFacts.as_asgi()),
    path("ws/close", SocketClose.as_asgi()),
    path("ws/refused", SocketRefused.as_asgi()),
    path("ws/denied", SocketDenied.as_asgi()),
    path("ws/fails", SocketFails.as_asgi()),
]
application = ProtocolTypeRouter({"http": URLRouter(consumers), "websocket": URLRouter(sockets)})
