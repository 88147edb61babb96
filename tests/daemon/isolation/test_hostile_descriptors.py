"""What becomes of descriptors that a worker sends although no thread that serves may close them."""

import contextlib
import http.client
import os
import platform
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import daemons, fuse
from harness.hostile import (
    EXITED,
    LARGE,
    LISTENER,
    conf,
    is_up,
    leave_descriptors,
    run,
)
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own wire")

__all__ = ["conf"]

# Linux 6.16 has SO_PASSRIGHTS, by which the kernel refuses descriptors.
REFUSED = tuple(map(int, platform.release().split(".")[:2])) >= (6, 16)
THREADS = 4

# A TCP socket whose close waits for an hour, if it is the last one.
LINGERING = """
def lingering():
    made = socket.create_connection(("127.0.0.1", PORT))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    made.setblocking(False)
    try:
        while True:
            made.send(b"x" * 65536)
    except BlockingIOError:
        pass
    return made
"""
SENDS = {
    "in the middle of a record": """
whole = record(6, HEAD + b"\\r\\n")
socket.send_fds(sock, [whole[:4]], [made.fileno()])
made.close()
sock.sendall(whole[4:] + END)
""",
    "several": """
socket.send_fds(sock, [record(6, HEAD + b"\\r\\n") + END], [made.fileno()] * 3)
made.close()
""",
    "as a file": """
sock.sendall(record(6, HEAD + b"\\r\\n"))
socket.send_fds(sock, [file(0, 1) + END], [made.fileno()])
made.close()
""",
    "after the end": """
sock.sendall(record(6, HEAD + b"\\r\\n") + END)
socket.send_fds(sock, [record(6, b"x")], [made.fileno()])
made.close()
""",
    "behind what is malformed": """
socket.send_fds(sock, [bytes(64)] , [os.open("/dev/null", os.O_RDONLY)])
socket.send_fds(sock, [b"x" * 9000], [made.fileno()])
made.close()
""",
}


@pytest.fixture
def lingering():
    """Code that makes such a socket. Its other end is here and reads nothing; one in the worker
    would be closed when the worker exits, and nothing would linger any more."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield LINGERING.replace("PORT", str(listener.getsockname()[1]))


def allow(server):
    server.log.allow(
        EXITED,
        "WSGI0119: .*broke off its answer",
        "WSGI0146: ",
        "WSGI0148: daemon process 'site' sent a malformed answer",
    )


# Waits until Apache has another connection to the worker. The only thread of the worker is the one
# that waits, so that a new one is not accepted yet.
ANOTHER = (
    LISTENER
    + """
if len(list(connections())) < 2:
    select.select([listener()], [], [], 10)
"""
)


def open_two_connections(server):
    """Has Apache open two connections to the worker: a request uses one, the other is idle."""
    with ThreadPoolExecutor() as pool:
        pids = list(pool.map(lambda _: run(server, ANOTHER).text, range(2)))
    count = "import itertools\nresult = len(list(connections()))"
    assert run(server, count).text == "2", pids


def test_data_sent_on_an_idle_connection_holds_no_thread(start, lingering):
    server = start()
    allow(server)
    code = (
        lingering
        + """
sock, made = connection(idle=True), lingering()
socket.send_fds(sock, [b"x"], [made.fileno()] * 3)
made.close()
os._exit(0)
"""
    )
    for _ in range(2 * THREADS):
        open_two_connections(server)
        answer = run(server, code)
        assert answer is None or answer.status == 502
        wait_until(lambda: is_up(server), "everything to be served")
    before = time.monotonic()
    for _ in range(2 * THREADS):
        assert is_up(server)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("how", SENDS)
def test_a_socket_that_lingers_holds_no_thread(start, lingering, how):
    server = start()
    allow(server)
    code = lingering + "sock, made = connection(), lingering()\n" + SENDS[how]
    code = (
        f"try:\n{indented(code)}\nexcept OSError as error:\n    result = repr(error)\nos._exit(0)"
    )
    for _ in range(2 * THREADS):
        run(server, code)
        wait_until(lambda: is_up(server), "everything to be served")
    before = time.monotonic()
    for _ in range(2 * THREADS):
        assert is_up(server)
    assert time.monotonic() - before < 5


def indented(code):
    return "\n".join("    " + line for line in code.splitlines())


SENDING = """
sock = connection()
try:
    socket.send_fds(sock, [record(ord("L"), bytes([15]) + b"trace")], [0])
except PermissionError:
    result = "refused"
"""


def test_a_group_that_sends_unrequested_descriptors_may_send_no_files_any_more(start):
    server = start()
    allow(server)
    open_two_connections(server)
    assert server.get("/app/file").text == LARGE
    run(server, SENDING.replace("[0]", "[0, 0]") + "os._exit(0)")
    wait_until(lambda: is_up(server), "everything to be served")
    assert server.get("/app/file").text == LARGE
    if not REFUSED:
        pytest.skip("only Linux from 6.16 on refuses descriptors")
    assert run(server, SENDING).text == "refused"


def test_a_worker_of_another_user_cannot_send_descriptors(start):
    if os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    server = start("threads=1 user=games")
    allow(server)
    answer = server.get("/app/file")
    assert answer.text == LARGE
    assert answer.header("Content-Length") == str(len(LARGE))
    answer = run(server, SENDING)
    if REFUSED:
        assert answer.text == "refused"
    else:
        assert answer is None or answer.status == 502
    assert is_up(server)


@pytest.fixture
def hanging_files():
    with fuse.hanging_files() as files:
        yield files


# Where the kernel waits for an answer of a file system that is a program.
ANSWER_OF_FUSE = ("request_wait_answer", "fuse_flush")


def kernel_functions(pid):
    """In which each thread of the process sleeps."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread that has closed what it could may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield (task / "wchan").read_text()


@pytest.mark.parametrize("user", ["games", "same"])
def test_a_file_of_a_hostile_file_system_holds_no_thread(start, hanging_files, user):
    server = start("threads=1" + (" user=games" if user == "games" else ""))
    allow(server)
    (child,) = daemons.httpd_children(server)
    # Another process keeps it open until it is sent: its own close would wait, too.
    code = f"""
sock = connection()
made = os.open({str(hanging_files.file)!r}, os.O_RDONLY)
try:
    socket.send_fds(sock, [record(6, HEAD + b"\\r\\n")], [made, made])
except OSError as error:
    result = type(error).__name__
"""
    for _ in range(2 * THREADS):
        answer = run(server, code)
        if REFUSED and user == "games":
            assert answer.text == "PermissionError"
        assert is_up(server)

    def waiting():
        return [name for name in kernel_functions(child) if name in ANSWER_OF_FUSE]

    # One thread closes them all, one after the other.
    wait_until(lambda: len(waiting()) == (user == "same"), "one thread at most")
    assert is_up(server)
    assert len(waiting()) == (user == "same")


OTHER_GROUP = """
WSGIDaemonProcess other
WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
"""


def test_a_group_whose_descriptors_cannot_be_closed_gets_no_more_requests(start, hanging_files):
    server = start(extra=OTHER_GROUP)
    server.log.allow("WSGI0146: |WSGI0148: ")
    refused = "WSGI0117: .*: descriptors that its workers have sent cannot be closed"
    assert is_up(server)
    run(
        server,
        f"""
sock, made = connection(), os.open({str(hanging_files.file)!r}, os.O_RDONLY)
socket.send_fds(sock, [record(6, HEAD + b"\\r\\n")], [made] * 100)
""",
    )
    # One is being closed, and more than 64 wait.
    answer = wait_until(
        lambda: (got := server.get("/app")).status == 503 and got, "the group to be refused"
    )
    assert answer.status == 503
    server.log.expect(refused)
    assert server.get("/other").status == 200
    assert server.get("/x.txt").text == "static"
    hanging_files.abort()
    wait_until(lambda: is_up(server), "the group to go on")


def test_descriptors_for_which_there_is_no_room_are_as_unrequested_as_others(start):
    server = start()
    allow(server)
    (child,) = daemons.httpd_children(server)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("GET", "/app")
        assert client.getresponse().read().isdigit()
        leave_descriptors(client, child, 2)
        client.request("POST", "/app/exec", body=SENDING.replace("[0]", "[0] * 5"))
        with contextlib.suppress(OSError, http.client.HTTPException):
            client.getresponse().read()
    # Only a process of the same user may do it everywhere.
    raised = run(
        server,
        f"""
import resource
_, hard = resource.prlimit({child}, resource.RLIMIT_NOFILE)
resource.prlimit({child}, resource.RLIMIT_NOFILE, (hard, hard))
""",
    )
    assert raised.status == 200
    server.log.wait_for("descriptors came that were not asked for")
    wait_until(lambda: is_up(server), "everything to be served")
    if not REFUSED:
        pytest.skip("only Linux from 6.16 on refuses descriptors")
    assert run(server, SENDING).text == "refused"
