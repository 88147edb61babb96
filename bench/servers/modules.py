"""The two modules under test, mod_wsgi and mod_wsgi_rs, each in embedded and in daemon mode.

They take the same configuration, so there is one text for both.
"""

import subprocess

from bench.servers import apache
from bench.servers.contender import Contender, Unavailable

DAEMON = (
    "WSGIDaemonProcess site processes={processes} threads={threads} listen-backlog=512"
    " python-path={path}{more}\n"
)
GROUP = """\
WSGIDaemonProcess g{number} processes=1 threads=2 python-path={path}
WSGIScriptAlias /g{number} {script} process-group=g{number} application-group=%{{GLOBAL}}
"""
NO_PRELOAD = "not available, has no preload"


class Module(Contender):
    daemon = False

    def module(self):
        """The path of the .so file."""
        raise NotImplementedError

    def programs(self, room, port, shape):
        loads = f'LoadModule wsgi_module "{self.module()}"\n'
        text = self.daemon_text(shape) if self.daemon else self.embedded_text(shape)
        # mod_wsgi's own place need not exist where Apache was never started as a service.
        text = f'WSGISocketPrefix "{room}/wsgi"\n' + text
        program = apache.httpd(self.site, room, port, shape, text, loads=loads)
        if shape.preload:
            self._require_preload(program)
        return [program]

    def embedded_text(self, shape):
        if shape.groups or shape.preload is not None:
            raise Unavailable("embedded mode has no process groups")
        script = self.site.apps / shape.script
        return (
            f"WSGIPythonPath {self._path()}\n"
            f"WSGIScriptAlias / {script} application-group=%{{GLOBAL}}\n"
        )

    def daemon_text(self, shape):
        script, path = self.site.apps / shape.script, self._path()
        alone = "WSGIRestrictEmbedded On\n"
        if shape.groups:
            numbers = range(shape.groups)
            return alone + "".join(
                GROUP.format(number=number, path=path, script=script) for number in numbers
            )
        return (
            alone
            + DAEMON.format(
                processes=shape.processes,
                threads=shape.threads,
                path=path,
                more="".join(
                    [
                        " preload=On" if shape.preload else "",
                        f" warm-up={shape.warm_up}" if shape.warm_up else "",
                    ]
                ),
            )
            + f"WSGIScriptAlias / {script} process-group=site application-group=%{{GLOBAL}}\n"
        )

    def _path(self):
        return f"{self.site.apps}:{self.site.packages}"

    def _require_preload(self, program):
        """Whether configtest takes preload=On without a word."""
        command = [*program.argv[:-1], "-t"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        printed = (done.stdout + done.stderr).strip().splitlines()
        # What is accepted and not done is as good as refused.
        said = printed if done.returncode else [line for line in printed if "preload" in line]
        if said:
            raise Unavailable(f"{NO_PRELOAD}: {said[-1].rpartition('] ')[2]}")


class Theirs(Module):
    def module(self):
        found = next(self.site.packages.glob("mod_wsgi/server/mod_wsgi-py3*.so"), None)
        if found is None:
            raise Unavailable("mod_wsgi is not installed in .venv-bench")
        return found


class Ours(Module):
    def module(self):
        module = self.site.env.module
        if not module.exists():
            raise Unavailable(f"{module} is missing: make build")
        return module


class TheirsEmbedded(Theirs):
    name = "mod_wsgi-embedded"
    title = "mod_wsgi, embedded"


class TheirsDaemon(Theirs):
    name = "mod_wsgi-daemon"
    title = "mod_wsgi, daemon"
    daemon = True


class OursEmbedded(Ours):
    name = "ours-embedded"
    title = "mod_wsgi_rs, embedded"


class OursDaemon(Ours):
    name = "ours-daemon"
    title = "mod_wsgi_rs, daemon"
    daemon = True
    warms_up = True


class Uncounted(Ours):
    """The module of `make uncounted`, which counts no request."""

    cases = frozenset({"counting"})

    def module(self):
        module = self.site.env.module.parents[1] / "uncounted/release/mod_wsgi_rs.so"
        if not module.exists():
            raise Unavailable(f"{module} is missing: make uncounted")
        return module


class UncountedEmbedded(Uncounted):
    name = "ours-embedded-uncounted"
    title = "mod_wsgi_rs, embedded, requests not counted"


class UncountedDaemon(Uncounted):
    name = "ours-daemon-uncounted"
    title = "mod_wsgi_rs, daemon, requests not counted"
    daemon = True
