"""The command mod_wsgi_rs, driven as a person does: in a pseudo-terminal, with edits and Ctrl-C."""

import contextlib
import fcntl
import http.client
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

from .env import REPO
from .httpd import die_with_parent, wait_until

COMMAND = os.environ.get("MOD_WSGI_RS_COMMAND") or str(REPO / "target/release/mod_wsgi_rs")
# An application of two lines, whose text a test changes.
APP = """def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<html><body>TEXT</body></html>"]
"""


def clean_environment(**variables):
    """No option of the tests' own environment, and no virtual environment."""
    dropped = re.compile("MOD_WSGI_RS_|VIRTUAL_ENV|PORT$|WEB_CONCURRENCY|DJANGO_|NO_COLOR|PYTHON")
    kept = {name: value for name, value in os.environ.items() if not dropped.match(name)}
    return kept | {"LANG": "C.UTF-8"} | variables


def run_command(*arguments, cwd, module, check=True, user=None, **variables):
    """One that ends by itself; its output."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(MOD_WSGI_RS_MODULE=str(module), **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def in_its_terminal():
    """Ctrl-C in the terminal is for this process."""
    die_with_parent()
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Started:
    """`start-server` in a terminal, or with its output in a pipe."""

    def __init__(
        self,
        *arguments,
        cwd,
        module,
        port,
        terminal=True,
        user=None,
        command=(COMMAND, "start-server"),
        listen=("--host", "127.0.0.1", "--port", "{port}"),
        **variables,
    ):
        """module: None for the one that the command itself finds."""
        self.port = port
        if module is not None:
            variables["MOD_WSGI_RS_MODULE"] = str(module)
        self.output = b""
        self.main, other = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [
                *map(str, command),
                *(word.format(port=port) for word in listen),
                *map(str, arguments),
            ],
            cwd=cwd,
            env=clean_environment(**variables),
            stdin=other if terminal else subprocess.DEVNULL,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=in_its_terminal,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        os.close(other)
        self.parents = {self.process.pid}

    def text(self):
        """What has been printed so far."""
        while select.select([self.main], [], [], 0)[0]:
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not piece:
                break
            self.output += piece
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, pattern, after=0, seconds=60):
        """Waits for a line beyond `after` characters; what was printed up to there."""
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.text(), after)):
            assert time.monotonic() < deadline, f"{pattern!r} is not printed:\n{self.text()}"
            assert self.process.poll() is None or re.search(pattern, self.text()), self.text()
            select.select([self.main], [], [], 0.02)
        return found

    def get(self, path="/", port=None):
        """(status, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def wait_for_page(self, part, path="/", seconds=60):
        """Waits until the page has this text; how long it took."""
        begun = time.monotonic()
        seen = None
        with contextlib.suppress(OSError):
            self.get(path)

        def has_it():
            nonlocal seen
            try:
                seen = self.get(path)
            except OSError as why:
                seen = why
                return False
            return part in seen[1]

        try:
            wait_until(has_it, f"{part!r} in the page", seconds)
        except AssertionError as vain:
            raise AssertionError(f"{vain}\nthe page: {seen}\nprinted:\n{self.text()}") from None
        return time.monotonic() - begun

    def processes(self):
        """All processes of the server: descendants of the command, and what it adopts."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                    parents[int(entry)] = int(stat[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def press_ctrl_c(self):
        os.write(self.main, b"\x03") if os.isatty(self.main) else self.signal(signal.SIGINT)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, seconds=30):
        """Waits for the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text()
            self.text()
            select.select([self.main], [], [], 0.02)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.text()
        os.close(self.main)
