"""A FastAPI application: a page, JSON, an event stream and a WebSocket."""

import asyncio

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI()

PAGE = """<!doctype html><title>Hello from FastAPI</title>
<h1>Hello from FastAPI</h1><p>The server says: <span id="said"></span></p>
<script>
    const socket = new WebSocket(new URL("socket", location).href.replace("http", "ws"))
    socket.onopen = () => socket.send("hello over a WebSocket")
    socket.onmessage = event => document.getElementById("said").textContent = event.data
</script>
"""


@app.get("/", response_class=HTMLResponse)
async def index():
    return PAGE


@app.get("/items/{number}")
async def item(number: int):
    return {"id": number, "text": "remember the milk"}


@app.get("/events")
async def events():
    async def stream():
        for number in range(3):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/socket")
async def echo(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
