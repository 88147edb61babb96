"""The text of an httpd configuration. Knows nothing of processes."""

import dataclasses
import re

from .valgrind import SLOWER

# One child, so that a test can speak of "the process"; prefork's child has one thread.
MPM_LIMITS = {
    "event": "ThreadsPerChild {threads}\nMaxRequestWorkers {workers}\nAsyncRequestWorkerFactor 4\n",
    "worker": "ThreadsPerChild {threads}\nMaxRequestWorkers {workers}\n",
    "prefork": "MaxRequestWorkers {children}\n",
}

BASE = """\
ServerRoot "{root}"
ServerName localhost
DefaultRuntimeDir "{root}"
PidFile "{root}/httpd.pid"
ErrorLog "{root}/error_log"
LogLevel info {wsgi_level}
ErrorLogFormat "[%t] [%-m:%l] [pid %P] %T %M"
Listen 127.0.0.1:{port}
KeepAliveTimeout 2
GracefulShutdownTimeout {patience}
Timeout {timeout}
ServerLimit {children}
StartServers {start}
DocumentRoot "{root}/htdocs"
Define PORT {port}
Define ROOT "{root}"
Define APPS "{apps}"
"""

OPEN = """\
<Directory />
    Require all granted
</Directory>
"""

# What daemon mode adds: the same applications, served by a process group of their own.
DAEMON = """\
WSGIDaemonProcess tests threads={threads} python-path={path} {more}
WSGIProcessGroup tests
"""
SLOW_DAEMON = "startup-timeout=600 shutdown-timeout=120" if SLOWER > 1 else ""

TLS_HOST = """
Listen 127.0.0.1:${{PORT2}} https
SSLSessionCache none
<VirtualHost 127.0.0.1:${{PORT2}}>
    ServerName localhost
    SSLEngine on
    SSLCertificateFile {certificate}
    SSLCertificateKeyFile {key}
    {more}
</VirtualHost>
"""


def tls_host(certificate, more=""):
    """A virtual host at ${PORT2} that needs mod_ssl, with the fixture `certificate`."""
    certificate, key = certificate
    return TLS_HOST.format(certificate=certificate, key=key, more=more)


@dataclasses.dataclass(frozen=True)
class Conf:
    """One configuration. Equal ones share a server.

    The text may say ${PORT}, ${ROOT} (the server's own directory) and ${APPS} (tests/apps, where
    Apache's unprivileged user can read it).
    """

    text: str
    modules: tuple[str, ...] = ()
    children: int = 1
    threads: int = 4
    start: int = 1
    wsgi_level: str = "wsgi:info"
    timeout: int = 10
    files: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    load_wsgi: bool = True
    # Options of the process group of daemon mode that mod_wsgi does not have.
    daemon_options: str = ""

    def render(self, env, mpm, mode, root, apps, port):
        base = BASE.format(
            root=root,
            apps=apps,
            port=port,
            timeout=self.timeout * SLOWER,
            children=self.children,
            patience=5 * SLOWER,
            start=self.start,
            wsgi_level=self.wsgi_level if self.load_wsgi else "",
        )
        limits = MPM_LIMITS[mpm].format(
            threads=self.threads, workers=self.threads * self.children, children=self.children
        )
        modules = (f"mpm_{mpm}", "authz_core", "authz_host", *self.modules)
        loads = "".join(env.load_module(name) for name in dict.fromkeys(modules))
        if self.load_wsgi:
            loads += f'LoadModule wsgi_module "{env.module}"\n'
        user = ""
        if env.user:
            user = f"User #{env.user.pw_uid}\nGroup #{env.user.pw_gid}\n"
        # WSGIPythonPath is for embedded mode; daemons have an option of their own.
        outside = re.sub(r"(?s)<WSGIInterpreterOptions.*?</WSGIInterpreterOptions>", "", self.text)
        paths = ["${APPS}", *re.findall(r"^\s*WSGIPythonPath (\S+)$", outside, re.M)]
        daemon = ""
        if mode == "daemon":
            more = SLOW_DAEMON if env.oracle else f"{SLOW_DAEMON} {self.daemon_options}"
            daemon = DAEMON.format(threads=self.threads, path=":".join(paths), more=more)
        free = "WSGIFreeThreading On\n" if env.free_threading and self.load_wsgi else ""
        return loads + base + limits + user + OPEN + free + daemon + self.text
