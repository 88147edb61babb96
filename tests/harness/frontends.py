"""Other web servers in front of wsgi-daemon: nginx, and Apache without our module."""

import contextlib
import subprocess

from .client import Client
from .conf import Conf
from .httpd import die_with_parent, free_ports, ports_locked, wait_until

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
}}
"""

PROXY = """
ProxyPass "/" "unix:{socket}|fcgi://localhost/" enablereuse=on flushpackets=on
ProxyFCGIBackendType GENERIC
"""


def is_up(client):
    with contextlib.suppress(OSError):
        return client.get("/").status < 600
    return False


@contextlib.contextmanager
def nginx(root, socket):
    """A client of an nginx that passes everything to the daemon at the socket."""
    with ports_locked():
        (port,) = free_ports(1)
        (root / "nginx.conf").write_text(NGINX.format(root=root, socket=socket, port=port))
        with (root / "nginx.out").open("w") as out:
            process = subprocess.Popen(
                ["nginx", "-p", root, "-c", root / "nginx.conf"],
                stdout=out,
                stderr=out,
                preexec_fn=die_with_parent,
            )
        client = Client(port)
        try:
            wait_until(lambda: is_up(client), "nginx")
        except AssertionError:
            process.kill()
            raise
    try:
        yield client
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def proxy_fcgi(servers, socket):
    """A client of an Apache that does the same with mod_proxy_fcgi."""
    conf = Conf(
        PROXY.format(socket=socket), modules=("proxy", "proxy_fcgi"), load_wsgi=False, threads=8
    )
    server = servers.make(conf, servers.env.mpms[0], "embedded")
    server.start()
    try:
        yield Client(server.port)
    finally:
        server.stop()
