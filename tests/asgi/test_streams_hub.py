"""What the hub, which has the streams without a thread of Apache, needs and is not held up by."""

import contextlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from harness import daemons, fuse, hostile
from harness.asgi import conf
from harness.client import head, read_all, read_until
from harness.conf import Conf
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
    """start(more) is a running server of the test's own, whose child has three threads."""

    def start(more="", **others):
        others = {"threads": 3, "timeout": 30, **others}
        return private(
            conf("", FACTOR + more, APP, **others), lambda server: server.root.chmod(0o777)
        )

    return start


TWO_GROUPS = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site {options}
WSGIDaemonProcess other
ASGIScriptAlias /other ${{ROOT}}/app.py process-group=other
ASGIScriptAlias / ${{ROOT}}/app.py process-group=site
"""


@pytest.fixture
def start_two(private):
    """start_two(options, more) is a running server of the test's own; /other is another group."""

    def start_two(options="", more=FACTOR, **others):
        others = {"threads": 3, "timeout": 30, **others}
        text = TWO_GROUPS.format(options=options) + more
        conf = Conf(text, files=(("app.py", APP),), **others)
        return private(conf, lambda server: server.root.chmod(0o777))

    return start_two


@contextlib.contextmanager
def stream(server, group=""):
    """An open stream named 0, which has sent its first line."""
    with server.socket() as sock:
        sock.settimeout(20 * SLOWER)
        sock.sendall(head(f"{group}/stream/0"))
        read_until(sock, b"first\n")
        yield sock


# Once a file is there it sends empty lines for the error log on all of its streams, without an end.
FLOODS = (
    hostile.CONNECTIONS
    + r"""
import os, select, socket, struct, threading, time
HERE = os.path.dirname(__file__)
RECORD = struct.pack("!BBHHBB", 1, 7, 1, 65528, 0, 0) + b"\n" * 65528
def flood():
    while not os.path.exists(HERE + "/go"):
        time.sleep(0.02)
    sent = {found: 0 for _, found in connections()}
    for found in sent:
        found.setblocking(False)
        sent[found] = found.send(RECORD)
    with open(HERE + "/floods", "w") as note:
        note.write(str(len(sent)))
    while sent:
        for found in select.select([], list(sent), [])[1]:
            try:
                sent[found] = (sent[found] + found.send(RECORD[sent[found]:])) % len(RECORD)
            except BlockingIOError:
                pass
            except OSError:
                del sent[found]
threading.Thread(target=flood, daemon=True).start()
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
"""
)


def test_log_lines_of_a_group_hold_up_no_stream_of_another_one(private):
    text = TWO_GROUPS.replace("/ ${{ROOT}}/app.py", "/ ${{ROOT}}/floods.py").format(options="")
    # What is written there would fill a disk.
    host = f"{FACTOR}<VirtualHost *:${{PORT}}>\nErrorLog /dev/null\n</VirtualHost>\n"
    files = (("app.py", APP), ("floods.py", FLOODS))
    conf = Conf(text + host, files=files, threads=3, timeout=30)
    server = private(conf, lambda server: server.root.chmod(0o777))
    with stream(server, "/other") as sock, contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(stream(server))
        wait_until(lambda: watched(server) == 17, "all streams without a thread")
        (server.root / "go").touch()
        note = server.root / "floods"
        wait_until(lambda: note.exists() and note.read_text(), "the lines")
        assert int(note.read_text()) >= 16
        for _ in range(10):
            server.get("/other/send/0")
            read_until(sock, b"\n\r\n")


# Reads nothing of what it is to log until a file is there.
LOG_PROGRAM = "until [ -e ${0%/*}/read ]; do sleep 0.1; done; exec cat >/dev/null"


def test_program_that_logs_and_does_not_read_holds_up_no_open_stream(start):
    more = 'CustomLog "|/bin/sh ${ROOT}/log.sh" "%r"\n'
    server = start(more=more, threads=16, files=(("log.sh", LOG_PROGRAM),))
    with stream(server) as sock, contextlib.ExitStack() as stack:
        # Twice as much as a pipe takes; each is logged without a thread of Apache.
        shorts = [stack.enter_context(server.socket()) for _ in range(20)]
        for short in shorts:
            short.settimeout(20 * SLOWER)
            short.sendall(head("/short?for=0.5&pad=" + "p" * 7000))
        for short in shorts:
            read_until(short, b"last\n")
        server.get("/send/0")
        read_until(sock, b"\n\r\n")
        (server.root / "read").touch()
        server.get("/end/0")
        assert read_all(sock).endswith(b"0\r\n\r\n")


def test_child_with_a_stream_ends_after_its_last_connection(start):
    # Its stream has the first connection. No slot is left for another child beside it: its stream
    # ends at once.
    server = start(more="MaxConnectionsPerChild 6\n")
    for _ in range(6):
        (child,) = wait_until(lambda: daemons.httpd_children(server), "the next child")
        with stream(server) as sock:
            wait_until(lambda: daemons.has_hub(server), "the hub")
            for _ in range(5):
                assert server.get("/hello").text == "hello"
            read_all(sock)
        # Nothing but itself tells the child to end.
        wait_until(lambda gone=child: not daemons.is_alive(gone), "the child's end")


def watched(server):
    """How many streams have no thread: the hub watches the socket of each one's client."""
    (child,) = daemons.httpd_children(server)
    files = [Path(f"/proc/{child}/fdinfo/{link.name}") for link in links(child, "[eventpoll]")]
    woken = {link.name for link in links(child, "[eventfd]")}
    watched = [
        re.findall(r"^tfd:\s+(\d+) events:\s+(\w+)", file.read_text(), re.M) for file in files
    ]
    return sum(
        len(descriptors) // 2 for descriptors in watched if woken & {fd for fd, _ in descriptors}
    )


def links(pid, name):
    """The descriptors of a process that are of this kind."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # One may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if name in str(link.readlink()):
                yield link


@pytest.fixture
def hanging_files(env):
    """A file system whose reads wait, and which Apache alone waits for when it closes a file."""
    with fuse.hanging_files(closes=env.httpd.resolve().name) as files:
        yield files


def test_file_on_a_hanging_file_system_holds_up_no_other_group(start_two, hanging_files):
    server = start_two()
    server.log.allow("WSGI0220")

    def event_arrives(sock):
        server.get("/other/send/0")
        return read_until(sock, b"\n\r\n")

    with stream(server, "/other") as sock, contextlib.ExitStack() as stack:
        hanging = []
        for number in range(12):
            short = stack.enter_context(server.socket())
            short.settimeout(20 * SLOWER)
            short.sendall(head(f"/passed/{number}?path={hanging_files.file}"))
            assert read_until(short, b"first\n")
            hanging.append(short)
        wait_until(lambda: watched(server) == 13, "all streams without a thread")
        server.get("/send/all")
        # valgrind's threads have no names of their own.
        expected = 4 if SLOWER == 1 else 0
        wait_until(lambda: threads(server).count("wsgi-file") >= expected, "threads that read")
        for _ in range(3):
            assert event_arrives(sock)
        # Twelve files wait for them.
        assert threads(server).count("wsgi-file") == expected
        # Files of the other group are sent meanwhile.
        assert server.get("/other/file/0?size=100000").body.count(b"#") == 100_000
        assert server.get("/hello").text == "hello"
        assert threads(server).count("wsgi-file") <= expected + 1
        # What is closed of a response whose client has left is closed elsewhere, too.
        for short in hanging[::2]:
            short.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            short.close()
        assert event_arrives(sock)
        hanging_files.abort()
        for short in hanging[1::2]:
            assert not read_all(short).endswith(b"0\r\n\r\n")
        server.log.wait_for("WSGI0220: a file cannot be sent: ")
        assert event_arrives(sock)
        server.get("/other/end/0")
        assert read_all(sock).endswith(b"0\r\n\r\n")


def test_response_is_cut_whose_file_gives_nothing_for_socket_timeout(start_two, hanging_files):
    server = start_two("socket-timeout=4")
    # To load the script may take longer.
    server.log.allow("WSGI0145")
    wait_until(lambda: daemons.serves(server, "/hello"), "the worker", timeout=30)
    with server.socket() as sock:
        sock.settimeout(20 * SLOWER)
        sock.sendall(head(f"/passed/0?path={hanging_files.file}"))
        assert read_until(sock, b"first\n")
        wait_until(lambda: watched(server) == 1, "one stream without a thread")
        server.get("/send/0")
        assert not read_all(sock).endswith(b"0\r\n\r\n")
    server.log.expect("WSGI0220: a file cannot be sent: nothing of it has been read for 4 s")


def test_group_leaves_places_for_others_and_is_named_in_the_log(start_two):
    # Four threads and the factor 4: four places, of which three are one group's at most.
    server = start_two(more="AsyncRequestWorkerFactor 4\n", threads=4)
    paths = [*(f"/stream/{number}" for number in range(5)), "/other/stream/0"]
    with contextlib.ExitStack() as stack:
        socks = []
        for path in paths:
            sock = stack.enter_context(server.socket())
            sock.settimeout(20 * SLOWER)
            sock.sendall(head(path))
            read_until(sock, b"first\n")
            socks.append(sock)
            if path == paths[-2]:
                server.log.expect("WSGI0270: daemon process 'site' has 3 .* of 4 in this process")
        wait_until(lambda: watched(server) == 4, "four streams without a thread")
        for group in ("", "/other"):
            server.get(f"{group}/end/all")
        has_thread = []
        for sock in socks:
            assert read_until(sock, b"0\r\n\r\n")
            # The connection of a stream that has no thread ends with it.
            with contextlib.suppress(ConnectionError):
                sock.sendall(head("/hello", "Connection: close"))
            has_thread.append(b"hello" in read_all(sock))
        assert has_thread.count(True) == 2
        assert not has_thread[-1]
    assert len(server.log.find("WSGI0270")) == 1


# No thread can be made of this process while a file is there.
NO_THREADS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *with)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_create");
    return access(REFUSED, F_OK) == 0 ? EAGAIN : real(thread, how, work, with);
}
"""


def threads(server):
    """The names of the threads of Apache's child."""
    (child,) = daemons.httpd_children(server)
    return [path.read_text().strip() for path in Path(f"/proc/{child}/task").glob("*/comm")]


@pytest.fixture
def refusing(private):
    """refusing() is a running server that can start no thread while its file "refused" is there."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")

    def prepare(server):
        root = server.root
        root.chmod(0o777)
        (root / "threads.c").write_text(NO_THREADS)
        command = [compiler, "-w", "-shared", "-fPIC", f'-DREFUSED="{root}/refused"']
        subprocess.run(
            [*command, "-o", root / "threads.so", root / "threads.c", "-ldl"], check=True
        )

    preloaded = (("LD_PRELOAD", "${ROOT}/threads.so"),)
    others = {"threads": 3, "timeout": 30, "environment": preloaded}
    return lambda more="": private(conf("", FACTOR + more, APP, **others), prepare)


def test_streams_hold_threads_where_the_hub_cannot_start_and_the_log_says_so_once(refusing):
    server = refusing()
    assert server.get("/hello").text == "hello"
    # The main thread, the listener and three that serve.
    wait_until(lambda: len(threads(server)) >= 5, "the threads of Apache's child")
    (server.root / "refused").touch()
    for _ in range(3):
        with server.socket() as sock:
            sock.sendall(head("/short?for=0.3"))
            assert read_until(sock, b"0\r\n\r\n").count(b"last\n") == 1
    assert "wsgi-hub" not in threads(server)
    server.log.allow("WSGI0257")
    server.log.expect("WSGI0257: connections hold threads of Apache .* cannot be started: ")
    (server.root / "refused").unlink()

    def has_begun():
        server.get("/short?for=0.3")
        # valgrind's threads have no names of their own.
        return SLOWER > 1 or "wsgi-hub" in threads(server)

    # Where the machine is busy both pieces may come at once.
    wait_until(has_begun, "the hub")
