"""Other servers of ASGI, for the same applications: uvicorn and gunicorn.

It must never know what an application answers.
"""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from .client import Client
from .httpd import die_with_parent, wait_until

# The arguments that make each of them serve a socket; the packages they need.
SERVERS = {
    "uvicorn": (
        ["uvicorn", "--fd", "{fd}", "--log-level", "warning"],
        ("uvicorn", "websockets"),
    ),
    "gunicorn, uvicorn's worker": (
        ["gunicorn", "--bind", "fd://{fd}", "--worker-class", "uvicorn_worker.UvicornWorker"],
        ("gunicorn", "uvicorn_worker", "websockets"),
    ),
    "gunicorn, its own worker": (
        ["gunicorn", "--bind", "fd://{fd}", "--worker-class", "asgi"],
        ("gunicorn",),
    ),
}
START_TIMEOUT = 60


def missing(name):
    """The packages that a server lacks."""
    return [it for it in SERVERS[name][1] if importlib.util.find_spec(it) is None]


class Output:
    """What a server prints; no test judges it."""

    def __init__(self, path):
        self.path = path

    def text(self):
        return self.path.read_text(errors="replace")

    def wait_for(self, text):
        wait_until(lambda: text in self.text(), f"{text!r} in {self.text()}")

    def allow(self, *_):
        pass

    allow_traceback = allow


class Beside(Client):
    """A running server with an application, `module:callable` in a folder."""

    # Where the application is: a server of its own has it at the root.
    mount = ""

    def __init__(self, name, folder, application):
        self.room = tempfile.TemporaryDirectory(prefix="mod_wsgi_rs-beside-")
        path = Path(self.room.name) / "output"
        self.log = Output(path)
        with contextlib.closing(socket.socket()) as listener, path.open("w") as output:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            arguments = [it.format(fd=listener.fileno()) for it in SERVERS[name][0]]
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments, application],
                cwd=folder,
                # Gunicorn has a socket there.
                env=os.environ | {"HOME": self.room.name},
                pass_fds=[listener.fileno()],
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
            super().__init__(listener.getsockname()[1])
        try:
            wait_until(self._is_up, f"{name}: {self.log.text()}", timeout=START_TIMEOUT)
        except BaseException:
            self.stop()
            raise

    def _is_up(self):
        assert self.process.poll() is None, self.log.text()
        with contextlib.suppress(OSError):
            return self.get("/").status < 600
        return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.room.cleanup()


class Kept:
    """The servers of a test module, few at a time."""

    COUNT = 3

    def __init__(self):
        self.servers = {}

    def get(self, name, folder, application):
        key = (name, application)
        server = self.servers.pop(key, None)
        if server is None:
            while len(self.servers) >= self.COUNT:
                self.servers.pop(next(iter(self.servers))).stop()
            server = Beside(name, folder, application)
        self.servers[key] = server
        return server

    def close(self):
        while self.servers:
            self.servers.popitem()[1].stop()
