"""The command answers while each thread of Apache waits for a worker."""

import contextlib
import select

import pytest
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such commands")

APP = r"""
import os, time
HERE = os.path.dirname(__file__)
def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/wait"):
        while not os.path.exists(os.path.join(HERE, "out", "finish")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answer"]
"""


def conf(groups, page, **more):
    text = f"""
    {groups}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {page}
    """
    files = (("app.py", APP), ("out/README", "the tests write here"))
    return Conf(text, files=files, **({"timeout": 60} | more))


def test_status_is_told_while_each_thread_of_apache_waits_for_a_worker(start, run, asks):
    groups = "WSGIDaemonProcess site processes=1 threads=1 shutdown-timeout=2"
    page = "<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>"
    server = start(groups, page, threads=3)
    with contextlib.ExitStack() as stack:
        stack.callback((server.root / "out/finish").touch)
        for _ in range(8):
            stack.enter_context(server.socket()).sendall(head("/app/wait"))

        def are_all_held():
            [group] = asks(server, "status")["groups"]
            return (group["requests_active"], group["queue_depth"]) == (1, 2)

        wait_until(are_all_held, "a request for each thread", timeout=30)
        asked = stack.enter_context(server.socket())
        asked.sendall(head("/wsgi-status?json"))
        done = run(server, "status")
        assert "site" in done.stdout
        assert asks(server, "stacks", "site")["workers"]
        # The page itself waits.
        assert select.select([asked], [], [], 0)[0] == []
        (server.root / "out/finish").touch()
        assert b"200 OK" in asked.recv(1000)
