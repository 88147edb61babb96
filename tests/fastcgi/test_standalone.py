"""The program wsgi-daemon on its own: no Apache, a small FastCGI client, and nginx."""

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import daemons, frontends, namespaces
from harness import fastcgi_client as fastcgi
from harness.daemons import is_alive
from harness.httpd import wait_until
from harness.standalone import APPLICATION, PROGRAM

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")


def test_an_application_is_served_at_every_path(daemon):
    daemon.start()
    environ = daemon.json("/some/path?a=b", HTTP_X_THING="yes", HTTP_PROXY="evil")["environ"]
    assert environ["PATH_INFO"] == "/some/path"
    assert environ["QUERY_STRING"] == "a=b"
    assert environ["HTTP_X_THING"] == "yes"
    assert "HTTP_PROXY" not in environ
    assert environ["wsgi.url_scheme"] == "http"
    assert daemon.json(HTTPS="on")["environ"]["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize("size", [1, 65535, 65536, 3_000_000])
def test_a_request_body_arrives_whole(daemon, size):
    daemon.start()
    assert daemon.json(method="POST", body=b"x" * size)["body"] == size


def test_connection_is_reused_after_an_unread_body(daemon):
    daemon.start("--threads", "1")
    with fastcgi.connection(daemon.socket) as connection:
        for _ in range(3):
            assert connection.get(keep=True).status == 200
            answer = connection.get("/stream", method="POST", body=b"x" * 100_000, keep=True)
            assert answer.body == b"0,1,2,"
        assert connection.get(keep=False).status == 200
        assert connection.ended()


def test_web_server_may_request_the_values_of_the_daemon(daemon):
    daemon.start("--threads", "3")
    with fastcgi.connection(daemon.socket) as connection:
        asked = fastcgi.pairs({"FCGI_MAX_CONNS": "", "FCGI_MPXS_CONNS": ""})
        connection.send(fastcgi.record(fastcgi.GET_VALUES, asked, 0))
        kind, content = connection.record()
        assert kind == fastcgi.GET_VALUES_RESULT
        assert content == fastcgi.pairs({"FCGI_MAX_CONNS": "3", "FCGI_MPXS_CONNS": "0"})


def test_no_slow_request_waits_while_another_thread_or_process_is_idle(daemon):
    daemon.start("--processes", "2", "--threads", "3")
    wait_until(lambda: len({daemon.json()["pid"] for _ in range(20)}) == 2, "both workers")
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: daemon.get("/meet?6"), range(6)))
    assert [answer.status for answer in answers] == [200] * 6


def test_kept_connection_is_served_by_any_thread(daemon):
    daemon.start("--threads", "2")
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(fastcgi.connection(daemon.socket)) for _ in range(8)]
        for connection in kept:
            assert connection.get(keep=True).status == 200
        kept[0].send(fastcgi.request("/meet?2", keep=True))
        for connection in kept[1:]:
            assert connection.get(keep=True).status == 200
        # The first one waits for this one, and has had no answer before.
        assert kept[1].get("/meet?2", keep=True).status == 200
        assert kept[0].answer().status == 200


def test_a_worker_that_is_killed_is_replaced_and_its_request_named(daemon):
    daemon.start()
    before = daemon.json()["pid"]
    assert not daemon.get("/die").complete
    assert daemon.json()["pid"] != before
    # The thread of the request before may not be done with it yet, and is named as well.
    line = re.compile("was killed by signal 9 while serving (GET /, )?GET /die")
    wait_until(lambda: line.search(daemon.log()), "the line")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    assert daemon.get().status == 200


NO_NAMESPACES = namespaces.missing("mount")
# A command that has another list of users than the rest of the machine.
WITH_USERS = 'mount --bind "$1" /etc/passwd && shift && export HOME=/ && exec "$@"'


@pytest.mark.skipif(NO_NAMESPACES is not None, reason=str(NO_NAMESPACES))
def test_process_that_looks_up_the_user_is_no_worker(daemon):
    """Nothing of its own tells it from one, where a single program manages and serves."""
    users = daemon.root / "users"
    os.mkfifo(users)
    daemon.start(before=["unshare", "--mount", "sh", "-c", WITH_USERS, "sh", users])
    try:
        manager = daemon.process.pid
        (lookup,) = wait_until(lambda: daemons.children(manager), "the look-up")
        assert daemon.workers() == []
    finally:
        # For reading as well: it waits for no reader.
        with open(os.open(users, os.O_RDWR), "wb", buffering=0) as file:
            file.write(b"root:x:0:0:root:/:/bin/sh\n")
    (worker,) = wait_until(daemon.workers, "the worker")
    assert worker != lookup
    assert daemon.json()["pid"] == worker


def test_an_application_that_interrupts_itself_gets_a_fresh_process(daemon):
    daemon.start()
    before = daemon.json("/interrupt")["pid"]
    wait_until(lambda: daemon.json()["pid"] != before, "another process")


def test_sigterm_ends_every_process_and_removes_the_socket(daemon):
    daemon.start("--processes", "2")
    assert daemon.get().status == 200
    workers = wait_until(lambda: len(daemon.workers()) == 2 and daemon.workers(), "two workers")
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0
    assert not daemon.socket.exists()
    assert [pid for pid in workers if is_alive(pid)] == []


def test_no_worker_outlives_a_manager_that_was_killed(daemon):
    daemon.start("--processes", "2")
    assert daemon.get().status == 200
    workers = wait_until(lambda: len(daemon.workers()) == 2 and daemon.workers(), "two workers")
    daemon.process.kill()
    daemon.process.wait()
    wait_until(lambda: not any(map(is_alive, workers)), "the workers to leave")
    # A socket file that was left does not keep the next one from starting.
    daemon.start()
    wait_until(lambda: _answers(daemon), "an answer")


def test_daemon_starts_again_while_a_worker_of_a_killed_manager_finishes_a_request(daemon):
    daemon.start()
    with fastcgi.connection(daemon.socket) as connection:
        # It waits for another one like it.
        connection.send(fastcgi.request("/meet?2"))
        here = daemon.script.with_name("site.py.met")
        wait_until(lambda: here.exists() and here.read_text(), "the request to begin")
        (before,) = daemon.workers()
        daemon.process.kill()
        daemon.process.wait()
        wait_until(lambda: _is_refused(daemon), "the socket to be given up")
        daemon.start()
        answer = wait_until(lambda: _answers(daemon) and daemon.json(), "an answer")
        assert answer["pid"] != before
        assert is_alive(before)
        here.write_text("here\nhere\n")
        assert connection.answer().status == 200


def _is_refused(daemon):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(daemon.socket)) == errno.ECONNREFUSED


def _answers(daemon):
    with contextlib.suppress(OSError):
        return daemon.get().status == 200
    return False


class Load:
    """Clients that ask without a pause, each on kept connections, as a web server does."""

    def __init__(self, daemon, clients=4):
        self.daemon, self.failed, self.sent, self.slowest = daemon, [], 0, 0.0
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def _ask(self):
        connection = None
        while not self.stopped.is_set():
            began = time.monotonic()
            answer = None
            if connection:
                # Refused, or closed before a byte came: asked again elsewhere.
                with contextlib.suppress(OSError):
                    answer = connection.get("/slow?0.005", keep=True)
                if answer is None or not (answer.complete or answer.head):
                    connection.close()
                    answer = connection = None
            if answer is None:
                connection = fastcgi.Connection(self.daemon.socket)
                answer = connection.get("/slow?0.005", keep=True)
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            if not answer.complete or answer.status != 200:
                self.failed.append(answer)
        if connection:
            connection.close()


def test_a_changed_script_replaces_the_workers_and_no_request_fails(daemon):
    daemon.start("--processes", "2")
    assert daemon.json()["version"] == 1
    with Load(daemon) as load:
        for version in (2, 3, 4):
            daemon.script.write_text(APPLICATION.replace("VERSION = 1", f"VERSION = {version}"))
            seen = wait_until(
                lambda v=version: {daemon.json()["version"] for _ in range(8)} == {v},
                f"version {version} alone",
            )
            assert seen
    assert load.sent > 50
    assert load.failed == []


def test_a_changed_script_that_does_not_load_leaves_the_old_one_serving(daemon):
    daemon.start("--log-level", "6")
    before = daemon.json()["pid"]
    daemon.script.write_text("raise RuntimeError('half a deploy')")
    line = "keeping the current workers and their code"
    wait_until(lambda: daemon.json()["pid"] == before and line in daemon.log(), "the error line")
    daemon.script.write_text(APPLICATION.replace("VERSION = 1", "VERSION = 2"))
    wait_until(lambda: daemon.json()["version"] == 2, "the mended version")


def test_failed_replacement_gets_no_requests(daemon):
    daemon.start("--log-level", "6")
    before = daemon.json()["pid"]
    broken = "import time\ntime.sleep(0.5)\nraise RuntimeError('half a deploy')"
    fresh = daemon.root / "fresh.py"
    fresh.write_text(broken)
    fresh.replace(daemon.script)
    wait_until(lambda: daemon.json() and len(daemon.workers()) == 2, "a replacement")
    manager = daemon.process.pid
    daemons.freeze(manager)
    try:
        # As its predecessor's script, and as the group's own.
        wait_until(lambda: daemon.log().count("RuntimeError: half a deploy") == 2, "the failure")
        time.sleep(0.3)
        answers = [daemon.get() for _ in range(40)]
    finally:
        os.kill(manager, signal.SIGCONT)
    assert {json.loads(answer.body)["pid"] for answer in answers} == {before}
    text = "keeping the current workers and their code"
    wait_until(lambda: text in daemon.log(), "the workers to be kept")
    wait_until(lambda: daemon.workers() == [before], "the replacement to leave")


def test_sigusr1_replaces_every_worker_and_no_request_fails(daemon):
    daemon.start("--processes", "2")
    assert daemon.get().status == 200
    with Load(daemon) as load:
        for _ in range(3):
            old = set(wait_until(lambda: len(daemon.workers()) == 2 and daemon.workers(), "two"))
            daemon.process.send_signal(signal.SIGUSR1)
            wait_until(lambda o=old: not o & set(daemon.workers()), "the old workers to leave")
    assert load.failed == []


def test_requests_in_flight_finish_when_the_daemon_stops(daemon):
    daemon.start()
    with fastcgi.connection(daemon.socket) as connection:
        assert connection.get(keep=True).status == 200
        connection.send(fastcgi.request("/slow?0.5", keep=True))
        daemon.wait_until_slow()
        daemon.process.terminate()
        assert connection.answer().status == 200
        assert connection.ended()
    assert daemon.process.wait(15) == 0


def test_a_worker_is_replaced_after_maximum_requests(daemon):
    daemon.start("--maximum-requests", "5")
    answers = [daemon.get() for _ in range(60)]
    assert all(answer.status == 200 for answer in answers)
    wait_until(lambda: len({daemon.json()["pid"] for _ in range(20)}) > 1, "another worker")


def test_a_request_that_takes_too_long_has_its_worker_replaced(daemon):
    daemon.start(
        "--threads", "1", "--request-timeout", "1", "--graceful-timeout", "1", "--log-level", "6"
    )
    before = daemon.json()["pid"]
    # The worker answers in the place of the thread that cannot.
    assert daemon.get("/slow?30").status == 504
    assert daemon.json()["pid"] != before
    line = "GET /slow?30 takes longer than request-timeout"
    wait_until(lambda: line in daemon.log(), "the line")


def test_log_goes_to_the_stderr_stream_of_the_requester(daemon):
    daemon.start()
    assert b"a line for the log\n" in daemon.get("/log").stderr
    answer = daemon.get("/log", MOD_WSGI_RS_LOG="1")
    assert answer.stderr == b""
    assert [level for level, line in answer.logs if line.endswith(b"a line for the log")] == [3]


@pytest.mark.parametrize("options", [(), ("--front", "haproxy")])
def test_log_of_requests_from_haproxy_is_the_daemons_own(daemon, options):
    """HAProxy up to 2.6.12 crashes at a line for its log."""
    daemon.start(*options)
    software = "HAProxy 2.6.12-1+deb12u4" if not options else "unknown"
    answer = daemon.get("/log", SERVER_SOFTWARE=software)
    assert (answer.status, answer.stderr) == (200, b"")
    wait_until(lambda: "a line for the log\n" in daemon.log(), "the line")
    assert (daemon.get("/raise", SERVER_SOFTWARE=software).stderr) == b""
    wait_until(lambda: "RuntimeError: on purpose" in daemon.log(), "the traceback")


def test_no_param_of_a_request_over_a_unix_socket_chooses_code(daemon):
    evil = daemon.root / "evil.py"
    evil.write_text("open(__file__ + '.ran', 'w').close()\nraise SystemExit")
    daemon.start()
    environ = daemon.json(
        SCRIPT_FILENAME=str(evil),
        **{
            "mod_wsgi.x-script": str(evil),
            "mod_wsgi.callable_object": "evil",
            "mod_wsgi.application_group": "evil",
            "mod_wsgi.x-modified": "1 1 1",
        },
    )["environ"]
    assert environ["mod_wsgi.callable_object"] == "application"
    assert environ["mod_wsgi.application_group"] == ""
    assert not Path(f"{evil}.ran").exists()
    # A client's headers come by names of their own.
    environ = daemon.json(**{"HTTP_MOD_WSGI_X_SCRIPT": str(evil)})["environ"]
    assert environ["HTTP_MOD_WSGI_X_SCRIPT"] == str(evil)


def test_descriptor_passing_is_negotiated(daemon):
    daemon.start()
    content = os.urandom(300_000)
    path = daemon.root / "content"
    path.write_bytes(content)
    assert daemon.get(f"/file?{path}").body == content
    answer = daemon.get(f"/file?{path}", MOD_WSGI_RS_FILE="1")
    assert (answer.body, answer.spans, len(answer.files)) == (b"", [(0, 300_000)], 1)
    assert os.pread(answer.files[0], 300_000, 0) == content
    os.close(answer.files[0])


def test_head_has_no_body_and_a_short_answer_does_not_look_complete(daemon):
    daemon.start()
    answer = daemon.get(method="HEAD")
    assert (answer.body, answer.app_status) == (b"", 0)
    assert int(answer.head["content-length"]) > 0
    answer = daemon.get("/short")
    assert (answer.body, answer.app_status) == (b"short", 1)


def test_an_exception_is_a_500_and_a_status_for_the_module(daemon):
    daemon.start()
    assert daemon.get("/raise").status == 500
    answer = daemon.get("/raise", **{"mod_wsgi.x-script": "/nowhere"})
    assert (answer.head, answer.app_status) == ({}, 500)


def test_a_head_that_cannot_be_sent_is_a_500_and_a_status_for_the_module(daemon):
    daemon.start()
    answer = daemon.get("/header?X(y")
    assert answer.status == 500
    assert b'the response cannot be sent: invalid header name "X(y"' in answer.stderr
    answer = daemon.get("/header?X(y", **{"mod_wsgi.x-script": "/nowhere"})
    assert (answer.head, answer.app_status) == ({}, 500)


def test_status_header_of_the_application_is_dropped_for_other_web_servers(daemon):
    daemon.start()
    answer = daemon.get("/header?sTatus")
    assert (answer.status, answer.body) == (200, b"fine")
    assert answer.head["x-other"] == "kept"
    assert "value" not in answer.head.values()
    assert b'a header of the response is left out: "sTatus"' in answer.stderr


@pytest.fixture
def listening(daemon):
    """listening() makes a listening socket whose descriptor can be inherited."""
    with contextlib.ExitStack() as stack:

        def listening(name="site.sock"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(daemon.root / name))
            listener.listen()
            return listener

        yield listening


def test_a_group_runs_from_inherited_descriptors_and_ends_with_its_parent(daemon, listening):
    listeners = [listening(), listening("second.sock")]
    ours, theirs = os.pipe()
    alive, parent = os.pipe()
    sockets = [listener.fileno() for listener in listeners]
    config = {
        "name": "site",
        "processes": {"least": 1, "most": 2, "given": True},
        "threads": 2,
        "descriptors": {"worker_sockets": sockets, "parent": alive, "ready": theirs},
        "allowed_uids": [os.geteuid()],
        "import_scripts": [{"path": str(daemon.script), "application_group": "a"}],
    }
    daemon.start_with(config, fds=[*sockets, alive, theirs])
    os.close(theirs)
    os.close(alive)
    with open(ours) as ready:
        assert ready.read() == "ready\n"
    params = {"mod_wsgi.x-script": str(daemon.script), "mod_wsgi.application_group": "a"}
    environ = daemon.json(**params)["environ"]
    assert environ["mod_wsgi.process_group"] == "site"
    assert environ["mod_wsgi.application_group"] == "a"
    assert not [name for name in environ if name.startswith("mod_wsgi.x-")]
    # The second worker is started by the first connection to its socket.
    assert len(daemon.workers()) == 1
    answer = fastcgi.get(daemon.root / "second.sock", **params)
    assert answer.status == 200
    workers = daemon.workers()
    assert len(workers) == 2
    os.close(parent)
    assert daemon.process.wait(15) == 0
    assert [pid for pid in workers if is_alive(pid)] == []


def test_forbidden_user_is_refused(daemon, listening):
    listener = listening()
    config = {
        "descriptors": {"shared_socket": listener.fileno()},
        "allowed_uids": [os.geteuid() + 1],
    }
    daemon.start_with(config, fds=[listener.fileno()])
    assert not daemon.get(SCRIPT_FILENAME=str(daemon.script)).complete
    wait_until(lambda: "is not allowed to connect" in daemon.log(), "the line")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threads", "many"], "--threads needs a number, not 'many'"),
        (["--config-fd", "77"], "cannot read the configuration from descriptor 77"),
        ([], "--application is missing"),
    ],
)
def test_a_wrong_command_line_is_refused_in_a_sentence(arguments, sentence):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_run_as_the_user_that_was_asked_for(daemon):
    daemon.root.chmod(0o755)
    daemon.start("--user", "nobody", "--umask", "027", "--socket-mode", "660")
    assert daemon.get().status == 200
    status = Path(f"/proc/{daemon.workers()[0]}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"65534"}
    assert set(fields["Gid"].split()) == {"65534"}
    assert fields["Umask"] == "0027"
    assert daemon.socket.stat().st_mode & 0o777 == 0o660
    # The directory is root's: what the daemon's user cannot remove is removed here.
    daemon.stop()


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_serves_an_application(daemon):
    daemon.start("--processes", "2")
    daemon.socket.chmod(0o666)
    daemon.root.chmod(0o755)
    with frontends.nginx(daemon.root, daemon.socket) as client:
        environ = client.get("/a/b?c").json()["environ"]
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a/b")
        assert environ["QUERY_STRING"] == "c"
        assert client.post("/", b"x" * 200_000).json()["body"] == 200_000
        assert client.request("HEAD", "/").body == b""
        assert client.get("/raise").status == 500
        assert client.get("/short").truncated
        assert all(client.get("/").status == 200 for _ in range(50))


GROWING = """
import errno, os, resource, tempfile

def application(environ, start_response):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    try:
        with tempfile.TemporaryFile() as file:
            for _ in range(2):
                os.write(file.fileno(), b"x" * 1000)
        result = "done"
    except OSError as why:
        result = errno.errorcode[why.errno]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    start_response("200 OK", [])
    return [result.encode()]
"""


def test_file_beyond_its_limit_is_an_oserror_in_the_program_that_is_linked_to_python(daemon):
    """It ignores SIGXFSZ itself, as `python3` does."""
    daemon.script.write_text(GROWING)
    daemon.start()
    assert daemon.get("/").body == b"EFBIG"
