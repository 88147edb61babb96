"""SetHandler wsgi-status and wsgi-health tell of processes, whatever state these are in."""

import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head, read_all
from harness.conf import Conf
from harness.env import REPO
from harness.httpd import wait_until
from harness.status import LIMIT, Texts, group, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

APP = r"""
import ctypes, os, time
HERE = os.path.dirname(__file__)
def note(name):
    with open(os.path.join(HERE, "out", name), "a") as file:
        file.write("x")
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/falsify":
        # The memory that the worker shares with Apache.
        with open("/proc/self/maps") as maps:
            shared = [line.split()[0] for line in maps if "rw-s" in line and "memfd:" in line]
        for place in shared:
            first, last = (int(end, 16) for end in place.split("-"))
            junk = b"<b>&\xff\x00\x01\x02" * ((last - first) // 8)
            ctypes.memmove(first, junk, last - first)
            note("falsified")
    if path == "/claim":
        # Another process id in the place of its own.
        pids = os.getpid(), int(environ["QUERY_STRING"])
        own, other = (pid.to_bytes(8, "little") for pid in pids)
        with open("/proc/self/maps") as maps:
            shared = [line.split()[0] for line in maps if "rw-s" in line and "memfd:" in line]
        for place in shared:
            first, last = (int(end, 16) for end in place.split("-"))
            for word in range(first, last, 8):
                if ctypes.string_at(word, 8) == own:
                    ctypes.memmove(word, other, 8)
        time.sleep(60)
    if path.startswith("/raise"):
        raise RuntimeError("on purpose")
    query = environ["QUERY_STRING"]
    if path == "/exit":
        os._exit(int(query))
    if path == "/signal":
        os.kill(os.getpid(), 9)
        time.sleep(60)
    if path == "/eat":
        eaten = []
        while True:
            eaten.append(bytearray(b"x") * 1_000_000)
    if path == "/keep":
        # usleep with the lock.
        ctypes.PyDLL(None).usleep(900_000)
    if path == "/lock":
        ctypes.PyDLL(None).sleep(60)
    if path.startswith("/sleep"):
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
STUCK = ["still running", "did not stop", "killed", "stopping", "WSGI0245", "hanging", r"^\[script"]


def conf(groups, aliases, lines="", **more):
    text = f"""
    {groups}
    {aliases}
    <Location /wsgi-status>
        SetHandler wsgi-status
        Require local
        {lines}
    </Location>
    <Location /-/>
        SetHandler wsgi-health
        Require local
    </Location>
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, **({"timeout": 60, "threads": 32} | more))


def one_group(options="processes=2 threads=2", lines="", **more):
    return conf(
        f"WSGIDaemonProcess site {options}",
        "WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}",
        lines,
        **more,
    )


@pytest.fixture
def start(private):
    def start(configuration):
        server = private(configuration, lambda server: (server.root / "out").chmod(0o777))
        server.log.allow(*STUCK)
        return server

    return start


def metrics(server):
    """The values of /-/metrics by metric and labels."""
    text = server.get("/-/metrics").text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def control_group():
    """control_group(bytes) is a context with a control group; its value moves a process there."""
    if os.geteuid() != 0:
        pytest.skip("only root makes control groups")
    mounted = Path("/sys/fs/cgroup")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    if "memory" in paths:
        parent, limit = mounted / "memory" / paths["memory"].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = mounted / paths.get("", "").lstrip("/"), "memory.max"

    @contextlib.contextmanager
    def made(size):
        folder = parent / f"mod_wsgi_rs-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / limit).write_text(str(size))
        except OSError as why:
            pytest.skip(f"no control group with a limit of memory can be made here: {why}")
        try:
            yield lambda pid: (folder / "cgroup.procs").write_text(str(pid))
        finally:
            members = folder / "cgroup.procs"
            wait_until(
                lambda: not members.read_text().strip(), "an empty control group", timeout=30
            )
            folder.rmdir()

    return made


def test_counts_agree_with_those_of_a_client(start):
    server = start(one_group())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(server.get, ["/app/fine"] * 40 + ["/app/raise"] * 3))
    assert sorted({answer.status for answer in answers}) == [200, 500]
    server.log.allow("WSGI0174", "RuntimeError", "Traceback", "^  ")

    def counted():
        """Each may be counted just after the client has its answer."""
        requests = group(server)["requests"]
        counts = [requests["total"], *(requests[it]["count"] for it in ("duration", "queue"))]
        return requests if min(counts) >= 43 else None

    requests = wait_until(counted, "43 requests")
    assert requests["total"] == 43
    assert (requests["by_class"]["2xx"], requests["by_class"]["5xx"]) == (40, 3)
    assert requests["by_flag"] == {"XH": 3}
    assert requests["duration"]["count"] == requests["queue"]["count"] == 43
    assert requests["duration"]["p50_seconds"] > 0
    values = metrics(server)
    labels = '{group="site",interface="wsgi",code="2xx"}'
    assert values[f"wsgi_requests_total{labels}"] == 40
    assert values['wsgi_request_failures_total{group="site",flag="XH"}'] == 3
    assert values['wsgi_request_duration_seconds_count{group="site"}'] == 43
    assert values['wsgi_request_duration_seconds_bucket{group="site",le="+Inf"}'] == 43
    assert values['wsgi_process_resident_memory_bytes{group="site",slot="0"}'] > 1_000_000
    # Each is listed after it has been counted.
    wait_until(lambda: len(status(server)["failures"]) >= 3, "three failures")
    failures = status(server)["failures"]
    assert [failure["flags"] for failure in failures] == ["XH"] * 3
    assert failures[0]["request"] == "GET /app/raise"
    assert failures[0]["script"].endswith("/app.py")
    assert failures[0]["host"] == "localhost"


def test_embedded_requests_are_counted_as_those_of_no_group(start):
    server = start(conf("", "WSGIScriptAlias /app ${ROOT}/app.py"))
    assert {server.get("/app/fine").status for _ in range(5)} == {200}
    wait_until(lambda: status(server)["embedded"]["by_class"]["2xx"] >= 5, "five requests")
    assert status(server)["embedded"]["by_class"]["2xx"] == 5
    name = 'wsgi_requests_total{group="",interface="wsgi",code="2xx"}'
    assert metrics(server)[name] == 5
    assert "own processes" in status(server, "")


def test_status_answers_while_workers_are_killed_and_tells_of_their_signals(start):
    server = start(one_group("processes=1 threads=2"))
    server.log.allow("was killed by signal 9")
    assert server.get("/app/fine").status == 200
    for count in (1, 2):
        [worker] = daemons.settled(server, 1)
        wait_until(lambda: group(server)["workers_ready"] == 1, "a ready worker")
        os.kill(worker, signal.SIGKILL)
        daemons.settled(server, 1, without=[worker])
        wait_until(lambda count=count: group(server)["exits"]["signal"] == count, "the exit")
        assert "killed by signal 9" in status(server, "")
    # A process is there a moment before it is counted.
    wait_until(lambda: group(server)["starts"] == 3, "three starts")


def test_manager_and_workers_that_are_stopped_do_not_keep_the_status(start):
    server = start(one_group("processes=2 threads=1"))
    assert server.get("/app/fine").status == 200
    wait_until(lambda: group(server)["workers_ready"] == 2, "two ready workers")
    stopped = [*daemons.workers(server), daemons.manager(server)]
    for pid in stopped:
        daemons.freeze(pid)
    try:
        assert group(server)["workers_ready"] == 2
        assert server.get("/-/healthy").status == 200
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_two_hundred_groups_are_told_of_at_once(start):
    # All but twenty start their process when a request comes.
    options = ["processes=0-1", "processes=1"]
    groups = "".join(
        f"WSGIDaemonProcess g{number} threads=1 {options[number % 10 == 0]}\n"
        for number in range(200)
    )
    aliases = "".join(
        f"WSGIScriptAlias /{number} ${{ROOT}}/app.py process-group=g{number}\n"
        for number in range(1, 200)
    )
    aliases += "WSGIScriptAlias /app ${ROOT}/app.py process-group=g0\n"
    server = start(conf(groups, aliases))
    assert server.get("/app/fine").status == 200
    took = []
    for query in ("", "json", "prometheus") * 4:
        began = time.monotonic()
        status(server, query)
        took.append(time.monotonic() - began)
    assert max(took) < LIMIT, took
    assert len(status(server)["groups"]) == 200


def test_hostile_names_stay_texts_of_the_page(start):
    server = start(one_group("processes=1 threads=4 graceful-timeout=1 shutdown-timeout=1"))
    evil = "<script>alert(1)</script>\"'&"
    with server.socket() as sock:
        sock.sendall(b"GET /app/sleep" + evil.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: group(server)["requests_active"] == 1, "the request")
        page = Texts(status(server, ""))
        assert "script" not in page.tags
        assert any("<script>alert(1)</script>" in text for text in page.texts)
    server.log.allow("WSGI0174", "RuntimeError", "Traceback", "^  ")
    server.get("/app/raise%3Cscript%3E%22")
    page = Texts(status(server, ""))
    assert "script" not in page.tags
    assert any('/app/raise<script>"' in text for text in page.texts)
    assert server.get("/wsgi-status?group=%3Cscript%3E").status == 404


def test_hostile_group_falsifies_its_own_workers_only(start):
    groups = """
    WSGIDaemonProcess site threads=2
    WSGIDaemonProcess hostile threads=2 graceful-timeout=1 shutdown-timeout=1
    """
    aliases = """
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    WSGIScriptAlias /bad ${ROOT}/app.py process-group=hostile application-group=%{GLOBAL}
    """
    server = start(conf(groups, aliases))
    server.log.allow("hostile")
    for path in ("/app/fine", "/bad/fine"):
        assert server.get(path).status == 200
    wait_until(lambda: group(server)["requests"]["queue"]["count"] == 1, "the request's count")
    before = group(server)
    with server.socket() as sock:
        sock.sendall(head("/bad/falsify"))
        wait_until((server.root / "out/falsified").exists, "the falsification")
        for query in ("", "json", "prometheus"):
            assert "b>" not in Texts(status(server, "")).tags
            assert "site" in str(status(server, query))
    after = group(server)
    for counts in (before["requests"], after["requests"]):
        # They fall with time.
        del counts["per_second"], counts["recent"]
    assert after["requests"] == before["requests"]
    assert [worker["pid"] for worker in after["workers"]] == [
        worker["pid"] for worker in before["workers"]
    ]
    wait_until(lambda: group(server, "hostile")["requests"]["by_class"]["2xx"] >= 1, "its count")
    assert server.get("/app/fine").status == 200


def test_process_of_another_user_is_not_looked_at(start):
    if os.geteuid() != 0:
        pytest.skip("all processes are those of one user")
    server = start(one_group("threads=2 graceful-timeout=1 shutdown-timeout=1"))
    assert server.get("/app/fine").status == 200
    [worker] = group(server)["workers"]
    assert worker["resident_bytes"] > 0
    server.log.allow("lives on without|closed the connection|WSGI0146")
    with server.socket() as sock:
        # This one.
        sock.sendall(head(f"/app/claim?{os.getpid()}"))
        wait_until(
            lambda: group(server)["workers"][0]["pid"] == os.getpid(), "the claim of the worker"
        )
        [worker] = group(server)["workers"]
        assert [worker[name] for name in ("resident_bytes", "private_bytes", "cpu_seconds")] == [
            0,
            0,
            0,
        ]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("", "GET /app/sleep"),
        ("WSGIStatusRequestLines Path", "GET /app/sleep"),
        ("WSGIStatusRequestLines Full", "GET /app/sleep?token=secret"),
        ("WSGIStatusRequestLines Off", None),
    ],
)
def test_lines_of_requests_are_shown_as_configured(start, lines, shown):
    server = start(one_group("threads=1 graceful-timeout=1 shutdown-timeout=1", lines))
    with server.socket() as sock:
        sock.sendall(head("/app/sleep?token=secret"))
        wait_until(lambda: group(server)["requests_active"] == 1, "the request")
        [worker] = group(server)["workers"]
        assert [request["line"] for request in worker["requests"]] == [shown]
        assert ("secret" in status(server, "")) == bool(shown and "secret" in shown)


@pytest.mark.parametrize("name", ["wsgi-status", "wsgi-health"])
def test_htaccess_file_of_a_tenant_shows_no_other_tenants(start, name):
    folders = """
    Alias /files ${ROOT}/files
    <Directory ${ROOT}/files>
        AllowOverride FileInfo
        Require all granted
    </Directory>
    """
    server = start(conf("WSGIDaemonProcess site", folders, modules=("alias",)))
    folder = server.root / "files"
    (folder / "tenant").mkdir(parents=True)
    (folder / "tenant/.htaccess").write_text(f"SetHandler {name}\n")
    for path in ("/files/tenant/ready", "/files/tenant/metrics", "/files/tenant/?json"):
        answer = server.get(path)
        assert answer.status == 403
        assert "site" not in answer.text
    server.log.expect("WSGI0228: the handlers wsgi-status and wsgi-health answer only where no ")
    assert server.get("/wsgi-status").status == 200


def test_group_that_does_not_start_makes_the_server_not_ready(start):
    groups = """
    WSGIDaemonProcess site threads=1
    WSGIDaemonProcess broken python-home=${ROOT}/missing
    """
    server = start(conf(groups, "WSGIScriptAlias /app ${ROOT}/app.py process-group=site"))
    server.log.allow("missing", "broken")
    assert server.get("/app/fine").status == 200
    answer = wait_until(
        lambda: (it := server.get("/-/ready")).status == 503 and it, "the readiness", timeout=30
    )
    assert answer.text == "not ready: broken\n"
    assert server.get("/-/healthy").status == 200
    assert server.get("/-/other").status == 404
    assert server.post("/wsgi-status", b"x").status == 405


@pytest.mark.parametrize("processes", ["1", "0-1"])
def test_drained_group_makes_the_server_not_ready(start, run, processes):
    groups = f"WSGIDaemonProcess site processes={processes}\nWSGIDaemonProcess other"
    server = start(conf(groups, "WSGIScriptAlias /app ${ROOT}/app.py process-group=site"))
    ready = lambda: server.get("/-/ready").text == "ready\n"  # noqa: E731
    wait_until(ready, "both groups to be ready", timeout=30)
    assert run(server, "drain", "site").returncode == 0
    answer = server.get("/-/ready")
    assert (answer.status, answer.text) == (503, "not ready: site\n")
    assert server.get("/-/healthy").status == 200
    assert run(server, "reload", "site").returncode == 0
    wait_until(ready, "the group to be ready again", timeout=30)


def test_server_that_stops_is_not_ready(start):
    server = start(one_group())
    wait_until(lambda: server.get("/-/ready").status == 200, "the worker")
    with server.socket() as sock:
        sock.sendall(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n")
        # A connection that was made later has an answer: a thread has the first one.
        assert server.get("/-/ready").status == 200
        server.process.send_signal(signal.SIGWINCH)

        def is_closed():
            try:
                with server.socket():
                    return False
            except ConnectionRefusedError:
                return True

        # The child stops listening once it knows that it is to stop.
        wait_until(is_closed, "the end of the sockets")
        sock.sendall(b"Connection: close\r\n\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"not ready: the server stops\n")
    server.process.wait(15)


def test_configuration_has_a_generation_and_the_time_of_its_reading(start):
    server = start(one_group())
    before = status(server)["configuration"]
    assert before["generation"] == 1
    assert abs(before["loaded_seconds"] - time.time()) < 120
    old = daemons.httpd_children(server)
    server.send_signal(signal.SIGUSR1)
    after = wait_until(
        lambda: (now := status(server)["configuration"])["generation"] == 2 and now,
        "the second generation",
        timeout=30,
    )
    assert after["loaded_seconds"] > before["loaded_seconds"]
    # One that is still there tells of the configuration before.
    wait_until(lambda: not set(old) & set(daemons.httpd_children(server)), "the old children")
    assert metrics(server)["wsgi_configuration_generation"] == 2
    assert "configuration 2, read " in status(server, "")


def test_httpd_and_the_last_reload_of_a_group_are_shown(start, run):
    server = start(one_group("processes=2 threads=1"))
    assert server.get("/app/fine").status == 200
    shown = status(server)["httpd"]
    assert re.match(r"Apache/2\.4\.\d+ .*mod_wsgi_rs/", shown)
    assert any(shown in text for text in Texts(status(server, "")).texts)
    assert group(server)["reloaded_seconds"] is None
    assert "last reload" not in status(server, "")
    before = time.time()
    assert run(server, "reload", "site").returncode == 0
    # The old workers have left a moment later.
    wait_until(lambda: group(server)["exits"]["reload_command"] == 2, "the exits", timeout=30)
    reloaded = group(server)["reloaded_seconds"]
    assert before - 1 < reloaded < time.time() + 1
    day = time.strftime("%Y-%m-%d", time.gmtime(reloaded))
    assert f"; last reload {day}" in status(server, "")


def test_processor_time_and_starts_of_workers_are_counters(start):
    server = start(one_group("processes=1 threads=1 maximum-requests=3"))
    server.log.allow("has served 3 requests")
    name = 'wsgi_cpu_seconds_total{group="site"}'
    last = [0.0]

    def recycled():
        assert server.get("/app/fine").status == 200
        now = metrics(server)[name]
        assert now >= last[0]
        last[0] = now
        return group(server)["exits"]["recycled"] >= 2

    wait_until(recycled, "workers that are recycled", timeout=60)
    values = metrics(server)
    assert values[name] >= last[0] > 0
    count = values['wsgi_process_start_duration_seconds_count{group="site"}']
    assert count >= 3
    assert values['wsgi_process_start_duration_seconds_sum{group="site"}'] > 0
    bucket = 'wsgi_process_start_duration_seconds_bucket{group="site",le="+Inf"}'
    assert values[bucket] == count


def test_wait_for_the_lock_is_that_of_probes(start):
    server = start(one_group("processes=1 threads=1 deadlock-timeout=4"))
    assert server.get("/app/fine").status == 200
    probes = 'wsgi_gil_probes_total{group="site"}'
    wait_until(lambda: metrics(server)[probes] >= 2, "probes", timeout=30)
    before = metrics(server)['wsgi_gil_wait_seconds_total{group="site"}']
    # C code that keeps the lock for longer than the interval of the probes, a tenth of the timeout.
    assert server.get("/app/keep").status == 200
    name = 'wsgi_gil_wait_seconds_total{group="site"}'
    wait_until(lambda: metrics(server)[name] > before + 0.1, "a probe that has waited", timeout=30)


@pytest.mark.parametrize(
    ("options", "act", "reason"),
    [
        ("", "reload", "reload"),
        ("maximum-requests=1", "/app/fine", "recycled"),
        ("request-timeout=1 graceful-timeout=1 shutdown-timeout=1", "/app/sleep", "time_limit"),
        ("startup-timeout=60 deadlock-timeout=4", "/app/lock", "time_limit"),
        ("", "/app/exit?0", "exited"),
        ("", "/app/exit?3", "status"),
        ("", "/app/signal", "signal"),
    ],
)
def test_reason_of_an_exit_is_told(start, options, act, reason):
    server = start(one_group(f"processes=1 threads=2 {options}"))
    server.log.allow(
        "exited with",
        "killed by signal",
        "WSGI0146",
        "WSGI024",
        "request-timeout",
        "deadlock",
        "has served",
        "replacing",
        "WSGI0121",
    )
    assert server.get("/app/fine?first").status == 200
    if act == "reload":
        server.write("app.py", APP + "\n")
        wait_until(
            lambda: server.get("/app/fine").status and group(server)["exits"]["reload"],
            "the exit",
            timeout=60,
        )
    else:
        with contextlib.suppress(Exception):
            server.get(act)
        wait_until(lambda: group(server)["exits"][reason], "the exit", timeout=60)
    exits = group(server)["exits"]
    assert [name for name, count in exits.items() if count] == [reason], exits

    def are_shown():
        # One more may come between the two questions.
        return f"{int(group(server)['exits'][reason])} {reason}" in status(server, "")

    wait_until(are_shown, "the exits on the page")


def test_worker_that_the_kernel_kills_for_want_of_memory_has_its_own_reason_and_flag(
    start, control_group
):
    logs = 'LogFormat "%U %>s %{WSGI_FLAGS}e" flags\nCustomLog ${ROOT}/flags_log flags'
    server = start(one_group(f"processes=1 threads=2\n{logs}", modules=("log_config",)))
    server.log.allow("killed by signal 9, probably by the OOM killer", "WSGI0146")
    assert server.get("/app/fine").status == 200
    with control_group(64 * 1024 * 1024) as enter:
        enter(daemons.manager(server))
        [worker] = daemons.workers(server)
        # The manager knows the counter of its new control group once a worker has ended there.
        os.kill(worker, signal.SIGTERM)
        daemons.settled(server, 1, without=[worker])
        wait_until(lambda: group(server)["workers_ready"] == 1, "a ready worker", timeout=30)
        assert server.post("/app/eat", b"x").status == 502
        wait_until(lambda: group(server)["exits"]["oom"] == 1, "the exit", timeout=30)
        [failure] = wait_until(lambda: status(server)["failures"], "the failure")
        assert (failure["flags"], failure["request"]) == ("OM", "POST /app/eat")
        server.log.expect(r"WSGI0146: .*probably by the OOM killer.*\[OM\]")
        flags = server.root / "flags_log"
        wait_until(lambda: "/app/eat 502 OM\n" in flags.read_text(), "the line of the access log")
        metrics = server.get("/wsgi-status?prometheus").text
        assert re.search(r'^wsgi_request_failures_total\{.*flag="OM"\} 1$', metrics, re.M)
        # A signal of another process is none of the kernel's.
        wait_until(lambda: group(server)["workers_ready"] == 1, "a ready worker", timeout=30)
        [worker] = daemons.settled(server, 1)
        os.kill(worker, signal.SIGKILL)
        server.log.allow("killed by signal 9")
        wait_until(lambda: group(server)["exits"]["signal"] == 1, "the other exit", timeout=30)
        server.stop()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_has_no_complaint(start):
    server = start(one_group())
    assert server.get("/app/fine").status == 200
    text = server.get("/-/metrics").text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    rules = REPO / "conf-examples/prometheus-alerts.yml"
    checked = subprocess.run(
        ["promtool", "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_openmetrics_is_sent_to_a_client_that_accepts_openmetrics(start):
    server = start(one_group())
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = server.get("/-/metrics", headers=accept)
    assert answer.header("Content-Type").startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert "# TYPE wsgi_requests counter" in answer.text
    assert "# TYPE wsgi_requests_total counter" in server.get("/-/metrics").text
