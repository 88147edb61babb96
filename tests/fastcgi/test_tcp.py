"""wsgi-daemon over TCP: which machines may connect, what they may say, what connections cost."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import daemons, frontends
from harness import fastcgi_client as fastcgi
from harness.httpd import free_ports, ports_locked, wait_until
from harness.standalone import PROGRAM

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

SECRET = "a secret of this test"
# Connections, each of which needs a descriptor here and one in the worker.
PARKED = 400


def address_of(port, host="127.0.0.1"):
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"


def answers(*addresses):
    """Whether a request at each address is answered."""
    with contextlib.suppress(OSError):
        return all(fastcgi.get(address).status == 200 for address in addresses)
    return False


@pytest.fixture
def over_tcp(daemon):
    """over_tcp(options) starts the daemon at a port of this machine, whose address it returns."""

    def start(*options, env=None):
        with ports_locked():
            (port,) = free_ports(1)
            daemon.start_at(address_of(port), options=options, env={**os.environ, **(env or {})})
            wait_until(lambda: is_open(port), "the port")
        return "127.0.0.1", port

    return start


def is_open(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def refusal(daemon, *options, **env):
    """What the program prints when it does not start."""
    command = [PROGRAM, "--application", daemon.script, *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env={**os.environ, **env}, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


def test_application_is_served_at_several_addresses_at_once(daemon):
    with ports_locked():
        ports = free_ports(2)
        listen = [address_of(ports[0]), address_of(ports[1]), f"unix:{daemon.socket}"]
        daemon.start_at(*listen, options=("--processes", "2"))
        addresses = [("127.0.0.1", port) for port in ports] + [daemon.socket]
        wait_until(lambda: answers(*addresses), "answers at all addresses")
    for address in addresses:
        body = os.urandom(300_000)
        answer = fastcgi.get(address, "/a?b", method="POST", body=body)
        assert json.loads(answer.body)["body"] == len(body)
    daemon.process.terminate()
    assert daemon.process.wait(15) == 0
    assert not daemon.socket.exists()
    assert not is_open(ports[0])
    # Connections that are closing do not keep the next one from the port.
    daemon.start_at(address_of(ports[0]))
    wait_until(lambda: answers(("127.0.0.1", ports[0])), "the next one")


def test_port_that_another_process_listens_on_is_named(daemon, over_tcp):
    _, port = over_tcp()
    command = [PROGRAM, "--application", daemon.script, "--listen", address_of(port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"another process listens on tcp:127.0.0.1:{port}" in second.stderr


def test_address_that_is_open_to_other_machines_is_refused_without_a_restriction(daemon):
    admin = ("--listen", f"unix:{daemon.socket}", "--admin", "tcp:0.0.0.0:9000")
    for options in (("--listen", "tcp:0.0.0.0:9000"), admin):
        said = refusal(daemon, *options)
        assert said.startswith("wsgi-daemon: --allow is missing: other machines can connect to ")
        assert said.count("\n") == 1
    assert not daemon.socket.exists()


@pytest.mark.parametrize(
    ("options", "variables", "is_served"),
    [
        (["--allow", "127.0.0.0/8"], {}, True),
        (["--allow", "10.0.0.0/8", "--allow", "127.0.0.1"], {}, True),
        (["--allow", "10.0.0.0/8"], {}, False),
        ([], {"FCGI_WEB_SERVER_ADDRS": "10.0.0.1,127.0.0.1"}, True),
        ([], {"FCGI_WEB_SERVER_ADDRS": "10.0.0.1"}, False),
        (["--allow", "127.0.0.1"], {"FCGI_WEB_SERVER_ADDRS": "10.0.0.1"}, False),
    ],
)
def test_only_machines_that_are_allowed_may_connect(
    daemon, over_tcp, options, variables, is_served
):
    address = over_tcp(*options, env=variables)
    line = "WSGI0248: a connection was refused: 127.0.0.1 is not allowed to connect"
    if is_served:
        assert fastcgi.get(address).status == 200
        assert line not in daemon.log()
        return
    for _ in range(20):
        with pytest.raises((ConnectionError, EOFError)), fastcgi.connection(address) as connection:
            connection.send(fastcgi.request())
            connection.record()
    wait_until(lambda: line in daemon.log(), "the line")
    assert daemon.log().count(line) == 1
    assert not Path(f"{daemon.script}.begun").exists()


def test_request_over_tcp_reaches_the_application_of_the_command_line_alone(daemon, over_tcp):
    evil = daemon.root / "evil.py"
    evil.write_text("open(__file__ + '.ran', 'w').close()\nraise SystemExit")
    address = over_tcp("--log-level", "6")
    file = daemon.root / "content"
    file.write_bytes(os.urandom(100_000))
    params = {
        "SCRIPT_FILENAME": str(evil),
        "mod_wsgi.x-script": str(evil),
        "mod_wsgi.callable_object": "evil",
        "mod_wsgi.application_group": "evil",
        "mod_wsgi.x-reloading": "0",
        "mod_wsgi.x-log-level": "8",
        "mod_wsgi.x-header-only": "1",
        "mod_wsgi.queue_start": "1",
        "MOD_WSGI_RS_LOG": "1",
        "MOD_WSGI_RS_FILE": "1",
        "PHP_VALUE": f"auto_prepend_file = {evil}",
    }
    with fastcgi.connection(address) as connection:
        answer = connection.get(keep=True, **params)
        environ = json.loads(answer.body)["environ"]
        assert environ["mod_wsgi.callable_object"] == "application"
        assert environ["mod_wsgi.application_group"] == ""
        # No private record comes, and no descriptor: the file arrives as bytes.
        answer = connection.get(f"/file?{file}", keep=True, **params)
        assert (answer.body, answer.spans) == (file.read_bytes(), [])
        answer = connection.get("/log", keep=True, **params)
        assert answer.logs == []
        assert answer.stderr.endswith(b"a line for the log\n")
        # An error is a response: the Apache module alone gets a status in its place.
        assert connection.get("/raise", keep=True, **params).status == 500
    assert not Path(f"{evil}.ran").exists()


def test_request_needs_the_secret_of_the_file(daemon, over_tcp):
    secret = daemon.root / "secret"
    secret.write_text(f"{SECRET}\n")
    address = over_tcp("--secret-file", secret)
    answer = fastcgi.get(address, MOD_WSGI_RS_SECRET=SECRET)
    assert answer.status == 200
    assert SECRET not in answer.body.decode()
    for wrong in ({}, {"MOD_WSGI_RS_SECRET": SECRET[:-1]}, {"HTTP_MOD_WSGI_RS_SECRET": SECRET}):
        assert not fastcgi.get(address, **wrong).complete
    # One line a minute, however many there are.
    line = "rejected a request without the group's secret, which 127.0.0.1 has sent"
    wait_until(lambda: line in daemon.log(), "the line")
    assert daemon.log().count(line) == 1
    cmdline = Path(f"/proc/{daemon.process.pid}/cmdline").read_text()
    assert SECRET not in cmdline


def test_parked_connection_over_tcp_holds_no_thread_and_outlives_its_worker(daemon, over_tcp):
    address = over_tcp("--threads", "1", "--allow", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(fastcgi.connection(address)) for _ in range(40)]
        pids = {json.loads(one.get(keep=True).body)["pid"] for one in kept}
        for _ in range(2):
            before = set(daemon.workers())
            daemon.process.send_signal(signal.SIGUSR1)
            wait_until(lambda b=before: not b & set(daemon.workers()), "the workers to leave")
            now = {json.loads(one.get(keep=True).body)["pid"] for one in kept}
            assert not now & pids
            # A connection that another worker has accepted is still one of another machine's.
            answer = kept[0].get("/raise", keep=True, **{"mod_wsgi.x-script": "/nowhere"})
            assert answer.status == 500


def test_parked_connections_have_no_memory_for_reading(daemon, over_tcp):
    address = over_tcp("--processes", "1", "--threads", "2")
    wait_until(lambda: answers(address), "an answer")
    (worker,) = daemon.workers()
    with contextlib.ExitStack() as stack:

        def park(count):
            for _ in range(count):
                client = stack.enter_context(fastcgi.connection(address))
                assert client.get(keep=True).status == 200

        # The first ones have memory of their own, and for some more the worker's heap grows.
        park(PARKED)
        before = daemons.pss(worker)
        park(PARKED)
        grown = daemons.pss(worker) - before
        # As docs/several-machines.md has it.
        assert grown / PARKED < 1024
        assert fastcgi.get(address).status == 200


@pytest.mark.skipif(not shutil.which("ss"), reason="ss of iproute2 is missing")
def test_accepted_connection_asks_whether_the_other_machine_is_there(daemon, over_tcp):
    address = over_tcp()
    with fastcgi.connection(address) as connection:
        assert connection.get(keep=True).status == 200
        own = connection.socket.getsockname()[1]
        shown = subprocess.check_output(
            ["ss", "-tnoH", "state", "established", f"dport = :{own}"], text=True
        )
        timer, minutes = re.search(r"timer:\((\w+),(\w+)", shown).groups()
        assert timer == "keepalive"
        assert minutes in ("1min", "60sec") or int(minutes.removesuffix("sec")) > 30


def test_request_of_a_web_server_that_has_gone_is_not_carried_out(daemon, over_tcp):
    address = over_tcp("--threads", "1")
    with fastcgi.connection(address) as first:
        first.send(fastcgi.request("/slow?4"))
        daemon.wait_until_slow()
        with fastcgi.connection(address) as second:
            second.send(fastcgi.request("/meet?1", method="POST", body=b"x"))
        assert first.answer().status == 200
    assert fastcgi.get(address).status == 200
    assert not Path(f"{daemon.script}.met").exists()


def test_each_of_several_sockets_that_systemd_passes_is_served(daemon):
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        listeners.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
        listeners[2].bind(str(daemon.socket))
        listeners[2].listen()
        numbers = [listener.fileno() for listener in listeners]
        starter = (
            "import fcntl, os, sys\n"
            # The sockets may have these numbers themselves.
            f"copies = [fcntl.fcntl(it, fcntl.F_DUPFD_CLOEXEC, 100) for it in {numbers}]\n"
            "for place, copy in enumerate(copies):\n"
            "    os.dup2(copy, 3 + place, inheritable=True)\n"
            "os.environ.update(LISTEN_FDS='3', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        with (daemon.root / "log").open("ab") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-c", starter, PROGRAM, "--application", daemon.script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=numbers,
            )
        for address in (*(one.getsockname() for one in listeners[:2]), daemon.socket):
            assert fastcgi.get(address).status == 200


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_sockets_that_systemd_passes_are_served_and_outlive_the_daemon(daemon, kind):
    """As sd_listen_fds(3) has it; the test keeps the socket, as systemd does."""
    with contextlib.ExitStack() as stack:
        if kind == "tcp":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = listener.getsockname()
        else:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(daemon.socket))
            listener.listen()
            address = daemon.socket
        starter = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3, inheritable=True)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='x')\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )

        def start():
            arguments = [sys.executable, "-c", starter, PROGRAM, "--application", daemon.script]
            with (daemon.root / "log").open("ab") as log:
                daemon.process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[listener.fileno()],
                )

        daemon.script.write_text(
            daemon.script.read_text().replace(
                '"version": VERSION', '"version": VERSION, "variables": list(os.environ)'
            )
        )
        start()
        said = json.loads(fastcgi.get(address).body)
        assert not {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} & set(said["variables"])
        daemon.process.terminate()
        assert daemon.process.wait(15) == 0
        # A web server that connects meanwhile waits for the next one.
        with fastcgi.connection(address) as waiting:
            waiting.send(fastcgi.request())
            start()
            assert waiting.answer().status == 200
        # Nor does the death of the manager shut the socket down.
        workers = daemon.workers()
        daemon.process.kill()
        daemon.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the end")
        with fastcgi.connection(address) as waiting:
            waiting.send(fastcgi.request())
            start()
            assert waiting.answer().status == 200


def test_passed_socket_that_is_open_to_other_machines_needs_a_restriction(daemon):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        starter = (
            "import os, sys\n"
            f"os.dup2({listener.fileno()}, 3, inheritable=True)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", starter, PROGRAM, "--application", daemon.script],
            capture_output=True,
            text=True,
            timeout=30,
            pass_fds=[listener.fileno()],
            check=False,
        )
    assert ended.returncode == 2
    assert "--allow is missing: other machines can connect to 0.0.0.0:" in ended.stderr


def test_apache_before_the_port_keeps_connections_and_names_the_secret(daemon, over_tcp, servers):
    if not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    secret = daemon.root / "secret"
    secret.write_text(SECRET)
    _, port = over_tcp("--secret-file", secret, "--threads", "2")
    text = (
        f'ProxyPass "/" "fcgi://127.0.0.1:{port}/" enablereuse=on\n'
        f'ProxyFCGISetEnvIf "true" MOD_WSGI_RS_SECRET "{SECRET}"\n'
    )
    with frontends.apache_with(servers, text) as client:
        assert [client.get("/a").status for _ in range(40)] == [200] * 40
        environ = client.get("/a/b?c").json()["environ"]
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a/b")
        assert "MOD_WSGI_RS_SECRET" not in environ
