"""A contender that runs: its programs, from the first process to the last.

Programs are started in sessions of their own and ended by the pids below them; nothing else on the
machine is touched. Should the benchmark be killed outright, the kernel tells them to stop.
"""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import cpu

START_TIMEOUT = 60
STOP_TIMEOUT = 8
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Broken(Exception):
    """The server does not start or gives wrong answers; the text says what happened."""


@dataclass(frozen=True)
class Program:
    """One command of a server. As root it starts as the unprivileged user, unless it needs root."""

    argv: tuple
    as_root: bool = False
    environment: tuple = ()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Server:
    """The running programs of one contender, reached at one port."""

    stop_timeout = STOP_TIMEOUT

    def __init__(self, root, port, programs, user):
        self.root, self.port, self.programs, self.user = Path(root), port, programs, user
        self.processes = []

    def start(self, path="/hello"):
        """Start everything; returns the seconds until the first good answer."""
        began = time.monotonic()
        try:
            for program in self.programs:
                self.processes.append(self._spawn(program))
            deadline = began + START_TIMEOUT
            while (wrong := self._ask(path)) is not None:
                if time.monotonic() > deadline:
                    raise Broken(f"no good answer in {START_TIMEOUT} s: {wrong}; {self.printed()}")
                for process in self.processes:
                    if process.poll() is not None:
                        name = Path(process.args[0]).name
                        raise Broken(f"{name} ended at once: {self.printed()}")
                time.sleep(0.002)
            return time.monotonic() - began
        except BaseException:
            self.stop()
            raise

    def _spawn(self, program):
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        who = {}
        if self.user and not program.as_root:
            who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with (self.root / "printed").open("a") as printed:
            return subprocess.Popen(
                program.argv,
                env=environment | dict(program.environment),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
                preexec_fn=die_with_parent,
                **who,
            )

    def _ask(self, path):
        """None for a good answer, else what was wrong with it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
            return None if status == 200 else f"status {status} for {path}"
        except (OSError, http.client.HTTPException) as error:
            return f"{error} for {path}"
        finally:
            connection.close()

    def check(self, path, method="GET", body=None):
        """One request before any is counted: it must be answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise Broken(f"status {answer.status} for {method} {path}; {self.printed()}")
            return content
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{error} for {method} {path}; {self.printed()}")
        finally:
            connection.close()

    def ask_again(self, path, count):
        """So many requests, one after the other on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            for _ in range(count):
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise Broken(f"status {answer.status} for {path}")

    def printed(self, size=300):
        """The end of what the programs printed or logged."""
        text = ""
        for name in ("printed", "error_log"):
            with contextlib.suppress(FileNotFoundError):
                text += (self.root / name).read_text(errors="replace")
        return " | ".join(text.strip().splitlines()[-4:])[-size:]

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def await_good_answer(self, path):
        """Waits for the end of what a load has left behind; raises Broken where it does not end."""
        deadline = time.monotonic() + START_TIMEOUT
        while (wrong := self._ask(path)) is not None:
            if time.monotonic() > deadline:
                raise Broken(f"no good answer in {START_TIMEOUT} s after a load: {wrong}")
            time.sleep(0.1)

    def restart_gracefully(self):
        """Tells the web server, which is the last program, to begin a graceful restart."""
        self.processes[-1].send_signal(signal.SIGUSR1)

    @property
    def roots(self):
        return [process.pid for process in self.processes]

    def cpu_seconds(self):
        return cpu.seconds(self.roots)

    def pss_megabytes(self):
        return cpu.pss_megabytes(self.roots)

    def stop(self):
        """Tell everything to stop, wait, and kill what is still there."""
        born = {pid: birth(pid) for pid in cpu.tree(self.roots)}
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + self.stop_timeout
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.01, deadline - time.monotonic()))

        def left():
            return [pid for pid, when in born.items() if when and birth(pid) == when]

        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.processes = []


def birth(pid):
    """Start time of a process, None once it has exited; with the pid it identifies the process."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
