"""ErrorLog syslog: each line of Apache's processes and of daemon processes comes there.

The server sees a /dev of its own, in a mount namespace, with a socket of the test for /dev/log.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from urllib.parse import quote

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("how our daemons log; mod_wsgi's write to Apache's log file")

APP = """
import atexit, os, sys, threading

print("a line of the import")
thread = threading.Thread(target=lambda: print("a line of a thread", file=sys.stderr))
thread.start()
thread.join()
atexit.register(print, "a line of the end")


def application(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("on purpose")
    if environ["PATH_INFO"] == "/descriptor":
        os.write(2, b"a line of descriptor 2\\n")
    print("a line of a request", environ["QUERY_STRING"], file=environ["wsgi.errors"])
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
CONF = """
ErrorLog syslog:local5:site
WSGIScriptAlias / ${ROOT}/app.py application-group=%{GLOBAL} process-group=
"""
# Makes a /dev of its own, with what a server opens there, and becomes the server.
OWN_DEV = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /dev
for node in null:3 zero:5 random:8 urandom:9; do
    mknod -m 666 /dev/${node%:*} c 1 ${node#*:}
done
mkdir -m 1777 /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s "$0" /dev/log
exec "$@"
"""
# RFC 3164: priority, time, tag and pid.
SYSLOG = re.compile(rb"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d (\w+)\[(\d+)\]: (.*)", re.DOTALL)
LOCAL5, ERR = 21, 3


class Syslog:
    """A syslog socket; what comes is written to a file, one line for each datagram."""

    def __init__(self, path, log):
        self.received = []
        self.log = log
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        # Apache's children and daemon processes run as other users.
        path.chmod(0o666)
        self.thread = threading.Thread(target=self.receive)
        self.thread.start()

    def receive(self):
        with self.log.open("wb") as log:
            while datagram := self.socket.recv(100_000):
                match = SYSLOG.fullmatch(datagram)
                assert match, datagram
                priority, tag, pid, text = match.groups()
                self.received.append((int(priority), tag.decode(), int(pid), text.decode()))
                log.write(text.rstrip(b"\n") + b"\n")
                log.flush()

    def close(self, path):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(path))
        self.thread.join()
        self.socket.close()

    def find(self, text):
        return [line for line in list(self.received) if text in line[3]]


def can_mount():
    """Whether this user may have a mount namespace, and mount in it."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    command = ["unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs t /mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def namespace():
    if not can_mount():
        pytest.skip("a /dev of its own for the server needs root and unshare(1)")


@pytest.fixture
def start(namespace, servers, mpm, mode):
    """start() is a running server of the mode, and what it has sent to syslog."""
    with contextlib.ExitStack() as stack:

        def start():
            group = "site" if mode == "daemon" else "%{GLOBAL}"
            text = CONF.replace("process-group=", f"process-group={group}")
            text = "WSGIDaemonProcess site threads=2\n" * (mode == "daemon") + text
            server = servers.make(Conf(text, files=(("app.py", APP),)), mpm, "embedded")
            path = server.root / "syslog"
            syslog = Syslog(path, server.log.path)
            stack.callback(syslog.close, path)
            stack.callback(server.stop)
            server.wrapper = ["unshare", "-m", "sh", "-c", OWN_DEV, path]
            server.start()
            return server, syslog

        yield start


def test_lines_of_every_process_come_to_syslog(start, mode):
    server, syslog = start()
    assert not (server.root / "logs").exists()
    pid = int(server.get("/descriptor?one").text)
    assert server.get("/raise").status == 500
    server.log.expect("a line of the import", "a line of a thread")
    (line,) = server.log.expect("a line of a request one")
    assert (line.module, line.level) == ("wsgi", "error")
    server.log.allow_traceback("RuntimeError: on purpose")
    server.log.wait_for("RuntimeError: on purpose")
    # Facility, severity and tag are those that the administrator has named.
    ((priority, tag, sender, _),) = syslog.find("a line of a request one")
    assert (priority, tag) == (LOCAL5 << 3 | ERR, "site")
    assert {tag for _, tag, _, _ in syslog.received} == {"site"}
    # No process of a group talks to syslog itself.
    assert sender in ([pid] if mode == "embedded" else daemons.httpd_children(server))
    if mode == "daemon":
        (_, _, writer, text), *_ = syslog.find("a line of the import")
        assert [writer] == server.log_writers()
        assert f"daemon 'site' [pid {pid}] " in text
        # In Apache's own processes that is what Apache was started with.
        server.log.expect("a line of descriptor 2")
    server.stop()
    server.log.expect("a line of the end")


def test_lines_of_a_worker_come_to_syslog_after_a_graceful_restart(start, mode):
    server, _ = start()
    server.get("/?before")
    server.log.expect("a line of the import", "a line of a thread", "a line of a request before")
    server.reload() if mode == "embedded" else daemons.restart(server, 1)
    wait_until(lambda: server.get("/?after").status == 200, "an answer")
    server.log.expect("a line of the import", "a line of a thread", count=2)
    server.log.expect("a line of a request after", "a line of the end")


def test_a_long_line_comes_to_syslog_in_parts(start):
    server, syslog = start()
    assert server.get(f"/?{quote('x' * 5000)}").status == 200
    server.log.allow("^x+$", r"\] x*$", r"\[\.\.\.\]", "a line of")
    wait_until(lambda: sum(it[3].count("x") for it in syslog.received) >= 5000, "the line")
