"""How connections of web servers end: what is still to come of a request, and what is not."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import fastcgi_client as fastcgi
from harness import frontends
from harness.client import Client
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

UNREAD = b"x" * 100_000


def begin(path, *, keep=False):
    """A request without the end of its body."""
    whole = fastcgi.request(path, method="POST", keep=keep)
    return whole.removesuffix(fastcgi.record(fastcgi.STDIN))


def test_web_server_may_finish_a_request_that_has_been_answered(daemon):
    daemon.start("--threads", "1")
    with fastcgi.connection(daemon.socket) as connection:
        connection.send(begin("/stream"))
        assert connection.answer().complete
        # The end of the response can be seen, although the connection is still read.
        assert connection.ended()
        for _ in range(10):
            connection.send(fastcgi.record(fastcgi.STDIN, b"x" * 60_000))
            # Meanwhile no thread is held.
            assert daemon.get("/stream").body == b"0,1,2,"
        connection.send(fastcgi.record(fastcgi.STDIN))


def test_no_web_server_goes_on_with_an_answered_request_for_ever(daemon):
    daemon.start("--threads", "1")
    with fastcgi.connection(daemon.socket) as connection:
        connection.send(begin("/stream"))
        assert connection.answer().complete
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            for _ in range(1000):
                connection.send(fastcgi.record(fastcgi.STDIN, b"x" * 60_000))
    assert daemon.get("/stream").complete


@pytest.mark.parametrize("half", [b"\x01", begin("/")[:16], begin("/")[:60]])
def test_half_a_request_holds_no_thread(daemon, half):
    daemon.start("--threads", "2")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(fastcgi.connection(daemon.socket))
            connection.send(half)
        assert daemon.get("/stream").body == b"0,1,2,"


def test_requests_for_values_hold_no_thread(daemon):
    daemon.start("--threads", "1")
    asked = fastcgi.record(fastcgi.GET_VALUES, fastcgi.pairs({"FCGI_MAX_CONNS": ""}), 0)
    flood = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    print("begun", flush=True)
    while True:
        connection.sendall(bytes.fromhex(sys.argv[2]) * 50)
        connection.recv(65536)
"""
    command = [sys.executable, "-c", flood, daemon.socket, asked.hex()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout.readline() == b"begun\n"
        assert daemon.get("/stream").body == b"0,1,2,"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def proxy(daemon, servers):
    """proxy(options) is a client of an Apache before the daemon."""
    if not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    with contextlib.ExitStack() as stack:

        def start(options=""):
            daemon.root.chmod(0o755)
            daemon.start("--threads", "4", "--processes", "2", "--socket-mode", "666")
            text = f'ProxyPass "/" "unix:{daemon.socket}|fcgi://localhost/" {options}\n'
            text += "ProxyFCGIBackendType GENERIC\n"
            modules = ("proxy", "proxy_fcgi")
            conf = Conf(text, modules=modules, load_wsgi=False, threads=16)
            server = servers.make(conf, servers.env.mpms[0], "embedded", outlives_test=True)
            server.start()
            stack.callback(server.stop)
            client = Client(server.port)
            wait_until(lambda: frontends.is_up(client), "the front end")
            return client

        yield start


@pytest.mark.parametrize("request_of", ["GET", "POST"])
def test_every_request_of_a_front_end_without_kept_connections_is_answered(proxy, request_of):
    client = proxy()

    def ask(_):
        if request_of == "GET":
            return client.get("/stream").status
        return client.post("/stream", UNREAD).status

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(ask, range(2000 if request_of == "GET" else 400)))
    assert [status for status in statuses if status != 200] == []


@pytest.mark.parametrize("options", ["", "enablereuse=on"])
def test_no_request_of_a_front_end_is_lost_when_workers_are_replaced(proxy, daemon, options):
    client = proxy(options)
    stop = Path(daemon.root / "stop")

    def load(_):
        statuses = []
        while not stop.exists():
            statuses.append(client.get("/stream").status)
        return statuses

    with ThreadPoolExecutor(8) as threads:
        loads = [threads.submit(load, number) for number in range(8)]
        try:
            for _ in range(3):
                before = set(daemon.workers())
                os.kill(daemon.process.pid, signal.SIGUSR1)
                wait_until(
                    lambda before=before: (
                        len(now := set(daemon.workers())) == 2 and not now & before
                    ),
                    "the new workers",
                    timeout=30,
                )
        finally:
            stop.touch()
    statuses = [status for load in loads for status in load.result()]
    assert len(statuses) > 100
    assert [status for status in statuses if status != 200] == []


def replaced(daemon, before):
    """Whether every worker but those of `before` runs, and none of those does."""
    now = set(daemon.workers())
    return len(now) == len(before) and not now & before


@pytest.mark.parametrize("processes", ["1", "2"])
def test_idle_connection_outlives_its_worker(daemon, processes):
    daemon.start("--processes", processes)
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(fastcgi.connection(daemon.socket)) for _ in range(12)]
        for _ in range(3):
            pids = {json.loads(one.get(keep=True).body)["pid"] for one in kept}
            before = set(daemon.workers())
            daemon.process.send_signal(signal.SIGUSR1)
            wait_until(lambda b=before: not b & set(daemon.workers()), "the workers to leave")
            for one in kept:
                answer = one.get(keep=True)
                assert answer.status == 200
                assert json.loads(answer.body)["pid"] not in pids
    # No descriptor stays behind in a worker.
    wait_until(lambda: not daemon.connections(), "the connections to be closed")


def test_connection_outlives_a_worker_that_is_replaced_during_a_request(daemon):
    daemon.start("--maximum-requests", "1", "--threads", "2")
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(fastcgi.connection(daemon.socket)) for _ in range(2)]
        for number in range(20):
            kept[0].send(fastcgi.request("/slow?0.05", keep=True))
            assert kept[1].get(keep=True).status == 200, number
            assert kept[0].answer().status == 200, number


def test_idle_connections_end_with_the_daemon(daemon):
    daemon.start("--processes", "2")
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(fastcgi.connection(daemon.socket)) for _ in range(6)]
        assert {one.get(keep=True).status for one in kept} == {200}
        before = set(daemon.workers())
        daemon.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: replaced(daemon, before), "the new workers")
        daemon.process.terminate()
        assert all(one.ended() for one in kept)
    assert daemon.process.wait(15) == 0
