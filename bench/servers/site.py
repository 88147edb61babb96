"""What all contenders stand on: Apache, and the applications where its user can read them."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# Where Apache, its modules and its user are found is one question for tests and benchmark.
sys.path.insert(0, str(REPO / "tests"))
from harness.env import Env  # noqa: E402

VENV = REPO / ".venv-bench"
LARGE_MEGABYTES = 64
PAGES = {"hello": b"Hello, world!", "page": b"x" * 8192, "pause": b"Hello, world!"}
SPIN_MICROSECONDS = 2000
SPARE_THREADS = 4


class Unavailable(Exception):
    """This contender cannot do this at all; the text says why."""


@dataclass(frozen=True)
class Shape:
    """How a server is laid out: Apache has `children`, daemons have `processes` of `threads`.

    Each Apache child has some threads more than there are connections. With all threads of a child
    busy it closes connections that are kept alive, and connects would be measured instead.
    """

    children: int = 2
    connections: int = 16
    processes: int = 2
    threads: int = 15
    script: str = "app.py"
    # None: whatever is the contender's own default.
    preload: bool | None = None
    # A path that is asked for before the first client comes: with preload, before the fork.
    warm_up: str | None = None
    # 0: one application at /. Else so many process groups of one process, at /g0, /g1, …
    groups: int = 0
    # Of the settings of Apache's MPM, see `apache.MPM`.
    mpm: str = "full"

    @property
    def threads_per_child(self):
        return self.connections + SPARE_THREADS


class Site:
    """Directories and facts of one run; nothing here is a process."""

    def __init__(self):
        self.env = Env()
        self.python = Path(os.environ.get("PYO3_PYTHON") or "/usr/bin/python3")
        self.base = Path(tempfile.mkdtemp(prefix="mod_wsgi_rs-bench-"))
        self.base.chmod(0o755)
        self.apps = self.base / "apps"
        self.htdocs = self.base / "htdocs"
        self._made = 0
        self._lay_out()

    def _lay_out(self):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPO / "bench/apps", self.apps, ignore=ignore)
        (self.apps / "spin").write_text(str(self._calibrate()))
        self.htdocs.mkdir()
        for name, content in PAGES.items():
            (self.htdocs / name).write_bytes(content)
        block = os.urandom(1 << 20)
        with (self.apps / "large").open("wb") as file:
            for _ in range(LARGE_MEGABYTES):
                file.write(block)
        os.link(self.apps / "large", self.htdocs / "large")
        # A clone may stand where Apache's user cannot read, for example below /root.
        found = next(iter((VENV / "lib").glob("python3*/site-packages")), None)
        if found is None:
            raise Unavailable(f"{VENV.name} is missing: run make bench")
        self.packages = found
        if not self.env.readable_by_children(found):
            self.packages = self.base / "site-packages"
            shutil.copytree(found, self.packages, ignore=ignore, symlinks=True)
        for path in [self.apps, *self.apps.rglob("*"), self.htdocs, *self.htdocs.iterdir()]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._compile_applications()

    def _calibrate(self):
        """How many turns of the loop in app.py's `spin` take 2 ms."""
        code = (
            "import time\n"
            "def spin(turns):\n"
            "    total = 0\n"
            "    for number in range(turns): total += number\n"
            "def cost():\n"
            "    began = time.thread_time(); spin(200_000); return time.thread_time() - began\n"
            f"print(int(200_000 * {SPIN_MICROSECONDS / 1e6} / min(cost() for _ in range(9))))\n"
        )
        return int(subprocess.check_output([self.python, "-c", code], text=True, timeout=60))

    def _compile_applications(self):
        """Bytecode for all contenders, whose users cannot write it themselves."""
        command = [self.python, "-m", "compileall", "-q", self.apps]
        subprocess.run(command, check=True, timeout=60)
        for path in self.apps.rglob("__pycache__"):
            path.chmod(0o755)

    def room(self, name):
        """A directory for one server, which its unprivileged user may write to."""
        self._made += 1
        room = self.base / f"{self._made}-{name}"
        room.mkdir()
        if self.env.user:
            os.chown(room, self.env.user.pw_uid, self.env.user.pw_gid)
        room.chmod(0o755)
        return room

    def remove(self):
        shutil.rmtree(self.base, ignore_errors=True)
