"""Rates and percentiles of the last minute, beside what has been counted since the start."""

import concurrent.futures

import pytest
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import Texts, group, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

APP = r"""
import time
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def conf():
    text = """
    WSGIDaemonProcess site processes=1 threads=8
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    WSGIScriptAlias /own ${ROOT}/app.py process-group=%{GLOBAL} application-group=%{GLOBAL}
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    files = (("app.py", APP), ("out/README", ""))
    return Conf(text, files=files, timeout=60, threads=16)


def row(server, name):
    """The cells of a row of the first table, up to the percentiles."""
    texts = [text.strip() for text in Texts(status(server, "")).texts]
    first = texts.index(name)
    return [text for text in texts[first:] if text][:12]


def test_first_reading_of_a_new_server_is_since_its_start_and_says_so(start, asks):
    server = start()
    for _ in range(20):
        assert server.get("/app/fine").status == 200
    wait_until(lambda: group(server)["requests"]["total"] == 21, "21 requests")
    requests = group(server)["requests"]
    recent = requests["recent"]
    assert recent["total"] == 21
    assert 0 < recent["window_seconds"] < 60
    assert requests["per_second"] == pytest.approx(21 / recent["window_seconds"], rel=1e-3)
    assert recent["by_class"] == requests["by_class"]
    assert recent["duration"] == requests["duration"]
    # The manager has the same memory.
    (told,) = asks(server, "status")["groups"]
    assert told["requests"]["total"] == told["requests"]["recent"]["total"] == 21
    assert told["requests"]["recent"]["duration"] == recent["duration"]
    assert told["requests"]["recent"]["queue"] == recent["queue"]


@pytest.mark.begins_first
@pytest.mark.slow
def test_slow_requests_leave_the_percentiles_of_the_last_minute(start, asks):
    server = start()

    def ask(path):
        return server.get(path, timeout=90)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        # One for longer than the last bucket, in each mode.
        paths = ["/app/slow?30.5", "/own/slow?30.5"] + ["/app/slow?2", "/own/slow?2"] * 3
        assert {answer.status for answer in pool.map(ask, paths)} == {200}

    def counted(now=None):
        now = now or status(server)
        return [now["embedded"], now["groups"][0]["requests"]]

    wait_until(lambda: all(it["total"] >= 4 for it in counted()), "the requests to be counted")
    for requests in counted():
        for times in (requests["duration"], requests["recent"]["duration"]):
            assert times["p50_seconds"] > 1
            assert (times["p99_seconds"], times["bound_seconds"]) == (None, 30)
            assert times["above_bound"] == 1
    for name in ("(Apache's own processes)", "site"):
        assert "> 30 s" in row(server, name)

    def have_left():
        for path in ("/app/fine", "/own/fine"):
            assert server.get(path).status == 200
        recents = [it["recent"]["duration"] for it in counted()]
        return all(it["above_bound"] == 0 and it["p99_seconds"] < 1 for it in recents)

    wait_until(have_left, "a minute without slow requests", timeout=240)
    for requests in counted():
        recent = requests["recent"]
        # On a machine that others use the parent may be late with its copies.
        assert 60 <= recent["window_seconds"] < 180
        assert 0 < recent["total"] < requests["total"]
        assert requests["duration"]["above_bound"] == 1
        assert requests["duration"]["p99_seconds"] is None or requests["total"] > 99
        assert requests["duration"]["sum_seconds"] > 30 > recent["duration"]["sum_seconds"]
    assert "> 30 s" not in row(server, "site")
    (told,) = asks(server, "status")["groups"]
    assert told["requests"]["recent"]["duration"]["above_bound"] == 0
