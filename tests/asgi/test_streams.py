"""Event streams under the event MPM: an open one holds no thread of Apache."""

import concurrent.futures
import contextlib
import os
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest
from harness import c_modules, daemons
from harness.asgi import conf
from harness.client import head, read_all, read_until
from harness.conf import tls_host
from harness.env import TESTS
from harness.httpd import wait_until
from harness.valgrind import SLOWER

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = (TESTS / "apps/asgi_streams.py").read_text()
FACTOR = "AsyncRequestWorkerFactor 400\n"


@pytest.fixture
def start(private):
    """start(options, more) is a running server of the test's own, whose child has three threads."""

    def start(options="", more="", **others):
        def prepare(server):
            server.root.chmod(0o777)

        others = {"threads": 3, "timeout": 30, **others}
        return private(conf(options, FACTOR + more, APP, **others), prepare)

    return start


@pytest.fixture
def tls(start, certificate):
    def begin(options="", more=""):
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        more += tls_host(certificate, alias)
        server = start(options, more, modules=("ssl",))
        server.log.allow("AH01882", "AH01906", "AH01873")
        return server

    return begin


def tls_connection(server):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection(("127.0.0.1", server.port2), timeout=20 * SLOWER)
    return context.wrap_socket(sock, server_hostname="localhost")


def notes(server):
    path = server.root / "notes"
    return path.read_text().splitlines() if path.exists() else []


@contextlib.contextmanager
def streams(server, count, kind="text/event-stream", connect=None):
    """Open streams named 0, 1, …, each of which has sent its first line."""
    with contextlib.ExitStack() as stack:
        socks = []
        for number in range(count):
            sock = stack.enter_context((connect or server.socket)())
            sock.settimeout(20 * SLOWER)
            sock.sendall(head(f"/stream/{number}?kind={kind}"))
            socks.append(sock)
            read_until(sock, b"first\n")
        yield socks


def are_threads_free(server):
    """Whether two requests are answered at once by a child whose streams would hold all threads."""
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: server.get("/hello").text, range(2)))
    return answers == ["hello"] * 2 and time.monotonic() - began < 15 * SLOWER


def test_streams_hold_no_thread_and_events_arrive_at_once(start):
    server = start()
    with streams(server, 50) as socks:
        assert are_threads_free(server)
        for _ in range(3):
            began = time.monotonic()
            server.get("/send/all")
            for sock in socks:
                sent = read_until(sock, b"\r\n").split(b"\r\n")
                assert sent
            # One response, and fifty events.
            assert time.monotonic() - began < 15 * SLOWER
        server.get("/end/all")
        for sock in socks:
            assert read_all(sock).endswith(b"last\n\r\n0\r\n\r\n")
    wait_until(lambda: sum(line.startswith("end") for line in notes(server)) == 50, "ends")


def test_event_arrives_soon(start):
    server = start()
    with streams(server, 5) as socks:
        assert are_threads_free(server)
        delays = []
        for number in [0, 1, 2, 3, 4] * 4:
            server.get(f"/send/{number}")
            event = read_until(socks[number], b"\n\r\n")
            # CLOCK_MONOTONIC is the same in all processes.
            delays.append(time.monotonic() - float(event.split(b"\r\n")[-2]))
        # A crowded machine delays some.
        assert sorted(delays)[len(delays) // 2] < 0.05 * SLOWER


def test_streams_over_tls_hold_no_thread(tls):
    server = tls()
    with streams(server, 20, connect=lambda: tls_connection(server)) as socks:
        assert are_threads_free(server)
        server.get("/send/all?size=100000")
        for sock in socks:
            received = b""
            while received.count(b"x") < 100_000:
                received += sock.recv(65536)
        server.get("/end/all")
        for sock in socks:
            # With an end of TLS: else `recv` raises an error.
            assert read_all(sock).endswith(b"last\n\r\n0\r\n\r\n")


def test_other_response_that_pauses_holds_no_thread_either(start):
    server = start()
    with streams(server, 3, kind="text/plain") as socks:
        assert are_threads_free(server)
        server.get("/end/all")
        for sock in socks:
            assert read_all(sock).endswith(b"last\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
def test_head_is_out_before_a_thread_leaves_a_response_without_a_body_yet(start, kind):
    server = start()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.socket()) for _ in range(4)]
        heads = []
        for number, sock in enumerate(socks):
            sock.settimeout(20 * SLOWER)
            sock.sendall(head(f"/empty/{number}?kind={kind}"))
            heads.append(read_until(sock, b"\r\n\r\n"))
            # In chunks: an end that is missing is seen to be.
            assert b"Transfer-Encoding: chunked" in heads[-1]
            assert b"Connection: close" not in heads[-1]
        assert are_threads_free(server)
        server.get("/end/0")
        assert read_all(socks[0]) == b"5\r\nlast\n\r\n0\r\n\r\n"
        for pid in daemons.workers(server):
            os.kill(pid, signal.SIGKILL)
        for sock in socks[1:]:
            assert read_all(sock) == b""
    server.log.allow("worker \\d+ was killed", "WSGI0119")
    server.log.expect("WSGI0119: .*killed by signal 9", count=3)


def test_error_document_is_not_run_for_a_response_without_a_thread(start):
    server = start(more="ErrorDocument 502 /hello\n")
    server.log.allow("stopping with GET /empty")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.socket()) for _ in range(4)]
        for number, sock in enumerate(socks):
            sock.settimeout(20 * SLOWER)
            sock.sendall(head(f"/empty/{number}"))
            read_until(sock, b"\r\n\r\n")
        assert are_threads_free(server)
        server.send_signal(signal.SIGTERM)
        for sock in socks:
            assert read_all(sock) == b""


def test_bytes_after_a_file_do_not_overtake_the_file(start):
    server = start()
    size = 3_000_000
    with server.socket() as sock:
        sock.settimeout(20 * SLOWER)
        sock.sendall(head(f"/file/0?size={size}"))
        read_until(sock, b"first\n")
        # The file goes out in pieces, as the client takes it.
        daemons.pause(1)
        received = read_until(sock, b"\r\n0\r\n\r\n")
    assert daemons.has_hub(server)
    assert received.count(b"#") == size
    assert received.rindex(b"#") < received.index(b"after\n") < received.index(b"last\n")


def test_client_that_has_closed_one_side_and_reads_gets_all(start):
    server = start()
    size = 8_000_000
    with server.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        sock.settimeout(20 * SLOWER)
        sock.sendall(head(f"/big/0?size={size}"))
        sock.shutdown(socket.SHUT_WR)
        received, began = 0, time.monotonic()
        # For longer than a client that sends no more is waited for while its worker is silent.
        while time.monotonic() - began < 7:
            received += sock.recv(20_000).count(b"#")
            daemons.pause(0.05)
        assert daemons.has_hub(server)
        rest = read_all(sock)
    assert received + rest.count(b"#") == size
    assert rest.endswith(b"last\n\r\n0\r\n\r\n")


def test_application_is_told_that_a_client_has_left(start):
    server = start()
    with streams(server, 2) as socks:
        assert are_threads_free(server)
        socks[0].close()
        wait_until(lambda: "http.disconnect 0" in notes(server), "the disconnect", timeout=15)
        server.get("/send/1")
        read_until(socks[1], b"\n\r\n")


def test_client_that_leaves_by_a_reset_is_noticed_at_once(start):
    server = start()
    with streams(server, 1) as socks:
        assert are_threads_free(server)
        socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socks[0].close()
        wait_until(lambda: "http.disconnect 0" in notes(server), "the disconnect", timeout=4)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_client_that_does_not_read_holds_no_thread_and_gets_all_in_the_end(tls, scheme):
    server = tls("response-spool-size=1000000")
    connect = (lambda: tls_connection(server)) if scheme == "https" else None
    with streams(server, 4, connect=connect) as socks:
        size = 8_000_000
        for number in range(3):
            server.get(f"/send/{number}?size={size}")
        server.get("/send/3")
        read_until(socks[3], b"\n\r\n")
        assert are_threads_free(server)
        server.get("/end/all")
        for sock in socks[:3]:
            received = read_all(sock)
            assert received.count(b"x") == size
            assert received.endswith(b"last\n\r\n0\r\n\r\n")


def test_worker_that_dies_truncates_its_streams(start):
    server = start()
    with streams(server, 5) as socks:
        assert are_threads_free(server)
        for pid in daemons.workers(server):
            os.kill(pid, signal.SIGKILL)
        for sock in socks:
            received = read_all(sock)
            assert not received.endswith(b"0\r\n\r\n")
    server.log.allow("worker \\d+ was killed", "WSGI0119")
    server.log.expect(
        "WSGI0119: daemon process 'site' broke off its answer: .*killed by signal 9", count=5
    )
    assert server.get("/hello").text == "hello"


TOLD = """
LogFormat "%U %>s %X %{WSGI_FLAGS}e %{WSGI_QUEUE_TIME}e %{WSGI_APPLICATION_TIME}e" told
CustomLog ${ROOT}/told.log told
<Location /-/status>
    SetHandler wsgi-status
</Location>
"""


def counted(server):
    """The requests of the group, by class and by flag of failure."""
    status = server.get("/-/status?json").json()
    (group,) = status["groups"]
    return group["requests"]


def told(server, path):
    """The fields of the line of an access log about this path, once it is there."""

    def lines():
        text = (server.root / "told.log").read_text()
        return [line.split() for line in text.splitlines() if line.startswith(path + " ")]

    wait_until(lines, "the line of the log")
    (line,) = lines()
    return line[1:]


def test_response_without_a_thread_is_counted_and_logged_once_and_at_its_end(start):
    server = start(more=TOLD)
    with streams(server, 1) as (sock,):
        assert are_threads_free(server)
        # Of requests that have ended, each of which may be counted just after its answer.
        wait_until(lambda: counted(server)["total"] >= 2, "both requests to be counted")
        before = counted(server)
        assert before["by_flag"] == {}
        daemons.pause(0.5)
        server.get("/send/0")
        read_until(sock, b"\n\r\n")
        wait_until(lambda: counted(server)["total"] == before["total"] + 1, "one more request")
        assert "/stream/0" not in (server.root / "told.log").read_text()
        server.get("/end/0")
        read_all(sock)
    status, kept, flags, queue, application = told(server, "/stream/0")
    assert (status, kept, flags) == ("200", "-", "-")
    assert 0 <= int(queue) < 60_000_000 * SLOWER
    # Microseconds.
    assert 500_000 <= int(application) < 60_000_000 * SLOWER
    wait_until(lambda: counted(server)["total"] == before["total"] + 3, "all three requests")
    after = counted(server)
    assert after["total"] == after["by_class"]["2xx"] == before["total"] + 3
    assert after["by_flag"] == {}
    # All three are shorter than the stream.
    assert after["duration"]["sum_seconds"] - before["duration"]["sum_seconds"] >= 0.5


def test_response_without_a_thread_has_the_flags_of_its_failure(start):
    server = start(more=TOLD)
    with streams(server, 3) as socks:
        assert are_threads_free(server)
        socks[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socks[1].close()
        assert told(server, "/stream/1")[2] == "CL"
        for pid in daemons.workers(server):
            os.kill(pid, signal.SIGKILL)
        for number in [0, 2]:
            read_all(socks[number])
            assert told(server, f"/stream/{number}")[:3] == ["200", "-", "CR,XB"]
    server.log.allow("worker \\d+ was killed", "WSGI0119")
    assert counted(server)["by_flag"] == {"CL": 1, "CR": 2, "XB": 2}


def test_response_whose_connection_breaks_before_the_thread_has_left_is_counted_and_logged(
    private, env
):
    def prepare(server):
        server.root.chmod(0o777)
        c_modules.build(env, server.root, "broken", c_modules.BROKEN)

    more = FACTOR + TOLD + "LoadModule broken ${ROOT}/broken.so\n"
    server = private(conf("", more, APP, threads=3, timeout=30), prepare)
    before = counted(server)
    for number in range(3):
        with server.socket() as sock:
            sock.settimeout(20 * SLOWER)
            sock.sendall(head(f"/stream/{number}?broken"))
            assert b"first\n" in read_all(sock)
        status, kept, flags, queue, application = told(server, f"/stream/{number}")
        assert (status, kept, flags, queue, application) == ("200", "X", "CL", "-", "-")
        wait_until(lambda n=number: f"http.disconnect {n}" in notes(server), "the application")
    after = counted(server)
    assert after["by_flag"] == {"CL": 3}
    assert after["by_class"]["2xx"] == before["by_class"]["2xx"] + 3
    assert are_threads_free(server)


def test_response_that_is_too_short_is_seen_to_be(start):
    server = start()
    server.log.allow("the body of the response is shorter than its Content-Length")
    answer = server.get("/promised")
    assert (answer.truncated, answer.body) == (True, b"first\nlast\n")


def test_streams_break_off_with_a_graceful_restart_and_the_old_child_leaves(start):
    server = start(more=TOLD)
    for _ in range(2):
        with streams(server, 10) as socks:
            assert are_threads_free(server)
            daemons.restart(server, 1)
            # ServerLimit leaves no slot for another child: all end at once.
            for sock in socks:
                # A client that does not connect anew by itself sees that this is not all.
                assert read_all(sock) == b""
        assert server.get("/hello").text == "hello"
    lines = (server.root / "told.log").read_text().splitlines()
    flags = [line.split()[1:4] for line in lines if line.startswith("/stream/")]
    assert flags == [["200", "-", "WS"]] * 20


def test_event_stream_that_answers_a_post_is_finished_before_a_child_leaves(start):
    # One child at a time, and slots for those that leave.
    more = "MinSpareThreads 1\nMaxSpareThreads 100\nMaxRequestWorkers 3\n"
    server = start("graceful-timeout=60", children=4, more=more)
    with streams(server, 1) as (other,), server.socket() as sock:
        sock.settimeout(40 * SLOWER)
        # As the API of a language model is asked, by a client that does not ask again.
        target = f"/short?for={14 * SLOWER}"
        sock.sendall(head(target, "Content-Length: 2", method="POST") + b"{}")
        read_until(sock, b"first\n")
        assert are_threads_free(server)
        old = daemons.httpd_children(server)
        server.send_signal(signal.SIGUSR1)
        # Ended before its time.
        assert read_all(other) == b""
        wait_until(lambda: set(daemons.httpd_children(server)) - set(old), "a new child")
        assert set(old) & set(daemons.httpd_children(server))
        assert read_all(sock).endswith(b"last\n\r\n0\r\n\r\n")
        left = lambda: not set(old) & set(daemons.httpd_children(server))  # noqa: E731
        wait_until(left, "the old child to leave", timeout=30)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_streams_end_when_apache_stops_or_restarts(start, signum):
    server = start()
    with streams(server, 10) as socks:
        assert are_threads_free(server)
        began = time.monotonic()
        children = daemons.httpd_children(server)
        server.send_signal(signum)
        for sock in socks:
            read_all(sock)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the child")
        assert time.monotonic() - began < 8 * SLOWER
    if signum == signal.SIGTERM:
        server.process.wait(10 * SLOWER)


def test_stop_after_a_graceful_restart_ends_the_old_child_too(start):
    # One child at a time, and slots for those that leave.
    more = "MinSpareThreads 1\nMaxSpareThreads 100\nMaxRequestWorkers 3\n"
    server = start(children=4, more=more)
    with streams(server, 10, kind="text/plain"):
        assert are_threads_free(server)
        old = daemons.httpd_children(server)
        before = len(server.log.find("resuming normal operations"))
        server.send_signal(signal.SIGUSR1)
        server.log.wait_for("resuming normal operations", count=before + 1)
        wait_until(lambda: set(daemons.httpd_children(server)) - set(old), "a new child")
        # Responses that are no event streams are finished first, as far as there are slots.
        assert set(old) & set(daemons.httpd_children(server))
        # Apache looks for children that it has told to stop; this one does not read its pipe.
        server.log.allow("AH00045")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15 * SLOWER)
        assert time.monotonic() - began < 6 * SLOWER


def test_response_with_a_content_filter_is_not_given_away(start):
    more = "SetOutputFilter DEFLATE\n"
    server = start(more=more, modules=("deflate", "filter"))
    with server.socket() as sock:
        sock.sendall(head("/short?for=0.3", "Accept-Encoding: gzip", "Connection: close"))
        assert b"Content-Encoding: gzip" in read_all(sock)
    assert not daemons.has_hub(server)


@pytest.mark.parametrize(
    "filters",
    [
        "SetOutputFilter DEFLATE\nSetEnvIf Request_URI . no-gzip\n",
        "AddOutputFilterByType DEFLATE text/html\n",
    ],
)
def test_filter_that_leaves_the_stream_alone_is_no_obstacle(start, filters):
    server = start(more=filters, modules=("setenvif", "filter", "deflate"))
    with server.socket() as sock:
        sock.sendall(head("/short?for=0.3", "Accept-Encoding: gzip"))
        assert b"Content-Encoding" not in read_until(sock, b"0\r\n\r\n")
    assert daemons.has_hub(server)


def test_child_without_streams_has_no_hub(start):
    server = start()
    assert server.get("/hello").text == "hello"
    assert not daemons.has_hub(server)

    def has_hub():
        server.get("/short?for=0.3")
        return daemons.has_hub(server)

    # Where the machine is busy both pieces may come at once.
    wait_until(has_hub, "the hub")


def test_streams_beyond_the_limit_hold_threads(start):
    # Three threads and the factor 4: three streams without a thread.
    server = start(more="AsyncRequestWorkerFactor 4\n")
    with streams(server, 4) as socks:
        assert server.get("/hello").text == "hello"
        server.get("/end/all")
        for sock in socks:
            assert read_until(sock, b"0\r\n\r\n").endswith(b"last\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("limit", ["FlushMaxThreshold 16384", "FlushMaxPipelined 0"])
def test_stream_holds_a_thread_where_httpd_waits_for_clients_sooner(start, limit):
    server = start(more=f"{limit}\n")
    size = 8_000_000
    with server.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        sock.settimeout(20 * SLOWER)
        sock.sendall(head(f"/big/0?size={size}"))
        read_until(sock, b"first\n")
        # The client is behind for a while.
        daemons.pause(1)
        received = read_until(sock, b"\r\n0\r\n\r\n")
    assert received.count(b"#") == size
    assert not daemons.has_hub(server)


def test_thousands_of_short_streams_leave_nothing_behind(start):
    server = start()
    (child,) = daemons.httpd_children(server)
    server.get("/short")

    def some(number):
        for _ in range(number):
            with server.socket() as sock:
                sock.sendall(head("/short?for=0.03"))
                if number % 2:
                    # Leaves at once.
                    read_until(sock, b"first\n")
                else:
                    # Both pieces may come at once, and then there are no chunks.
                    read_until(sock, b"last\n")

    times = 100 if SLOWER == 1 else 8
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(some, [20, 21] * 8 if SLOWER == 1 else [2, 3]))
        before = Path(f"/proc/{child}/fd")
        wait_until(lambda: len(list(before.iterdir())) < 60, "descriptors to be closed", timeout=20)
        files, memory = len(list(before.iterdir())), private_memory(child)
        list(pool.map(some, [times, times + 1] * 8))
    wait_until(
        lambda: len(list(before.iterdir())) <= files + 8, "descriptors to be closed", timeout=20
    )
    assert daemons.httpd_children(server) == [child]
    # valgrind keeps what is freed for a while.
    assert SLOWER > 1 or private_memory(child) < memory + 6000


def private_memory(pid):
    """KiB of memory that the process has for itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def test_configtest_names_limits_that_end_streams_early(servers, mpm, mode):
    more = FACTOR + "MaxConnectionsPerChild 500\n"
    accepted, printed = servers.make(conf("", more, APP), mpm, mode).configtest()
    assert accepted, printed
    assert "MaxConnectionsPerChild 500 ends each process of Apache" in printed


@pytest.mark.all_mpms
@pytest.mark.parametrize("line", ["H2WebSockets on", "H2WebSockets off", ""])
def test_configtest_says_that_websockets_over_http_2_are_refused(servers, mpm, mode, line):
    configuration = conf(
        "", f"<IfModule http2_module>\n{line}\n</IfModule>\n", APP, modules=("http2",)
    )
    accepted, printed = servers.make(configuration, mpm, mode).configtest()
    if "Invalid command 'H2WebSockets'" in printed:
        pytest.skip("this mod_http2 has no H2WebSockets")
    assert accepted, printed
    assert ("H2WebSockets On has browsers open" in printed) == (line == "H2WebSockets on")
