"""Clients on kept-alive connections, each of which asks at intervals: latencies and failures.

A server may close a connection between two requests. A request of which no byte of an answer came
on a connection that has been used before is sent once more on a new one, as browsers do, and its
time runs on. All else is a failure: a connection that cannot be made, an answer that ends early, a
status other than 200, no answer at the end.
"""

import asyncio
import time

from bench.stats import percentile

MILLISECONDS = 1000
# How long requests that are on their way at the end may take.
GRACE_SECONDS = 3


class Counted:
    """What became of the requests of all clients."""

    def __init__(self):
        # Seconds; a request that failed counts with the time until then.
        self.latencies = []
        self.failed = 0

    def figures(self):
        """{"p50_ms", "p99_ms", "slowest_ms", "failed"}; `failed` is a number of requests."""
        ordered = sorted(self.latencies) or [0]
        return {
            "p50_ms": percentile(ordered, 50) * MILLISECONDS,
            "p99_ms": percentile(ordered, 99) * MILLISECONDS,
            "slowest_ms": ordered[-1] * MILLISECONDS,
            "failed": self.failed,
        }


def run(port, path, clients, seconds, interval=0, events=()):
    """So many clients for so many seconds; each asks every `interval` seconds.

    `events` are (seconds from the beginning, function): what is to happen meanwhile.
    """
    counted = Counted()
    asyncio.run(_run(counted, port, path, clients, seconds, interval, events))
    return counted


async def _run(counted, port, path, clients, seconds, interval, events):
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    for after, function in events:
        loop.call_later(after, function)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    starts = (began + number * interval / clients for number in range(clients))
    asking = [
        asyncio.create_task(_ask(counted, port, request, start, began + seconds, interval))
        for start in starts
    ]
    _, unfinished = await asyncio.wait(asking, timeout=seconds + GRACE_SECONDS)
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def _ask(counted, port, request, due, end, interval):
    """One client. A request that an earlier one has delayed counts from when it was due."""
    connection = None
    while due < end:
        await asyncio.sleep(max(0, due - time.monotonic()))
        try:
            connection = await _answer(port, request, connection)
        except (OSError, EOFError, ValueError):
            counted.failed += 1
            connection = None
        except asyncio.CancelledError:
            counted.failed += 1
            counted.latencies.append(time.monotonic() - due)
            raise
        now = time.monotonic()
        counted.latencies.append(now - due)
        due = due + interval if interval else now
    if connection:
        connection[1].close()


async def _answer(port, request, connection):
    """The connection for the next request, None if the server closes it."""
    used = connection is not None
    reader, writer = connection or await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        writer.close()
        if used and not getattr(error, "partial", b""):
            return await _answer(port, request, None)
        raise
    status, *fields = head.decode("latin-1").lower().split("\r\n")
    fields = dict(field.split(": ", 1) for field in fields if ": " in field)
    await reader.readexactly(int(fields.get("content-length", 0)))
    if status.split(" ")[1] != "200":
        writer.close()
        raise ValueError(status)
    if fields.get("connection") == "close":
        writer.close()
        return None
    return reader, writer
