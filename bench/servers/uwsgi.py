"""uWSGI on a Unix socket, behind Apache's mod_proxy_uwsgi and behind nginx."""

import shutil

from bench.servers import apache
from bench.servers.contender import Contender, Unavailable
from bench.servers.server import Program
from bench.servers.site import VENV

NGINX = """\
daemon off;
worker_processes {workers};
pid {room}/nginx.pid;
error_log {room}/error_log warn;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 60;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {room}/body;
    uwsgi_temp_path {room}/uwsgi;
    proxy_temp_path {room}/proxy;
    fastcgi_temp_path {room}/fastcgi;
    scgi_temp_path {room}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
{params}
            uwsgi_pass unix:{socket};
        }}
    }}
}}
"""
# The parameters that distributions ship as /etc/nginx/uwsgi_params.
PARAMS = {
    "QUERY_STRING": "query_string",
    "REQUEST_METHOD": "request_method",
    "CONTENT_TYPE": "content_type",
    "CONTENT_LENGTH": "content_length",
    "REQUEST_URI": "request_uri",
    "PATH_INFO": "document_uri",
    "DOCUMENT_ROOT": "document_root",
    "SERVER_PROTOCOL": "server_protocol",
    "REQUEST_SCHEME": "scheme",
    "REMOTE_ADDR": "remote_addr",
    "REMOTE_PORT": "remote_port",
    "SERVER_PORT": "server_port",
    "SERVER_NAME": "server_name",
}


class Uwsgi(Contender):
    def backend(self, room, shape):
        """(the program uwsgi, its socket)."""
        self.needs_one_application(shape)
        uwsgi = VENV / "bin/uwsgi"
        if not uwsgi.exists():
            raise Unavailable("uwsgi is not installed in .venv-bench")
        if not self.site.env.readable_by_children(uwsgi):
            copy = self.site.base / "uwsgi"
            if not copy.exists():
                shutil.copy(uwsgi, copy)
            uwsgi = copy
        socket = room / "uwsgi.sock"
        argv = [
            *(str(uwsgi), "--master", "--die-on-term", "--disable-logging", "--enable-threads"),
            *("--processes", str(shape.processes), "--threads", str(shape.threads)),
            *("--socket", str(socket), "--listen", "512", "--thunder-lock"),
            *("--pythonpath", str(self.site.packages), "--pythonpath", str(self.site.apps)),
            *("--wsgi-file", str(self.site.apps / shape.script)),
            # Its own default is to load the application before it forks.
            *(() if shape.preload is not False else ("--lazy-apps",)),
        ]
        return Program(tuple(argv)), socket


class ApacheUwsgi(Uwsgi):
    name = "apache-uwsgi"
    title = "Apache, mod_proxy_uwsgi, uWSGI"

    def programs(self, room, port, shape):
        backend, socket = self.backend(room, shape)
        front = apache.httpd(
            self.site,
            room,
            port,
            shape,
            f"ProxyPass / unix:{socket}|uwsgi://localhost/ retry=0\n",
            modules=("proxy", "proxy_uwsgi"),
        )
        return [backend, front]


class NginxUwsgi(Uwsgi):
    name = "nginx-uwsgi"
    title = "nginx, uWSGI"

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
                params="\n".join(
                    f"            uwsgi_param {name} ${variable};"
                    for name, variable in PARAMS.items()
                ),
            )
        )
        return [backend, Program((nginx, "-c", str(conf), "-p", str(room)), as_root=True)]
