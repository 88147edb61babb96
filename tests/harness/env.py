"""What this machine offers: Apache, its modules and MPMs, and the WSGI module under test."""

import functools
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
TESTS = REPO / "tests"
ORACLE_VENV = REPO / ".venv-oracle"


class Missing(Exception):
    """Something the tests need is not on this machine; the text says how to get it."""


class Env:
    """Found once a session; everything in it is a fact, nothing is started."""

    def __init__(self):
        self.apxs = os.environ.get("APXS") or shutil.which("apxs") or shutil.which("apxs2")
        if not self.apxs:
            raise Missing("apxs is missing: install apache2-dev (Debian) or httpd-devel (Fedora)")
        self.httpd = Path(self._apxs("SBINDIR")) / self._apxs("PROGNAME")
        self.modules_dir = Path(self._apxs("LIBEXECDIR"))
        self.mpms = [m for m in ("event", "worker", "prefork") if self.has_module(f"mpm_{m}")]
        self.version = re.search(r"Apache/([\d.]+)", self._httpd("-v")).group(1)
        self.static = set(re.findall(r"\bmod_(\w+)\.c", self._httpd("-l")))
        self.oracle = os.environ.get("WSGI_UNDER_TEST", "ours") == "theirs"
        self.module = self._oracle_module() if self.oracle else self._our_module()
        self.user = self._unprivileged_user()

    def _apxs(self, name):
        return subprocess.check_output([self.apxs, "-q", name], text=True).strip()

    def _httpd(self, flag):
        return subprocess.check_output([self.httpd, flag], text=True, stderr=subprocess.STDOUT)

    @staticmethod
    def _our_module():
        return Path(os.environ.get("MOD_WSGI_RS_SO", REPO / "target/release/mod_wsgi_rs.so"))

    @staticmethod
    def _oracle_module():
        given = os.environ.get("MOD_WSGI_ORACLE_SO")
        if given:
            return Path(given)
        express = ORACLE_VENV / "bin/mod_wsgi-express"
        if not express.exists():
            raise Missing(f"{express} is missing: pip install -r tests/requirements-oracle.txt")
        return Path(subprocess.check_output([express, "module-location"], text=True).strip())

    @staticmethod
    def _unprivileged_user():
        """Whom httpd's children become; None when the tests do not run as root."""
        if os.geteuid() != 0:
            return None
        for name in ("www-data", "apache", "httpd", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise Missing("none of the users www-data, apache, httpd, nobody exists")

    def has_module(self, name):
        return (self.modules_dir / f"mod_{name}.so").exists()

    def load_module(self, name):
        """The LoadModule line for one of Apache's own modules, or nothing when it is built in."""
        if name in self.static:
            return ""
        return f"LoadModule {name}_module {self.modules_dir}/mod_{name}.so\n"

    @functools.cached_property
    def python(self):
        """The version of Python the module embeds, as in `3.11`."""
        linked = subprocess.check_output(["ldd", self.module], text=True)
        return re.search(r"libpython(3\.\d+t?)", linked).group(1)

    @property
    def python_version(self):
        """The same as numbers."""
        return tuple(map(int, self.python.rstrip("t").split(".")))

    @property
    def free_threaded(self):
        """Whether that Python is built to run without its lock."""
        return self.python.endswith("t")

    @property
    def free_threading(self):
        """Whether every server is to run it so."""
        return bool(os.environ.get("FREE_THREADING"))

    @functools.cached_property
    def site_packages(self):
        """Where the Python that runs the tests keeps Django and Flask."""
        import django

        return Path(django.__file__).parent.parent

    def readable_by_children(self, path):
        """Whether the unprivileged user can reach and read a file or directory."""
        if self.user is None:
            return os.access(path, os.R_OK)
        path = Path(path).resolve()
        return all(p.stat().st_mode & 0o005 == 0o005 or p == path for p in [path, *path.parents])

    def describe(self):
        whose = "mod_wsgi (the oracle)" if self.oracle else "mod_wsgi_rs"
        return [
            f"httpd: {self.httpd} {self.version}, MPMs {', '.join(self.mpms)}",
            f"under test: {whose} {self.module}",
        ]
