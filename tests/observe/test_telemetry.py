"""WSGITelemetryService and WSGITelemetryOptions: what processes report, and to whom."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until
from harness.telemetry import Service

SERVICE = "WSGITelemetryService unix:${ROOT}/service/socket interval=0.5\n"
OPTIONS = "WSGITelemetryOptions +CaptureUserAgent\n"
APP = """
import ctypes, gc, os, time
import mod_wsgi

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(1.5)
    if path == "/lock":
        ctypes.PyDLL(None).sleep(30)
    if path == "/collect":
        gc.collect()
    length = len(environ["wsgi.input"].read())
    answers = {
        "/pid": str(os.getpid()),
        "/metrics": repr((mod_wsgi.request_metrics(), mod_wsgi.process_metrics())),
    }
    status = "404 Not Found" if path == "/none" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [answers.get(path, str(length)).encode()]
"""
CONF = """
WSGISocketPrefix ${ROOT}/wsgi
WSGISlowRequests 0.5
WSGIScriptAlias /named ${ROOT}/app.py application-group=named
WSGIScriptAlias / ${ROOT}/app.py application-group=%{GLOBAL}
"""
# The numbers of the first of several fields.
MEAN, LEAST, MOST, BUCKETS, STATUS = 60, 70, 80, 90, 120
PHASES = ["server", "queue", "daemon", "application", "request", "gil", "input", "output"]


@pytest.fixture
def service(serve, tmp_path_factory):
    """service(text) is a server, the service that it reports to, and the pid of who serves."""
    heard = []

    def start(text=SERVICE + CONF, deaf=False):
        files = (("app.py", APP), ("service/x", ""))
        # The socket has to be there first, and its directory comes with the server.
        server = serve(Conf(text, files=files), private=True)
        (server.root / "service").chmod(0o755)
        heard.append(Service(server.root / "service/socket"))
        if not deaf:
            heard[0].listen()
        # Where slow requests are in the log as well.
        server.log.allow("app.py")
        return server, heard[0], int(server.get("/pid").text)

    yield start
    for it in heard:
        it.close()


def total(reports, field):
    return sum(report.fields[field] for report in reports)


def test_the_requests_of_an_interval_are_counted(service, mode):
    server, heard, pid = service()
    heard.wait_for("sample")
    before = heard.of("sample")
    for _ in range(3):
        assert server.post("/x", b"x" * 1000).text == "1000"
    assert server.get("/none").status == 404

    def samples():
        new = [it for it in heard.of("sample") if it not in before and it.pid == pid]
        # They may be in several samples.
        return new if total(new, STATUS + 3) and total(new, 100) >= 3000 else None

    found = wait_until(samples, "a sample")
    # The first request, which asked for the pid, may be among them.
    assert total(found, 20) in (4, 5)
    assert total(found, STATUS + 1) == total(found, 20) - 1
    assert total(found, STATUS + 3) == 1
    assert total(found, 100) == 3000
    busy = next(report.fields for report in found if report.fields[20])
    identity = [busy.get(field) for field in (1, 2, 3, 4, 5, 6, 7)]
    assert all(identity[:5])
    assert identity[5] == ("tests" if mode == "daemon" else None)
    assert identity[6] == server.process.pid
    assert (busy[11], busy[12], busy[13]) == (0.5, 0.5, 0.005)
    assert 0 < busy[10] < 5
    assert busy[50] == 4
    assert 1 <= busy[52] <= busy[51]
    assert busy[40] > 1_000_000
    for number, phase in enumerate(PHASES):
        if phase in ("queue", "daemon") and mode == "embedded":
            assert not busy.keys() & {MEAN + number, BUCKETS + number}
            continue
        # The extremes are in whole microseconds.
        assert busy[LEAST + number] <= busy[MEAN + number] <= busy[MOST + number] + 1e-6 < 5
        assert len(busy[BUCKETS + number]) == 65
        assert sum(busy[BUCKETS + number]) == busy[20]
    assert sum(busy[110]) == busy[20]
    assert {len(busy[field]) for field in range(110, 115)} == {4}
    assert max(busy[111]) > 0
    idle = heard.wait_for("sample", count=1, f20=0)[0].fields
    assert MEAN + 1 not in idle
    assert idle[MEAN + 3] == 0
    assert LEAST not in idle


@pytest.mark.parametrize("options", ["", OPTIONS])
def test_slow_request_is_reported_while_running_and_at_its_end(service, options, mode):
    server, heard, pid = service(SERVICE + options + CONF)
    begun = time.time()
    slow = server.get("/named/slow?secret", headers={"User-Agent": "the agent"})
    assert slow.status == 200
    (done,) = heard.wait_for("slow", f200=1)
    going_on = heard.of("slow", f200=0)
    assert going_on
    assert {report.pid for report in going_on} == {pid}
    assert 0.5 <= going_on[0].fields[202] < done.fields[202]
    assert done.fields[202] >= 1.5
    server_pid = done.fields[205]
    assert (server_pid == pid) == (mode == "embedded")
    for report in [done, *going_on]:
        fields = report.fields
        assert begun - 1 < fields[201] < begun + 5
        texts = [fields.get(field) for field in range(210, 218)]
        agent = "the agent" if options else None
        assert texts[:2] == ["GET", "http"]
        assert texts[2:5] == ["localhost", "/named", "/slow"]
        assert texts[5:] == ["HTTP/1.1", "127.0.0.1", agent]
        assert fields[204]
        assert fields[203] == done.fields[203]
        assert fields[260] == 1
    assert (done.fields[240], done.fields[230], done.fields[232]) == (200, 0, 1)
    assert 1.5 <= done.fields[223] <= done.fields[202] + 0.1
    assert (done.fields[222] > 0) == (mode == "daemon")
    # What is not slow is not among them.
    server.get("/pid")
    heard.wait_for("sample", count=len(heard.of("sample")) + 2)
    assert len(heard.of("slow", f200=1)) == 1


def test_garbage_collections_are_reported_by_interpreter(service):
    server, heard, pid = service()
    server.get("/named/pid")
    heard.wait_for("garbage", f8="named")
    # Apache's own child may have a main interpreter, too.
    (of_main, *_) = wait_until(
        lambda: [it for it in heard.of("garbage", f8=None) if it.pid == pid], "the main one's"
    )
    assert of_main.fields.keys() >= set(range(300, 318))
    assert of_main.fields[315] == 1
    server.get("/named/collect")
    (found, *_) = heard.wait_for("collection", f8="named", f322=2)
    assert 0 < found.fields[321] < 5
    assert abs(found.fields[320] - time.time()) < 60
    assert not heard.of("collection", f8=None, f320=found.fields[320])


def test_process_start_and_stop_events_are_sent(service, mode):
    server, heard, pid = service()
    heard.wait_for("sample")
    # Processes from before the socket do not report; their successors do.
    server.process.send_signal(signal.SIGUSR1)
    served = [pid]
    successor = pid
    while successor == pid:
        response = server.get("/pid")
        if server.env.oracle and response.status == 503:
            # A restart of mod_wsgi's daemon processes loses requests, which is not tested here.
            server.log.allow("WSGI")
            continue
        successor = int(response.text)
        if successor == pid:
            served.append(pid)

    def of(kind, number):
        return wait_until(
            lambda: [it for it in heard.of(kind) if it.pid == number], f"{kind} of {number}", 20
        )

    (stopped,) = of("stopped", pid)
    (started,) = of("started", successor)
    assert started.number == 1
    assert started.fields[2]
    assert 20 not in started.fields
    (stopping,) = [it for it in heard.of("stopping") if it.pid == pid]
    reason = stopping.fields.get(130)
    assert bool(reason) == (mode == "daemon")
    assert stopped.fields.get(130) == reason
    assert 0 < stopped.fields[131] < 60
    assert (stopped.fields[132], stopped.fields[134], stopped.fields[135]) == (len(served), 0, 1)
    mine = [it for it in heard.reports if it.pid == pid]
    assert [it.number for it in mine] == list(range(mine[0].number, stopped.number + 1))
    assert mine[-1] is stopped
    between = mine[mine.index(stopping) + 1 : -1]
    assert between[0].kind == "sample"


def test_applications_get_no_figures_of_their_own(service):
    server, _, _ = service()
    assert server.get("/metrics").text == "(None, None)"


def test_absent_receiver_does_not_affect_requests(serve):
    server = serve(Conf(SERVICE + CONF, files=(("app.py", APP),)), private=True)
    pid = server.get("/pid").text
    assert server.post("/x", b"x").text == "1"
    assert server.get("/pid").text == pid
    assert server.log.find("WSGI013") == []


def test_blocked_receiver_does_not_delay_requests(service):
    server, heard, pid = service(deaf=True)
    # Far more than a socket keeps.
    for _ in range(100):
        assert server.get("/named/collect").status == 200
    # What is asked for is not lost, and what comes later is heard again.
    assert int(server.get("/pid").text) == pid
    heard.listen()
    wait_until(lambda: [it.pid for it in heard.of("sample")].count(pid) > 3, "samples")
    numbers = [report.number for report in heard.reports if report.pid == pid]
    assert numbers == sorted(numbers)


@pytest.mark.ours_only("mod_wsgi does not preload")
def test_a_worker_that_was_forked_with_its_application_reports(service, mode):
    if mode == "embedded":
        pytest.skip("is about daemon processes")
    group = "WSGIDaemonProcess ready threads=2 preload=On\nWSGIProcessGroup ready\n"
    _, heard, pid = service(SERVICE + group + CONF)
    (sample, *_) = heard.wait_for("sample", f6="ready")
    assert sample.pid == pid


@pytest.mark.ours_only("mod_wsgi ends the whole process")
def test_a_worker_whose_application_keeps_the_lock_leaves(service, mode):
    if mode == "embedded":
        pytest.skip("is about daemon processes")
    group = "request-timeout=1 graceful-timeout=1 shutdown-timeout=0 threads=1"
    text = f"{SERVICE}WSGIDaemonProcess held {group}\nWSGIProcessGroup held\n{CONF}"
    server, _, pid = service(text)
    server.log.allow("request-timeout", "still being served", "/lock", "app.py")
    server.log.allow(r"^\[script [^]]*\] [ \t]")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(server.get, "/lock")
        wait_until(lambda: not daemons.is_alive(pid), "its worker to leave", timeout=12)
        assert held.result().status == 504
    assert int(server.get("/pid").text) != pid


LONG = "/" + "x" * 110


def test_path_too_long_for_a_socket_is_logged(serve):
    text = f"WSGITelemetryService unix:{LONG}\n{CONF}"
    server = serve(Conf(text, files=(("app.py", APP),)), private=True)
    server.log.allow("WSGI0132")
    assert server.get("/pid").status == 200
    (line, *_) = server.log.wait_for("WSGI0132")
    assert line.level == "warn"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WSGITelemetryService", "WSGITelemetryService takes"),
        ("WSGITelemetryService /run/t", "unix:"),
        ("WSGITelemetryService unix:/run/t interval=0.1", "0.5"),
        ("WSGITelemetryService unix:/run/t every=1", "interval="),
        ("WSGITelemetryOptions", "WSGITelemetryOptions"),
        ("WSGITelemetryOptions Everything", "Everything"),
        ("WSGITelemetryOptions All +CaptureUserAgent", "mix"),
    ],
)
def test_a_bad_line_is_refused(configtest, line, words):
    accepted, printed = configtest(Conf(line))
    assert not accepted
    assert words in printed


@pytest.mark.parametrize("line", [SERVICE, OPTIONS])
@pytest.mark.parametrize("section", ["VirtualHost *", "Directory /srv"])
def test_the_directives_are_about_the_whole_server(configtest, section, line):
    accepted, printed = configtest(Conf(f"<{section}>\n{line}</{section.split()[0]}>"))
    assert not accepted
    assert "WSGITelemetry" in printed
