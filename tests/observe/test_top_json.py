"""mod_wsgi_rs top --json: a line a second, for programs, without a terminal."""

import itertools
import json
import os
import signal
import subprocess
import threading

import pytest
from harness import command, daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such command")

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def conf():
    text = """
    WSGIDaemonProcess site processes=1 threads=2
    WSGIDaemonProcess blog processes=2 threads=3
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "")), timeout=60)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_is_an_object_with_the_rates_of_its_second(start, run, asks):
    server = start()
    wait_until(lambda: asks(server, "status")["severity"] == "ok", "the workers", timeout=30)
    is_over = threading.Event()

    def ask():
        while not is_over.is_set():
            assert server.get("/app/fine").status == 200

    load = threading.Thread(target=ask)
    load.start()
    try:
        done = run(server, "top", "--json", "--count", "3")
    finally:
        is_over.set()
        load.join()
    assert (done.returncode, done.stderr) == (0, "")
    told = lines(done)
    assert len(told) == 3
    times = [line["time_seconds"] for line in told]
    assert all(later - time >= 0.9 for time, later in itertools.pairwise(times))
    for line in told:
        assert line["severity"] == "ok"
        blog, site = sorted(line["groups"], key=lambda group: group["name"])
        assert (blog["name"], len(blog["workers"]), blog["served_per_second"]) == ("blog", 2, 0)
        assert (site["name"], site["workers_ready"], site["problem"]) == ("site", 1, None)
        assert site["served_per_second"] > 0
        assert site["cpu_percent"] >= 0
        [worker] = site["workers"]
        assert worker["served_per_second"] == site["served_per_second"]
    served = [line["groups"] for line in told]
    first, last = (
        next(it for it in groups if it["name"] == "site") for groups in (served[0], served[-1])
    )
    assert last["workers"][0]["served"] > first["workers"][0]["served"]


def test_command_goes_on_until_its_reader_has_gone(start, env, run):
    server = start()
    assert run(server, "top", "site", "--json", "--count", "1").returncode == 0
    top = subprocess.Popen(
        [command.COMMAND, "top", "site", "--json", "--runtime-dir", server.root],
        cwd="/",
        env=command.clean_environment(MOD_WSGI_RS_MODULE=str(env.module)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(2):
            line = json.loads(top.stdout.readline())
            assert [group["name"] for group in line["groups"]] == ["site"]
        top.stdout.close()
        assert top.wait(timeout=30) == 0
        assert top.stderr.read() == ""
    finally:
        top.kill()
        top.wait()
        top.stderr.close()


def test_group_that_does_not_answer_is_in_the_line_and_in_the_exit_status(start, run):
    server = start()
    managers = daemons.managers(server)
    for pid in managers:
        daemons.freeze(pid)
    try:
        done = run(server, "top", "--json", "--count", "1", "--timeout", "1")
    finally:
        for pid in managers:
            os.kill(pid, signal.SIGCONT)
    assert done.returncode == 1
    [line] = lines(done)
    assert line["severity"] == "critical"
    assert all("has not answered" in group["problem"] for group in line["groups"])


def test_wrong_names_and_options_have_the_exit_status_of_other_commands(start, run):
    server = start()
    done = run(server, "top", "nothing", "--json", "--count", "1")
    assert (done.returncode, done.stderr) == (1, "")
    [line] = lines(done)
    assert list(line) == ["error"]
    assert "there is no process group 'nothing'" in line["error"]
    for words in (["--json", "--count", "0"], ["--json", "--count", "x"], ["--count", "1"]):
        done = run(server, "top", *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "--count" in done.stderr
