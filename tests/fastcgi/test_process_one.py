"""wsgi-daemon as process 1 of a container: nothing above it reaps what it leaves, and signals
without a handler do nothing.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness import fastcgi_client as fastcgi
from harness.httpd import wait_until
from harness.namespaces import missing
from harness.standalone import PROGRAM

MISSING = missing("nsenter")
pytestmark = [
    pytest.mark.ours_only("mod_wsgi has no such program"),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

# Leaves a process without a parent, which tells its number and ends when the file is there.
ORPHAN = """
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/orphan":
        answer, question = os.pipe()
        if (between := os.fork()) == 0:
            if os.fork() == 0:
                os.write(question, b"%d" % os.getpid())
                while not os.path.exists(__file__ + ".end"):
                    time.sleep(0.01)
            os._exit(0)
        os.waitpid(between, 0)
        body = os.read(answer, 20)
    else:
        if environ["PATH_INFO"] == "/slow":
            open(__file__ + ".begun", "w").close()
            time.sleep(1)
        body = b"%d" % os.getppid()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"""


class Container:
    """The daemon as process 1 of a namespace of its own."""

    def __init__(self, daemon, *options):
        self.daemon, self.admin = daemon, daemon.root / "admin"
        daemon.script.write_text(ORPHAN)
        before = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        daemon.start("--admin", f"unix:{self.admin}", *options, before=before)
        (self.manager,) = daemons.children(daemon.process.pid)
        assert fastcgi.get(daemon.socket).body == b"1"

    def run(self, *command):
        """Another process of the container, as `exec` of a container engine starts it."""
        return subprocess.Popen(
            ["nsenter", f"--target={self.manager}", "--pid", "--mount", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, name):
        # The end of process 1 is that of the command as well.
        assert self.run("kill", f"-{name}", "1").wait(30) in (0, -signal.SIGKILL)


@pytest.fixture
def container(daemon):
    return lambda *options: Container(daemon, *options)


def test_orphans_of_workers_are_reaped(container, daemon):
    it = container("--processes", "2")
    # The numbers of processes in the namespace, which are others than here.
    numbers = {fastcgi.get(daemon.socket, "/orphan").body.decode() for _ in range(5)}
    assert len(numbers) == 5

    def children():
        """Workers and orphans by their number in the namespace, and their states."""
        states = {}
        for pid in daemons.children(it.manager):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = daemons.status_of(pid)
                states[status["NSpid"].split()[-1]] = status["State"][0]
        return states

    wait_until(lambda: numbers <= set(children()), "the orphans to be children of process 1")
    Path(f"{daemon.script}.end").touch()
    wait_until(lambda: not numbers & set(children()), "the orphans to be reaped")
    wait_until(lambda: len(children()) == 2, "both workers alone")
    assert "Z" not in children().values()
    it.kill("TERM")
    assert daemon.process.wait(30) == 0


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_signal_from_within_the_container_lets_requests_finish(container, daemon, name):
    it = container()
    with fastcgi.connection(daemon.socket) as busy:
        busy.send(fastcgi.request("/slow"))
        daemon.wait_until_slow()
        # Of a process that is left behind nothing is waited for: it ends with the container.
        assert fastcgi.get(daemon.socket, "/orphan").status == 200
        it.kill(name)
        assert busy.answer().status == 200
    assert daemon.process.wait(30) == 0
    assert not daemon.socket.exists()
    assert not it.admin.exists()


def test_drain_of_a_pre_stop_hook_waits_for_requests_and_term_ends_the_container(container, daemon):
    it = container("--drain-delay", "0.5")
    with fastcgi.connection(daemon.socket) as busy:
        busy.send(fastcgi.request("/slow"))
        daemon.wait_until_slow()
        hook = it.run(PROGRAM, f"--drain=unix:{it.admin}", "--drain-timeout=20")
        assert busy.answer().status == 200
    assert (hook.communicate(timeout=30)[0], hook.returncode) == ("", 0)
    assert daemon.process.poll() is None
    wait_until(lambda: daemons.workers_of(it.manager) == [], "no worker")
    it.kill("TERM")
    assert daemon.process.wait(30) == 0


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is missing")
def test_user_of_a_container_needs_no_right_for_all_of_this(daemon):
    """As with securityContext: {runAsNonRoot: true}."""
    daemon.root.chmod(0o777)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    before = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *user]
    admin = daemon.root / "admin"
    daemon.start("--admin", f"unix:{admin}", before=before)
    (manager,) = daemons.children(daemon.process.pid)
    assert daemon.get().status == 200
    into = ["nsenter", f"--target={manager}", "--pid", "--mount", *user]
    hook = subprocess.run([*into, PROGRAM, f"--drain=unix:{admin}"], timeout=30, check=False)
    assert hook.returncode == 0
    os.kill(manager, signal.SIGTERM)
    assert daemon.process.wait(30) == 0
