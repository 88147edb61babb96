"""However a server ends, nothing of daemon mode remains: processes, sockets, shared memory."""

import concurrent.futures
import contextlib
import operator
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import TESTS
from harness.httpd import ConfigError, wait_until

pytestmark = pytest.mark.ours_only("our own processes")

APP = (TESTS / "apps/faults.py").read_text()
AT_EXIT = """
import atexit, time
def note(path):
    time.sleep(1)
    with open(path, "a") as file:
        file.write("left in order")
def application(environ, start_response):
    atexit.register(note, environ["QUERY_STRING"])
    start_response("200 OK", [])
    return [b"noted"]
"""


def conf(options="processes=2 threads=4", *, text="", files=()):
    files = (
        ("app.py", APP),
        ("at_exit.py", AT_EXIT),
        ("out/README", "the application writes here"),
        *files,
    )
    group = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias /at_exit ${{ROOT}}/at_exit.py process-group=site application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text + group, files=files, children=4, start=2, threads=8)


@pytest.fixture(autouse=True)
def left_processes_are_killed(servers):
    """Should a test fail, what is left of its servers does not outlive it."""
    yield
    for server in servers.of_this_test:
        server.stop()
        for pid in remaining(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def make(servers, mpm):
    """make(…) is a server that is not started."""

    def make(*arguments, **options):
        server = servers.make(conf(*arguments, **options), mpm, "embedded")
        (server.root / "out").chmod(0o777)
        return server

    return make


def remaining(server):
    """Every process that has a file of the server's directory open."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            held = [os.readlink(path) for path in (folder / "fd").iterdir()]
            if any(target.startswith(f"{server.root}/") for target in held):
                found.append(int(folder.name))
    return [pid for pid in found if daemons.is_alive(pid) and pid != os.getpid()]


def daemons_of(server):
    return [daemons.manager(server), *daemons.workers(server)]


def sockets(server):
    return list(Path(server.root).rglob("*.sock"))


def shared_memory():
    """What would outlive a process: POSIX and System V."""
    # Key and number: the other columns of other processes' ones change.
    tables = {kind: Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem")}
    system_v = [
        (kind, *line.split()[:2]) for kind, text in tables.items() for line in text.splitlines()[1:]
    ]
    # Other tests have Pools at the same time: multiprocessing.SemLock has these names for a moment.
    files = [name for name in os.listdir("/dev/shm") if not name.startswith("sem.mp-")]
    return {*files, *system_v}


def nothing_remains(server, timeout=10):
    wait_until(lambda: not remaining(server), "every process to leave", timeout)
    assert sockets(server) == []
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGWINCH])
@pytest.mark.parametrize("busy", [False, True])
def test_nothing_remains_after_a_stop(start_warm, signum, busy):
    before = shared_memory()
    server = start_warm()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = []
        if busy:
            path = f"/sleep?for=1&note={server.root}/out/sleeps"
            asked = [pool.submit(daemons.serves, server, path) for _ in range(2)]
            daemons.wait_for_notes(server, 2, "sleeps")
        server.send_signal(signum)
        server.process.wait(15)
        if signum == signal.SIGWINCH:
            # A graceful stop waits for what is being served.
            assert all(future.result() for future in asked)
    nothing_remains(server)
    assert shared_memory() - before == set()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGWINCH])
def test_httpd_ends_after_its_daemons(start_warm, signum):
    """systemd (KillMode=mixed, as Debian has it) kills what is left when httpd itself has ended."""
    server = start_warm("processes=1 threads=2")
    out = server.root / "out/note"
    assert server.get(f"/at_exit?{out}").status == 200
    server.send_signal(signum)
    server.process.wait(15)
    for pid in remaining(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert out.exists()
    assert out.read_text() == "left in order"


def test_a_worker_that_hangs_does_not_outlive_shutdown_timeout(start_warm):
    server = start_warm("processes=1 threads=2 shutdown-timeout=1 graceful-timeout=1")
    (worker,) = daemons.workers(server)
    daemons.freeze(worker)
    server.log.allow(f"worker {worker} was killed by signal 9")
    server.process.terminate()
    server.process.wait(15)
    nothing_remains(server)


def test_a_worker_that_is_starting_does_not_outlive_a_stop(start_warm):
    server = start_warm("processes=1 threads=2")
    (server.root / "app.py").write_text("import time\ntime.sleep(60)\n" + APP)
    old = daemons.workers(server)
    assert server.get("/").status == 200
    wait_until(lambda: set(daemons.workers(server)) - set(old), "the replacement")
    server.process.terminate()
    server.process.wait(15)
    nothing_remains(server)


def test_nothing_of_daemon_mode_remains_after_a_kill_of_the_parent(start_warm):
    before = shared_memory()
    server = start_warm()
    left = daemons_of(server)
    children = daemons.httpd_children(server)
    server.kill()
    wait_until(lambda: not any(map(daemons.is_alive, left)), "the daemons to leave")
    # Apache's own children are Apache's affair.
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not remaining(server), "every process to leave")
    assert shared_memory() - before == set()
    # A killed parent removes no sockets; the next start does.
    old = set(sockets(server))
    assert old
    server.log.allow("AH00098: pid file .* overwritten")
    server.start()
    assert server.get("/").status == 200
    assert not old & set(sockets(server))
    server.stop()
    nothing_remains(server)


def test_sockets_of_a_killed_parent_go_where_the_prefix_is_a_directory(make):
    server = make(text="WSGISocketPrefix ${ROOT}/sockets/\n")
    (server.root / "sockets").mkdir()
    server.start()
    children = daemons.httpd_children(server)
    old = set((server.root / "sockets").iterdir())
    server.kill()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not remaining(server), "every process to leave")
    server.log.allow("AH00098: pid file .* overwritten")
    server.start()
    assert server.get("/").status == 200
    assert old
    assert not old & set((server.root / "sockets").iterdir())


def test_kill_of_the_parent_does_not_cut_requests_in_daemons(start_warm):
    server = start_warm()
    out = server.root / "out/note"
    assert server.get(f"/at_exit?{out}").status == 200
    children = daemons.httpd_children(server)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        path = f"/sleep?for=1&note={server.root}/out/sleeps"
        asked = [pool.submit(daemons.serves, server, path) for _ in range(2)]
        daemons.wait_for_notes(server, 2, "sleeps")
        server.kill()
        assert all(future.result() for future in asked)
    wait_until(out.exists, "atexit")
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not remaining(server), "every process to leave")


def test_children_of_a_killed_parent_do_not_outlive_their_test(servers, start_warm):
    """That is the harness's part; see Httpd.end_remains."""
    server = start_warm()
    children = daemons.httpd_children(server)
    server.kill()
    assert children
    assert servers.judge([server]) == []
    wait_until(lambda: not any(map(daemons.is_alive, children)), "the children to leave")


def test_nothing_remains_when_managers_were_killed_again_and_again(start_warm):
    server = start_warm()
    server.log.allow("its manager .* was killed by signal 9; it is started again")
    for _ in range(4):
        victim = daemons.manager(server)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda pid=victim: not daemons.is_alive(pid), "its death")
        wait_until(lambda pid=victim: pid not in daemons.managers(server), "the parent to notice")
        wait_until(lambda: daemons.managers(server), "the next", timeout=15)
    # The next one waits a while before it starts; it must not sit on Apache's port meanwhile.
    os.kill(daemons.manager(server), signal.SIGKILL)
    server.log.wait_for("it is started again", count=5)
    server.process.terminate()
    server.process.wait(15)
    assert remaining(server) == [] or wait_until(lambda: not remaining(server), "all", 3)
    nothing_remains(server)


def test_delayed_manager_start_holds_no_listener_of_apache(start_warm):
    """A manager that failed waits before it starts; not with Apache's port open."""
    server = start_warm()
    server.log.allow("its manager .* was killed by signal 9; it is started again")
    for count in range(1, 6):
        wait_until(lambda: daemons.managers(server), "a manager", timeout=15)
        os.kill(daemons.manager(server), signal.SIGKILL)
        server.log.wait_for("it is started again", count=count)
    tcp = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{server.port:04X}") and line.split()[3] == "0A"
    }
    assert tcp

    def holds(pid):
        return {target[len("socket:[") : -1] for target in server.open_files(pid)} & tcp

    # Apache's own children are in its session; between fork and exec no process is for long.
    wait_until(
        lambda: [pid for pid in server.children() if os.getsid(pid) == pid and not holds(pid)],
        "a manager to come that has closed Apache's port",
        timeout=1,
    )


@pytest.mark.all_mpms
@pytest.mark.parametrize("flags", [["-X"], ["-D", "ONE_PROCESS", "-D", "FOREGROUND"]])
def test_an_apache_of_one_process_has_its_groups_and_leaves_no_process(make, flags):
    """`httpd -X`, for a debugger: who serves is the parent, and may not remove its sockets then."""
    server = make()
    command = server._command
    server._command = lambda *_: command(*flags)
    server._came_up = lambda: wait_until(lambda: daemons.serves(server), "an answer", timeout=10)
    server.start()
    for _ in range(3):
        assert server.get("/").status == 200
    server.stop(signal.SIGINT)
    wait_until(lambda: not remaining(server), "every process to leave")


@pytest.mark.parametrize("good", [True, False])
def test_a_configtest_leaves_nothing(make, good):
    server = make(text="" if good else "NoSuchDirective on\n")
    assert server.configtest()[0] == good
    nothing_remains(server)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("WSGIPythonHome ${ROOT}/no-such-place\n", "no-such-place"),
        ("WSGISocketPrefix ${ROOT}/no/such/place\n", "no/such/place"),
    ],
)
def test_a_start_that_fails_leaves_nothing(make, text, printed):
    server = make(text=text)
    with pytest.raises(ConfigError, match=printed):
        server.start()
    nothing_remains(server)


def test_a_start_that_fails_after_a_group_was_started_leaves_nothing(make):
    """The second group cannot have its sockets."""
    server = make(text="", files=())
    taken = "x" * 90
    server.conf = Conf(
        server.conf.text
        + f"WSGISocketPrefix ${{ROOT}}/{taken}\nWSGIDaemonProcess second processes=2\n",
        files=server.conf.files,
    )
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        server.start()
    nothing_remains(server)


def test_a_port_that_is_taken_leaves_nothing(start_warm, make):
    first = start_warm()
    second = make()
    second._write_conf()
    path = second.root / "httpd.conf"
    path.write_text(path.read_text().replace(f":{second.port}\n", f":{first.port}\n"))
    second._write_conf = lambda: None
    with pytest.raises(ConfigError, match="Address already in use"):
        second.start()
    wait_until(lambda: not remaining(second), "every process to leave")
    assert sockets(second) == []
    assert first.get("/").status == 200


def test_removed_group_ends_when_its_requests_have_finished(start_warm):
    extra = """
    WSGIDaemonProcess gone display-name=gone
    WSGIScriptAlias /gone ${ROOT}/app.py process-group=gone application-group=%{GLOBAL}
    """
    server = start_warm(text=extra)
    assert server.get("/gone/").status == 200
    assert len(daemons.managers(server)) == 2
    files = sockets(server)
    path = server.root / "httpd.conf"
    path.write_text(path.read_text().replace(extra, ""))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.get, f"/gone/sleep?for=1&note={server.root}/out/sleeps")
        daemons.wait_for_notes(server, 1, "sleeps")
        server.process.send_signal(signal.SIGUSR1)
        server.log.wait_for("resuming normal operations", count=2)
        assert asked.result().status == 200
    wait_until(lambda: len(daemons.managers(server)) == 1, "the other manager to leave")
    wait_until(lambda: len(sockets(server)) == len(files) - 1, "its socket to be removed")
    server.stop()
    nothing_remains(server)


@pytest.mark.parametrize("change", [("=60", "=61"), ("WSGIDaemonProcess gone", "# ")])
def test_a_manager_that_was_replaced_does_not_outlive_httpd(start_warm, change):
    """It has something to finish, for which it could take a minute."""
    extra = """
    WSGIDaemonProcess gone processes=1 threads=2 graceful-timeout=60
    WSGIScriptAlias /gone ${ROOT}/app.py process-group=gone application-group=%{GLOBAL}
    """
    server = start_warm(text=extra)
    assert server.get("/gone/").status == 200
    # Apache's old child has the request too, and Apache does not wait for its end.
    server.log.allow(
        "AH0004[56]: child process",
        "stopping with GET /gone/sleep",
        "WSGI0145: .*'gone'",
        "WSGI0245: GET /gone/sleep",
    )
    old = daemons.managers(server)
    old += [worker for manager in old for worker in daemons.workers_of(manager)]
    path = server.root / "httpd.conf"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(daemons.serves, server, f"/gone/sleep?for=30&note={server.root}/out/sleeps")
        daemons.wait_for_notes(server, 1, "sleeps")
        text = path.read_text().replace(*change)
        if change[1] == "# ":
            text = text.replace("WSGIScriptAlias /gone", "# ")
        path.write_text(text)
        server.process.send_signal(signal.SIGUSR1)
        server.log.wait_for("resuming normal operations", count=2)
        server.process.terminate()
        server.process.wait(20)
    assert [pid for pid in old if daemons.is_alive(pid)] == []
    nothing_remains(server)


def held(server, manager):
    """How many files and sockets parent and manager have."""
    pids = (server.process.pid, manager)
    return [len(sockets(server)), *(len(server.open_files(pid)) for pid in pids)]


def settled(look, times=50):
    """What `look()` has given so many times in a row."""
    seen = []

    def is_settled():
        seen.append(look())
        return len(seen) >= times and all(it == seen[-1] for it in seen[-times:])

    wait_until(is_settled, "a state that stays")
    return seen[-1]


def test_restarts_leave_nothing_behind(start_warm):
    server = start_warm()
    before = None

    def look():
        return held(server, daemons.manager(server))

    for number in range(4):
        daemons.restart(server, 2, signal.SIGHUP if number % 2 else signal.SIGUSR1)
        wait_until(lambda: daemons.serves(server), "an answer")
        pid = daemons.manager(server)
        wait_until(lambda pid=pid: len(daemons.children(pid)) == 2, "two workers")
        # What belonged to a worker is closed when its end has been seen.
        before = before or settled(look)
        wait_until(
            lambda was=before: all(map(operator.le, look(), was)),
            "no more files than after the first restart",
        )
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    nothing_remains(server)
