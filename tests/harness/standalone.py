"""Starts and stops wsgi-daemon on its own, without Apache, and asks it over FastCGI."""

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

from . import daemons
from . import fastcgi_client as fastcgi
from .env import REPO
from .error_log import CRASH
from .httpd import die_with_parent, wait_until

PROGRAM = Path(os.environ.get("WSGI_DAEMON", REPO / "target/release/wsgi-daemon"))
APPLICATION = """
import json, os, signal, sys, time

VERSION = 1

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        open(__file__ + ".begun", "w").close()
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/meet":
        # Answers when so many requests are here at the same time.
        with open(__file__ + ".met", "a") as file:
            file.write("here\\n")
        until = time.monotonic() + 60
        while len(open(__file__ + ".met").readlines()) < int(environ["QUERY_STRING"]):
            if time.monotonic() > until:
                raise RuntimeError("the others have not come")
            time.sleep(0.01)
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    if path == "/log":
        print("a line for the log", file=environ["wsgi.errors"])
    if path == "/raise":
        raise RuntimeError("on purpose")
    if path == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(environ["QUERY_STRING"], "rb"))
    if path == "/short":
        start_response("200 OK", [("Content-Length", "100")])
        return iter([b"short"])
    if path == "/header":
        start_response("200 OK", [(environ["QUERY_STRING"], "value"), ("X-Other", "kept")])
        return [b"fine"]
    if path == "/stream":
        start_response("200 OK", [])
        return (b"%d," % number for number in range(3))
    simple = (str, int, float, bool)
    answer = {
        "version": VERSION,
        "pid": os.getpid(),
        "body": len(environ["wsgi.input"].read()),
        "environ": {k: v for k, v in environ.items() if isinstance(v, simple)},
    }
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", str(len(body)))])
    return [body]
"""


class Daemon:
    """One wsgi-daemon in a directory of its own."""

    def __init__(self, root):
        self.root = root
        self.socket = root / "site.sock"
        self.script = root / "site.py"
        self.script.write_text(APPLICATION)
        self.process = None

    def start(self, *options, before=()):
        """At its socket; `before` is a command that runs the program."""
        arguments = ["--listen", f"unix:{self.socket}", "--application", self.script, *options]
        self._run(arguments, before)
        wait_until(self.listens, "the socket")
        return self

    def start_at(self, *addresses, options=(), **more):
        """At other addresses than the socket: tcp:…, or none where sockets are passed."""
        listen = [word for address in addresses for word in ("--listen", address)]
        self._run([*listen, "--application", self.script, *options], **more)
        return self

    def listens(self):
        """Whether connections are taken: the file is there a moment before."""
        return any(flags == "00010000" for flags in self._sockets())

    def connections(self):
        """How many accepted connections are open, in any process."""
        return sum(flags == "00000000" for flags in self._sockets())

    def _sockets(self):
        """The flags of each socket with the daemon's path, as the kernel writes them."""
        # Names of other processes' sockets need not be UTF-8.
        table = os.fsdecode(Path("/proc/net/unix").read_bytes())
        sockets = [line.split() for line in table.splitlines()[1:]]
        return [it[3] for it in sockets if it[7:] == [str(self.socket)]]

    def start_with(self, config, **files):
        """As Apache does it: the configuration and the sockets are inherited."""
        with tempfile.TemporaryFile() as text:
            text.write(json.dumps(config).encode())
            text.seek(0)
            self._run(["--config-fd", str(text.fileno())], pass_fds=[text.fileno(), *files["fds"]])
        return self

    def _run(self, arguments, before=(), **options):
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*before, PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
                **options,
            )

    def get(self, url="/", **options):
        return fastcgi.get(self.socket, url, **options)

    def json(self, url="/", **options):
        answer = self.get(url, **options)
        assert answer.complete, self.log()
        return json.loads(answer.body)

    def crashes(self):
        """The lines of the log about crashes and panics."""
        return [line for line in self.log().splitlines() if CRASH.search(line)]

    def log(self):
        log = self.root / "log"
        return log.read_text() if log.exists() else ""

    def wait_until_slow(self):
        """Returns once a request for /slow is being served."""
        wait_until(self.script.with_name("site.py.begun").exists, "the slow request to begin")

    def workers(self):
        return daemons.workers_of(self.process.pid)

    def kill(self):
        """The manager and its workers, as if the machine had lost its power."""
        for pid in (self.process.pid, *self.workers()):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"wsgi-daemon did not stop; its log:\n{self.log()}")
