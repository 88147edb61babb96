"""The end of a process: atexit, threads, graceful restarts, recycled children."""

import os
import signal
import time
from pathlib import Path

import pytest
from harness.client import head, read_all, read_until
from harness.conf import Conf
from harness.httpd import wait_until

# Its children now and then crash while they leave.
pytestmark = pytest.mark.differs("orderly-exit", "mod_wsgi's exit has races", always=False)

SHUTDOWN = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/shutdown.py application-group=%{GLOBAL}
    WSGIScriptAlias /named ${APPS}/shutdown.py application-group=named
"""
FILES = (("out/README", "the applications write here"),)


@pytest.fixture
def start(serve):
    """start(directives) is a server of the test's own, with a directory its children can write."""

    def start(text="", **options):
        server = serve(Conf(SHUTDOWN + text, files=FILES, **options), private=True)
        (server.root / "out").chmod(0o777)
        return server

    return start


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.all_mpms
@pytest.mark.parametrize("group", ["main", "named"])
def test_atexit_callbacks_run_when_the_server_stops(start, group):
    server = start()
    out = server.root / "out/atexit"
    server.get(f"/{group}/at_exit?{out}")
    assert lines(out) == []
    server.stop()
    assert lines(out) == ["atexit ran"]


@pytest.mark.embedded_only("follows Apache's own children; tests/daemon follows daemons")
@pytest.mark.all_mpms
@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGHUP])
def test_atexit_callbacks_run_at_a_restart(start, signum):
    server = start()
    out = server.root / "out/atexit"
    for group in ("main", "named"):
        server.get(f"/{group}/at_exit?{out}")
    server.reload(signum)
    assert lines(out) == ["atexit ran"] * 2


def test_without_wsgidestroyinterpreter_atexit_callbacks_do_not_run(start):
    server = start("WSGIDestroyInterpreter Off")
    out = server.root / "out/atexit"
    for group in ("main", "named"):
        server.get(f"/{group}/at_exit?{out}")
    server.stop()
    assert lines(out) == []


def stops_in_time(server):
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 8
    # After some seconds Apache loses its patience, and says so.
    assert not server.log.find("AH00045|AH00046|exit signal")


@pytest.mark.all_mpms
@pytest.mark.parametrize("group", ["main", "named"])
def test_daemon_thread_does_not_block_shutdown(start, group):
    server = start()
    server.get(f"/{group}/daemon_thread")
    stops_in_time(server)


@pytest.mark.parametrize(
    "group",
    [
        "main",
        pytest.param(
            "named",
            marks=pytest.mark.differs(
                "busy-thread-at-exit",
                "mod_wsgi may hang until Apache kills the child",
                always=False,
            ),
        ),
    ],
)
def test_busy_daemon_thread_does_not_block_shutdown(start, group):
    server = start()
    server.get(f"/{group}/busy_thread")
    stops_in_time(server)


@pytest.mark.differs(
    "busy-thread-at-exit", "mod_wsgi may hang until Apache kills the child", always=False
)
def test_busy_daemon_threads_of_many_interpreters_do_not_block_shutdown(start):
    """No interpreter can be ended; each must give up the lock until Python has been finalised."""
    more = [
        f"WSGIScriptAlias /other-{n} ${{APPS}}/shutdown.py application-group=other-{n}"
        for n in range(3)
    ]
    server = start("\n".join(more))
    gate = server.root / "out/gate"
    for path in ("named", "other-0", "other-1", "other-2"):
        server.get(f"/{path}/later_busy_thread?{gate}")
    gate.write_text("")
    stops_in_time(server)


@pytest.mark.embedded_only("prefork ends the child in a signal handler, wherever it is")
@pytest.mark.parametrize("mpm", ["prefork"])
@pytest.mark.parametrize("group", ["main", "named"])
@pytest.mark.parametrize("doing", ["computing", "sending"])
def test_a_request_under_way_does_not_hold_up_prefork(start, group, doing):
    server = start()
    with server.socket() as sock:
        sock.sendall(head(f"/{group}/{doing}"))
        read_until(sock, b"begun")
        began = time.monotonic()
        server.stop(signal.SIGTERM)
        assert time.monotonic() - began < 8
    server.log.allow("AH00161")
    # Nothing of Python or of this module runs in the handler.
    assert not server.log.find("in Python code|still being served|told of process_stopping")


@pytest.mark.embedded_only("follows Apache's own children; tests/daemon follows daemons")
@pytest.mark.parametrize(
    "group",
    [
        "main",
        pytest.param(
            "named",
            marks=pytest.mark.differs(
                "threads-waited-for", "mod_wsgi leaves while they run, or crashes", always=False
            ),
        ),
    ],
)
def test_other_threads_are_waited_for(start, group):
    server = start()
    out = server.root / "out/thread"
    server.get(f"/{group}/thread?{out}")
    server.send_signal(signal.SIGTERM)
    (server.root / "out/thread.stop").write_text("")
    server.process.wait(15)
    server.log.allow("AH00045")
    assert lines(out) == ["thread ended"]


@pytest.mark.all_mpms
@pytest.mark.differs(
    "daemon-graceful", "mod_wsgi ends daemon processes", mode="daemon", always=False
)
def test_a_graceful_restart_lets_a_response_finish(start):
    server = start(children=2)
    gate = server.root / "out/gate"
    with server.socket() as sock:
        sock.sendall(head(f"/main/gate?{gate}", "Connection: close"))
        read_until(sock, b"first half")
        server.process.send_signal(signal.SIGUSR1)
        server.log.wait_for("resuming normal operations", count=2)
        gate.write_text("")
        assert b"second half" in read_all(sock)
    assert server.get("/main/pid").status == 200
    server.log.allow("AH03490|AH00485|AH00484")


@pytest.mark.all_mpms
def test_a_graceful_stop_lets_a_response_finish(start):
    server = start()
    gate = server.root / "out/gate"
    with server.socket() as sock:
        sock.sendall(head(f"/named/gate?{gate}", "Connection: close"))
        read_until(sock, b"first half")
        server.process.send_signal(signal.SIGWINCH)
        server.log.wait_for("caught SIGWINCH")
        gate.write_text("")
        assert b"second half" in read_all(sock)
    server.process.wait(15)
    assert not server.log.find("exit signal")


@pytest.mark.embedded_only("follows Apache's own children; tests/daemon follows daemons")
@pytest.mark.all_mpms
def test_a_server_survives_many_restarts(start):
    server = start()
    seen = set()
    for signum in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
        for group in ("main", "named"):
            seen.add(server.get(f"/{group}/pid").text)
        server.reload(signum)
    assert len(seen) == 3
    for group in ("main", "named"):
        assert server.get(f"/{group}/pid").text not in seen


@pytest.mark.embedded_only("follows Apache's own children; tests/daemon follows daemons")
@pytest.mark.all_mpms
def test_a_recycled_child_ends_in_order(start):
    server = start("MaxConnectionsPerChild 3", children=2)
    out = server.root / "out/atexit"
    pids = set()

    def recycled():
        pids.add(server.get(f"/main/at_exit?{out}").text)
        return len(pids) > 1

    wait_until(recycled, "another child to serve")
    wait_until(lambda: lines(out), "the first child's atexit callbacks")


@pytest.mark.embedded_only("follows Apache's own children; tests/daemon follows daemons")
def test_a_child_that_is_killed_is_replaced(start):
    server = start()
    pid = int(server.get("/main/pid").text)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(server.children()) - {pid}, "a new child")
    assert int(server.get("/main/pid").text) != pid


def test_an_idle_server_stops_at_once(start):
    server = start()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{server.process.pid}").exists()
