"""What one host with a wsgi-daemon needs, for the figures of docs/several-machines.md:
`tests/several_machines.py --figures`.
"""

import contextlib
import http.client
import resource
import tempfile
from pathlib import Path

from . import fastcgi_client as fastcgi
from .httpd import free_ports, wait_until
from .standalone import Daemon

EMPTY = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
"""
# Connections that have memory of their own in a worker, and how many are kept in all.
FIRST = 64
KEPT = 9000
CHECKS = 5000


def private_bytes(pid):
    """Memory that no other process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def cpu_seconds(pid):
    """The processor time of a process with one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def serves(port):
    with contextlib.suppress(OSError):
        return fastcgi.get(("127.0.0.1", port)).status == 200
    return False


def check(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, 20)
    with contextlib.closing(connection):
        connection.request("GET", "/-/ready")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ready\n")


def figures():
    """The figures of a host with one worker, by what they are of; a text with its unit each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="one-host-") as root, contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = Daemon(Path(root))
        daemon.script.write_text(EMPTY)
        stack.callback(daemon.stop)
        port, admin = free_ports(2)
        options = ["--processes", "1", "--threads", "15", "--admin", f"tcp:127.0.0.1:{admin}"]
        daemon.start_at(f"tcp:127.0.0.1:{port}", options=options)
        wait_until(lambda: serves(port), "the daemon")
        manager, (worker,) = daemon.process.pid, daemon.workers()
        found = {
            name: private_bytes(pid) for name, pid in (("manager", manager), ("worker", worker))
        }
        found = {name: f"{size / 1e6:.1f} MB" for name, size in found.items()}

        def growth(count):
            """Of the worker by so many kept connections more."""
            before = private_bytes(worker)
            for _ in range(count):
                client = stack.enter_context(fastcgi.connection(("127.0.0.1", port)))
                assert client.get(keep=True).status == 200
            return private_bytes(worker) - before

        first = growth(FIRST)
        others = growth(KEPT - FIRST)
        found[f"each of the first {FIRST} connections"] = f"{first / FIRST / 1e3:.1f} KB"
        found["each connection behind them"] = f"{others / (KEPT - FIRST) / 1e3:.2f} KB"
        found[f"{KEPT} connections"] = f"{(first + others) / 1e6:.1f} MB"
        before = cpu_seconds(manager)
        for _ in range(CHECKS):
            check(admin)
        found["a check"] = f"{(cpu_seconds(manager) - before) / CHECKS * 1e6:.0f} µs of CPU"
        return found
