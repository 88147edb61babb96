"""How many of a worker's threads are up: one more than wait for something other than Python."""

import concurrent.futures
import http.client
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
import threading
everybody = threading.Barrier({THREADS})
released = threading.Event()
waiting = []
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/meet":
        everybody.wait(20)
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


@pytest.fixture
def server(servers, mpm):
    conf = Conf(TEXT, files=(("app.py", APP),), children=2, threads=2 * THREADS)
    server = servers.make(conf, mpm, "embedded")
    server.start()
    yield server
    server.stop()


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
def test_neither_who_waits_nor_who_computes_keeps_another_request_waiting(server, path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.get, path)
        # It may have come first; the event is cleared when the other one begins.
        wait_until(lambda: server.get("/release").status == 200 and held.done(), "its release")
        assert held.result().status == 200


def burst(server, clients, requests):
    """The threads that served the last requests of several clients at once."""

    def client(_):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        threads = []
        for _ in range(requests):
            connection.request("GET", "/short")
            threads.append(connection.getresponse().read())
        connection.close()
        return threads[-requests // 4 :]

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return set().union(*pool.map(client, range(clients)))


def test_short_requests_are_served_by_one_thread_however_many_come_at_once(server):
    at_once(server, *["/meet"] * THREADS)
    # All are up now, and go to rest when nothing has waited for a while.
    wait_until(lambda: len(burst(server, THREADS, 100)) == 1, "a burst served by one thread")


def threads_called(name, pid):
    """A thread that is just being made is called as the one that makes it."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [it for it in threads if (it / "comm").read_text() == f"{name}\n"]


def looks(server):
    """How often the foreman of the only worker has looked."""
    (worker,) = daemons.settled(server, 1)
    (foreman,) = wait_until(lambda: threads_called("wsgi-foreman", worker), "the foreman")
    switches = (foreman / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2]
    return int(switches.split()[0])


@pytest.mark.parametrize("polls", [0, 1, THREADS // 2])
def test_the_foreman_sleeps_while_requests_only_wait(server, polls):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        held = [pool.submit(server.get, "/poll") for _ in range(polls)]
        wait_until(lambda: server.get("/polls").text == str(polls), "all of them to wait")

        def is_asleep():
            before = looks(server)
            daemons.pause(0.5)
            # It would be 250.
            return looks(server) - before < 50

        wait_until(is_asleep, "the foreman to sleep")
        # Others are served at once all the same, and bring up as many as they need.
        answers = at_once(server, *["/short"] * 20)
        assert {answer.status for answer in answers} == {200}
        server.get("/release")
        assert {answer.result().status for answer in held} <= {200}
