"""Responses that go on for long, each path in its own way. A file says what became of them."""

import asyncio
import os
import time
from pathlib import Path

HERE = Path(__file__).parent
# Streams that are open, by name: what wakes them.
OPEN = {}


def note(line):
    with (HERE / "notes").open("a") as notes:
        notes.write(line + "\n")


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    _, action, *rest = scope["path"].removeprefix(scope["root_path"]).split("/")
    pairs = (pair.partition("=") for pair in scope["query_string"].decode().split("&") if pair)
    query = {name: value for name, _, value in pairs}
    await globals()[f"do_{action}"]("/".join(rest), query, receive, send)


async def start(send, kind=b"text/event-stream", length=None):
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def body(send, data, more=True):
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def do_hello(name, query, receive, send):
    await start(send, b"text/plain")
    await body(send, b"hello", more=False)


async def do_stream(name, query, receive, send):
    """Sends what /send/NAME says, until /end/NAME."""
    kind = query.get("kind", "text/event-stream").encode()
    queue = OPEN[name] = asyncio.Queue()
    await start(send, kind)
    await body(send, b"first\n")
    note(f"open {name}")
    await receive()
    leaves = asyncio.ensure_future(receive())
    while True:
        message = asyncio.ensure_future(queue.get())
        done, _ = await asyncio.wait({leaves, message}, return_when=asyncio.FIRST_COMPLETED)
        if leaves in done:
            note(f"{leaves.result()['type']} {name}")
            message.cancel()
            break
        if message.result() is None:
            await body(send, b"last\n", more=False)
            note(f"end {name}")
            break
        await body(send, message.result())
    OPEN.pop(name, None)


async def do_send(name, query, receive, send):
    size = int(query.get("size", 0))
    data = b"x" * size if size else f"{time.monotonic()}\n".encode()
    if name == "all":
        for queue in OPEN.values():
            queue.put_nowait(data)
    else:
        OPEN[name].put_nowait(data)
    await do_hello(name, query, receive, send)


async def do_end(name, query, receive, send):
    for queue in list(OPEN.values()) if name == "all" else [OPEN[name]]:
        queue.put_nowait(None)
    await do_hello(name, query, receive, send)


async def do_empty(name, query, receive, send):
    """Has its head sent, and is silent before its first bytes until /end/NAME."""
    queue = OPEN[name] = asyncio.Queue()
    await start(send, query.get("kind", "text/event-stream").encode())
    await body(send, b"")
    note(f"open {name}")
    await queue.get()
    await body(send, b"last\n", more=False)


async def do_big(name, query, receive, send):
    """Is silent for a moment, then sends `size` bytes at once."""
    await start(send)
    await body(send, b"first\n")
    await asyncio.sleep(0.3)
    await body(send, b"#" * int(query["size"]))
    await body(send, b"last\n", more=False)


async def do_file(name, query, receive, send):
    """Is silent for a moment, then sends a file, and more in the same turn of the loop."""
    (HERE / "large").write_bytes(b"#" * int(query["size"]))
    await start(send)
    await body(send, b"first\n")
    await asyncio.sleep(0.3)
    file = os.open(HERE / "large", os.O_RDONLY)
    await send({"type": "http.response.zerocopysend", "file": file, "more_body": True})
    await body(send, b"after\n")
    await body(send, b"last\n", more=False)
    os.close(file)


async def do_passed(name, query, receive, send):
    """Is silent until /send/NAME, then sends the first bytes of the file at `path`."""
    queue = OPEN[name] = asyncio.Queue()
    await start(send)
    await body(send, b"first\n")
    await queue.get()
    del OPEN[name]
    file = os.open(query["path"], os.O_RDONLY)
    await send({"type": "http.response.zerocopysend", "file": file, "count": 100_000})
    os.close(file)


async def do_short(name, query, receive, send):
    """A stream that is silent for a moment, and ends."""
    await start(send)
    await body(send, b"first\n")
    await asyncio.sleep(float(query.get("for", 0.05)))
    await body(send, b"last\n", more=False)


async def do_promised(name, query, receive, send):
    """Ends before its Content-Length is reached."""
    await start(send, length=100)
    await body(send, b"first\n")
    await asyncio.sleep(0.1)
    await body(send, b"last\n", more=False)
