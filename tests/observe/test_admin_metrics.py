"""/-/metrics of a manager, and how many requests wait: what an admin socket tells of Apache."""

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until
from harness.unix_http import UnixClient

pytestmark = pytest.mark.ours_only("mod_wsgi has no admin sockets")

APP = r"""
import os, time
HERE = os.path.dirname(__file__)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        open(os.path.join(HERE, "out", "begun"), "a").close()
        while not os.path.exists(os.path.join(HERE, "out", "finish")):
            time.sleep(0.01)
    if path == "/raise":
        raise ValueError("on purpose")
    status = "404 Not Found" if path == "/missing" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [b"served"]
"""

# What differs from one moment to the next.
MOVING = re.compile(r"^wsgi_(process_)?(cpu|resident|private|gil)|^wsgi_oldest")
# What is the server's, and not that of a group.
OF_THE_SERVER = re.compile(r"^wsgi_(uptime|configuration)")


def conf(options="processes=2 threads=2"):
    text = f"""
    WSGIDaemonProcess site {options}
    WSGIDaemonProcess other threads=1
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    WSGIScriptAlias /other ${{ROOT}}/app.py process-group=other application-group=%{{GLOBAL}}
    <Location "/-/">
        SetHandler wsgi-health
    </Location>
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "")), timeout=60)


def told(server, accept="text/plain"):
    """What the manager of the group `site` answers: media type and text."""
    [path] = server.root.rglob("*.site.admin")
    connection = UnixClient(path)
    connection.request("GET", "/-/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return answer.getheader("Content-Type"), text


def values(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_manager_tells_the_names_and_values_of_the_status_page(start):
    server = start()
    server.log.allow("on purpose", "Traceback", r"^ ", "WSGI0174", "ValueError")
    for path in ("/app/fine", "/app/missing", "/app/raise", "/other/fine"):
        server.get(path)
    wait_until(
        lambda: values(server.get("/-/metrics").text)['wsgi_workers_ready{group="site"}'] == 2,
        "the workers",
        timeout=30,
    )
    # A request counts when its client has its answer already.
    total = 'wsgi_request_duration_seconds_count{group="site"}'
    wait_until(lambda: values(told(server)[1])[total] == 4, "the counts")

    def of_both():
        """Both texts and their values of the group, once those that stand still are the same."""
        page, (kind, text) = server.get("/-/metrics").text, told(server)
        of_group, of_manager = (
            {
                name: value
                for name, value in values(it).items()
                if 'group="site"' in name or name.startswith("wsgi_build")
            }
            for it in (page, text)
        )
        is_same = all(
            value == of_manager.get(name)
            for name, value in of_group.items()
            if not MOVING.match(name)
        )
        return is_same and (page, kind, text, of_group)

    page, kind, text, of_group = wait_until(of_both, "the same values at both")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    of_manager = values(text)
    assert of_manager.keys() == of_group.keys()
    assert {name for name in values(page) if OF_THE_SERVER.match(name)}
    assert of_manager['wsgi_request_failures_total{group="site",flag="XH"}'] == 1
    assert of_manager['wsgi_request_duration_seconds_count{group="site"}'] == 4
    assert of_manager['wsgi_cpu_seconds_total{group="site"}'] > 0
    memory = 'wsgi_process_resident_memory_bytes{group="site",slot="1"}'
    assert of_manager[memory] > 1e6
    # Help and types, too.
    told_of = [line for line in text.splitlines() if line.startswith("#")]
    described = [line for line in page.splitlines() if line.startswith("#")]
    assert told_of == [line for line in described if not OF_THE_SERVER.match(line.split()[2])]
    kind, text = told(server, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert "# TYPE wsgi_requests counter" in text


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_has_no_complaint_about_a_manager(start):
    server = start()
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=told(server)[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_requests_that_wait_are_told_by_manager_and_commands(start, run, asks):
    server = start("processes=1 threads=1")
    for words in (["status"], ["ps"]):
        assert re.search(r"^GROUP.* WAIT ", run(server, *words).stdout, re.MULTILINE)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.socket()) for _ in range(3)]
        clients[0].sendall(head("/app/wait"))
        wait_until((server.root / "out/begun").exists, "the request")
        for client in clients[1:]:
            client.sendall(head("/app/fine"))
        depth = 'wsgi_queue_depth{group="site"}'
        wait_until(lambda: values(told(server)[1])[depth] == 2, "the queue", timeout=30)
        assert values(server.get("/-/metrics").text)[depth] == 2
        [group] = asks(server, "status", "site")["groups"]
        assert (group["queue_depth"], group["requests_active"]) == (2, 1)
        [worker] = asks(server, "ps", "site")["workers"]
        assert (worker["waiting"], worker["busy"]) == (2, 1)
        shown = run(server, "status").stdout + run(server, "ps").stdout
        assert re.search(r"^site +ready +1/1 +1/1 +2 ", shown, re.MULTILINE)
        assert re.search(r"^site .* ready .* 1 +2 +\d+\.\d MB", shown, re.MULTILINE)
        (server.root / "out/finish").touch()
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    wait_until(lambda: values(told(server)[1])[depth] == 0, "the end of the queue", timeout=30)


def test_manager_can_only_read_the_counts_of_apache(start):
    server = start("processes=1 threads=1")
    # Then its worker runs, too.
    assert server.get("/other").status == 200
    access = []
    for manager in daemons.managers(server):
        for line in Path(f"/proc/{manager}/maps").read_text().splitlines():
            if "memfd:mod_wsgi_rs" in line:
                access.append(line.split()[1])
        assert daemons.workers_of(manager)
        for worker in daemons.workers_of(manager):
            maps = Path(f"/proc/{worker}/maps").read_text()
            assert "r--s" not in [it.split()[1] for it in maps.splitlines() if "memfd:" in it]
    # Of each group the scoreboard and the cause of failed starts, and beside them two that are
    # Apache's alone.
    assert sorted(access) == ["r--s"] * 4 + ["rw-s"] * 4
