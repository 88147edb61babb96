"""The status page in a browser: stuck workers, load, many groups, in windows of all kinds.

SCREENSHOTS=folder keeps pictures there.
"""

import concurrent.futures
import contextlib
import os
import signal
from pathlib import Path

import pytest
from harness import daemons
from harness.browser import Browser, find_browser
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

APP = r"""
import ctypes, os, time
HERE = os.path.dirname(__file__)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/stuck"):
        with open(os.path.join(HERE, "out", "stuck"), "a") as file:
            file.write("x")
    if path.startswith("/stuck/spin"):
        while True:
            pass
    if path.startswith("/stuck/lock"):
        ctypes.PyDLL(None).sleep(300)
    if path.startswith("/raise"):
        raise RuntimeError("on purpose")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
LONG = "a-name-of-a-group-that-is-as-long-as-names-of-hosts-may-be.example.com"
FAST = "graceful-timeout=1 shutdown-timeout=1 deadlock-timeout=0"


def conf(groups, aliases, **more):
    text = f"""
    WSGIRestrictEmbedded On
    {groups}
    {aliases}
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, **({"timeout": 60, "threads": 32} | more))


@pytest.fixture
def browser(tmp_path):
    program = find_browser()
    if program is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    browser = Browser(program, tmp_path / "profile")
    browser.listen()
    yield browser
    assert browser.complaints == []
    browser.close()


@pytest.fixture
def start(private):
    def start(configuration):
        server = private(configuration, lambda server: (server.root / "out").chmod(0o777))
        server.log.allow("still running", "did not stop", "killed", "stopping", "WSGI0245")
        server.log.allow("hanging", r"^\[script", "WSGI0174", "RuntimeError", "Traceback", "^  ")
        return server

    return start


@pytest.fixture
def looked_at(browser, request):
    """looked_at(server, text) opens the page in windows of several kinds, and examines each."""

    def looked_at(server, text):
        browser.open(f"http://localhost:{server.port}/wsgi-status")
        browser.wait_for_text(text)
        for name, size, dark in (
            ("wide", (1400, 900), False),
            ("dark", (1400, 900), True),
            ("narrow", (400, 800), False),
        ):
            browser.resize(*size, dark=dark)
            # A table that is wider than the window has a bar of its own; the page has none.
            wide = browser.evaluate("document.documentElement.scrollWidth > window.innerWidth")
            assert wide is False, name
            back, fore = browser.evaluate(
                "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
            )
            light = [sum(map(int, c.strip("rgb()").split(","))) for c in (back, fore)]
            assert (light[0] < light[1]) == dark, (name, back, fore)
            if folder := os.environ.get("SCREENSHOTS"):
                case = request.node.name.replace("/", "-")
                browser.screenshot(Path(folder) / f"{case}-{name}.png")
        assert browser.evaluate("document.scripts.length") == 0
        assert browser.evaluate("document.querySelectorAll('table').length") >= 2
        assert browser.evaluate(
            "[...document.querySelectorAll('code')].every(it => it.offsetHeight < 200)"
        )

    return looked_at


def shown(browser):
    return browser.evaluate("document.body.innerText")


@pytest.mark.parametrize("path", ["/app/stuck/spin", "/app/stuck/lock"])
def test_page_of_stuck_workers_is_shown_and_refreshes_itself(start, browser, looked_at, path):
    server = start(
        conf(
            f"WSGIDaemonProcess site processes=2 threads=2 {FAST}",
            "WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}",
        )
    )
    with contextlib.ExitStack() as stack:
        for number in range(6):
            sock = stack.enter_context(server.socket())
            sock.sendall(head(f"{path}/{number}/<script>alert(1)</script>"))
        stuck = server.root / "out/stuck"
        # With the lock held one thread of each process gets that far.
        count = 4 if path.endswith("spin") else 2
        wait_until(
            lambda: stuck.exists() and len(stuck.read_text()) >= count, "requests", timeout=60
        )
        looked_at(server, f"GET {path}/")
        assert "<script>alert(1)</script>" in shown(browser)
        # By itself: nothing is done to the page.
        loaded = browser.evaluate("performance.timeOrigin")
        wait_until(
            lambda: (
                (browser.evaluate("performance.timeOrigin") or loaded) > loaded
                and "GET " in (shown(browser) or "")
            ),
            "another load of the page",
            timeout=60,
        )


def test_page_under_load_tells_of_failures_and_times(start, browser, looked_at):
    groups = f"""
    WSGIDaemonProcess site processes=2 threads=4 {FAST}
    WSGIDaemonProcess {LONG} threads=1 {FAST}
    """
    aliases = f"""
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    WSGIScriptAlias /long ${{ROOT}}/app.py process-group={LONG}
    """
    server = start(conf(groups, aliases))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paths = ["/app/fine", "/app/raise", "/long/raise/" + "x" * 200] * 40
        answers = pool.map(server.get, paths)
        looked_at(server, "site")
        assert {answer.status for answer in answers} == {200, 500}
    browser.open(f"http://localhost:{server.port}/wsgi-status")
    browser.wait_for_text("/long/raise/xxx")
    text = shown(browser)
    assert "XH" in text
    assert LONG in text
    assert "UTC" in text


def loads(browser, what, is_there):
    """Waits for a load of the page, which nothing but the page itself begins, that has this."""
    loaded = browser.evaluate("performance.timeOrigin")

    def is_loaded():
        return (browser.evaluate("performance.timeOrigin") or loaded) > loaded and is_there()

    return wait_until(is_loaded, what, timeout=60)


def cells(browser, first):
    """The texts of the cells of each row whose first cell has this text."""
    rows = browser.evaluate(
        "[...document.querySelectorAll('tr')].map(row => [...row.cells].map(it => it.innerText))"
    )
    return [row for row in rows or [] if row and row[0] == first]


def test_page_that_is_open_shows_how_killed_workers_ended(start, browser):
    server = start(
        conf(
            f"WSGIDaemonProcess site processes=2 threads=2 {FAST}",
            "WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}",
        )
    )
    assert server.get("/app/fine").status == 200
    killed = daemons.settled(server, 2)
    browser.open(f"http://localhost:{server.port}/wsgi-status")
    browser.wait_for_text("started 2")
    assert "killed" not in shown(browser)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def are_replaced():
        rows = [cells(browser, slot) for slot in ("0", "1")]
        found = [row for rows in rows for row in rows if row[2] == "ready"]
        exits = sorted(row[-1].split(" before its ")[0] for row in found)
        return exits == sorted(f"worker {pid} was killed by signal 9" for pid in killed)

    loads(browser, "the exits of both workers on the page", are_replaced)
    assert "2 signal" in shown(browser)
    assert server.get("/app/fine").status == 200


def test_figures_of_a_page_that_is_open_grow_under_load(start, browser):
    server = start(
        conf(
            f"WSGIDaemonProcess site processes=1 threads=4 {FAST}",
            "WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}",
        )
    )
    assert server.get("/app/fine").status == 200
    browser.open(f"http://localhost:{server.port}/wsgi-status")
    browser.wait_for_text("Requests")

    def requests():
        [row] = cells(browser, "site") or [["", "0"]]
        return int(row[1])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            before = requests()
            assert {it.status for it in pool.map(server.get, ["/app/fine"] * 50)} == {200}
            loads(browser, "fifty more requests", lambda before=before: requests() >= before + 50)


@pytest.mark.slow
def test_page_of_two_hundred_groups_is_shown(start, browser, looked_at):
    groups = "".join(
        f"WSGIDaemonProcess customer-{number} threads=1 processes=0-1 {FAST}\n"
        for number in range(200)
    )
    aliases = "".join(
        f"WSGIScriptAlias /{number} ${{ROOT}}/app.py process-group=customer-{number}\n"
        for number in range(200)
    )
    server = start(conf(groups, aliases))
    assert server.get("/7/fine").status == 200
    looked_at(server, "customer-199")
