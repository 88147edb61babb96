"""start-server --reload in a real browser: what the page shows after each save by itself.

The times are those that a person waits. They are printed; `make soak`, beside which nothing else
runs, sets LIMITS and holds them to the limits.
"""

import os
import time

import pytest
from harness.browser import Browser, find_browser

pytestmark = pytest.mark.ours_only("runs ours")

FIRST_PAGE = 2
AFTER_A_SAVE = 1
PAGE = """def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<html><body><h1>version TEXT</h1></body></html>"]
"""


@pytest.fixture
def browser(short):
    program = find_browser()
    if program is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    browser = Browser(program, short / "profile")
    yield browser
    browser.close()


@pytest.fixture
def taken(record_property):
    """taken(what, seconds, limit) prints a time, and holds it to the limit with LIMITS."""

    def taken(what, seconds, limit):
        record_property("load", f"{what}: {seconds * 1000:.0f} ms")
        if "LIMITS" in os.environ:
            assert seconds < limit, what

    return taken


def test_page_follows_saves_of_sound_and_broken_files(start, site, browser, taken):
    (site / "app.py").write_text(PAGE.replace("TEXT", "first"))
    begun = time.monotonic()
    server = start("--reload", ready=False)
    server.wait_for("serving on ")
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.wait_for_text("version first")
    taken("first page after the command", time.monotonic() - begun, FIRST_PAGE)
    server.wait_for("application loaded in")

    def save(what, text, expected):
        (site / "app.py").write_text(text)
        taken(what, browser.wait_for_text(expected), AFTER_A_SAVE)

    save("edited page after the save", PAGE.replace("TEXT", "edited"), "version edited")
    missing = "ModuleNotFoundError: No module named 'no_such_module'"
    save("traceback after the broken save", "import no_such_module\n" + PAGE, missing)
    assert "Traceback (most recent call last)" in browser.evaluate("document.body.innerText")
    mended = PAGE.replace("TEXT", "mended")
    save("page after the save that mends it", mended, "version mended")


def test_page_that_was_broken_from_the_start_follows_the_first_sound_save(start, site, browser):
    (site / "app.py").write_text("def app(:\n")
    server = start("app:app", "--reload")
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.wait_for_text("SyntaxError")
    (site / "app.py").write_text(PAGE.replace("TEXT", "sound"))
    browser.wait_for_text("version sound")
