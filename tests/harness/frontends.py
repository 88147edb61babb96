"""Other web servers in front of wsgi-daemon: nginx, HAProxy, and Apache without the module."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from .client import Client
from .conf import Conf
from .httpd import die_with_parent, free_ports, ports_locked, wait_until
from .standalone import Daemon

NAMES = ["nginx", "mod_proxy_fcgi"]
ALIAS = re.compile(r"WSGIScriptAlias (\S+) \$\{APPS\}/(\w+)\.py(?: |$)", re.M)
# What aliases do in the module: one application at several paths.
SCRIPT = """
import sys
sys.path.insert(0, {apps!r})
import {name} as module

def application(environ, start_response):
    mount, path = "", environ["PATH_INFO"]
    for known in {mounts!r}:
        if path.startswith(known + "/"):
            mount, path = known, path[len(known):]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mount, path
    return getattr(module, "validated" if mount == "/validated" else "application")(
        environ, start_response
    )
"""

NGINX = """
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {root}/body;
    fastcgi_temp_path {root}/fastcgi;
    proxy_temp_path {root}/proxy;
    scgi_temp_path {root}/scgi;
    uwsgi_temp_path {root}/uwsgi;
    include {root}/site.conf;
}}
"""
NGINX_SITE = """
upstream site {{ server unix:{socket}; keepalive 4; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        fastcgi_pass site;
        fastcgi_keep_conn on;
        fastcgi_buffering off;
        include /etc/nginx/fastcgi_params;
    }}
}}
"""

HAPROXY_SITE = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend www
    bind 127.0.0.1:{port}
    default_backend site
fcgi-app python
    docroot /srv/site
    {setting}
backend site
    use-fcgi-app python
    {question}
    server one {address} proto fcgi {check}
"""
# By health checks at the port for requests.
HAPROXY_CHECK = {
    "question": "option httpchk\n    http-check send meth GET uri /-/ready",
    "check": "check check-proto fcgi inter 200ms fall 1",
}

PROXY = """
ProxyPass "/" "unix:{socket}|fcgi://localhost/" enablereuse=on flushpackets=on
ProxyFCGIBackendType GENERIC
"""


def is_up(client):
    with contextlib.suppress(OSError):
        return client.get("/").status < 600
    return False


def nginx(root, socket):
    """A client of an nginx that passes everything to the daemon at the socket."""
    return nginx_with(root, lambda port: NGINX_SITE.format(socket=socket, port=port))


def nginx_with(root, site):
    """A client of an nginx with the configuration of a site, site(port), after `nginx -t`."""

    def command(port):
        (root / "nginx.conf").write_text(NGINX.format(root=root))
        (root / "site.conf").write_text(site(port))
        return ["nginx", "-p", root, "-c", root / "nginx.conf"]

    return program(root, command, "-t")


def haproxy(root, address, setting="", has_check=False):
    """A client of a HAProxy that passes everything to the daemon at an address of HAProxy's kind,
    with a setting in its section fcgi-app, and with health checks.
    """
    check = HAPROXY_CHECK if has_check else dict.fromkeys(HAPROXY_CHECK, "")
    values = {"address": address, "setting": setting, **check}
    return haproxy_with(root, lambda port: HAPROXY_SITE.format(port=port, **values))


def haproxy_with(root, conf):
    """A client of a HAProxy with the configuration conf(port), after `haproxy -c`."""

    def command(port):
        (root / "haproxy.cfg").write_text(conf(port))
        return ["haproxy", "-db", "-f", root / "haproxy.cfg"]

    return program(root, command, "-c")


def caddy_with(root, conf):
    """A client of a Caddy with the Caddyfile conf(port), after `caddy validate`."""

    def command(port):
        # No port for commands, which other tests would have as well.
        (root / "Caddyfile").write_text("{\n\tadmin off\n}\n" + conf(port))
        return ["caddy", "run", "--config", root / "Caddyfile", "--adapter", "caddyfile"]

    def check(arguments):
        return ["caddy", "validate", *arguments[2:]]

    return program(root, command, check, env=os.environ | {"HOME": str(root)})


@contextlib.contextmanager
def program(root, command, check, env=None):
    """A client of the server that command(port) starts in the foreground, if it accepts its
    configuration when asked by the option `check`, or by the command check(arguments).
    """
    with ports_locked():
        (port,) = free_ports(1)
        arguments = command(port)
        checking = check(arguments) if callable(check) else [*arguments, check]
        checked = subprocess.run(
            checking, capture_output=True, text=True, timeout=30, check=False, env=env
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with (root / f"{arguments[0]}.out").open("w") as out:
            process = subprocess.Popen(
                arguments, stdout=out, stderr=out, preexec_fn=die_with_parent, env=env
            )
        client = Client(port)
        try:
            wait_until(lambda: is_up(client), arguments[0])
        except AssertionError:
            process.kill()
            process.wait()
            raise
    try:
        yield client
    finally:
        process.terminate()
        process.wait()


def proxy_fcgi(servers, socket):
    """A client of an Apache that does the same with mod_proxy_fcgi."""
    return apache_with(servers, PROXY.format(socket=socket))


@contextlib.contextmanager
def apache_with(servers, text, *modules, allowed=()):
    """A client of an Apache without the module, with mod_proxy_fcgi and these modules."""
    modules = ("proxy", "proxy_fcgi", *modules)
    conf = Conf(text, modules=modules, load_wsgi=False, threads=8)
    server = servers.make(conf, servers.env.mpms[0], "embedded", outlives_test=True)
    server.start()
    server.log.allow(*allowed)
    try:
        yield Client(server.port)
    finally:
        server.stop()


class Unwatched:
    """The log of a front end, which no test judges."""

    def allow(self, *_):
        pass

    expect = allow


class FrontEnds:
    """The front ends of a test session: one of each kind for an application."""

    def __init__(self, servers):
        self.servers, self.made, self.stack = servers, {}, contextlib.ExitStack()

    def client(self, name, conf):
        """A client of a front end of the application that a configuration has at `/`."""
        if name == "nginx" and not shutil.which("nginx"):
            pytest.skip("nginx is not installed")
        if name != "nginx" and not self.servers.env.has_module("proxy_fcgi"):
            pytest.skip("this Apache has no mod_proxy_fcgi")
        aliases = dict(ALIAS.findall(conf.text))
        application = aliases.pop("/")
        if (name, application) not in self.made:
            root = Path(tempfile.mkdtemp(prefix="wsgi-front-"))
            self.stack.callback(shutil.rmtree, root)
            root.chmod(0o755)
            daemon = Daemon(root)
            self.stack.callback(daemon.stop)
            apps, mounts = str(self.servers.apps), ["/validated", *aliases]
            daemon.script.write_text(SCRIPT.format(apps=apps, name=application, mounts=mounts))
            daemon.start("--threads", "4", "--socket-mode", "666")
            front = (
                nginx(root, daemon.socket)
                if name == "nginx"
                else proxy_fcgi(self.servers, daemon.socket)
            )
            client = self.stack.enter_context(front)
            client.log, client.mode = Unwatched(), "daemon"
            self.made[name, application] = client
        return self.made[name, application]
