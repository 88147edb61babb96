"""How many of a worker's threads are up: one more than wait for something other than Python."""

import collections
import concurrent.futures
import http.client
import itertools
import json
import re
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.needs_lock("without the lock all threads are up"),
]

THREADS = 8
TEXT = f"""
WSGIDaemonProcess site threads={THREADS}
WSGIRestrictEmbedded On
WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
"""
APP = f"""
import hashlib
import json
import threading
import time
all_threads = threading.Barrier({THREADS})
released = threading.Event()
waiting = []
# By thread: its clock, and what that said when it began to compute.
computing = {{}}
content = bytes(64 << 20)
def used_by_others():
    # The processor time in ms that each of the other threads has used in its request by now.
    return [1000 * (time.clock_gettime(clock) - began) for clock, began in computing.values()]
def compute_without_the_lock():
    clock = time.pthread_getcpuclockid(threading.get_ident())
    computing[clock] = clock, time.clock_gettime(clock)
    hashlib.sha256(content)
    del computing[clock]
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hash":
        used = used_by_others()
        compute_without_the_lock()
        return answer(start_response, json.dumps(used))
    if path == "/meet":
        all_threads.wait(20)
    if path == "/release":
        released.set()
    if path == "/wait":
        released.clear()
        released.wait(20)
    if path == "/poll":
        waiting.append(1)
        released.wait(20)
    if path == "/polls":
        return answer(start_response, str(len(waiting)))
    if path == "/compute":
        released.clear()
        while not released.is_set():
            pass
    if path == "/short":
        sum(range(20_000))
    return answer(start_response, str(threading.get_ident()))
def answer(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"""


def conf():
    return Conf(TEXT, files=(("app.py", APP),), children=2, threads=2 * THREADS)


@pytest.fixture
def server(start):
    return start()


def at_once(server, *paths):
    """The answers to requests that are sent at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        return [answer.result() for answer in [pool.submit(server.get, path) for path in paths]]


def test_requests_that_wait_for_each_other_are_all_served(server):
    for _ in range(3):
        answers = at_once(server, *["/meet"] * THREADS)
        assert [answer.status for answer in answers] == [200] * THREADS
        assert len({answer.text for answer in answers}) == THREADS


@pytest.mark.parametrize("path", ["/wait", "/compute"])
def test_blocked_thread_does_not_delay_other_requests(server, path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.get, path)
        # It may have come first; the event is cleared when the other one begins.
        wait_until(lambda: server.get("/release").status == 200 and held.done(), "its release")
        assert held.result().status == 200


def burst(server, clients, requests):
    """How many of the last requests of several clients at once each thread has served."""

    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        threads = []
        for _ in range(requests):
            connection.request("GET", "/short")
            threads.append(connection.getresponse().read())
        connection.close()
        return threads[-requests // 4 :]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return collections.Counter(itertools.chain(*pool.map(client, range(clients))))


def test_short_requests_are_served_by_one_thread_however_many_come_at_once(server):
    at_once(server, *["/meet"] * THREADS)
    # All are up now, and go to rest when nothing has waited for a while.
    wait_until(lambda: len(burst(server, THREADS, 100)) == 1, "a burst served by one thread", 60)
    # It stays so: with all of them up each would have an eighth. Where other processes take the
    # processors a thread may lose its in the middle of a request, and another one is woken.
    served = sum((burst(server, THREADS, 100) for _ in range(5)), collections.Counter())
    assert max(served.values()) > served.total() / 4, served


def test_request_beside_c_code_without_the_lock_gets_a_thread_within_milliseconds(server):
    """A thread that may have the lock is given 15 ms of processor time where no request waits."""
    assert server.get("/hash").status == 200
    found = []

    def is_soon():
        # Two threads are up where requests come one at a time.
        wait_until(
            lambda: len(burst(server, THREADS, 100)) == 1, "a burst served by one thread", 60
        )
        answers = [json.loads(answer.text) for answer in at_once(server, *["/hash"] * 3)]
        found.extend(min(used) for used in answers if len(used) == 2)
        return min(found, default=99) < 8

    # The machine may give the scheduler no processor for a while.
    wait_until(is_soon, "a third thread before both others had used 8 ms", timeout=60)


def wake_ups(server):
    """How often threads of the only worker have waited for something and gone on."""
    (worker,) = daemons.settled(server, 1)
    texts = [path.read_text() for path in Path(f"/proc/{worker}/task").glob("*/status")]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", it, re.M)[1]) for it in texts)


@pytest.mark.parametrize("polls", [0, 1, THREADS // 2])
def test_scheduler_sleeps_while_requests_wait(server, polls):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        held = [pool.submit(server.get, "/poll") for _ in range(polls)]
        wait_until(lambda: server.get("/polls").text == str(polls), "all of them to wait")

        def is_asleep():
            before = wake_ups(server)
            daemons.pause(0.5)
            # A scheduler that is awake takes a sample every two milliseconds.
            return wake_ups(server) - before < 100

        wait_until(is_asleep, "the scheduler to sleep")
        # Others are served at once all the same, and bring up as many as they need.
        answers = at_once(server, *["/short"] * 20)
        assert {answer.status for answer in answers} == {200}
        server.get("/release")
        assert {answer.result().status for answer in held} <= {200}
