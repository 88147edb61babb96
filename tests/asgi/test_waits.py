"""What an application of HTTP waits for comes, whatever happens meanwhile."""

import os
import signal

import pytest
from harness import daemons
from harness.asgi import APP
from harness.client import head, read_all, read_until
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

WAITING = (
    APP
    + """
async def do_sends_much_at_the_end(scope, receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        await end(send, b"x" * 8_000_000)
"""
)


def test_request_cancelled_at_the_end_of_its_worker_can_send_more_than_there_is_room_for(start):
    server = start("eviction-timeout=1 shutdown-timeout=60", app=WAITING)
    server.log.allow("WSGI0245", "stopping with GET")
    daemons.await_all_workers(server)
    (worker,) = daemons.workers(server)
    with server.socket() as sock:
        sock.settimeout(60)
        sock.sendall(head("/sends_much_at_the_end", "Connection: close"))
        read_until(sock, b"begun")
        os.kill(worker, signal.SIGUSR1)
        assert len(read_all(sock)) >= 8_000_000
    wait_until(lambda: not daemons.is_alive(worker), "the worker to end", timeout=30)
