"""Health and drain of a daemon run by hand: what load balancers, probes and preStop hooks see."""

import contextlib
import http.client
import itertools
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import daemons
from harness import fastcgi_client as fastcgi
from harness.httpd import free_ports, ports_locked, wait_until
from harness.standalone import PROGRAM
from harness.unix_http import UnixClient

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")


def asked(connection, path, method="GET"):
    """Status and text of an answer over HTTP."""
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


class Site:
    """A daemon at a port, with admin sockets: a file and another port."""

    def __init__(self, daemon, *options):
        self.daemon, self.admin = daemon, daemon.root / "admin"
        with ports_locked():
            self.port, self.admin_port = free_ports(2)
            more = ["--admin", f"unix:{self.admin}", "--admin", f"tcp:127.0.0.1:{self.admin_port}"]
            daemon.start_at(f"tcp:127.0.0.1:{self.port}", options=[*more, *options])
            wait_until(lambda: self.says("/-/ready") == (200, "ready\n"), "the daemon to be ready")
        self.address = ("127.0.0.1", self.port)

    def says(self, path, method="GET"):
        with contextlib.suppress(OSError):
            return asked(UnixClient(self.admin), path, method)
        return None

    def says_over_tcp(self, path, method="GET"):
        return asked(http.client.HTTPConnection("127.0.0.1", self.admin_port, 20), path, method)

    def says_over_fastcgi(self, path, address=None, **options):
        answer = fastcgi.get(address or self.admin, path, **options)
        return answer.status, answer.body.decode()

    def is_open(self):
        with socket.socket() as client:
            return client.connect_ex(self.address) == 0

    def drain(self, *options):
        """Runs `--drain`."""
        command = [PROGRAM, "--drain", f"unix:{self.admin}", *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def site(daemon):
    return lambda *options: Site(daemon, *options)


def test_admin_sockets_speak_http_and_fastcgi(site):
    it = site()
    admin_port = ("127.0.0.1", it.admin_port)
    assert it.says("/-/healthy") == (200, "healthy\n")
    assert it.says("/-/ready?a=b") == (200, "ready\n")
    assert it.says("/-/ready", "HEAD") == (200, "")
    assert it.says("/-/ready", "OPTIONS") == (200, "ready\n")
    assert it.says("/other")[0] == 404
    assert it.says_over_tcp("/-/healthy") == (200, "healthy\n")
    for address in (it.admin, admin_port):
        assert it.says_over_fastcgi("/-/healthy", address) == (200, "healthy\n")
        assert it.says_over_fastcgi("/other", address)[0] == 404
        assert it.says_over_fastcgi("/-/ready", address, method="HEAD") == (200, "")
        as_nginx = {"SCRIPT_NAME": "/-/ready", "PATH_INFO": None}
        assert it.says_over_fastcgi("/", address, **as_nginx) == (200, "ready\n")
        with fastcgi.connection(address) as kept:
            for _ in range(3):
                assert kept.get("/-/healthy", keep=True).status == 200
    # In pieces, as a slow network brings them.
    with fastcgi.connection(it.admin) as slow:
        for byte in fastcgi.request("/-/ready"):
            slow.send(bytes([byte]))
        assert slow.answer().status == 200


def test_manager_tells_metrics_at_each_admin_socket(site):
    it = site("--processes", "2")
    texts = [it.says("/-/metrics"), it.says_over_tcp("/-/metrics")]
    for address in (it.admin, ("127.0.0.1", it.admin_port)):
        texts.append(it.says_over_fastcgi("/-/metrics", address))
        assert it.says_over_fastcgi("/-/metrics", address, method="HEAD") == (200, "")
        as_nginx = {"SCRIPT_NAME": "/-/metrics", "PATH_INFO": None}
        assert it.says_over_fastcgi("/", address, **as_nginx)[0] == 200
        accept = {"HTTP_ACCEPT": "application/openmetrics-text"}
        assert it.says_over_fastcgi("/-/metrics", address, **accept)[1].endswith("# EOF\n")
    for status, text in texts:
        assert status == 200
        assert re.search(r"^wsgi_uptime_seconds \d", text, re.MULTILINE)
        assert re.search(r'^wsgi_threads\{group="[^"]*"\} \d+$', text, re.MULTILINE)
        assert len(re.findall(r"^wsgi_process_resident_memory_bytes\{", text, re.MULTILINE)) == 2
        # Only Apache counts requests.
        assert "wsgi_requests" not in text
        assert "wsgi_queue_depth" not in text
    assert it.says("/-/metrics", "HEAD") == (200, "")
    assert it.says("/-/metrics", "POST")[0] == 405
    checked = [it.says("/-/metrics")[1]] if shutil.which("promtool") else []
    for text in checked:
        words = ["promtool", "check", "metrics"]
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("secret", [False, True])
def test_workers_answer_for_health_at_the_socket_of_the_requests(site, daemon, secret):
    options = []
    if secret:
        (daemon.root / "secret").write_text("a secret of this test")
        options = ["--secret-file", str(daemon.root / "secret")]
    it = site(*options)
    # Checks of load balancers cannot have the secret; requests have to.
    assert fastcgi.get(it.address).complete is not secret
    for path in ("/-/healthy", "/-/ready"):
        assert it.says_over_fastcgi(path, it.address) == (200, "OK")
    assert it.says_over_fastcgi("/-/ready", it.address, method="HEAD") == (200, "")


def says_in_http(it, path, method="GET"):
    """The same at the port for requests of FastCGI, as mod_proxy_hcheck asks there."""
    return asked(http.client.HTTPConnection("127.0.0.1", it.port, 20), path, method)


@pytest.mark.parametrize("secret", [False, True])
def test_workers_answer_for_health_in_http_at_the_port_of_the_requests(site, daemon, secret):
    options = []
    if secret:
        (daemon.root / "secret").write_text("a secret of this test")
        options = ["--secret-file", str(daemon.root / "secret")]
    it = site("--drain-delay", "60", *options)
    assert says_in_http(it, "/-/healthy") == (200, "healthy\n")
    assert says_in_http(it, "/-/ready?a=b") == (200, "ready\n")
    assert says_in_http(it, "/-/ready", "HEAD") == (200, "")
    assert says_in_http(it, "/-/ready", "OPTIONS") == (200, "ready\n")
    with socket.create_connection(it.address, 20) as old:
        old.sendall(b"GET /-/ready HTTP/1.0\r\nHost: a\r\n\r\n")
        assert b"".join(iter(lambda: old.recv(4096), b"")).endswith(b"\r\n\r\nready\n")
    # In pieces, as some load balancers send it.
    with socket.create_connection(it.address, 20) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"GET /-/re", b"ady HTTP/1.0\r\n", b"Host: a\r\n", b"\r\n"):
            slow.sendall(piece)
            time.sleep(0.2)
        assert b"".join(iter(lambda: slow.recv(4096), b"")).endswith(b"\r\n\r\nready\n")
    daemon.process.terminate()
    wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "not ready")
    assert says_in_http(it, "/-/ready") == (503, "draining\n")
    assert says_in_http(it, "/-/healthy") == (200, "healthy\n")
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0


@pytest.mark.parametrize("probes", ["on", "off"])
def test_nothing_but_health_is_answered_in_http(site, probes):
    it = site("--probes", probes)
    wrong = [("GET", "/"), ("POST", "/-/ready"), ("GET", "/-/drain"), ("GET", "/-/ready/x")]
    for method, path in [*wrong, *([("GET", "/-/ready")] if probes == "off" else [])]:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            says_in_http(it, path, method)
    assert fastcgi.get(it.address, "/").status == 200


def test_paths_of_health_are_the_applications_with_probes_off(site):
    it = site("--probes", "off")
    answer = fastcgi.get(it.address, "/-/ready")
    assert json.loads(answer.body)["environ"]["PATH_INFO"] == "/-/ready"


def test_admin_sockets_answer_while_every_thread_is_busy_and_every_worker_stands_still(
    site, daemon
):
    it = site("--threads", "1")
    with fastcgi.connection(it.address) as busy:
        busy.send(fastcgi.request("/slow?2"))
        daemon.wait_until_slow()
        for worker in daemon.workers():
            daemons.freeze(worker)
        try:
            began = time.monotonic()
            assert it.says("/-/ready") == (200, "ready\n")
            assert it.says_over_fastcgi("/-/healthy") == (200, "healthy\n")
            assert time.monotonic() - began < 1
        finally:
            for worker in daemon.workers():
                os.kill(worker, signal.SIGCONT)
        assert busy.answer().status == 200


def test_clients_that_say_nothing_keep_no_other_one_from_the_admin_socket(site):
    it = site()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(it.admin))
        assert it.says("/-/healthy") == (200, "healthy\n")


def test_term_is_announced_before_the_port_closes(site, daemon):
    it = site("--drain-delay", "5", "--log-level", "6")
    with fastcgi.connection(it.address) as kept:
        assert kept.get(keep=True).status == 200
        daemon.process.terminate()
        wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the announcement")
        began = time.monotonic()
        # Healthy, not ready, and still serving: on kept connections and on new ones.
        assert it.says("/-/healthy") == (200, "healthy\n")
        assert it.says_over_fastcgi("/-/ready", it.address) == (503, "Service Unavailable")
        assert fastcgi.get(it.address, "/-/ready").head["retry-after"] == "1"
        assert kept.get(keep=True).status == 200
        assert fastcgi.get(it.address).status == 200
        assert time.monotonic() - began < 4.5
        # A request that begins before the port closes is finished.
        kept.send(fastcgi.request("/slow?8", keep=True))
        wait_until(lambda: not it.is_open(), "the port to close")
        assert 0.5 < time.monotonic() - began < 15
        assert kept.answer().status == 200
    assert daemon.process.wait(15) == 0
    assert "draining: not ready from now on, stopping in 5 s" in daemon.log()


def test_second_term_stops_without_the_delay(site, daemon):
    it = site("--drain-delay", "60")
    daemon.process.terminate()
    wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the announcement")
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0


def test_request_beyond_the_shutdown_timeout_gets_a_503_that_says_when_to_come_again(site, daemon):
    it = site("--shutdown-timeout", "1")
    with fastcgi.connection(it.address) as busy:
        busy.send(fastcgi.request("/slow?60"))
        daemon.wait_until_slow()
        daemon.process.terminate()
        answer = busy.answer()
    assert (answer.status, answer.head["retry-after"]) == (503, "1")
    assert daemon.process.wait(15) == 0


def test_connections_that_wait_when_the_daemon_stops_are_served(site, daemon):
    it = site("--threads", "2")
    (worker,) = daemon.workers()
    daemons.freeze(worker)
    with contextlib.ExitStack() as stack:
        try:
            waiting = [stack.enter_context(fastcgi.connection(it.address)) for _ in range(20)]
            for one in waiting:
                one.send(fastcgi.request("/", method="POST", body=b"x"))
            daemon.process.terminate()
            wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the signal")
        finally:
            os.kill(worker, signal.SIGCONT)
        assert [one.answer().status for one in waiting] == [200] * 20
    assert daemon.process.wait(15) == 0


def test_drain_waits_for_requests_and_the_daemon_stays_until_term(site, daemon):
    it = site()
    with fastcgi.connection(it.address) as busy:
        busy.send(fastcgi.request("/slow?5"))
        daemon.wait_until_slow()
        command = it.drain()
        wait_until(lambda: not it.is_open(), "the port to close")
        assert command.poll() is None
        assert it.says("/-/ready") == (503, "draining\n")
        assert busy.answer().status == 200
    assert command.communicate(timeout=20) == ("", "")
    assert command.returncode == 0
    wait_until(lambda: daemon.workers() == [], "no worker")
    assert daemon.process.poll() is None
    # Once more: there is nothing to wait for.
    again = it.drain("--drain-timeout", "10")
    assert (again.communicate(timeout=20), again.returncode) == (("", ""), 0)
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0
    assert not it.admin.exists()


def test_drain_reports_the_outcome_by_its_exit_code(site, daemon):
    it = site()
    with fastcgi.connection(it.address) as busy:
        busy.send(fastcgi.request("/slow?4"))
        daemon.wait_until_slow()
        late = it.drain("--drain-timeout", "0.5")
        _, said = late.communicate(timeout=20)
        assert late.returncode == 3
        assert "requests were still being served after 0.5 s" in said
        assert busy.answer().status == 200
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0
    gone = it.drain()
    _, said = gone.communicate(timeout=20)
    assert gone.returncode == 1
    assert said.startswith("wsgi-daemon: no daemon answers at unix:")
    assert it.drain("--drain-timeout", "soon").wait(20) == 2


def test_only_a_unix_socket_takes_commands(site):
    it = site()
    assert it.says_over_tcp("/-/drain", "POST") == (403, "only over a Unix socket\n")
    assert it.says("/-/drain") == (405, "POST\n")
    assert it.says("/-/ready") == (200, "ready\n")


def test_daemon_that_drains_is_stopped_by_term_when_its_requests_are_done(site, daemon):
    it = site("--drain-delay", "1")
    command = it.drain()
    wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the announcement")
    daemon.process.terminate()
    assert command.wait(20) in (0, 1)
    assert daemon.process.wait(15) == 0


def test_load_over_a_drain_loses_nothing(site, daemon):
    """New connections for each request, as Apache and Caddy make them, until the port is closed."""
    it = site("--drain-delay", "1", "--processes", "2")
    failed, served = [], []

    def ask():
        while True:
            try:
                connection = fastcgi.Connection(it.address)
            except ConnectionRefusedError:
                return
            with contextlib.closing(connection):
                try:
                    answer = connection.get("/", method="POST", body=b"x")
                except OSError as why:
                    failed.append(why)
                    return
                (served if answer.status == 200 else failed).append(answer.status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(served) > 50, "answers")
    daemon.process.terminate()
    for thread in threads:
        thread.join(30)
    assert daemon.process.wait(15) == 0
    assert failed == []


def test_silent_clients_of_the_port_keep_no_command_from_the_unix_socket(site):
    it = site()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", it.admin_port), 20))
        assert client.fileno() >= 0
        # The silent ones have 5 s; when the first question is answered, they are accepted.
        for _ in range(3):
            began = time.monotonic()
            assert it.says("/-/ready") == (200, "ready\n")
            assert time.monotonic() - began < 3


def test_admin_port_answers_only_machines_that_are_allowed(daemon):
    it = Site(daemon, "--allow", "10.0.0.0/8")
    for _ in range(20):
        with pytest.raises(ConnectionError):
            it.says_over_tcp("/-/ready")
    line = "WSGI0248: a connection was refused: 127.0.0.1 is not allowed to connect"
    wait_until(lambda: line in daemon.log(), "the line")
    assert daemon.log().count(line) == 1
    assert it.says("/-/ready") == (200, "ready\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_only_root_and_the_daemons_user_may_drain(daemon):
    daemon.root.chmod(0o755)
    it = Site(daemon, "--socket-mode", "666")
    script = (
        "import os, socket, sys\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1])\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]))\n"
        "client.connect('admin')\n"
        "client.sendall(b'POST /-/drain HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "print(client.recv(100).split(b' ')[1].decode())\n"
    )

    def status(uid):
        command = [sys.executable, "-c", script, str(daemon.root), str(uid)]
        return subprocess.check_output(command, text=True, timeout=30).strip()

    assert status(65534) == "403"
    assert it.says("/-/ready") == (200, "ready\n")
    wait_until(lambda: "a request to drain was refused: uid 65534" in daemon.log(), "the line")
    assert status(0) == "200"


def test_client_that_waits_for_a_drain_and_sends_more_costs_no_processor(site, daemon):
    it = site("--drain-delay", "60")

    def ticks():
        words = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])

    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(it.admin))
        client.sendall(b"POST /-/drain HTTP/1.1\r\n\r\n")
        wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the announcement")
        client.sendall(b"more")
        before = ticks()
        # Questions and answers take the manager through its loop while the input is there.
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert it.says("/-/healthy") == (200, "healthy\n")
            time.sleep(0.1)
        assert ticks() - before < 0.4 * os.sysconf("SC_CLK_TCK")
        # Without an end, it is closed.
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                client.sendall(b"x" * 1000)
                time.sleep(0.001)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(15) == 0


@pytest.mark.parametrize("how", ["term", "drain"])
def test_huge_limits_are_limits(site, daemon, how):
    it = site("--drain-delay", "1e19", "--shutdown-timeout", "0")
    with fastcgi.connection(it.address) as busy:
        busy.send(fastcgi.request("/slow?2"))
        daemon.wait_until_slow()
        waiting = it.drain("--drain-timeout", "1e19") if how == "drain" else None
        if how == "term":
            daemon.process.terminate()
        wait_until(lambda: it.says("/-/ready") == (503, "draining\n"), "the announcement")
        # Without the delay; 0 is no limit.
        daemon.process.send_signal(signal.SIGINT)
        assert busy.answer().status == 200
    assert daemon.process.wait(15) == 0
    assert waiting is None or waiting.wait(20) in (0, 1)
    assert "panicked" not in daemon.log()


def test_connections_behind_a_refused_one_are_served_when_the_daemon_stops(site, daemon):
    it = site("--threads", "1", "--allow", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(fastcgi.connection(it.address))
        busy.send(fastcgi.request("/slow?2"))
        daemon.wait_until_slow()
        waiting = []
        for _ in range(20):
            other = socket.create_connection(it.address, 20, source_address=("127.0.0.2", 0))
            stack.enter_context(other)
            waiting.append(stack.enter_context(fastcgi.connection(it.address)))
            waiting[-1].send(fastcgi.request("/", method="POST", body=b"x"))
        # While the only thread is busy nothing but the stop accepts them.
        daemon.process.terminate()
        assert busy.answer().status == 200
        assert [one.answer().status for one in waiting] == [200] * 20
    assert daemon.process.wait(15) == 0


def sleeps_and_ticks(pid):
    """How often a process has slept, and how many ticks of processor time it has had."""
    status = daemons.status_of(pid)
    # Behind the name of the program: fields 14 and 15 of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(status["voluntary_ctxt_switches"]), int(fields[11]) + int(fields[12])


def test_manager_without_a_descriptor_for_an_admin_client_sleeps_until_there_is_one(site, daemon):
    it = site()
    manager = daemon.process.pid
    limits = resource.prlimit(manager, resource.RLIMIT_NOFILE)
    wait_until(lambda: not daemons.connections_below(it.admin), "the clients before to be gone")
    # The lowest free number is the one that the next client would have.
    held = {int(number) for number in os.listdir(f"/proc/{manager}/fd")}
    lowest = next(number for number in itertools.count() if number not in held)
    resource.prlimit(manager, resource.RLIMIT_NOFILE, (lowest, limits[1]))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(it.admin))
        client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        before, used = sleeps_and_ticks(manager)

        def has_slept():
            return sleeps_and_ticks(manager)[0] >= before + 20

        # It looks again every 50 ms; with a client in the queue all the time it would never sleep.
        wait_until(has_slept, "the manager to sleep 20 times", timeout=30)
        assert sleeps_and_ticks(manager)[1] - used < 20
        assert select.select([client], [], [], 0)[0] == []
        resource.prlimit(manager, resource.RLIMIT_NOFILE, limits)
        assert b" 200 " in client.recv(1000)
    assert it.says("/-/ready") == (200, "ready\n")
