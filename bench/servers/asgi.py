"""Servers of ASGI: the module, and uvicorn behind Apache's mod_proxy_http and behind nginx."""

import shutil

from bench.servers import apache
from bench.servers.contender import Contender, Unavailable
from bench.servers.modules import Ours
from bench.servers.server import Program

SCRIPT = "asgi_app.py"
DAEMON = (
    "WSGIRestrictEmbedded On\n"
    "WSGIDaemonProcess site processes={processes} threads={threads} listen-backlog=512"
    " websocket-limit=60000 websocket-ping-interval=0 python-path={path}\n"
    "ASGIScriptAlias / {script} process-group=site\n"
)
NGINX = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {room}/nginx.pid;
error_log {room}/error_log warn;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 60;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {room}/body;
    uwsgi_temp_path {room}/uwsgi;
    proxy_temp_path {room}/proxy;
    fastcgi_temp_path {room}/fastcgi;
    scgi_temp_path {room}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream site {{ server unix:{socket}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://site;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""


class OursAsgi(Ours):
    name = "ours-asgi"
    title = "mod_wsgi_rs, ASGI"
    interface = "asgi"
    daemon = True

    def daemon_text(self, shape):
        self.needs_one_application(shape)
        return DAEMON.format(
            processes=shape.processes,
            threads=shape.threads,
            path=self._path(),
            script=self.site.apps / SCRIPT,
        )


class Uvicorn(Contender):
    interface = "asgi"

    def backend(self, room, shape):
        """(the program uvicorn, with uvloop and httptools, its socket)."""
        self.needs_one_application(shape)
        for package in ("uvicorn", "uvloop", "httptools", "websockets"):
            if not (self.site.packages / package).exists():
                raise Unavailable(f"{package} is not installed in .venv-bench")
        socket = room / "http.sock"
        argv = [
            *(str(self.site.python), "-m", "uvicorn", "--uds", str(socket)),
            *("--workers", str(shape.processes), "--loop", "uvloop", "--http", "httptools"),
            *("--ws", "auto", "--ws-ping-interval", "3600", "--ws-per-message-deflate"),
            *("false", "--log-level", "error", "--no-access-log", "--timeout-keep-alive", "60"),
            *("--backlog", "512", f"{SCRIPT.removesuffix('.py')}:application"),
        ]
        path = f"{self.site.apps}:{self.site.packages}"
        return Program(tuple(argv), environment=(("PYTHONPATH", path),)), socket


class ApacheUvicorn(Uvicorn):
    name = "apache-uvicorn"
    title = "Apache, mod_proxy_http, uvicorn"

    def programs(self, room, port, shape):
        backend, socket = self.backend(room, shape)
        front = apache.httpd(
            self.site,
            room,
            port,
            shape,
            # Apache gives a connection up before the server behind it does.
            f"ProxyPass / unix:{socket}|http://localhost/ retry=0 ttl=30 upgrade=websocket\n",
            modules=("proxy", "proxy_http"),
        )
        return [backend, front]


class NginxUvicorn(Uvicorn):
    name = "nginx-uvicorn"
    title = "nginx, uvicorn"

    def programs(self, room, port, shape):
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if nginx is None:
            raise Unavailable("nginx is not installed")
        backend, socket = self.backend(room, shape)
        user = self.site.env.user
        conf = room / "nginx.conf"
        conf.write_text(
            NGINX.format(
                workers=shape.children,
                room=room,
                port=port,
                socket=socket,
                user=f"user {user.pw_name};" if user else "",
            )
        )
        return [backend, Program((nginx, "-c", str(conf), "-p", str(room)), as_root=True)]
