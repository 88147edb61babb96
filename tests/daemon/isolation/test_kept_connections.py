"""How many connections to workers a child of Apache keeps, whatever clients ask for at once."""

import concurrent.futures
import contextlib
import http.client

import pytest
from harness import daemons
from harness.conf import Conf
from harness.hostile import APP, leave_descriptors

pytestmark = pytest.mark.ours_only("our own processes")

THREADS, GROUPS = 4, 8
SLOW = """
import time
def application(environ, start_response):
    time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


def conf(groups, files):
    text = "<Directory />\nAllowOverride None\n</Directory>\nWSGIRestrictEmbedded On\n" + "".join(
        f"WSGIDaemonProcess g{number} threads={THREADS}\n"
        f"WSGIScriptAlias /g{number} ${{ROOT}}/app.py"
        f" process-group=g{number} application-group=%{{GLOBAL}}\n"
        for number in range(groups)
    )
    return Conf(text, files=files, children=1, start=1, threads=THREADS)


def test_a_child_keeps_one_connection_for_each_thread_and_each_group_at_most(start, mpm):
    if mpm == "prefork":
        pytest.skip("children with one request at a time")
    server = start(GROUPS, [("app.py", SLOW)])
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for number in range(GROUPS):
            answers = pool.map(lambda _, n=number: server.get(f"/g{n}"), range(2 * THREADS))
            assert {answer.status for answer in answers} == {200}
    assert 0 < daemons.connections(server) <= THREADS + GROUPS


def test_kept_connections_go_where_there_is_no_descriptor_for_another(start):
    server = start(2, [("app.py", APP)])
    (child,) = daemons.httpd_children(server)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("GET", "/g0")
        assert client.getresponse().read().isdigit()
        leave_descriptors(client, child, 0, "/g0")
        client.request("GET", "/g1")
        answer = client.getresponse()
        assert answer.status == 200, answer.read()
