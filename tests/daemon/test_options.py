"""Every option of WSGIDaemonProcess does what it says, and the directives about process groups.

Identity and limits are read back in test_privileges.py; test_faults.py has what ends requests under
load.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.client import Client, head, read_all, read_until
from harness.conf import Conf
from harness.env import TESTS
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own processes")

APP = (TESTS / "apps/faults.py").read_text()


ALIAS = "WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}"


def conf(options="", *, text="", alias=ALIAS, files=(), **more):
    group = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    {alias}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"), *files)
    return Conf(text + group, files=files, threads=16, **more)


def together(server, count, path):
    """So many requests at once."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: server.get(path), range(count)))


# --- how many -------------------------------------------------------------------------------------

FLAGS = """
def application(environ, start_response):
    start_response("200 OK", [])
    names = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "mod_wsgi.process_group")
    return [repr([environ.get(name) for name in names]).encode()]
"""


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("", [True, False, False]),
        ("threads=1", [False, False, False]),
        ("processes=1 threads=2", [True, True, False]),
        ("processes=2 threads=1", [False, True, False]),
        ("processes=0-1", [True, True, False]),
    ],
)
def test_environ_has_the_concurrency_flags(start, options, flags):
    server = start(options, files=(("app.py", FLAGS),))
    assert eval(server.get("/").text) == [*flags, "site"]


def test_threads_is_how_many_requests_a_process_serves_at_a_time(start):
    server = start("threads=3")
    worker = daemons.pid_of(server.get("/"))
    assert daemons.meet(server, 3, "three") == {worker}
    assert not daemons.meet(server, 4, "four", seconds=0.5)


def test_without_options_there_are_one_process_and_fifteen_threads(start):
    server = start()
    worker = daemons.pid_of(server.get("/"))
    assert daemons.meet(server, 15, "fifteen") == {worker}
    assert not daemons.meet(server, 16, "sixteen", seconds=0.8)
    assert daemons.workers(server) == [worker]


def test_processes_of_a_range_come_with_work_and_leave_when_idle(start):
    server = start("processes=1-3 threads=1 inactivity-timeout=1")
    daemons.settled(server, 1)
    assert len(daemons.meet(server, 3, "three")) == 3
    wait_until(lambda: len(daemons.workers(server)) == 1, "the others to leave")
    assert server.get("/").status == 200


def test_zero_minimum_starts_processes_on_demand(start):
    server = start("processes=0-1 threads=2 inactivity-timeout=1")
    pid = daemons.manager(server)
    # Before, it has a child that looks up the group's user.
    wait_until(lambda: daemons.manages(pid), "the manager to begin")
    assert daemons.children(pid) == []
    for _ in range(2):
        # The worker may have left already when the last answer has come.
        answers = together(server, 4, "/sleep?for=0.2")
        assert len({daemons.pid_of(answer) for answer in answers}) == 1
        wait_until(lambda: daemons.children(pid) == [], "the worker to leave")
    assert daemons.manager(server) == pid


def test_start_longer_than_inactivity_timeout_does_not_end_the_worker(start):
    server = start("processes=0-1 threads=2 inactivity-timeout=3")
    app = server.root / "app.py"
    app.write_text(f"import time\ntime.sleep(4)\n{app.read_text()}")
    # Without a pause: it has not been idle.
    pids = {daemons.pid_of(server.get("/")) for _ in range(5)}
    assert len(pids) == 1
    assert len(server.log.find("Loading WSGI script")) == 1


# --- when a worker is replaced --------------------------------------------------------------------


def test_maximum_requests_is_exact(start):
    server = start("threads=1 maximum-requests=7")
    pids = [daemons.pid_of(server.get("/")) for _ in range(7)]
    assert len(set(pids)) == 1
    wait_until(lambda: daemons.pid_of(server.get("/")) != pids[0], "another worker")
    server.log.wait_for(r"replacing worker \d+: it has served 7 requests")


def test_jitter_lets_workers_end_at_different_times(start):
    server = start("processes=6 threads=1 maximum-requests=3 maximum-requests-jitter=60")
    daemons.settled(server, 6)
    served = r"replacing worker \d+: it has served (\d+) requests"

    def ended():
        together(server, 6, "/sleep?for=0.01")
        return len(server.log.find(served)) >= 6

    wait_until(ended, "six replacements", timeout=30)
    counts = [int(line.text.split("served ")[1].split()[0]) for line in server.log.find(served)]
    assert min(counts) >= 3
    assert max(counts) <= 63
    assert len(set(counts)) > 1


def test_maximum_memory_replaces_a_worker_after_its_request(start):
    server = start("threads=1 maximum-memory=150000000")
    first = daemons.pid_of(server.get("/"))
    assert daemons.pid_of(server.get("/grow?by=10000000")) == first
    daemons.pause(0.15)
    assert daemons.pid_of(server.get("/grow?by=200000000")) == first
    server.log.wait_for(r"replacing worker \d+: it uses \d+ bytes")
    wait_until(lambda: daemons.pid_of(server.get("/")) != first, "another worker")


def test_cpu_time_limit_lets_the_request_finish_and_replaces_the_worker(start):
    # On a busy machine a second of processor time takes many.
    server = start("threads=2 cpu-time-limit=1", timeout=60)
    answer = server.get("/spin?for=1.5")
    server.log.wait_for(r"replacing worker \d+: it has used its cpu-time-limit")
    first = daemons.pid_of(answer)
    wait_until(lambda: daemons.pid_of(server.get("/")) != first, "another worker")


def test_memory_limit_is_a_memoryerror(start):
    server = start("threads=2 virtual-memory-limit=2000000000")
    assert server.get("/grow?by=3000000000").status == 500
    server.log.expect("MemoryError")
    server.log.allow("WSGI", "Traceback", r"^  File|^    ")
    assert server.get("/").status == 200


# --- how long it may take to leave ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "finishes"),
    [
        ("graceful-timeout=5", True),
        ("graceful-timeout=1", False),
        ("graceful-timeout=1 eviction-timeout=5", True),
        ("graceful-timeout=5 eviction-timeout=1", False),
    ],
)
def test_requests_of_a_leaving_worker_get_graceful_or_eviction_timeout(start, options, finishes):
    server = start(f"processes=1 threads=2 {options}")
    server.log.allow("still running", "worker stopped before the application answered")
    (worker,) = daemons.settled(server, 1)
    # The time-out begins when the next worker is ready, however long that takes.
    seconds = 2.5 if finishes else 60
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, f"/sleep?for={seconds}&note={server.root}/out/note", b"")
        daemons.wait_for_notes(server)
        os.kill(worker, signal.SIGUSR1)
        assert asked.result().status == (200 if finishes else 503)
    wait_until(lambda: not daemons.is_alive(worker), "the worker to leave")


def test_shutdown_timeout_ends_a_hanging_worker(start):
    hangs = "import atexit, time\ndef hangs():\n    time.sleep(60)\natexit.register(hangs)\n"
    script = hangs + APP
    server = start("threads=2 shutdown-timeout=1", files=(("app.py", script),))
    first = daemons.pid_of(server.get("/"))
    os.kill(first, signal.SIGTERM)
    [line] = server.log.expect("WSGI0293: .*did not stop within shutdown-timeout")
    assert "its Python has not ended" in line.text
    assert re.search(r"it has run for \d+\.\d+ s and waited \d+\.\d+ s for a proc", line.text)
    assert re.search(r"is in hangs \(/.*/app\.py:3\)", line.text)
    wait_until(lambda: not daemons.is_alive(first), "the worker to leave", timeout=4)
    server.log.allow(f"worker {first} exited with status 1")
    assert server.get("/").status == 200
    # The next one as well.
    server.log.allow("exited with status 1", "was killed by signal 9")


SLOW = "import time\ntime.sleep(60)\n" + APP


def test_startup_timeout_ends_a_worker_that_does_not_come_up(start):
    server = start("threads=2 startup-timeout=1", files=(("app.py", SLOW),))
    server.log.allow(r"was killed by signal 9 .*\(it was starting\)")
    first = daemons.settled(server, 1)
    daemons.settled(server, 1, without=first)
    server.log.expect("startup-timeout")
    fresh = server.root / "fresh.py"
    fresh.write_text(APP)
    # Whole: a worker may read it at any time.
    fresh.replace(server.root / "app.py")
    wait_until(lambda: daemons.serves(server), "an answer", timeout=20)


def test_startup_timeout_ends_a_worker_whose_first_request_cannot_load_its_script(start):
    server = start(
        "threads=2 startup-timeout=1 graceful-timeout=1 shutdown-timeout=1",
        alias="WSGIScriptAlias / ${ROOT}/app.py process-group=site",
        files=(("app.py", SLOW),),
    )
    server.log.allow(
        "still running",
        "worker stopped before the application answered",
        "exited with",
        "did not stop",
        "killed",
    )
    before = daemons.settled(server, 1)
    began = time.monotonic()
    assert server.post("/", b"").status in (502, 503, 504)
    assert time.monotonic() - began < 6
    server.log.expect("no script was loaded in 1 s")
    daemons.settled(server, 1, without=before)


# --- Python ---------------------------------------------------------------------------------------


def test_python_options_are_applied(start):
    server = start(
        "python-path=${ROOT}/first:${ROOT}/second python-eggs=${ROOT}/out",
        files=(("first/one.py", "A = 1"), ("second/two.py", "A = 2"), ("second/one.py", "A = 3")),
    )
    assert daemons.evaluate(server, "[__import__('one').A, __import__('two').A]") == [1, 2]
    eggs = daemons.evaluate(server, "__import__('os').environ['PYTHON_EGG_CACHE']")
    assert eggs == str(server.root / "out")


@pytest.mark.needs_lock("it is the interval of the lock")
def test_how_long_a_thread_may_keep_the_lock(start):
    server = start("switch-interval=0.25")
    assert daemons.evaluate(server, "__import__('sys').getswitchinterval()") == 0.25


# --- sockets --------------------------------------------------------------------------------------


def sockets(server, folder=None):
    return sorted((folder or server.root).glob("*.sock"))


def test_listen_backlog_is_how_many_may_wait(start):
    server = start("threads=1 listen-backlog=5")
    assert server.get("/").status == 200
    (worker,) = daemons.workers(server)
    (path,) = sockets(server)
    daemons.freeze(worker)
    # Else it may still accept one.
    wait_until(lambda: daemons.status_of(worker)["State"].startswith("T"), "the worker to stop")
    waiting = []
    try:
        while len(waiting) < 50:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            try:
                sock.connect(str(path))
            except BlockingIOError:
                break
    finally:
        os.kill(worker, signal.SIGCONT)
        for sock in waiting:
            sock.close()
    # Linux lets one more in than it is told.
    assert len(waiting) - 1 == 6
    assert server.get("/").status == 200


def options_of_sockets(pid, option):
    """An option of every Unix socket that a process holds connected."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # One that is closed meanwhile is not connected.
        with contextlib.suppress(FileNotFoundError):
            if not os.readlink(path).startswith("socket:"):
                continue
            number = libc.syscall(438, handle, int(path.name), 0)
            if number < 0:
                continue
            with socket.socket(fileno=number) as sock:
                if sock.family == socket.AF_UNIX and not sock.getsockopt(
                    socket.SOL_SOCKET, socket.SO_ACCEPTCONN
                ):
                    name = sock.getsockname()
                    if name:
                        found.append(sock.getsockopt(socket.SOL_SOCKET, option))
    os.close(handle)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="looks into sockets of other processes")
@pytest.mark.parametrize(
    ("option", "number"),
    [("send-buffer-size", socket.SO_SNDBUF), ("receive-buffer-size", socket.SO_RCVBUF)],
)
def test_buffers_of_sockets_have_the_size_asked_for(start, option, number):
    server = start(f"threads=1 {option}=65536")
    assert server.get("/").status == 200
    sizes = options_of_sockets(daemons.workers(server)[0], number)
    assert sizes
    # Linux doubles what it is told.
    assert set(sizes) == {2 * 65536}
    body = b"x" * 3_000_000
    assert server.get("/big?size=3000000").body == body
    assert server.post("/", body).status == 200


def test_wsgisocketprefix_says_where_sockets_go(start):
    folder = "out/run"
    server = start(
        "processes=2",
        text="WSGISocketPrefix out/run/wsgi-site\n",
        files=((f"{folder}/README", "sockets"),),
    )
    assert server.get("/").status == 200
    files = sockets(server, server.root / folder)
    assert len(files) == 2
    assert all(file.name.startswith("wsgi-site.") for file in files)
    assert sockets(server) == []


@pytest.mark.parametrize("rotation", ["On", "Off"])
def test_wsgisocketrotation_loses_nothing_either_way(start, rotation):
    server = start("processes=1", text=f"WSGISocketRotation {rotation}\n", children=4)
    first = daemons.pid_of(server.get("/"))
    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: daemons.pid_of(server.get("/")) != first, "another worker")


# --- answers --------------------------------------------------------------------------------------

HEADER = """
def application(environ, start_response):
    start_response("200 OK", [("X-Long", "x" * int(environ["QUERY_STRING"]))])
    return [b"fine"]
"""


@pytest.mark.parametrize(("options", "longest"), [("", 32_768), ("header-buffer-size=8192", 8192)])
def test_header_buffer_size_is_the_longest_header(start, options, longest):
    server = start(options, files=(("app.py", HEADER),))
    fits = server.get(f"/?{longest - 100}")
    assert (fits.status, len(fits.header("X-Long"))) == (200, longest - 100)
    assert server.get(f"/?{longest + 100}").status in (500, 502)
    server.log.expect("WSGI0148|header")
    assert server.get("/?10").text == "fine"


STREAM = """
import os, time
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    size, pause = environ["QUERY_STRING"].split(",")
    yield b"a" * int(size)
    until = time.monotonic() + float(pause)
    while time.monotonic() < until and not os.path.exists(__file__ + ".go"):
        time.sleep(0.01)
    yield b"end"
"""


@pytest.mark.parametrize(("delay", "waits"), [(0, False), (900, True)])
def test_response_flush_delay_is_how_long_an_answer_waits_for_more(start, delay, waits):
    server = start(f"response-flush-delay={delay}", files=(("app.py", STREAM),))
    with server.socket() as sock:
        began = time.monotonic()
        # Without a delay the first piece is here before there is another one.
        sock.sendall(head("/?10,0.5" if waits else "/?10,30", "Connection: close"))
        answer = read_until(sock, b"aaaaaaaaaa")
        assert time.monotonic() - began > 0.45 if waits else b"end" not in answer
        (server.root / "app.py.go").touch()
        assert b"end" in answer + read_all(sock)


@pytest.mark.parametrize("override", ["On", "Off"])
def test_wsgierroroverride_hands_errors_to_errordocument(start, override):
    server = start(text=f'WSGIErrorOverride {override}\nErrorDocument 500 "instead of it"\n')
    assert server.get("/raise").status == 500
    server.log.expect("on purpose")
    server.log.allow("WSGI", "Traceback", r"^  File|^    ")
    assert server.get("/raise").text == "instead of it"


# --- who may use which group ----------------------------------------------------------------------

GROUPS = """
WSGIDaemonProcess everywhere threads=1
Listen 127.0.0.1:${PORT2}
WSGIScriptAlias /everywhere ${ROOT}/app.py process-group=everywhere application-group=%{GLOBAL}
<Location /chosen>
    WSGIProcessGroup %{ENV:GROUP}
</Location>
WSGIScriptAlias /chosen ${ROOT}/app.py
SetEnvIf Request_URI ^/chosen/(.*)$ GROUP=$1
<VirtualHost *>
    ServerName one
    WSGIDaemonProcess here threads=1
</VirtualHost>
<VirtualHost *:${PORT2}>
    ServerName one
</VirtualHost>
<VirtualHost *>
    ServerName two
</VirtualHost>
"""


def test_a_group_of_a_virtual_host_is_for_hosts_of_the_same_name(start, env):
    server = start(text=GROUPS, modules=("setenvif",))
    for host in ("one", "two"):
        assert server.get("/everywhere/", host=host).status == 200
    assert server.get("/chosen/here", host="one").status == 200
    assert server.get("/chosen/here", host="two").status == 500
    server.log.expect("WSGI0152: .*WSGI daemon process 'here' belongs to another virtual host")
    # The same name at another port.
    assert Client(server.port2).get("/chosen/here", host="one").status == 200
    assert server.get("/chosen/absent").status == 500
    server.log.expect("WSGI0151: .*no WSGI daemon process called 'absent' has been configured")
    assert server.get("/chosen/heer").status == 500
    if not env.oracle:
        server.log.expect(r"WSGI0151: .* called 'heer' .* \(did you mean \"here\"\?\)")


def test_two_groups_of_one_name_are_refused(servers, mpm):
    server = servers.make(conf(text="WSGIDaemonProcess site\n"), mpm, "embedded")
    accepted, printed = server.configtest()
    assert not accepted
    assert "site" in printed


def test_an_alias_cannot_name_a_group_of_another_virtual_host(servers, mpm):
    text = """
    <VirtualHost *>
        ServerName one
        WSGIDaemonProcess here
    </VirtualHost>
    <VirtualHost *>
        ServerName two
        WSGIScriptAlias /here ${ROOT}/app.py process-group=here application-group=x
    </VirtualHost>
    """
    accepted, printed = servers.make(conf(text=text), mpm, "embedded").configtest()
    assert not accepted
    assert "here" in printed


def test_wsgirestrictprocess_names_the_groups_that_may_be_chosen(start):
    text = """
    WSGIDaemonProcess other threads=1
    <Location /chosen>
        WSGIProcessGroup %{ENV:GROUP}
        WSGIRestrictProcess site
    </Location>
    SetEnvIf Request_URI ^/chosen/(.*)$ GROUP=$1
    WSGIScriptAlias /chosen ${ROOT}/app.py
    """
    server = start(text=text, modules=("setenvif",))
    assert server.get("/chosen/site").status == 200
    refused = server.get("/chosen/other")
    assert refused.status == 500
    assert server.log.find("other")
    server.log.allow("WSGI01", "other")


def test_process_group_of_an_alias_beats_the_directive(start):
    text = """
    WSGIDaemonProcess other threads=1
    WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
    <Location />
        WSGIProcessGroup site
    </Location>
    """
    server = start(text=text)
    name = "__import__('mod_wsgi').process_group"
    assert daemons.evaluate(server, name) == "site"
    assert daemons.evaluate(server, name, "/other") == "other"


def test_wsgiignoreactivity_does_not_count_as_activity(start):
    text = "<Location /health>\n    WSGIIgnoreActivity On\n</Location>\n"
    server = start("threads=2 inactivity-timeout=2", text=text)
    first = daemons.pid_of(server.get("/"))
    deadline = time.monotonic() + 6
    while (pid := daemons.pid_of(server.get("/health"))) == first and time.monotonic() < deadline:
        daemons.pause(0.2)
    assert pid != first
    server.log.wait_for(r"replacing worker \d+: no request came")


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_replaces_a_worker(start, signum):
    server = start("processes=1 threads=2")
    first = daemons.pid_of(server.get("/"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, f"/sleep?for=0.5&note={server.root}/out/note", b"")
        daemons.wait_for_notes(server)
        os.kill(first, signum)
        wait_until(lambda: daemons.pid_of(server.get("/")) != first, "another worker")
        # What it had is finished.
        assert asked.result().status == 200
    wait_until(lambda: not daemons.is_alive(first), "the first to leave")
    server.log.wait_for(f"replacing worker {first}:")


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE])
@pytest.mark.parametrize("whom", ["worker", "manager"])
def test_ignored_signals_end_no_process(start, signum, whom):
    server = start("processes=1 threads=2")
    first = daemons.pid_of(server.get("/"))
    manager = daemons.manager(server)
    os.kill(first if whom == "worker" else manager, signum)
    daemons.pause(0.2)
    assert daemons.pid_of(server.get("/")) == first
    assert daemons.manager(server) == manager


def test_an_application_that_interrupts_itself_gets_a_fresh_process(start):
    """The documented way to have one: os.kill(os.getpid(), signal.SIGINT)."""
    server = start("processes=1 threads=2")
    first = daemons.pid_of(server.get(f"/signal?number={int(signal.SIGINT)}"))
    wait_until(lambda: daemons.pid_of(server.get("/")) != first, "another worker")


def test_a_process_an_application_forks_is_not_the_worker(start):
    """Its signals are its own, and its end is not the worker's."""
    server = start("processes=1 threads=2")
    first = daemons.pid_of(server.get("/"))
    what = (
        "(lambda p: __import__('subprocess').run(['kill','-TERM',str(p.pid)]) and p.wait())"
        "(__import__('subprocess').Popen(['sleep','60']))"
    )
    assert daemons.evaluate(server, what) == -signal.SIGTERM
    status = daemons.evaluate(
        server,
        "__import__('os').waitpid(__import__('os').fork() or __import__('os')._exit(5), 0)[1]",
    )
    assert os.waitstatus_to_exitcode(status) == 5
    assert daemons.pid_of(server.get("/")) == first
