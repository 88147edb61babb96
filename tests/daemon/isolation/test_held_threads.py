"""How long a worker can hold a thread of Apache by what no client gets."""

import concurrent.futures
import contextlib
import time

import pytest
from harness import daemons
from harness.client import head
from harness.hostile import conf, is_up, run
from harness.httpd import wait_until

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


# Answers whatever comes as a worker with old code does.
GIVES_BACK = """
sock, answer = connection(), record(3, struct.pack("!IB3x", 3, 0))
sock.sendall(answer)
while sock.recv(1 << 20):
    sock.sendall(answer)
"""

# A script that is imported until there is a file beside it.
SLOW = """
import os, time
while not os.path.exists(os.path.join(os.path.dirname(__file__), "out/go")):
    time.sleep(0.02)
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
    # Where the machine is busy a worker takes longer than that to start.
    wait_until(lambda: is_up(server), "the worker")
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


def test_a_client_that_has_left_holds_no_thread_whatever_its_worker_does(start):
    extra = """
    WSGIScriptReloading Wait
    WSGIDaemonProcess slow threads=1 socket-timeout=60 startup-timeout=60
    WSGIImportScript ${ROOT}/slow.py process-group=slow application-group=%{GLOBAL}
    WSGIScriptAlias /slow ${ROOT}/app.py process-group=slow application-group=%{GLOBAL}
    CustomLog ${ROOT}/ended "%U%q %{WSGI_FLAGS}e"
    """
    server = start(
        "processes=2 threads=1 socket-timeout=60",
        extra,
        modules=("log_config",),
        prepare=lambda server: server.write("slow.py", SLOW),
    )
    server.log.allow("stopping with POST /app/exec.* still running")
    note = str(server.root / "out/note")
    begins = f"open({note!r}, 'a').write('x\\n')\n"
    requests = (
        # One worker logs without an end, and the other one gives each request back.
        ("/app/exec?log", begins + DRIP.format(first="b''", piece="record(ord('L'), b'\\x0fx')")),
        ("/app/exec?back", begins + GIVES_BACK),
        ("/slow", ""),
    )
    with contextlib.ExitStack() as stack:
        for number, (path, code) in enumerate(requests, 1):
            sock = stack.enter_context(server.socket())
            fields = f"Content-Length: {len(code)}"
            sock.sendall(head(path, fields, method="POST") + code.encode())
            if code:
                daemons.wait_for_notes(server, number)
    ended = server.root / "ended"
    expected = {path for path, _ in requests}

    def left():
        lines = ended.read_text().splitlines() if ended.exists() else []
        return {path for path, flags in map(str.split, lines) if "CL" in flags}

    wait_until(lambda: left() == expected, f"the end of {expected}", timeout=5 + 5)
    assert server.get("/x.txt").text == "static"
    server.write("out/go", "")


@pytest.mark.parametrize(
    ("options", "limit"), [("socket-timeout=2", 2), ("socket-timeout=60 startup-timeout=4", 4)]
)
def test_a_request_that_does_not_wait_or_has_waited_too_long_is_not_given_back(
    start, options, limit
):
    server = start(
        f"threads=1 {options}",
        """
        <Location /app/exec>
            WSGIScriptReloading Wait
        </Location>
        WSGIDaemonProcess other threads=1 socket-timeout=60
        WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
        """,
    )
    server.log.allow("WSGI0145")
    # Where the machine is busy a worker takes longer than that to start.
    wait_until(lambda: is_up(server) and daemons.serves(server, "/other"), "the workers")
    begun = time.monotonic()
    answer = server.post("/other/exec", GIVES_BACK.encode())
    assert answer.status == 502
    # It does not wait for the time limit of its group.
    assert time.monotonic() - begun < 30
    begun = time.monotonic()
    answer = run(server, GIVES_BACK)
    assert answer.status == 502
    assert limit <= time.monotonic() - begun < limit + 5
    server.log.expect("WSGI0148: .*the answer has no head")
    assert is_up(server)
