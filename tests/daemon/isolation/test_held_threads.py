"""How long a worker can hold a thread of Apache by what no client gets."""

import concurrent.futures
import contextlib
import time

import pytest
from harness import daemons
from harness.client import head
from harness.hostile import conf, is_up, run

pytestmark = pytest.mark.ours_only("our own wire")

__all__ = ["conf"]

THREADS = 4
# DISCARD_LIMIT of the source, and time for a busy machine.
DISCARDED = 5 + 5

DRIP = """
sock = connection()
sock.sendall({first})
try:
    while True:
        sock.sendall({piece})
        time.sleep(0.1)
except OSError:
    pass
"""


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        ("b''", "record(ord('L'), bytes([15]) + b'trace')"),
        ("b''", "struct.pack('!BBHHBB', 1, 11, 0, 8, 0, 0) + bytes(8)"),
        ("record(6, HEAD + b'X-Long: ')", "record(6, b'x')"),
    ],
    ids=["log", "management", "head"],
)
def test_records_that_no_client_gets_do_not_extend_socket_timeout(start, first, piece):
    server = start("threads=1 socket-timeout=2")
    server.log.allow("WSGI0145")
    begun = time.monotonic()
    answer = run(server, DRIP.format(first=first, piece=piece))
    assert answer.status == 504
    assert time.monotonic() - begun < 2 + 2 + 5
    assert is_up(server)


@pytest.mark.parametrize(
    ("first", "status", "text"),
    [
        ("b'Status: 404 Not Found\\r\\n\\r\\n'", 404, "Not Found"),
        ("b'Location: /x.txt\\r\\n\\r\\n'", 200, "static"),
    ],
    ids=["replaced", "located"],
)
def test_the_rest_of_an_answer_that_is_not_passed_on_is_not_awaited(start, first, status, text):
    server = start(extra="WSGIErrorOverride On")
    begun = time.monotonic()
    answer = run(server, DRIP.format(first=f"record(6, {first})", piece="record(6, b'x')"))
    assert (answer.status, text in answer.text) == (status, True)
    assert time.monotonic() - begun < DISCARDED
    assert is_up(server)


def test_a_client_that_has_left_holds_no_thread(start, mpm):
    if mpm == "prefork":
        pytest.skip("children with one connection each")
    server = start("threads=8")
    server.log.allow("stopping with POST /app/exec still running")
    note = str(server.root / "out/note")
    code = f"open({note!r}, 'a').write('x\\n')\ntime.sleep(30)".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS):
            sock = stack.enter_context(server.socket())
            sock.sendall(head("/app/exec", f"Content-Length: {len(code)}", method="POST") + code)
        daemons.wait_for_notes(server, THREADS)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda _: server.get("/x.txt").text, range(2 * THREADS)))
    assert set(answers) == {"static"}
    assert time.monotonic() - begun < 5 + 5
