"""Rates and percentiles of the last minute, beside what has been counted since the start."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import group

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
