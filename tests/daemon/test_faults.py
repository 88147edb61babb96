"""Faults under load: what is killed, restarted or late costs no GET request.

How slow the slowest request may be is a matter of `make soak`; here it is only printed.
"""

import concurrent.futures
import contextlib
import itertools
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head, read_all, read_until
from harness.conf import Conf
from harness.httpd import wait_until
from harness.load import APP, Load, load_conf

pytestmark = pytest.mark.ours_only("our own processes")

REPEATS = 5
# What start_warm(…) starts.
conf = load_conf


@pytest.fixture
def start_warm(start_warm):
    """start_warm(…) is a server each of whose workers has loaded the script."""

    def start(*arguments, **options):
        server = start_warm(*arguments, **options)
        daemons.await_answers_of_all(server)
        return server

    return start


@pytest.fixture
def report(record_property):
    """Prints what became of the requests of a load."""

    def report(what, total):
        record_property("load", f"{what}: {total}")

    return report


# --- nothing is lost ------------------------------------------------------------------------------


FAULTS = {
    "graceful restarts": lambda server: [daemons.restart(server, 2) for _ in range(REPEATS)],
    "script touches": lambda server: [daemons.touch(server, 2) for _ in range(REPEATS)],
    "SIGTERM to every worker": lambda server: daemons.signal_each_worker(server, 2, signal.SIGTERM),
    "kill -9 of every worker": lambda server: daemons.signal_each_worker(server, 2, signal.SIGKILL),
    "kill -9 of the manager": lambda server: daemons.kill_manager(server, 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_get_fails_at(start_warm, report, fault):
    server = start_warm()
    server.log.allow("was killed by signal 9")
    with Load(server.port, "/sleep") as load:
        daemons.pause(0.2)
        FAULTS[fault](server)
        daemons.pause(0.2)
    report(fault, load.total)
    assert load.total.failed == []
    assert load.total.sent > 100


@pytest.mark.parametrize("fault", ["graceful restarts", "script touches"])
def test_no_post_of_unknown_length_fails_at(start_warm, fault):
    """Its worker is chosen before the body is here; one that leaves in order refuses it unread."""
    server = start_warm(extra="WSGIChunkedRequest On")
    # The application reads it all: an answer to half a body can be lost with the connection, which
    # an Apache child that leaves closes while the client still sends.
    done = threading.Event()

    def pieces():
        yield b"x" * 100
        daemons.pause(0.01)
        yield b"y" * 100

    def post():
        statuses = []
        while not done.is_set():
            statuses.append(server.post("/sleep?read=-1", pieces(), chunked=True).status)
        return statuses

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        posts = [pool.submit(post) for _ in range(6)]
        try:
            FAULTS[fault](server)
        finally:
            done.set()
        statuses = [status for future in posts for status in future.result()]
    assert set(statuses) == {200}
    assert len(statuses) > 50


def test_requests_in_flight_at_a_graceful_restart_all_finish(start_warm, report):
    server = start_warm()
    with (
        concurrent.futures.ThreadPoolExecutor(12) as pool,
        Load(server.port, "/sleep?for=0.2") as load,
    ):
        note = server.root / "out/note"
        path = f"/sleep?for=0.5&note={note}"
        posts = [pool.submit(server.post, path, b"x" * 1000) for _ in range(4)]
        gets = [pool.submit(server.get, f"/sleep?for=1&note={note}") for _ in range(4)]
        daemons.wait_for_notes(server, 8)
        for _ in range(2):
            daemons.restart(server, 2)
        answers = [future.result().status for future in posts + gets]
    report("graceful restarts, 200 ms requests", load.total)
    assert answers == [200] * 8
    assert load.total.failed == []


def reconfigure(server, *changes):
    """Another configuration, by a graceful restart."""
    path = server.root / "httpd.conf"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    before = len(server.log.find("resuming normal operations"))
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for("resuming normal operations", count=before + 1)


@pytest.mark.parametrize("changed", ["threads=4", "processes=3", "processes=1"])
def test_no_get_fails_when_a_group_is_changed_at_a_graceful_restart(start_warm, report, changed):
    server = start_warm()
    old = daemons.manager(server)
    name, number = changed.split("=")
    before = {"threads": "threads=8", "processes": "processes=2"}[name]
    with Load(server.port, "/sleep") as load:
        reconfigure(server, (before, changed))
        wait_until(lambda: old not in daemons.managers(server), "the old manager to leave")
        daemons.settled(server, int(number) if name == "processes" else 2)
        assert server.get("/").status == 200
    report(f"graceful restart to {changed}", load.total)
    assert load.total.failed == []


def test_a_group_that_is_added_before_another_does_not_take_its_place(start_warm):
    server = start_warm()
    before = set(daemons.httpd_children(server))
    reconfigure(
        server,
        (
            "WSGIDaemonProcess site ",
            "WSGIDaemonProcess first display-name=first\n"
            "WSGIScriptAlias /first ${ROOT}/app.py process-group=first application-group=one\n"
            "WSGIDaemonProcess site ",
        ),
    )
    wait_until(lambda: len(daemons.managers(server)) == 2, "two managers")
    # They still have the configuration before.
    wait_until(
        lambda: not before & set(daemons.httpd_children(server)), "the old children to leave"
    )
    name = "__import__('mod_wsgi').process_group"
    for _ in range(5):
        assert server.get(f"/eval?what={name}").text == "'site'"
        assert server.get(f"/first/eval?what={name}").text == "'first'"


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("/crash", r"was killed by signal 11 while serving .*POST /crash"),
        ("/exit", r"exited with status 3 while serving .*POST /exit"),
    ],
)
def test_a_crash_is_named_in_the_log_and_only_its_own_request_suffers(start_warm, path, how):
    server = start_warm()
    with Load(server.port, "/sleep") as load:
        daemons.pause(0.1)
        answer = server.post(path, b"x")
        daemons.settled(server, 2)
        daemons.pause(0.1)
    assert answer.status in (502, 503)
    # The virtual host's log has a line too, which points to the main one.
    judge = server.log.expect_crash if path == "/crash" else server.log.expect
    judge(rf"worker \d+ {how}", f"WSGI0146: daemon process 'site' closed the connection.*{how}")
    assert load.total.failed == []


def test_the_cause_is_named_where_the_manager_notices_the_end_late(start_warm):
    """It may have to wait for a processor, on a machine that others crowd."""
    server = start_warm("processes=1 threads=2")
    server.log.allow("was killed by signal 9")
    (worker,), manager = daemons.workers(server), daemons.manager(server)
    with server.socket() as sock:
        note = server.root / "out/note"
        sock.sendall(head(f"/sleep?for=30&note={note}", "Content-Length: 0", method="POST"))
        daemons.wait_for_notes(server)
        daemons.freeze(manager)
        os.kill(worker, signal.SIGKILL)
        died = time.monotonic()
        wait_until(lambda: time.monotonic() - died > 0.8, "a late manager")
        os.kill(manager, signal.SIGCONT)
        assert read_all(sock).startswith(b"HTTP/1.1 502")
    # The thread of the request before may not have cleared its record.
    server.log.expect(
        r"WSGI0146: .*: worker \d+ was killed by signal 9 while serving .*POST /sleep"
    )


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_get_that_kills_its_worker_does_not_kill_the_whole_group(start_warm, processes):
    """It may be tried once more, for a worker may die of something else; not on the last one."""
    server = start_warm(f"processes={processes} threads=2")
    server.log.allow("was killed by signal 9", "WSGI0146")
    daemons.settled(server, processes)
    before = set(daemons.workers(server))
    note = server.root / "out/note"
    assert server.get(f"/signal?number=9&for=5&note={note}").status in (502, 503)
    assert len(daemons.notes(server)) <= 2
    # The record of the request names the worker that died last.
    server.log.wait_for(
        r"WSGI0146: .*: worker \d+ was killed by signal 9 while serving GET /signal"
    )
    now = set(daemons.workers(server))
    assert len(before & now) >= processes - 2, (before, now)


# Notes when it starts. A worker that is ready has nothing to do: its main thread sleeps.
EXITS_WHEN_READY = """
import os, threading, time
print(time.monotonic(), file=open(os.path.dirname(__file__) + "/out/starts", "a"))
def sleeps():
    text = open(f"/proc/self/task/{os.getpid()}/stat").read()
    return text.rpartition(")")[2].split()[0] == "S"
def exits():
    looks = 0
    while looks < 5:
        time.sleep(0.005)
        looks = looks + 1 if sleeps() else 0
    os._exit(7)
threading.Thread(target=exits).start()
"""


def test_worker_dying_soon_after_ready_is_restarted_ever_more_slowly(private):
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=1
    WSGIImportScript ${ROOT}/bad.py process-group=site application-group=%{GLOBAL}
    """
    files = (("bad.py", EXITS_WHEN_READY), ("out/README", "the script writes here"))
    server = private(Conf(text, files=files), lambda server: (server.root / "out").chmod(0o777))
    server.log.allow("exited with status 7")
    wait_until(lambda: len(daemons.notes(server, "starts")) >= 7, "seven starts", timeout=30)
    # The first two are replaced at once; then the pauses are 0.1, 0.2, 0.4 and 0.8 s.
    starts = list(map(float, daemons.notes(server, "starts")))
    assert starts[6] - starts[2] > 1.3
    server.log.expect(r"status 7 before its first request; restarting in 0\.[78] s")


@pytest.mark.parametrize("read", [60_000, 1, 0])
def test_a_post_is_never_sent_to_a_second_worker(start_warm, read):
    """Also not when its worker dies with part of the body unread."""
    server = start_warm()
    note = server.root / "out/note"
    answer = server.post(f"/signal?number=9&for=5&note={note}&read={read}", b"x" * 60_000)
    assert answer.status in (502, 503)
    server.log.expect(r"killed by signal 9 while serving .*POST /signal", "WSGI0146|WSGI0121")
    assert len(daemons.notes(server)) == 1


def test_stopped_worker_costs_only_its_own_requests(start_warm):
    """SIGSTOP is a worker that hangs: the others go on, and its requests end by socket-timeout."""
    server = start_warm("processes=2 threads=2 socket-timeout=1")
    server.log.allow("WSGI0145")
    hung = daemons.workers(server)[0]
    daemons.freeze(hung)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: server.get("/").status, range(24)))
    finally:
        os.kill(hung, signal.SIGCONT)
    assert set(answers) <= {200, 504}
    assert answers.count(200) >= 12


# --- which worker ---------------------------------------------------------------------------------


def test_simultaneous_requests_go_to_different_workers(start_warm):
    server = start_warm("processes=4 threads=1")
    turns = itertools.count()
    # Until it is ready a worker is no candidate.
    wait_until(
        lambda: daemons.meet(server, 4, f"start-{next(turns)}", seconds=0.3), "four workers", 30
    )
    for turn in range(8):
        assert len(daemons.meet(server, 4, f"turn-{turn}")) == 4


def accepted_by(server, sock):
    """The child of Apache that holds the other end of the connection, None until it is accepted."""
    ends = [f"{int(port):04X}" for port in (server.port, sock.getsockname()[1])]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [fields[1].split(":")[1], fields[2].split(":")[1]] == ends:
            for pid in daemons.httpd_children(server):
                if f"socket:[{fields[9]}]" in server.open_files(pid):
                    return pid
    return None


def test_an_apache_child_that_dies_leaves_no_worker_looking_busy(start_warm, mpm):
    """Its requests are over, whichever process counted them."""
    if mpm == "prefork":
        pytest.skip("a child of prefork has one request at a time")
    server = start_warm("processes=2 threads=4")
    server.log.allow("exit signal Killed")
    with contextlib.ExitStack() as stack:
        held = {}
        while sum(len(of) >= 3 for of in held.values()) < 2:
            sock = stack.enter_context(server.socket())
            sock.sendall(f"GET /sleep?for=1&note={server.root}/out/note HTTP/1.1\r\n".encode())
            pid = wait_until(lambda s=sock: accepted_by(server, s), "the connection's child")
            held.setdefault(pid, []).append(sock)
        (_, survives), (victim, dies) = [pair for pair in held.items() if len(pair[1]) >= 3]
        # In turn, so that one child's requests go to one worker and the other's to the other.
        pairs = zip(survives[:3], dies[:3], strict=True)
        for count, sock in enumerate((sock for pair in pairs for sock in pair), 1):
            sock.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
            daemons.wait_for_notes(server, count)
        os.kill(victim, signal.SIGKILL)
        assert all(read_all(sock).startswith(b"HTTP/1.1 200") for sock in survives[:3])
    for turn in range(3):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            name = f"turn-{turn}"
            first = pool.submit(server.get, f"/sleep?for=1&note={server.root}/out/{name}")
            daemons.wait_for_notes(server, 1, name)
            second = pool.submit(server.get, "/sleep?for=1")
            assert daemons.pid_of(first.result()) != daemons.pid_of(second.result())


# --- scripts --------------------------------------------------------------------------------------


def test_one_replacement_per_touch_under_load(start_warm):
    server = start_warm()
    with Load(server.port, "/sleep") as load:
        for _ in range(3):
            daemons.touch(server, 2)
            daemons.pause(0.3)
    assert load.total.failed == []
    replaced = r"worker \d+ exited with status 0"
    server.log.wait_for(replaced, count=3 * 2)
    # The log is complete when the server has stopped, which adds a line of each worker.
    server.stop()
    assert len(server.log.find(replaced)) == 3 * 2 + 2


def deploy(script, text):
    """As deployments should: no reader ever sees half a file."""
    fresh = script.with_name("fresh.py")
    fresh.write_text(text)
    fresh.replace(script)


def test_a_script_that_is_older_than_the_one_before_is_new_too(start_warm):
    """What rsync -t, tar and a rollback do."""
    server = start_warm()
    old = daemons.settled(server, 2)
    script = server.root / "app.py"
    with Load(server.port, "/sleep") as load:
        deploy(script, APP.replace("VERSION = 1", "VERSION = 2"))
        os.utime(script, (1_500_000_000, 1_500_000_000))
        daemons.settled(server, 2, without=old)
    assert load.total.failed == []
    assert {server.get("/").text.split()[1] for _ in range(8)} == {"2"}


def test_stale_mtime_in_flight_causes_no_second_replacement(start_warm):
    """httpd looks at the script when the head is there; the body may take its time."""
    server = start_warm()
    old = daemons.workers(server)
    with server.socket() as sock:
        fields = ("Content-Length: 4", "Connection: close", "Expect: 100-continue")
        sock.sendall(head("/", *fields, method="POST"))
        # Sent when the body is wanted, and the script was looked at before that.
        read_until(sock, b"100 Continue\r\n\r\n")
        deploy(server.root / "app.py", APP.replace("VERSION = 1", "VERSION = 2"))
        with Load(server.port, "/sleep") as load:
            new = sorted(daemons.settled(server, 2, without=old))
            sock.sendall(b"late")
            assert read_all(sock).endswith(b" 2")
            daemons.pause(0.5)
            assert sorted(daemons.settled(server, 2)) == new
    assert load.total.failed == []
    # Each worker that had the old one has said so, and no other.
    assert len(server.log.find("has changed; workers are to be replaced")) <= 2


def test_a_deployment_that_does_not_load_leaves_the_old_workers_serving(start_warm):
    server = start_warm()
    old = sorted(daemons.workers(server))
    script = server.root / "app.py"
    with Load(server.port, "/sleep") as load:
        deploy(script, "import no_such_module\n" + APP)
        server.log.expect("No module named 'no_such_module'", "keeping the current workers")
        daemons.pause(0.5)
        assert sorted(daemons.settled(server, 2)) == old
        # A graceful restart is no reason to take the broken code either.
        reconfigure(server)
        server.log.wait_for("keeping the current workers", count=2)
        daemons.pause(0.5)
        assert sorted(daemons.settled(server, 2)) == old
        deploy(script, APP.replace("VERSION = 1", "VERSION = 3"))
        daemons.settled(server, 2, without=old)
    server.log.allow("WSGI01", "Traceback", "  File", "    ", "ModuleNotFound")
    assert load.total.failed == []
    assert server.get("/").text.split()[1] == "3"


def test_a_script_without_its_callable_is_no_deployment(start_warm):
    """What a script looks like while something writes it."""
    server = start_warm()
    old = sorted(daemons.workers(server))
    script = server.root / "app.py"
    server.log.allow("callable|application|keeping the current workers")
    with Load(server.port, "/sleep") as load:
        deploy(script, "")
        daemons.pause(1)
        assert sorted(daemons.settled(server, 2)) == old
        deploy(script, APP.replace("VERSION = 1", "VERSION = 3"))
        daemons.settled(server, 2, without=old)
    assert load.total.failed == []
    assert server.get("/").text.split()[1] == "3"


def test_a_deployment_that_hangs_does_not_keep_the_next_one_from_coming(start_warm):
    server = start_warm()
    old = daemons.workers(server)
    script = server.root / "app.py"
    with Load(server.port, "/sleep") as load:
        note = f"import time\nprint('hangs', file=open('{server.root}/out/hangs', 'a'))\n"
        deploy(script, note + "time.sleep(60)\n" + APP)
        daemons.wait_for_notes(server, 2, "hangs")
        old += daemons.workers(server)
        deploy(script, APP.replace("VERSION = 1", "VERSION = 3"))
        daemons.settled(server, 2, without=old)
    server.log.allow("while starting", "was starting")
    assert load.total.failed == []
    assert server.get("/").text.split()[1] == "3"


# --- time-outs ------------------------------------------------------------------------------------


def test_a_request_beyond_request_timeout_is_ended_once_and_alone(start_warm):
    server = start_warm(
        "processes=1 threads=4 request-timeout=1 graceful-timeout=1 shutdown-timeout=2"
    )
    server.log.allow("still running", "did not stop within", "exceeded request-timeout")
    server.log.allow("hanging request", r"^\[script [^]]*\] [ \t]")
    note = server.root / "out/note"
    with Load(server.port, "/sleep", clients=2) as load:
        began = time.monotonic()
        answer = server.get(f"/sleep?for=30&note={note}")
        took = time.monotonic() - began
    server.log.expect(r"GET /sleep\?for=30\S* takes longer than request-timeout")
    assert answer.status == 504
    assert len(daemons.notes(server)) == 1
    # 1 s, times 1 + ln(4) for the threads, and a second each for looking and leaving.
    assert took < 7
    assert load.total.failed == []


def test_a_request_that_waited_beyond_queue_timeout_is_a_504(start_warm):
    server = start_warm("processes=1 threads=1 queue-timeout=1")
    server.log.allow("queue-timeout")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.get, f"/sleep?for=4&note={server.root}/out/note")
        daemons.wait_for_notes(server)
        second = pool.submit(server.get, "/")
        assert first.result().status == 200
        assert second.result().status == 504
    server.log.expect("waited longer than queue-timeout")
    assert server.get("/").status == 200


def test_an_answer_that_does_not_come_within_socket_timeout_is_a_504(start_warm):
    server = start_warm("processes=2 threads=2 socket-timeout=1")
    note = server.root / "out/note"
    with Load(server.port, "/sleep", clients=4) as load:
        began = time.monotonic()
        assert server.get(f"/sleep?for=4&note={note}").status == 504
        assert time.monotonic() - began < 3
        daemons.pause(0.5)
    server.log.expect("WSGI0145")
    assert len(daemons.notes(server)) == 1
    assert load.total.failed == []


def test_unaccepting_group_is_a_503_after_connect_timeout(start_warm):
    server = start_warm("processes=1 threads=1 listen-backlog=1 connect-timeout=1")
    hung = daemons.workers(server)
    server.log.allow("WSGI0117")
    daemons.freeze(hung[0])
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(server.get, "/") for _ in range(10)]
        try:
            done, _ = concurrent.futures.wait(asked, 5, concurrent.futures.FIRST_COMPLETED)
        finally:
            os.kill(hung[0], signal.SIGCONT)
        answers = [future.result().status for future in asked]
    assert done, "every request still waited for the group after five seconds"
    assert 503 in answers
    assert server.log.find("WSGI0117: cannot connect to daemon process 'site'")
    wait_until(lambda: daemons.serves(server), "an answer")


def test_a_client_that_does_not_read_holds_a_thread_for_response_socket_timeout(start_warm):
    server = start_warm("processes=1 threads=1 response-socket-timeout=1", timeout=30)
    with server.socket() as sock:
        sock.sendall(b"GET /big?size=50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.get("/").status == 200
        assert time.monotonic() - began < 6


# --- recycling under load -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("maximum-requests=100", r"it has served \d+ requests"),
        ("restart-interval=1", "it is 1 s old"),
        ("maximum-memory=1", r"it uses \d+ bytes"),
    ],
)
def test_no_get_fails_while_workers_are_recycled(start_warm, report, options, reason):
    server = start_warm(f"processes=2 threads=8 {options}")
    with Load(server.port, "/sleep") as load:
        server.log.wait_for(rf"replacing worker \d+: {reason}", count=4, timeout=20)
    report(options, load.total)
    assert load.total.failed == []


def test_no_get_fails_when_idle_workers_are_recycled(start_warm):
    """Requests that come just as inactivity-timeout expires."""
    server = start_warm("processes=1 threads=4 inactivity-timeout=1")
    for count in (1, 2):
        old = daemons.workers(server)
        server.log.wait_for(r"replacing worker \d+: no request came", count=count)
        # Each request is answered, whichever worker leaves or comes.
        wait_until(
            lambda pids=old: daemons.pid_of(server.get("/")) not in pids,
            "an answer of another worker",
        )


# --- the log --------------------------------------------------------------------------------------


def test_after_log_rotation_and_a_graceful_restart_daemons_write_to_the_new_log(start_warm):
    server = start_warm()
    before, writers = daemons.workers(server), server.log_writers()
    server.log.path.rename(server.root / "error_log.1")
    server.process.send_signal(signal.SIGUSR1)
    wait_until(server.log.path.exists, "the new log")
    server.log.wait_for("resuming normal operations")
    old = server.root / "error_log.1"
    wait_until(lambda: daemons.serves(server), "an answer")
    # It has the old log, and reads what comes until it has read that it is to end.
    wait_until(lambda: not set(writers) & set(server.log_writers()), "the old writer to leave")
    victim = daemons.settled(server, 2, without=before)[0]
    line = f"worker {victim} was killed by signal 9"
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: line in server.log.text() + old.read_text(), "the line")
    assert line not in old.read_text()
    server.log.expect(line)


def test_daemons_follow_loglevel(start_warm):
    server = start_warm(wsgi_level="wsgi:warn")
    with Load(server.port, "/sleep"):
        daemons.touch(server, 2)
    quiet = [line for line in server.log.lines() if line.module == "wsgi" and line.level == "info"]
    assert quiet == []
