"""What the hub, which has the streams without a thread of Apache, needs and is not held up by."""

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.asgi import conf
from harness.client import head, read_all, read_until
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


@contextlib.contextmanager
def stream(server):
    """An open stream named 0, which has sent its first line."""
    with server.socket() as sock:
        sock.settimeout(20 * SLOWER)
        sock.sendall(head("/stream/0"))
        read_until(sock, b"first\n")
        yield sock


# Reads nothing of what it is to log until a file is there.
LOG_PROGRAM = "until [ -e ${0%/*}/read ]; do sleep 0.1; done; exec cat >/dev/null"


def test_program_that_logs_and_does_not_read_holds_up_no_open_stream(start):
    more = 'CustomLog "|/bin/sh ${ROOT}/log.sh" "%r"\n'
    server = start(more=more, threads=16, files=(("log.sh", LOG_PROGRAM),))
    with stream(server) as sock, contextlib.ExitStack() as stack:
        # Twice as much as a pipe takes; each is logged without a thread of Apache.
        for _ in range(20):
            short = stack.enter_context(server.socket())
            short.settimeout(20 * SLOWER)
            short.sendall(head("/short?pad=" + "p" * 7000))
            read_until(short, b"0\r\n\r\n")
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
    server.get("/short")
    # valgrind's threads have no names of their own.
    assert SLOWER > 1 or "wsgi-hub" in threads(server)
