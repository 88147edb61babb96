"""WSGIFreeThreading with a Python built for it. The module's own seldom is; install/test_pythons.py
runs this file with one that is, where this machine has one.
"""

import concurrent.futures
import http.client
import re
import threading

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi is there for the Python at hand only")

MOUNTS = ["/main", "/one", "/two"]
THREADS = 16
EACH = 60
KINDS = ["plain", "lines", "written", "wrapped", "replaced", "file", "fails"]


def text(app):
    return f"""
    WSGIPythonPath ${{APPS}}
    WSGIScriptAlias /main ${{APPS}}/{app} application-group=%{{GLOBAL}}
    WSGIScriptAlias /one ${{APPS}}/{app} application-group=one
    WSGIScriptAlias /two ${{APPS}}/{app} application-group=two
    """


@pytest.fixture(autouse=True)
def built_for_it(env):
    if not env.free_threaded:
        pytest.skip(f"Python {env.python} is not built for it; test_pythons.py looks for others")


@pytest.mark.differs(
    "free-threading-environment", "PYTHON_GIL is stronger in mod_wsgi", always=False
)
@pytest.mark.parametrize("variable", ["", "0", "1"])
@pytest.mark.parametrize("directive", ["Off", "On"])
def test_wsgifreethreading_decides_whether_there_is_a_lock(serve, directive, variable):
    environment = (("PYTHON_GIL", variable),) if variable else ()
    lines = f"WSGIFreeThreading {directive}\n"
    server = serve(Conf(text("ask.py") + lines, environment=environment))
    for mount in MOUNTS:
        locked = "(__import__('mod_wsgi'), sys._is_gil_enabled())[1]"
        assert ask(server, locked, mount) is (directive == "Off")


def test_there_is_a_lock_where_nothing_is_said(serve, env):
    if env.free_threading:
        pytest.skip("FREE_THREADING says something")
    server = serve(Conf(text("ask.py")))
    assert [ask(server, "sys._is_gil_enabled()", mount) for mount in MOUNTS] == [True] * 3


def test_options_about_the_lock_are_warned_of(serve):
    lines = "WSGIFreeThreading On\nWSGIPerInterpreterGIL On\nWSGISwitchInterval 0.01\n"
    server = serve(Conf(text("ask.py") + lines), private=True)
    assert [ask(server, "sys._is_gil_enabled()", mount) for mount in MOUNTS] == [False] * 3
    code = "WSGI0203" if server.mode == "embedded" else "WSGI0204"
    for line in server.log.expect("WSGI0202", code):
        assert line.level == "warn"
    server.log.allow("WSGI020[23]")


# --- in parallel ----------------------------------------------------------------------------------


def answered_meanwhile(server, holder, other):
    """How many requests one interpreter answers while a thread is in a call that never gives the
    lock back, in the same interpreter or another. The clock is the same for all processes.
    """
    for mount in (holder, other):
        assert server.get(f"{mount}/quick").text == "quick"
    moments = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = len(server.log.find("holding the lock"))
        holding = pool.submit(server.get, f"{holder}/span")
        server.log.expect("holding the lock", count=before + 1)
        while not holding.done():
            moments.append(float(server.get(f"{other}/now").text))
    begun, ended = map(float, holding.result().text.split())
    return sum(begun < moment < ended for moment in moments)


# Before the call begins and after it has ended the other one may have its turn.
BY_TURNS = 4


@pytest.mark.parametrize("mounts", [("/main", "/main"), ("/one", "/one"), ("/one", "/two")])
def test_two_requests_compute_in_parallel(serve, mounts):
    server = serve(Conf(text("holding.py") + "WSGIFreeThreading On\n"), private=True)
    # On a machine that is busy with other things it may take a second try.
    assert any(answered_meanwhile(server, *mounts) > BY_TURNS for _ in range(3))


def test_threads_with_the_lock_run_one_at_a_time(serve):
    server = serve(Conf(text("holding.py") + "WSGIFreeThreading Off\n"), private=True)
    assert answered_meanwhile(server, "/main", "/main") <= BY_TURNS


# --- all at once ----------------------------------------------------------------------------------


class Client(threading.Thread):
    """Asks without a pause, and keeps what went wrong."""

    def __init__(self, server, mount, number):
        super().__init__()
        self.server, self.mount, self.number = server, mount, number
        self.asked, self.failed, self.wrong = 0, 0, []

    def run(self):
        try:
            turns = list(range(EACH))
            while turns:
                with self.server.connection() as connection:
                    self.ask_all(connection, turns)
        except Exception as error:
            self.wrong.append(repr(error))

    def ask_all(self, connection, turns):
        fresh = True
        while turns:
            try:
                self.ask(connection, turns[0])
            except http.client.RemoteDisconnected:
                # Apache may close a connection between two requests; it has read none of this one.
                if fresh:
                    raise
                return
            fresh = False
            del turns[0]

    def ask(self, connection, turn):
        kind, token = KINDS[(self.number + turn) % len(KINDS)], f"c{self.number}-{turn}"
        body = b"".join(b"line %d of %s\n" % (line, token.encode()) for line in range(turn * 5))
        fields = {"X-Token": token, f"X-C{self.number}-Name": token, f"X-Only-{token}": "once"}
        connection.request("POST", f"{self.mount}/{kind}?{token}", body=body, headers=fields)
        reply = connection.getresponse()
        got = reply.read()
        self.asked += 1
        if kind == "fails":
            self.failed += 1
            right = reply.status == 500
        elif kind == "file":
            right = reply.status == 200 and got.startswith(b'"""Sixteen threads at once')
        else:
            right = reply.status == 200 and got == token.encode() + b" " + body
        if reply.status == 200:
            right = right and reply.getheader("X-Token") == token
        if not right:
            self.wrong.append((kind, token, reply.status, got[:200]))


@pytest.mark.slow
@pytest.mark.parametrize("listening", [False, True], ids=["", "listening"])
@pytest.mark.parametrize("mounts", [["/main"], ["/one"], MOUNTS], ids=["main", "sub", "all"])
def test_sixteen_threads_share_an_application(serve, mounts, listening):
    conf = Conf(
        text("shared.py") + "WSGIFreeThreading On\nWSGISlowRequests 60\n", threads=2 * THREADS
    )
    server = serve(conf, private=True)
    for mount in mounts:
        assert server.get(f"{mount}/seen").text == "0 0 0 0 0 0 0"
        if listening:
            assert server.get(f"{mount}/listened").text == "listening"
    clients = [Client(server, mounts[n % len(mounts)], n) for n in range(THREADS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [wrong for client in clients for wrong in client.wrong] == []

    for mount in mounts:
        here = [client for client in clients if client.mount == mount]
        asked, failed = sum(it.asked for it in here), sum(it.failed for it in here)
        events = [asked, asked, failed] if listening else [0, 0, 0]
        expected = " ".join(map(str, [asked] * 4 + events))
        # The last event may come after the answer.
        wait_until(lambda at=mount, it=expected: server.get(f"{at}/seen").text == it, expected)

    tokens = {f"c{n}-{turn}" for n in range(THREADS) for turn in range(EACH)}
    for kind, pattern in {
        "lines": r"(c\d+-\d+) is served",
        "written": r"(c\d+-\d+) is printed",
        "fails": r"ValueError: (c\d+-\d+)",
    }.items():
        logged = sorted(re.search(pattern, line.text)[1] for line in server.log.find(pattern))
        of_kind = [it for it in tokens if KINDS[sum(map(int, it[1:].split("-"))) % 7] == kind]
        assert logged == sorted(of_kind)
    server.log.allow(r"is printed$", "WSGI0174", "ValueError: c", "^ *File ", "^ +")
    server.log.allow("^Traceback")
    server.stop()
    assert not server.log.find("exit signal")


def test_slow_request_is_reported_without_a_stack(serve):
    lines = "WSGIFreeThreading On\nWSGISlowRequests 0.2\n"
    server = serve(Conf(text("slow.py") + lines), private=True)
    server.log.allow(r"slow request GET /main/")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/main/blocked")
        server.log.wait_for("slow request GET /main/blocked has taken")
        assert server.get("/main/release").status == 200
        assert waiting.result().status == 200
    server.log.wait_for("slow request GET /main/blocked took")
    assert not server.log.find("wait_for_it|not in Python code")


def test_interpreters_end_in_order(serve):
    server = serve(Conf(text("ask.py") + "WSGIFreeThreading On\n", threads=8), private=True)
    group = "environ['mod_wsgi.application_group']"
    goodbye = f"__import__('atexit').register(print, 'good-bye from', {group})"
    for mount in MOUNTS:
        ask(server, f"[{goodbye}][:0]", mount)
    # Threads of the server's have been in each.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        mounts = MOUNTS * 16
        assert list(pool.map(lambda mount: ask(server, "1", mount), mounts)) == [1] * len(mounts)
    server.stop()
    server.log.expect("good-bye from one", "good-bye from two", "good-bye from $")
