"""Servers that speak HTTP themselves, on a Unix socket behind Apache's mod_proxy_http."""

from bench.servers import apache
from bench.servers.contender import Contender, Unavailable
from bench.servers.server import Program


class BehindProxy(Contender):
    def backend(self, socket, shape):
        """The command that listens on the socket."""
        raise NotImplementedError

    def programs(self, room, port, shape):
        self.needs_one_application(shape)
        socket = room / "http.sock"
        path = f"{self.site.apps}:{self.site.packages}"
        backend = Program(
            (str(self.site.python), *self.backend(socket, shape)),
            environment=(("PYTHONPATH", path),),
        )
        front = apache.httpd(
            self.site,
            room,
            port,
            shape,
            # Apache gives a connection up before the server behind it does.
            f"ProxyPass / unix:{socket}|http://localhost/ retry=0 ttl=30\n",
            modules=("proxy", "proxy_http"),
        )
        return [backend, front]

    def target(self, shape):
        return f"{shape.script.removesuffix('.py')}:application"

    def installed(self, package):
        if not (self.site.packages / package).exists():
            raise Unavailable(f"{package} is not installed in .venv-bench")


class Gunicorn(BehindProxy):
    name = "apache-gunicorn"
    title = "Apache, mod_proxy_http, gunicorn gthread"

    def backend(self, socket, shape):
        self.installed("gunicorn")
        return (
            *("-m", "gunicorn", "--worker-class", "gthread", "--keep-alive", "60"),
            *("--workers", str(shape.processes), "--threads", str(shape.threads)),
            *("--bind", f"unix:{socket}", "--log-level", "error"),
            *(("--preload",) if shape.preload else ()),
            self.target(shape),
        )


class Granian(BehindProxy):
    name = "apache-granian"
    title = "Apache, mod_proxy_http, granian"

    def backend(self, socket, shape):
        self.installed("granian")
        if shape.preload:
            raise Unavailable("not available, has no preload")
        return (
            *("-m", "granian", "--interface", "wsgi", "--uds", str(socket), "--no-log"),
            *("--workers", str(shape.processes), "--blocking-threads", str(shape.threads)),
            self.target(shape),
        )
