"""What an application may do to the rest of the server through its worker's connection: nothing."""

import concurrent.futures
import contextlib
import http.client
import os

import pytest
from harness import daemons, valgrind
from harness.hostile import EXITED, conf, descriptors, is_up, leave_descriptors, run
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own wire")

__all__ = ["conf"]

# What a worker of another group answers to who names the script itself.
ASKING = """
def pairs(**items):
    encoded = [(name.encode(), value.encode()) for name, value in items.items()]
    return b"".join(bytes([len(name), len(value)]) + name + value for name, value in encoded)
def ask(paths, script):
    params = pairs(REQUEST_METHOD="GET", SCRIPT_NAME="", PATH_INFO="/", QUERY_STRING="",
                   REQUEST_URI="/", SERVER_PROTOCOL="HTTP/1.1", SERVER_NAME="x", SERVER_PORT="80",
                   SCRIPT_FILENAME=script)
    request = record(1, struct.pack("!HB5x", 1, 0)) + record(4, params) + record(4) + record(5)
    (path,) = set(paths) - {connection().getsockname()}
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(5)
        other.connect(path)
        other.sendall(request)
        try:
            return other.recv(65536)
        except ConnectionResetError:
            return b""
"""


def test_the_user_apache_runs_as_is_not_enough_to_ask_a_worker(start):
    extra = """
    WSGIDaemonProcess other threads=1 user=games
    WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
    """
    if os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    server = start(extra=extra)
    assert server.get("/other").status == 200
    paths = [str(path) for path in server.root.rglob("*.sock")]
    answer = run(server, ASKING + f"result = ask({paths}, {str(server.root / 'app.py')!r})")
    # It could connect, and nothing came of it but an end.
    assert answer.text == "b''"
    server.log.expect("rejected a request without the group's secret")
    assert server.get("/other").status == 200


def test_unrequested_descriptors_are_closed(start):
    server = start()
    server.log.allow(
        "WSGI0146: daemon process 'site' closed the connection before it answered",
        "WSGI01(19|48): .*: (descriptors came that were not asked for|a second file)",
    )
    (child,) = daemons.httpd_children(server)
    assert is_up(server)
    before = descriptors(child)
    run(
        server,
        """
sock, null = connection(), os.open("/dev/null", os.O_RDONLY)
sock.sendall(record(6, HEAD + b"\\r\\n"))
try:
    for _ in range(100):
        socket.send_fds(sock, [record(6, b"x")], [null] * 4)
        socket.send_fds(sock, [record(6, b"x")], [null])
except OSError:
    pass
""",
    )
    assert is_up(server)
    # A thread of its own closes what no thread that serves may close.
    wait_until(lambda: descriptors(child) < before + 10, "descriptors to be closed")


@pytest.mark.parametrize(
    "made",
    [
        "os.eventfd(0)",
        "os.open('/dev/zero', os.O_RDONLY)",
        "os.pipe()[0]",
        "os.open('.', os.O_RDONLY)",
        "os.open(__file__, os.O_PATH)",
        "os.memfd_create('short')",
    ],
)
def test_non_regular_file_is_a_502_and_holds_no_thread(start, made):
    server = start()
    server.log.allow(EXITED)
    answer = run(
        server,
        f"""
sock, found = connection(), {made}
sock.sendall(record(6, HEAD + b"\\r\\n"))
socket.send_fds(sock, [file(0, 100)], [found])
sock.sendall(END)
os._exit(0)
""",
    )
    assert answer is None or answer.truncated or answer.status >= 500
    for _ in range(8):
        wait_until(lambda: is_up(server), "everything to be served")
    server.log.expect(
        "file record refers to (what is no regular file|bytes that the file does not have)"
    )


@pytest.mark.parametrize("extra", ["", "SetOutputFilter DEFLATE\nDeflateCompressionLevel 9"])
def test_truncated_file_does_not_crash_the_server(start, extra):
    server = start(extra=extra, modules=("filter", "deflate"))
    server.log.allow(EXITED, "AH10298: failed reading from HEAP bucket", "WSGI0119: .*broke off")
    for _ in range(3):
        run(
            server,
            """
length = 4 * 1024 * 1024 - 4096
sock, made = connection(), os.memfd_create("x")
os.write(made, os.urandom(length))
sock.sendall(record(6, HEAD + b"\\r\\n"))
socket.send_fds(sock, [file(0, length)], [made])
sock.sendall(END)
time.sleep(0.03)
os.ftruncate(made, 0)
os._exit(0)
""",
            headers={"Accept-Encoding": "gzip"},
        )
        wait_until(lambda: is_up(server), "everything to be served")


def test_an_answer_is_not_longer_than_its_content_length(start):
    server = start()
    server.log.allow(EXITED)
    code = b"""
sock = connection()
sock.sendall(record(6, HEAD + b"Content-Length: 2\\r\\n\\r\\n"))
for piece in (b"ok", b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nevil"):
    sock.sendall(record(6, piece))
    time.sleep(0.05)
sock.sendall(END)
os._exit(0)
"""
    head = f"POST /app/exec HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(code)}\r\n\r\n"
    answer = b""
    with server.socket() as sock:
        sock.sendall(head.encode() + code)
        while piece := sock.recv(65536):
            answer += piece
    assert answer.endswith(b"\r\n\r\nok")
    server.log.expect("WSGI0119: .* sent more than its Content-Length; the rest is dropped")


@pytest.mark.parametrize("option", ["request-timeout", "graceful-timeout"])
def test_a_post_after_a_request_that_was_given_up_is_served(start, option):
    server = start(f"threads=2 {option}=1")
    served = "POST /app/exec"
    server.log.allow(
        f"{served}: exceeded request-timeout; worker stopping",
        f"{served}: worker stopped before the application answered",
        f"{served} takes longer than request-timeout",
        f"stopping with {served} still running",
        f"hanging request {served}",
        r"^\[script [^]]*\] [ \t]",
    )
    for _ in range(3):
        stuck = "time.sleep(15)"
        if option == "graceful-timeout":
            stuck = "os.kill(os.getpid(), signal.SIGTERM)\n" + stuck
        assert run(server, stuck).status in (503, 504)
        assert run(server, "result = 1").text == "1"


def test_a_head_may_be_as_long_as_header_buffer_size_says(start):
    server = start("threads=1 header-buffer-size=4000000")
    raw = server.raw(b"GET /app/long HTTP/1.0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ")
    assert b"X-Long: " + b"x" * 2_000_000 + b"\r\n" in raw


PIECES = {
    # No log keeps it.
    "log record": ('record(ord("L"), bytes([15]) + b"trace")', ""),
    "body of a response without a thread": ('record(6, b"x")', ""),
    # httpd waits sooner than the threads may that have responses without one (docs/safety.md).
    "body of a response with a thread": ('record(6, b"x")', "FlushMaxPipelined 0"),
}


@pytest.mark.skipif(valgrind.SLOWER > 1, reason="valgrind keeps memory that is free")
@pytest.mark.parametrize("piece", PIECES)
def test_a_long_answer_costs_no_memory_for_its_pieces(start, piece):
    """Each of them is read before the next is sent."""
    record, extra = PIECES[piece]
    server = start(extra=extra)
    (child,) = daemons.httpd_children(server)
    answer = run(
        server,
        f"""
import fcntl, resource, termios
sock, unread = connection(), bytearray(4)
def resident():
    with open("/proc/{child}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
def send(count):
    for _ in range(count):
        sock.sendall({record})
        while fcntl.ioctl(sock, termios.TIOCOUTQ, unread) == 0 and any(unread):
            time.sleep(0.00005)
    return resident()
sock.sendall(record(6, HEAD + b"\\r\\n"))
before = send(3_000)
sock.sendall(record(6, b" %d" % (send(10_000) - before)) + END)
os._exit(0)
""",
    )
    server.log.allow(EXITED)
    # 64 bytes for each would be 640 KB.
    assert int(answer.text.split()[-1]) < 300_000


def test_an_answer_has_one_file(start):
    server = start(prepare=lambda server: (server.root / "out").chmod(0o777))
    (child,) = daemons.httpd_children(server)
    assert is_up(server)
    before, first, go = descriptors(child), server.root / "out/first", server.root / "out/go"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(
            run,
            server,
            f"""
sock, made = connection(), os.open(__file__, os.O_RDONLY)
sock.sendall(record(6, HEAD + b"\\r\\n"))
socket.send_fds(sock, [file(0, 1)], [made])
open({str(first)!r}, "w").close()
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
try:
    for _ in range(200):
        socket.send_fds(sock, [file(0, 1)], [made])
    time.sleep(2)
except OSError:
    pass
""",
        )
        wait_until(first.exists, "the first file")
        counts = [descriptors(child)]
        go.touch()
        while not done.done():
            counts.append(descriptors(child))
    answer = done.result()
    assert answer is None or answer.truncated
    # The connection of the client, the file, and httpd's copy of it.
    assert max(counts) <= before + 3
    server.log.expect("WSGI0119: .* broke off its answer: a second file came with one answer")
    assert is_up(server)
    # A thread of its own closes what no thread that serves may close.
    wait_until(lambda: descriptors(child) < before + 10, "descriptors to be closed")


def test_a_file_for_which_no_descriptor_is_left_is_a_500_with_its_cause(start):
    server = start()
    (child,) = daemons.httpd_children(server)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("GET", "/app")
        assert client.getresponse().read().isdigit()
        # One for the file that comes; none for httpd's copy of it.
        leave_descriptors(client, child, 1)
        client.request("GET", "/app/file")
        answer = client.getresponse()
        assert answer.status == 500, answer.read()
    server.log.expect("WSGI0220: a file cannot be sent: Too many open files")
