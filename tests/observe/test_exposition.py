"""The text of the metrics: what the document promises, and what another parser reads in it."""

import contextlib
import os
import platform
import re
import signal
import sys

import pytest
from harness.conf import Conf
from harness.env import REPO
from harness.httpd import wait_until
from harness.status import group, status
from harness.unix_http import UnixClient
from harness.websocket import PING, PONG, TEXT, frame, websocket

pytestmark = pytest.mark.ours_only("mod_wsgi has no metrics")

APP = r"""
def application(environ, start_response):
    status = environ["QUERY_STRING"] or "200"
    start_response(status + " On Purpose", [("Content-Type", "text/plain")])
    return [b"served"]
"""
LOOP = r"""
import asyncio, time
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if "text" in message:
                # Two answers to each.
                for _ in range(2):
                    await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["type"] != "http":
        raise ValueError("there is no lifespan")
    if scope["path"].endswith("/block"):
        time.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""
# Labels of the exposition itself.
OF_HISTOGRAMS = {"le"}


def conf(options=""):
    text = f"""
    WSGIDaemonProcess site processes=2 threads=2
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    WSGIScriptAlias /own ${{ROOT}}/app.py
    WSGIDaemonProcess loop processes=1 {options}
    ASGIScriptAlias /loop ${{ROOT}}/loop.py process-group=loop
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    <Location /-/>
        SetHandler wsgi-health
    </Location>
    """
    files = (("app.py", APP), ("loop.py", LOOP), ("out/README", ""))
    return Conf(text, files=files, timeout=60)


def documented():
    """{metric: (type, labels)} of the table in docs/operations.md."""
    page = (REPO / "docs/operations.md").read_text()
    section = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    found = {}
    for names, kind, labels in re.findall(r"^\| (`wsgi_.*?`) \| (\w+) \|(.*)\|$", section, re.M):
        # What stands in brackets are values.
        labels = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", labels)))
        for name in re.findall(r"`(\w+)`", names):
            assert name not in found, name
            found[name] = (kind, labels)
    assert found
    return found


def exposed(text):
    """The same of an exposition in Prometheus' text format."""
    found = {name: (kind, set()) for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M)}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.M):
        base = name if name in found else re.sub(r"_(bucket|sum|count)$", "", name)
        found[base][1].update(set(re.findall(r'(\w+)="', labels)) - OF_HISTOGRAMS)
    return found


def of_manager(server, accept="text/plain", name="site"):
    """What the manager of a group tells."""
    [path] = server.root.rglob(f"*.{name}.admin")
    connection = UnixClient(path)
    connection.request("GET", "/-/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return text


def texts(server, accept):
    """Of both writers: Apache's children, and the manager of a group."""
    page = server.get("/-/metrics", headers={"Accept": accept}).text
    return {"page": page, "manager": of_manager(server, accept)}


def values(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def of_both(server, name):
    """The value of a metric of the group `loop`, by its labels; None while the writers differ."""
    both = [server.get("/-/metrics").text, of_manager(server, name="loop")]
    page, manager = ({key: it for key, it in values(text).items() if name in key} for text in both)
    return page if page == manager else None


def test_metrics_types_and_labels_are_those_of_the_document(start):
    server = start()
    assert [server.get(path).status for path in ("/own", "/loop")] == [200, 200]
    assert exposed(server.get("/-/metrics").text) == documented()
    of_server = {it for it in documented() if re.match("wsgi_(uptime|configuration)_", it)}
    of_loops = {it for it in documented() if re.match("wsgi_(websocket|event_loop|executor)_", it)}
    assert of_server
    assert of_loops
    for name, left_out in (("site", of_server | of_loops), ("loop", of_server)):
        told = {key: it for key, it in documented().items() if key not in left_out}
        assert exposed(of_manager(server, name=name)) == told


def test_python_of_each_group_and_of_apache_is_told_with_its_abi(start, env):
    server = start()
    assert server.get("/loop").status == 200
    if env.python_version != sys.version_info[:2]:
        pytest.skip("the module is built for another Python than the tests run on")
    version = platform.python_version()
    abi = f"cp{sys.version_info[0]}{sys.version_info[1]}{'t' if env.free_threaded else ''}"
    found = values(server.get("/-/metrics").text)
    for name in ("", "site", "loop"):
        line = f'wsgi_python_info{{group="{name}",version="{version}",abi="{abi}"}}'
        assert found[line] == 1
        if name:
            assert values(of_manager(server, name=name))[line] == 1
    python = {"version": version, "abi": abi}
    assert (status(server)["python"], group(server)["python"]) == (python, python)
    assert f"Python {version}" in status(server, "")


def test_open_websockets_and_their_messages_are_counted(start):
    server = start()
    counted = 'wsgi_websocket_messages_total{group="loop",direction="'
    connections = 'wsgi_websocket_connections{group="loop"}'
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(websocket(server.port, "/loop")) for _ in range(3)]
        for number, ws in enumerate(opened):
            for _ in range(number + 1):
                ws.send(frame(TEXT, b"hello"))
                assert [ws.receive(), ws.receive()] == ["hello", "hello"]
        # Neither a ping nor a close is a message.
        opened[0].send(frame(PING, b"there?"))
        assert opened[0].receive_frame() == (PONG, b"there?")
        assert opened[0].close()[0] == 1000
        wait_until(lambda: of_both(server, connections) == {connections: 2}, "the open ones")
        expected = {f'{counted}received"}}': 6, f'{counted}sent"}}': 12}
        wait_until(lambda: of_both(server, "wsgi_websocket_messages") == expected, "the counts")
        told = group(server, "loop")["websockets"]
        assert told == {"open": 2, "messages_received": 6, "messages_sent": 12}
        assert "2 WebSockets open" in status(server, "")
        # A counter does not fall with the worker that has counted.
        [worker] = [it["pid"] for it in group(server, "loop")["workers"]]
        server.log.allow("stopping", "killed by signal 9")
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: of_both(server, connections) == {connections: 0}, "none", timeout=30)
    assert of_both(server, "wsgi_websocket_messages") == expected


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_time_for_which_an_event_loop_is_blocked_is_told_and_an_idle_loop_is_not_woken(
    start, uvloop, kind
):
    server = start(f"asgi-loop={kind} python-path={uvloop}")
    assert server.get("/loop/block").status == 200

    def lag():
        return group(server, "loop")["event_loop_lag"]

    # The timer was due a quarter of a second after the request had come.
    told = wait_until(lambda: (it := lag())["count"] >= 1 and it, "the look", timeout=30)
    assert told["sum_seconds"] > 1
    assert status(server)["groups"][0]["event_loop_lag"] is None
    buckets = of_both(server, "wsgi_event_loop_lag_seconds_bucket")
    longer = buckets['wsgi_event_loop_lag_seconds_bucket{group="loop",le="+Inf"}']
    assert longer - buckets['wsgi_event_loop_lag_seconds_bucket{group="loop",le="1"}'] >= 1

    def count_after(seconds):
        """How many looks there were once the server has been up for so much longer."""
        end = status(server)["uptime_seconds"] + seconds
        wait_until(lambda: status(server)["uptime_seconds"] >= end, "time", timeout=60)
        return lag()["count"]

    # There were four a second if it went on.
    assert count_after(2) == count_after(2)


@pytest.mark.parametrize("accept", ["application/openmetrics-text", "text/plain"])
def test_exposition_is_read_by_the_parsers_of_prometheus_client(start, accept):
    pytest.importorskip("prometheus_client")
    from prometheus_client import parser
    from prometheus_client.openmetrics import parser as strict

    of_openmetrics = accept.startswith("application")
    read = (strict if of_openmetrics else parser).text_string_to_metric_families
    server = start()
    for query in ("200", "404", "500"):
        assert server.get(f"/app?{query}").status == int(query)
    # With the one that `start` has made.
    wait_until(lambda: group(server)["requests"]["total"] == 4, "the counts")
    for text in texts(server, accept).values():
        families = {family.name: family for family in read(text)}
        kinds = {name.removesuffix("_total"): it for name, (it, _) in documented().items()}
        assert {name: it.type for name, it in families.items()}.items() <= kinds.items()
        by_code = {
            it.labels["code"]: it.value
            for it in families["wsgi_requests"].samples
            if it.labels["group"] == "site"
        }
        none = {"1xx": 0, "3xx": 0, "other": 0}
        assert by_code == {"2xx": 2, "4xx": 1, "5xx": 1} | none


@pytest.mark.parametrize("path", ["/app", "/own"])
def test_request_with_a_status_beyond_599_is_in_the_total_as_one_of_another_class(start, path):
    server = start()
    answer = server.get(f"{path}?999")

    def counts():
        return group(server)["requests"] if path == "/app" else status(server)["embedded"]

    before = 1 if path == "/app" else 0
    wait_until(lambda: counts()["duration"]["count"] == before + 1, "the count")
    assert (answer.status, counts()["total"], counts()["by_class"]["other"]) == (999, before + 1, 1)
    name = "site" if path == "/app" else ""
    line = f'wsgi_requests_total{{group="{name}",interface="wsgi",code="other"}} 1'
    assert line in texts(server, "text/plain")["page"].splitlines()
