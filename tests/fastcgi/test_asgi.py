"""Workers that serve applications of ASGI, as a web server or another process at their socket sees
them.
"""

import contextlib
import os
import resource
import socket

import pytest
from harness import fastcgi_client as fastcgi
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

APPLICATION = """
import asyncio
import sys

gate = asyncio.Event()
told = []


async def application(scope, receive, send):
    assert scope["type"] == "http", scope["type"]
    name = scope["path"].strip("/")
    if name != "noisy":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await globals().get(f"do_{name}", do_hello)(receive, send)


async def body(send, text, more=False):
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def do_hello(receive, send):
    await body(send, "hello")


async def do_background(receive, send):
    await body(send, "answered")
    await gate.wait()


async def do_hold(receive, send):
    await body(send, "begun ", more=True)
    await gate.wait()
    await body(send, "held")


async def do_open(receive, send):
    gate.set()
    await body(send, "opened")


async def do_prints(receive, send):
    # More lines than the connection has room for.
    for number in range(1500):
        print("line", number, file=sys.stderr)
    await gate.wait()
    await body(send, "held")


async def do_two_send(receive, send):
    async def sends():
        try:
            await body(send, "x" * 1_000_000, more=True)
        except OSError:
            told.append("OSError")

    await asyncio.wait([asyncio.ensure_future(sends()) for _ in range(2)])


async def do_impatient(receive, send):
    try:
        await asyncio.wait_for(body(send, "x" * 1_000_000), 0.05)
    except asyncio.TimeoutError:
        told.append("TimeoutError")
    told.append((await receive())["type"])


async def do_listens(receive, send):
    while (message := await receive())["type"] != "http.disconnect":
        pass
    told.append(message["type"])


async def do_told(receive, send):
    await body(send, " ".join(told))


async def do_turns(receive, send):
    await body(send, "begun ", more=True)
    while (await receive())["more_body"]:
        pass
    for _ in range(200):
        await asyncio.sleep(0)
    await body(send, "turned ", more=True)
    await gate.wait()
    await body(send, "held")


async def do_wakeups(receive, send):
    selector, count = asyncio.get_running_loop()._selector, 0
    select = selector.select

    def counting(timeout):
        nonlocal count
        count += 1
        return select(timeout)

    selector.select = counting
    await asyncio.sleep(0.5)
    del selector.select
    await body(send, str(count))


async def do_noisy(receive, send):
    for number in range(1500):
        print("line", number, file=sys.stderr)
    raise RuntimeError("on purpose")
"""
BAD = """
raise RuntimeError("\\n".join(f"line {number}" for number in range(1500)))
"""
WSGI = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""
ABORT_REQUEST = 2
BEGIN = fastcgi.request("/", keep=True)[:16]


@pytest.fixture
def site(daemon):
    """site(app, interface, **config) starts the daemon as Apache does it, by default for the
    application above alone; the path of its socket.
    """
    with contextlib.ExitStack() as stack:

        def start(app=APPLICATION, interface="asgi", **config):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(daemon.socket))
            listener.listen()
            daemon.script.write_text(app)
            known = {
                "name": "site",
                "interface": interface,
                "threads": 1,
                "descriptors": {"shared_socket": listener.fileno()},
                "application": {"script": str(daemon.script)},
            }
            daemon.start_with(known | config, fds=[listener.fileno()])
            return daemon.socket

        yield start


def unfinished(path):
    """A request whose body goes on."""
    whole = fastcgi.request(path, method="POST", body=b"some", keep=True, CONTENT_LENGTH=8)
    return whole.removesuffix(fastcgi.record(fastcgi.STDIN))


def await_piece(connection, piece):
    """Waits until this piece of a response has come."""
    text = b""
    while piece not in text:
        kind, content = connection.record()
        assert kind == fastcgi.STDOUT, (kind, content)
        text += content


def rest_of_body(connection):
    """What comes up to the end of the response."""
    text = b""
    while (answer := connection.record())[0] != fastcgi.END_REQUEST:
        text += answer[1]
    return text


@pytest.mark.parametrize("concurrency", [1, 100])
def test_request_that_comes_with_the_one_before_is_answered(site, concurrency):
    path = site(asgi={"concurrency": concurrency})
    with fastcgi.connection(path) as connection:
        # The first one has no application.
        urls = ["/-/ready", "/", "/-/healthy", "/-/ready", "/"]
        connection.send(b"".join(fastcgi.request(url, keep=True) for url in urls))
        answers = [connection.answer() for _ in urls]
        assert [answer.status for answer in answers] == [200] * len(urls)
        assert [answer.body for answer in answers] == [b"OK", b"hello", b"OK", b"OK", b"hello"]


def test_request_does_not_wait_for_background_work_of_the_one_before(site):
    with fastcgi.connection(site()) as connection:
        urls = ["/background", "/open"]
        connection.send(b"".join(fastcgi.request(url, keep=True) for url in urls))
        assert [connection.answer().body for _ in urls] == [b"answered", b"opened"]


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_peer_that_gives_up_requests_and_reads_nothing_delays_no_other_one(site, interface):
    path = site(APPLICATION if interface == "asgi" else WSGI, interface)
    assert fastcgi.get(path).body == b"hello"
    with fastcgi.connection(path) as hostile:
        hostile.socket.settimeout(5)
        pairs = (BEGIN + fastcgi.record(ABORT_REQUEST)) * 1000
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)) as closed:
            for _ in range(1000):
                hostile.send(pairs)
        assert fastcgi.get(path).body == b"hello"
        assert closed.type is not TimeoutError


def await_told(path, expected):
    """Waits until this is what applications of other requests have been told."""

    def is_told():
        return fastcgi.get(path, "/told").body == expected

    wait_until(is_told, expected.decode(), timeout=20)


def test_log_lines_that_had_no_room_go_out_while_the_application_waits_and_wake_no_loop(site):
    path = site(asgi={"event_loop": "asyncio"})
    with fastcgi.connection(path) as late:
        late.send(fastcgi.request("/prints", keep=True))
        # All lines have been printed when the loop answers this one.
        assert fastcgi.get(path).body == b"hello"
        lines = b""
        while b"line 1499" not in lines:
            lines += late.record()[1]
        # Without a pause there are thousands.
        assert int(fastcgi.get(path, "/wakeups").body) < 50
        assert fastcgi.get(path, "/open").body == b"opened"
        assert rest_of_body(late).endswith(b"held")


def test_each_task_that_sends_is_told_that_the_peer_has_gone(site):
    path = site()
    with fastcgi.connection(path) as leaving:
        leaving.send(fastcgi.request("/two_send"))
        await_piece(leaving, b"xxx")
        # Both wait for room when the loop answers this one.
        assert fastcgi.get(path).body == b"hello"
    await_told(path, b"OSError OSError")


def test_message_whose_send_was_cancelled_goes_out_all_the_same(site):
    path = site()
    with fastcgi.connection(path) as late:
        late.send(fastcgi.request("/impatient", keep=True))
        await_told(path, b"TimeoutError")
        answer = late.answer()
        assert (len(answer.body), answer.complete) == (1_000_000, True)
    await_told(path, b"TimeoutError http.disconnect")


def test_peer_that_leaves_a_message_whose_send_was_cancelled_is_noticed(site):
    path = site()
    with fastcgi.connection(path) as leaving:
        leaving.send(fastcgi.request("/impatient"))
        await_told(path, b"TimeoutError")
    await_told(path, b"TimeoutError http.disconnect")


@pytest.mark.parametrize("body", [b"", b"some"])
def test_abort_that_comes_together_with_the_request_is_noticed(site, body):
    path = site()
    with fastcgi.connection(path) as kept:
        request = fastcgi.request("/listens", method="POST", body=body, keep=True)
        kept.send(request + fastcgi.record(ABORT_REQUEST))
        await_told(path, b"http.disconnect")


def test_loop_goes_on_while_no_connection_can_be_accepted(site, daemon):
    path = site()
    with fastcgi.connection(path) as held:
        # An idle connection would be closed in exchange for another one.
        held.send(unfinished("/turns"))
        await_piece(held, b"begun ")
        (worker,) = daemon.workers()
        used = {int(name) for name in os.listdir(f"/proc/{worker}/fd")}
        free = min(set(range(len(used) + 1)) - used)
        soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (free, hard))
        with fastcgi.connection(path) as waiting:
            waiting.send(fastcgi.request("/"))
            wait_until(lambda: "cannot accept a connection" in daemon.log(), "the line")
            held.send(fastcgi.record(fastcgi.STDIN, b"more") + fastcgi.record(fastcgi.STDIN))
            await_piece(held, b"turned ")
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
            assert waiting.answer().body == b"hello"


def test_peer_that_sends_no_more_wakes_no_loop_and_gets_its_response(site):
    path = site(asgi={"event_loop": "asyncio"})
    with fastcgi.connection(path) as half:
        half.send(unfinished("/hold"))
        await_piece(half, b"begun ")
        half.socket.shutdown(socket.SHUT_WR)
        # Without a pause there are thousands.
        assert int(fastcgi.get(path, "/wakeups").body) < 50
        assert fastcgi.get(path, "/open").body == b"opened"
        assert rest_of_body(half) == b"held"


@pytest.mark.parametrize("failure", ["exception", "load"])
def test_error_response_is_sent_behind_log_lines_although_the_peer_reads_late(
    site, daemon, failure
):
    path = site(application=None, import_scripts=[])
    bad = daemon.root / "bad.py"
    bad.write_text(BAD)
    good = {"SCRIPT_FILENAME": str(daemon.script)}
    with fastcgi.connection(path) as late:
        if failure == "load":
            late.send(fastcgi.request("/", keep=True, SCRIPT_FILENAME=str(bad)))
        else:
            late.send(fastcgi.request("/noisy", keep=True, **good))
        # The loop has done with the first request when it answers this one.
        assert fastcgi.get(path, **good).body == b"hello"
        answer = late.answer()
        assert (answer.status, answer.complete) == (500, True)
        assert answer.stderr.count(b"line ") >= 1500
        assert late.get(keep=True, **good).body == b"hello"


def test_peer_that_does_not_read_the_end_of_an_answer_holds_its_place_for_socket_timeout(site):
    path = site(asgi={"concurrency": 1}, timers={"socket_timeout": 1})
    with fastcgi.connection(path) as silent, fastcgi.connection(path) as other:
        silent.send(fastcgi.request("/noisy", keep=True))
        # The lines of its log have begun to come, and are not read.
        assert silent.socket.recv(1, socket.MSG_PEEK)
        assert other.get("/").body == b"hello"
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                silent.record()
