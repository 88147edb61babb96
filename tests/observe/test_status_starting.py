"""The status while the only worker of a group starts: it is told at once, as what it is."""

import re
import shutil
import subprocess
import time

import pytest
from harness.client import head, read_all
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import LIMIT, Texts, group, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

# Its import takes as long as the test wants it to.
WAITS = """
import os, time
GO = os.path.join(os.path.dirname(__file__), "out", "go")
while not os.path.exists(GO):
    time.sleep(0.01)
"""
APPS = {
    "wsgi": """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
""",
    "asgi": """
async def application(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("there is no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
""",
}


def conf(interface):
    options = "process-group=site application-group=%{GLOBAL}"
    text = f"""
    WSGIDaemonProcess site processes=1 threads=2
    {interface.upper()}ScriptAlias /app ${{ROOT}}/app.py {options}
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    <Location /-/>
        SetHandler wsgi-health
    </Location>
    """
    files = (("app.py", WAITS + APPS[interface]), ("out/README", ""))
    return Conf(text, files=files, timeout=60)


@pytest.mark.parametrize("interface", sorted(APPS))
def test_worker_that_starts_is_shown_at_once_as_one_that_starts(private, interface):
    server = private(conf(interface))

    def of_site():
        [worker] = (it := group(server))["workers"] or [None]
        return worker and (it, worker)

    _, worker = wait_until(of_site, "the record of the worker", timeout=30)
    assert worker["state"] == "starting"
    with server.socket() as sock:
        sock.sendall(head("/app"))
        wait_until(lambda: group(server)["queue_depth"] == 1, "the request that waits")
        told, took = {}, {}
        for query in ("", "json", "prometheus"):
            began = time.monotonic()
            told[query] = status(server, query)
            took[query] = time.monotonic() - began
        assert max(took.values()) < LIMIT, took
        [site] = told["json"]["groups"]
        [of_json] = site["workers"]
        assert (of_json["pid"], of_json["state"]) == (worker["pid"], "starting")
        assert (site["workers_ready"], site["requests_active"], site["starts"]) == (0, 0, 1)
        assert site["start_block"] is None
        texts = Texts(told[""]).texts
        assert "starting" in texts
        assert str(worker["pid"]) in texts
        lines = told["prometheus"].splitlines()
        figures = {"workers": 1, "workers_ready": 0, "threads": 0, "queue_depth": 1}
        for name, value in figures.items():
            assert f'wsgi_{name}{{group="site"}} {value}' in lines
        assert 'wsgi_process_start_duration_seconds_count{group="site"} 0' in lines
        answer = server.get("/-/ready")
        assert (answer.status, answer.text) == (503, "not ready: site\n")
        assert server.get("/-/healthy").status == 200
        (server.root / "out/go").touch()
        assert re.match(rb"HTTP/1\.1 200 .*fine", read_all(sock), re.S)
    [worker] = wait_until(lambda: (it := group(server))["workers_ready"] == 1 and it, "it")[
        "workers"
    ]
    assert worker["state"] == "ready"
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: the text of the metrics is not checked")
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=told["prometheus"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
