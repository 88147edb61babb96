"""WSGI_FLAGS: why a request has failed, in the access log, in the metrics and on the page.

The log of its virtual host has the cause.
"""

import concurrent.futures
import contextlib
import os
import signal
import time

import pytest
from harness import daemons
from harness.client import head, read_until
from harness.flags import conf as flags_conf
from harness.flags import flags, host_log, logged, told
from harness.hostile import APP as HOSTILE
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no variable for it")

APP = r"""
import os, signal, time
HERE = os.path.dirname(__file__)
def note(name):
    path = os.path.join(HERE, "out", name)
    if os.path.exists(path):
        return False
    open(path, "w").close()
    return True
def wait_for(name):
    while not os.path.exists(os.path.join(HERE, "out", name)):
        time.sleep(0.01)
def pieces(environ, start_response, path):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    if path == "/raise-later":
        raise RuntimeError("on purpose")
    note("streams")
    while True:
        yield b"x" * 10000
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/pid":
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    if path == "/raise":
        raise RuntimeError("on purpose")
    if path == "/quit":
        raise SystemExit(3)
    if path == "/exit" or path == "/exit-once" and note("exited"):
        os._exit(3)
    if path == "/sleep":
        note("sleeps") or note("sleeps-too")
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/stay":
        note("stays") or note("stays-too")
        wait_for("leave")
    if path == "/die":
        note("dies")
        wait_for("now")
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/read":
        environ["wsgi.input"].read()
    if path in ("/raise-later", "/endless"):
        return pieces(environ, start_response, path)
    headers = [("Content-Type", "text/plain")]
    if path == "/long":
        start_response("200 OK", headers)
        return [b"x" * 50_000]
    if path == "/short":
        headers.append(("Content-Length", "100"))
    if path == "/long-head":
        headers.append(("X-Long", "x" * 2_000_000))
    start_response("200 OK", headers)
    return [b"fine"]
"""
BROKEN = "import there_is_no_such_module\n"
QUITS = "raise SystemExit(3)\n"
SLOW_START = "import time\ntime.sleep(6)\n"
# A real worker logs more beside these; what is judged here is the log of the virtual host.
NOISE = [
    "exited with status",
    "was killed by signal",
    "still running",
    "stopping",
    "did not stop within",
    "hanging request",
    "SystemExit",
    "WSGI0105",
    "WSGI0107",
    "WSGI0109",
    "^Hint",
    "Traceback",
    "ModuleNotFoundError",
    r"^(\[script [^]]*\])? *(File|import|\^|application|time)",
    "request-timeout",
    "is not started",
    "nowhere",
    "longer than startup-timeout",
]


FILES = (
    ("app.py", APP),
    ("broken.py", BROKEN),
    ("hostile.py", HOSTILE),
    ("quits.py", QUITS),
    ("slow.py", SLOW_START),
)


def conf(groups, aliases, more="", modules=()):
    return flags_conf(groups, aliases, more, FILES, modules)


def daemon_conf(group, script="app.py", more="", extra="", modules=()):
    groups = f"WSGIRestrictEmbedded On\nWSGIDaemonProcess site {group}\n{extra}"
    alias = (
        f"WSGIScriptAlias /app ${{ROOT}}/{script} process-group=site application-group=%{{GLOBAL}}"
    )
    return conf(groups, alias, more, modules)


@pytest.fixture
def start(private):
    def start(configuration, prepare=lambda server: None):
        def prepared(server):
            (server.root / "out").chmod(0o777)
            prepare(server)

        server = private(configuration, prepared)
        server.log.allow(*NOISE)
        return server

    return start


def gone_client(server, path, note):
    """A client that leaves while it gets its response."""
    with server.socket() as sock:
        sock.sendall(head(path))
        read_until(sock, b"begun")
        wait_until((server.root / "out" / note).exists, "the response")


APPLICATION = [
    ("/app/fine", 200, "-", None),
    ("/app/raise", 500, "XH", "WSGI0174"),
    ("/app/raise-later", 200, "XB", "WSGI0174"),
    ("/app/quit", 500, "XH", "WSGI0175"),
    ("/app/short", 200, "XB", None),
    ("/broken", 500, "LF", "WSGI0109"),
    ("/quits", 500, "LF", "WSGI0107"),
    ("/app/../missing/x", 404, "CE", "WSGI0135"),
    ("/nowhere", 500, "CE", "WSGI0151"),
]
ALIASES = """
    WSGIScriptAlias /app ${ROOT}/app.py GROUP application-group=%{GLOBAL}
    WSGIScriptAlias /broken ${ROOT}/broken.py GROUP application-group=%{GLOBAL}
    WSGIScriptAlias /quits ${ROOT}/quits.py GROUP application-group=%{GLOBAL}
    WSGIScriptAlias /missing ${ROOT}/nothing.py GROUP application-group=%{GLOBAL}
    <Location /nowhere>
        SetEnv GROUP nowhere
        WSGIProcessGroup %{ENV:GROUP}
        SetHandler wsgi-script
    </Location>
    Alias /nowhere ${ROOT}/app.py
    <Directory ${ROOT}>
        Options +ExecCGI
    </Directory>
"""


def application_conf(mode, more=""):
    daemon = mode == "daemon"
    group = "process-group=site" if daemon else "process-group=%{GLOBAL}"
    groups = "WSGIDaemonProcess site threads=4" if daemon else ""
    return conf(groups, ALIASES.replace("GROUP application", f"{group} application"), more)


@pytest.mark.parametrize("kind", ["daemon", "embedded"])
def test_failures_of_applications_and_configurations_have_their_flags(start, kind):
    server = start(application_conf(kind))
    for path, status, flag, code in APPLICATION:
        with contextlib.suppress(Exception):
            server.get(path)
        path = path.replace("/app/..", "")
        assert flags(server, path) == (str(status), flag), path
        if code:
            told(server, flag, code)


@pytest.mark.parametrize("kind", ["daemon", "embedded"])
def test_requests_that_are_refused_or_abandoned_have_their_flags(start, kind):
    server = start(application_conf(kind))
    assert server.post("/app/read", iter([b"x"]), chunked=True).status == 411
    assert flags(server, "/app/read") == ("411", "RQ")
    told(server, "RQ", "WSGI0139")
    gone_client(server, "/app/endless", "streams")
    assert flags(server, "/app/endless")[1] == "CL"
    # Half a body, in its own time and then no more.
    with server.socket() as sock:
        sock.sendall(head("/app/read", "Content-Length: 10", method="POST") + b"half")
    assert flags(server, "/app/read")[1] == "CL"
    told(server, "CL", "WSGI0126" if kind == "daemon" else "the application gave up")


@pytest.mark.parametrize("kind", ["daemon", "embedded"])
def test_body_beyond_limit_of_the_directory_has_its_flag(start, kind):
    more = "WSGIChunkedRequest On\nLimitRequestBody 1000"
    server = start(application_conf(kind, more))
    assert server.post("/app/read", iter([b"x" * 2000]), chunked=True).status in (400, 413)
    assert flags(server, "/app/read")[1] == "RB"
    told(server, "RB", "WSGI0126" if kind == "daemon" else "the application gave up")


def test_times_in_queue_and_application_are_logged_in_microseconds(start):
    server = start(daemon_conf("threads=1"))
    # Requests wait for the start of a worker, too.
    assert server.get("/app/fine").status == 200
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first_began = time.monotonic()
        first = pool.submit(server.get, "/app/sleep?0.5")
        wait_until((server.root / "out/sleeps").exists, "the first request")
        began = time.monotonic()
        second = pool.submit(server.get, "/app/waits")
        assert (first.result().status, second.result().status) == (200, 200)
        ended = time.monotonic()
    took, both_took = (ended - began) * 1e6, (ended - first_began) * 1e6
    _, _, queue, application = logged(server, "/app/sleep")
    assert int(application) >= 500_000
    assert int(queue) + int(application) <= both_took
    _, _, queue, application = logged(server, "/app/waits")
    assert 0 < int(queue) <= took
    assert int(queue) + int(application) <= took


def test_worker_that_exits_and_request_sent_again_have_their_flags(start):
    server = start(daemon_conf("processes=2 threads=2"))
    assert server.get("/app/fine").status == 200
    daemons.await_all_workers(server)
    assert server.post("/app/exit", b"x").status == 502
    assert flags(server, "/app/exit") == ("502", "CR")
    told(server, "CR", "WSGI0146: .*exited with status 3")
    assert server.get("/app/exit-once").status == 200
    assert flags(server, "/app/exit-once") == ("200", "RY")
    daemons.await_all_workers(server)
    assert server.get("/app/exit").status == 502
    assert flags(server, "/app/exit")[1] in ("RY,CR", "CR")


def test_cause_is_the_end_of_the_worker_that_had_the_request(start):
    """Not that of the one that it has replaced, which has exited in order meanwhile."""
    server = start(daemon_conf("processes=1 threads=2 graceful-timeout=30"))
    assert server.get("/app/fine").status == 200
    [former] = daemons.settled(server, 1)
    manager = daemons.manager(server)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        kept = []
        # One for each thread: until it is told to leave it would take others as well.
        for note in ("stays", "stays-too"):
            kept.append(pool.submit(server.get, "/app/stay"))
            wait_until((server.root / "out" / note).exists, "a request that keeps the worker")
        os.kill(former, signal.SIGTERM)
        worker = int(server.get("/app/pid").text)
        assert worker != former
        lost = pool.submit(server.post, "/app/die", b"x")
        wait_until((server.root / "out/dies").exists, "the request of the replacement")
        (server.root / "out/leave").touch()
        assert [it.result().status for it in kept] == [200, 200]
        daemons.settled(server, 1, without=[former])
        server.log.expect(f"worker {former} exited with status 0")
        # Its report comes after that of the former worker has been read.
        daemons.freeze(manager)
        (server.root / "out/now").touch()
        wait_until(lambda: daemons.status_of(worker)["State"].startswith("Z"), "the end")
        # Long enough for several looks at what has been reported, which nothing shows from outside.
        time.sleep(0.1)
        os.kill(manager, signal.SIGCONT)
        assert lost.result().status == 502
    assert flags(server, "/app/die") == ("502", "CR")
    told(server, "CR", f"WSGI0146: .*worker {worker} was killed by signal 9")


def test_response_without_end_of_a_worker_that_is_killed_has_its_flags(start):
    server = start(daemon_conf("processes=1 threads=2"))
    with server.socket() as sock:
        sock.sendall(head("/app/endless"))
        read_until(sock, b"begun")
        [worker] = daemons.workers(server)
        os.kill(worker, signal.SIGKILL)
        while sock.recv(65536):
            pass
    assert flags(server, "/app/endless") == ("200", "CR,XB")
    told(server, "CR,XB", "WSGI0119: .*killed by signal 9")


def test_request_beyond_socket_timeout_has_its_flag(start):
    server = start(daemon_conf("threads=2 socket-timeout=1"))
    # Of a request that waits for the start of a worker the flag is another one.
    wait_until(lambda: server.get("/app/fine").status == 200, "an answer", timeout=30)
    assert server.get("/app/sleep?4").status == 504
    assert flags(server, "/app/sleep") == ("504", "ST")
    told(server, "ST", "WSGI0145")


def test_request_beyond_queue_timeout_has_its_flag(start):
    server = start(daemon_conf("threads=1 queue-timeout=2"))
    wait_until(lambda: server.get("/app/fine").status == 200, "an answer", timeout=30)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # Longer than the limit and than a crowded machine may take to send the second one.
        first = pool.submit(server.get, "/app/sleep?8")
        wait_until((server.root / "out/sleeps").exists, "the first request")
        assert server.get("/app/late").status == 504
        assert first.result().status == 200
    assert flags(server, "/app/late") == ("504", "QT")
    assert flags(server, "/app/sleep") == ("200", "-")
    told(server, "QT", "WSGI0243")


def test_request_beyond_request_timeout_has_its_flag(start):
    options = "threads=1 request-timeout=1 graceful-timeout=1 shutdown-timeout=2"
    server = start(daemon_conf(options))
    assert server.get("/app/sleep?30").status == 504
    assert flags(server, "/app/sleep") == ("504", "RT")
    told(server, "RT", "WSGI0244: GET /app/sleep")


def test_request_that_a_stopping_worker_gives_up_has_its_flag(start):
    server = start(daemon_conf("threads=1 graceful-timeout=1 shutdown-timeout=5"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, "/app/sleep?30", b"x")
        wait_until((server.root / "out/sleeps").exists, "the request")
        [worker] = daemons.workers(server)
        os.kill(worker, signal.SIGTERM)
        assert asked.result().status == 503
    assert flags(server, "/app/sleep") == ("503", "WS")
    told(server, "WS", "WSGI0245: POST /app/sleep")


def test_group_without_room_for_a_connection_has_its_flag(start):
    server = start(daemon_conf("processes=1 threads=1 listen-backlog=1 connect-timeout=1"))
    assert server.get("/app/fine").status == 200
    [worker] = daemons.workers(server)
    daemons.freeze(worker)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(server.get, "/app/full") for _ in range(10)]
        try:
            concurrent.futures.wait(asked, 20, concurrent.futures.FIRST_COMPLETED)
            assert flags(server, "/app/full") == ("503", "QF")
        finally:
            os.kill(worker, signal.SIGCONT)
    told(server, "QF", "WSGI0117")


def test_group_that_is_not_started_has_its_flag_and_its_cause(start):
    def without_home(server):
        (server.root / "home").mkdir()

    server = start(daemon_conf("python-home=${ROOT}/home"), without_home)
    server.log.allow("python-home", "WSGI0036", "Python")
    for count in range(1, 4):
        assert server.get("/app/fine").status == 503
        assert flags(server, "/app/fine") == ("503", "SF")
        told(server, "SF", "WSGI0117: .*/home', which is neither a virtual environment")
        assert host_log(server).count("WSGI0117") == count


@pytest.mark.parametrize("processes", ["1", "0-1"])
def test_drained_group_has_its_flag_and_its_cause(start, run, processes):
    server = start(daemon_conf(f"processes={processes} threads=1"))
    assert server.get("/app/fine").status == 200
    assert run(server, "drain", "site").returncode == 0
    assert server.get("/app/drained").status == 503
    assert flags(server, "/app/drained") == ("503", "SF")
    told(server, "SF", "WSGI0117: .*it was drained .mod_wsgi_rs reload puts it back")


def test_worker_that_is_not_ready_within_socket_timeout_has_its_flag(start):
    extra = "WSGIImportScript ${ROOT}/slow.py process-group=site application-group=%{GLOBAL}"
    options = "processes=1 threads=1 socket-timeout=2 startup-timeout=60"
    server = start(daemon_conf(options, extra=extra))
    assert server.get("/app/fine").status == 504
    assert flags(server, "/app/fine") == ("504", "NR")
    told(server, "NR", "WSGI0145")


def test_head_beyond_a_limit_and_malformed_response_have_their_flags(start):
    server = start(daemon_conf("threads=1", script="hostile.py"))
    server.get("/app/long")
    assert flags(server, "/app/long")[1] in ("HL", "XH")
    code = "connection().sendall(record(6, HEAD + b'nonsense\\r\\n\\r\\n') + END); time.sleep(1)"
    assert server.post("/app/exec", code.encode()).status == 502
    assert flags(server, "/app/exec") == ("502", "MR")
    told(server, "MR", "WSGI0148")
    field = "record(6, b'X-Long: ' + b'x' * 50000) * 2"
    code = f"connection().sendall(record(6, HEAD) + {field}); time.sleep(1)"
    assert server.post("/app/exec", code.encode()).status == 502
    assert flags(server, "/app/exec") == ("502", "HL")
    told(server, "HL", "WSGI0148")


def test_group_whose_socket_is_gone_has_its_flag(start):
    server = start(daemon_conf("processes=1 threads=1"))
    # No connection is made yet that could be kept.
    (path,) = server.root.rglob("*.sock")
    path.unlink()
    assert server.get("/app/fine").status == 503
    assert flags(server, "/app/fine") == ("503", "CF")
    told(server, "CF", "WSGI0117: cannot connect .*No such file")


def test_worker_that_takes_no_more_connections_has_its_flag(start):
    server = start(daemon_conf("processes=1 threads=1", script="hostile.py"))
    # FCGI_OVERLOADED: an application server's word for too many connections.
    code = "connection().sendall(record(3, bytes([0, 0, 0, 0, 2, 0, 0, 0]))); time.sleep(1)"
    assert server.post("/app/exec", code.encode()).status == 503
    assert flags(server, "/app/exec") == ("503", "OL")
    told(server, "OL", "WSGI0084")


@pytest.mark.parametrize("kind", ["daemon", "embedded"])
def test_output_filter_that_fails_has_its_flag(start, kind):
    # mod_substitute refuses longer lines.
    more = """
    SetOutputFilter SUBSTITUTE
    Substitute "s/a/b/"
    SubstituteMaxLineLength 1000b
    """
    more = f"<Location /app>{more}</Location>"
    site, restrict = ("site", "WSGIRestrictEmbedded On") if kind == "daemon" else ("%{GLOBAL}", "")
    groups = f"{restrict}\nWSGIDaemonProcess site threads=2"
    alias = f"WSGIScriptAlias /app ${{ROOT}}/app.py process-group={site}"
    server = start(conf(groups, alias, more, ("substitute", "filter")))
    server.log.allow("AH01328")
    with contextlib.suppress(Exception):
        server.get("/app/long")
    status, flag = flags(server, "/app/long")
    assert (status, flag) == ("500", "FF")
    # The filter itself logs the cause, which has no flag there.
    assert "AH01328" in host_log(server)


def test_request_that_waits_for_new_code_has_its_flag(start):
    server = start(daemon_conf("processes=1 threads=2", more="WSGIScriptReloading Wait"))
    assert server.get("/app/fine").status == 200
    daemons.await_all_workers(server)
    server.write("app.py", APP + "\n")
    assert server.get("/app/newer").status == 200
    assert flags(server, "/app/newer") == ("200", "RC")


def test_flags_reach_the_log_behind_an_error_document(start):
    more = "ErrorDocument 500 /page.html"
    server = start(daemon_conf("threads=2", more=more))
    server.write("htdocs/page.html", "sorry")
    assert server.get("/app/raise").text == "sorry"
    # httpd logs the path that the client has asked for, and the environment of the page's request.
    status, flag, queue, _ = logged(server, "/app/raise")
    assert (status, flag) == ("500", "XH")
    assert queue.isdigit()
