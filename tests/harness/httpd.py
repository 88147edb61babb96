"""Starts, reloads and stops private httpd processes, always by their pid."""

import contextlib
import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import valgrind
from .client import Client
from .env import TESTS
from .error_log import ErrorLog
from .valgrind import SLOWER

READY = r"resuming normal operations"
START_TIMEOUT = 60 * SLOWER
STOP_TIMEOUT = 30 * SLOWER
PORT_LOCK = Path(tempfile.gettempdir()) / f"mod_wsgi_rs-tests-{os.getuid()}.lock"
MIME_TYPES = "text/plain txt\ntext/css css\ntext/html html\ntext/javascript js\nimage/png png\n"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


# Of /proc/net/tcp: one end has closed (FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING).
CLOSING = {"04", "05", "08", "09", "0B"}


def wait_until(condition, what, timeout=30):
    """The first true value of `condition()`; the time is for a machine that others use."""
    deadline = time.monotonic() + timeout * SLOWER
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
        time.sleep(0.01)
    return value


@contextlib.contextmanager
def ports_locked():
    """No other test process picks a port until ours is bound."""
    with PORT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Below those that the kernel gives to outgoing connections: one of these could take a port before
# its server is there.
PORTS = range(16000, 32000)


def free_ports(count):
    found = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(PORTS, len(PORTS)):
            sock = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"fewer than {count} ports are free")


def die_with_parent():
    """Should pytest be killed outright, the kernel stops its servers."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class ConfigError(Exception):
    """httpd refused the configuration; the text is what it printed."""


class Httpd(Client):
    """One httpd in a directory of its own."""

    def __init__(self, env, root, conf, mpm, mode, apps):
        self.env, self.root, self.conf, self.mpm, self.mode, self.apps = (
            env,
            root,
            conf,
            mpm,
            mode,
            apps,
        )
        self.log = ErrorLog(root / "error_log")
        self.process = None
        # What is wrong with earlier runs; whether this run came up; the status it is to end with.
        self.complaints, self.came_up, self.expected_status = [], False, 0
        self.port2 = None
        # A program that becomes httpd, with its arguments.
        self.wrapper = []
        super().__init__(None)
        (root / "htdocs").mkdir()
        self.write("mime.types", MIME_TYPES)
        for name, text in conf.files:
            self.write(name, text)

    def write(self, name, text):
        """A file in the server's directory that its children can read."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Paths need not be UTF-8: Python writes the bytes of such a name as surrogates.
        path.write_bytes(text if isinstance(text, bytes) else os.fsencode(text))
        return path

    def _write_conf(self):
        self.port, self.port2 = free_ports(2)
        text = self.conf.render(self.env, self.mpm, self.mode, self.root, self.apps, self.port)
        self.write("httpd.conf", f"Define PORT2 {self.port2}\n{text}")

    def _command(self, *arguments):
        return [self.env.httpd, "-d", self.root, "-f", self.root / "httpd.conf", *arguments]

    @staticmethod
    def _watched():
        """What stands before the command."""
        return valgrind.command() if valgrind.FOLDER else []

    def _environment(self):
        clean = valgrind.ENVIRONMENT if valgrind.FOLDER else {}
        clean = clean | {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        given = self.conf.environment
        return clean | {name: value.replace("${ROOT}", str(self.root)) for name, value in given}

    def configtest(self):
        """(whether the configuration is accepted, what httpd printed)."""
        self._write_conf()
        done = subprocess.run(
            self._command("-t"),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode == 0, done.stdout + done.stderr

    def start(self):
        self.end_remains()
        if self.came_up:
            self.complaints = self.verdict()
        self.came_up, self.expected_status = False, 0
        for last in (False, True):
            self.log.skip()
            with ports_locked():
                self._write_conf()
                with (self.root / "stderr").open("w") as stderr:
                    self.process = subprocess.Popen(
                        self._watched() + self.wrapper + self._command("-D", "FOREGROUND"),
                        env=self._environment(),
                        stdin=subprocess.DEVNULL,
                        stdout=stderr,
                        stderr=stderr,
                        start_new_session=True,
                        preexec_fn=die_with_parent,
                    )
                self.came_up = bool(self._came_up())
                if self.came_up:
                    return
                self.stop()
            printed = self.printed()
            if last or "Address already in use" not in printed:
                raise ConfigError(printed + self.log.text())

    def printed(self):
        """What httpd wrote before it had its error log open."""
        return (self.root / "stderr").read_text()

    def _came_up(self):
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.log.find(READY):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return False

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, signum=None):
        """Stop the server and wait for it; a hung one is killed with its children.

        Without a signal named it is told to stop gracefully first: at an ungraceful stop
        mod_mpm_event closes sockets its worker threads are just freeing, and now and then a child
        dies of that.
        """
        if not self.running:
            return
        if signum is None:
            self.process.send_signal(signal.SIGWINCH)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3 * SLOWER)
                return
            signum = signal.SIGTERM
        self.send_signal(signum)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # The session was made by start_new_session, so the group holds nothing but ours.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"httpd did not stop; its log:\n{self.log.text()}")

    def send_signal(self, signum):
        """Sends a signal to the parent once connections are closed that their clients have ended.

        A child of mod_mpm_event that is stopped ungracefully while one of its threads frees such a
        connection crashes now and then, without any module as well: it looks for the connection's
        socket in memory that is just freed (close_worker_sockets in event.c).
        """
        self._await_closes()
        self.process.send_signal(signum)

    def _await_closes(self):
        port = f"{self.port:04X}"
        deadline = time.monotonic() + 1

        def is_closing(line):
            _, local, _, state, *_, inode = line.split()[:10]
            return local.endswith(f":{port}") and state in CLOSING and inode != "0"

        while time.monotonic() < deadline:
            if not any(map(is_closing, Path("/proc/net/tcp").read_text().splitlines()[1:])):
                return
            time.sleep(0.001)

    def kill(self):
        """Ends the parent by SIGKILL; its children are left to themselves until the test ends."""
        self.expected_status = -signal.SIGKILL
        self.process.kill()
        self.process.wait()

    def end_remains(self):
        """Ends what is left of a server that has ended: children of a parent that was killed."""
        if self.process is None or self.running:
            return
        for pid in session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def verdict(self):
        """What is wrong with a server that has ended, as texts: its log and its exit status.

        Why a server did not come up is in its log, and its test's to judge; a crash never is.
        """
        complaints = list(self.complaints)
        lines = self.log.unexpected() if self.came_up else self.log.crashes()
        if lines:
            text = "\n".join(map(str, lines))
            complaints.append(f"unexpected in the error log of {self.root}:\n{text}")
        if self.came_up and not self.env.oracle:
            status = self.process.poll()
            if status != self.expected_status:
                complaints.append(
                    f"httpd of {self.root} ended with status {status}, not {self.expected_status}"
                )
        return complaints

    def reload(self, signum=signal.SIGUSR1):
        """`apachectl graceful`, or `restart` with SIGHUP; returns when the new children serve."""
        before, children = len(self.log.find(READY)), set(self.children())
        self.send_signal(signum)
        self.log.wait_for(READY, count=before + 1, timeout=START_TIMEOUT)
        wait_until(lambda: not children & set(self.children()), "the old children to leave")
        wait_until(self.children, "new children")

    def children(self):
        """The pids of httpd's child processes, but for the one that writes daemons' log lines."""
        return [pid for pid in self._all_children() if not is_log_writer(pid)]

    def log_writers(self):
        """The pids of the processes that write daemons' log lines."""
        return [pid for pid in self._all_children() if is_log_writer(pid)]

    def _all_children(self):
        pid = self.process.pid
        with contextlib.suppress(FileNotFoundError):
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    @staticmethod
    def open_files(pid):
        """The names of the files a process has open; one that is closed meanwhile is left out."""
        names = []
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(path))
        return names


def session(leader):
    """What is left of the session that a process has made which has ended."""
    pids = []
    if Path(f"/proc/{leader}").exists():
        return pids  # Another process has its pid by now.
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text().partition(" ")
            state, _, _, number = rest.rpartition(")")[2].split()[:4]
            if int(number) == leader and state != "Z":
                pids.append(int(pid))
    return pids


def servers_in(folder):
    """The processes of httpd whose configuration is in a folder, as (pid, command)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if f"-f {folder}/" in command:
                found.append((int(path.parent.name), command.strip()))
    return found


def is_log_writer(pid):
    """Whether it is the copy of httpd's parent that writes daemons' log lines."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text() == "wsgi-log\n"
    return False


class Servers:
    """The running servers of a test session: one per configuration, and few at a time."""

    KEPT = 5

    def __init__(self, env):
        self.env = env
        self.base = Path(tempfile.mkdtemp(prefix="mod_wsgi_rs-tests-"))
        # Apache's children run as another user.
        self.base.chmod(0o755)
        self.apps = self.base / "apps"
        shutil.copytree(
            TESTS / "apps", self.apps, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
        for path in [self.apps, *self.apps.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.shared = {}
        self.refused = {}
        self.made = 0
        # Servers that are judged at the end of the test, and at the end of the session.
        self.of_this_test, self.of_this_session = [], []
        self.complaints = []

    def make(self, conf, mpm, mode, *, outlives_test=False):
        """A server that is not started yet; it is stopped and judged after the test.

        With `outlives_test` that happens at the end of the session.
        """
        self.made += 1
        root = self.base / f"server-{self.made}"
        root.mkdir()
        server = Httpd(self.env, root, conf, mpm, mode, self.apps)
        (self.of_this_session if outlives_test else self.of_this_test).append(server)
        return server

    @staticmethod
    def judge(servers):
        """Stops them and empties the list; what is wrong with them, as texts."""
        complaints = []
        for server in servers:
            try:
                server.stop()
            except AssertionError as error:
                complaints.append(str(error))
            server.end_remains()
            complaints += server.verdict()
        servers.clear()
        return complaints

    def get(self, conf, mpm, mode):
        """The running server for this configuration."""
        key = (conf, mpm, mode)
        if key in self.refused:
            raise self.refused[key]
        server = self.shared.pop(key, None)
        if server is None or not server.running:
            while len(self.shared) >= self.KEPT:
                self.retire(self.shared.pop(next(iter(self.shared))))
            server = self.make(conf, mpm, mode)
            self.of_this_test.remove(server)
            try:
                server.start()
            except ConfigError as error:
                self.refused[key] = error
                raise
        self.shared[key] = server
        return server

    def retire(self, server):
        """Stop a shared server; what it logs at its end belongs to no test, and is judged too."""
        server.log.begin()
        self.complaints += self.judge([server])

    def close(self):
        while self.shared:
            self.retire(self.shared.popitem()[1])
        self.complaints += self.judge(self.of_this_test) + self.judge(self.of_this_session)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not servers_in(self.base), "every process to leave")
        left = [f"process {pid} is left: {command}" for pid, command in servers_in(self.base)]
        self.complaints += left
        shutil.rmtree(self.base, ignore_errors=True)
