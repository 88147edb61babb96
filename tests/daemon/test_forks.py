"""Processes that an application forks: none of them holds up its worker, or speaks in its place."""

import concurrent.futures
import contextlib
import os
import signal

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own processes")

# A forked process holds what the worker held when it was forked, however the worker ends.
APP = """
import multiprocessing, os, time
sleeps = []
def application(environ, start_response):
    path, answer = environ["PATH_INFO"], "ok"
    if path == "/fork":
        child = os.fork()
        if child == 0:
            time.sleep(300)
            os._exit(0)
        answer = str(child)
    if path == "/return":
        child = os.fork()
        answer = "the child" if child == 0 else str(os.waitpid(child, 0))
    if path == "/sleep":
        sleeps.append(1)
        time.sleep(300 if int(environ["QUERY_STRING"]) == os.getpid() else 0)
    if path == "/sleeps":
        answer = str(len(sleeps))
    if path == "/pool":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            answer = str(sum(pool.map(abs, range(-100, 100))))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
"""


def conf(options):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP),), children=1, start=1, threads=8)


@pytest.fixture
def fork():
    """fork(server) is a process that its worker has forked; it is killed in the end."""
    forked = []

    def fork(server):
        forked.append(int(server.get("/fork").text))
        return forked[-1]

    yield fork
    for pid in forked:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_worker_ends_in_order_while_its_child_lives(start, fork):
    server = start("threads=2 shutdown-timeout=60")
    child = fork(server)
    (old,) = daemons.settled(server, 1)
    os.kill(old, signal.SIGTERM)
    wait_until(lambda: not daemons.is_alive(old), "the worker to leave", 10)
    assert daemons.is_alive(child)
    assert server.get("/").status == 200


def test_requests_do_not_wait_for_a_dead_worker_whose_child_lives(start, fork):
    server = start("threads=4 socket-timeout=60")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        (old,) = daemons.settled(server, 1)
        under_way = pool.submit(server.get, f"/sleep?{old}")
        wait_until(lambda: server.get("/sleeps").text == "1", "the request to be under way")
        child = fork(server)
        server.log.allow(f"worker {old} was killed by signal 9", "WSGI0146")
        os.kill(old, signal.SIGKILL)
        # One that was under way, and one on the connection that was kept.
        assert server.get("/").status == 200
        assert under_way.result().status == 200
    assert daemons.is_alive(child)


def test_forked_process_that_returns_from_the_application_ends_silently(start):
    server = start("threads=2")
    for _ in range(3):
        answer = server.get("/return")
        assert (answer.status, answer.text[-3:]) == (200, " 0)")
        assert server.get("/").text == "ok"


def test_a_pool_of_forked_processes_works(start):
    server = start("threads=2")
    for _ in range(3):
        assert server.get("/pool").text == "10000"
