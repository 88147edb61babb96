"""The floor: a null handler in C, and static files."""

import shutil
import subprocess

from bench.servers import apache
from bench.servers.contender import Contender, Unavailable
from bench.servers.site import REPO

NO_PYTHON = "runs no Python"
ONLY_PYTHON = dict.fromkeys(("/sleep", "/spin", "/stream", "/upload", "/django"), NO_PYTHON)


class Null(Contender):
    name = "null"
    title = "Apache, null C handler"
    lacks = ONLY_PYTHON | {"/large": "serves no file"}

    def _module(self):
        """The handler, compiled once a run."""
        built = self.site.base / "null"
        module = built / ".libs/mod_null.so"
        if not module.exists():
            shutil.copytree(REPO / "bench/null", built)
            done = subprocess.run(
                [self.site.env.apxs, "-c", "mod_null.c"],
                cwd=built,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode:
                raise Unavailable(f"apxs -c mod_null.c failed: {done.stderr.strip()[-200:]}")
            for path in (built, module.parent):
                path.chmod(0o755)
        return module

    def programs(self, room, port, shape):
        self.needs_one_application(shape)
        loads = f'LoadModule null_module "{self._module()}"\n'
        return [apache.httpd(self.site, room, port, shape, "SetHandler null\n", loads=loads)]


class Static(Contender):
    name = "static"
    title = "Apache, static file"
    lacks = ONLY_PYTHON | {"/post": "takes no POST"}

    def programs(self, room, port, shape):
        self.needs_one_application(shape)
        return [apache.httpd(self.site, room, port, shape, "")]
