"""Configurations of front ends of several machines, for tests/several_machines.py: like those of
conf-examples, with short limits. And what the table of docs/several-machines.md has.
"""

# By the names that tests/several_machines.py takes.
FRONT_ENDS = {
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "caddy": "Caddy",
    "apache": "Apache",
    "server": "HAProxy, HTTP, in front of `start-server`",
}
DRAIN = "SIGTERM, `--drain-delay 2`"
# As start-server has no such option.
DRAIN_OF_SERVER = "`draining`, then SIGTERM"
PLANNED = [DRAIN, "a new version on all three", "a fourth host"]
EVENTS = [*PLANNED, "`kill -9`", "link down", "SIGSTOP", "full disk, workers replaced"]
# Clients that ask without a pause, each for one request at a time.
CLIENTS = 8
COLUMNS = ["Front end", "Event"]
COLUMNS += [
    f"{method} {what}" for method in ("GET", "POST") for what in ("sent", "failed", "slowest")
]
COLUMNS += ["POST carried out twice"]


def label(front_end, event):
    """What the table calls an event behind this front end."""
    return DRAIN_OF_SERVER if (front_end, event) == ("server", DRAIN) else event


# Seconds from the first to the last request that a host which was killed costs: the interval of the
# check that counts is 0.5 s at most, and the check takes a moment.
LONGEST_SPAN = 1


def most_failed(front_end, event):
    """How many requests, GET and POST, may fail while a host is killed, cut off or stopped.

    None for another event.
    """
    if event == "`kill -9`" and front_end == "apache":
        # Also the POSTs that the host refuses, each at once, until the next check (`LONGEST_SPAN`).
        return None
    if event == "`kill -9`":
        # What the host had begun: one request of each client.
        return CLIENTS
    if event in ("link down", "SIGSTOP"):
        # A request waits for the limit of the front end, 4 s: within the 8 s of the event each
        # client can lose two.
        return 2 * CLIENTS
    return None


def faults(front_end, event, found):
    """What is wrong with the figures of an event, by the method: a list of sentences."""
    failed = {method: found[method]["failed"] for method in ("GET", "POST")}
    said = []
    if found["twice"]:
        said.append(f"{found['twice']} POSTs were carried out twice")
    if not min(found[method]["sent"] for method in failed):
        said.append("no request was sent")
    if event in PLANNED and failed["GET"]:
        said.append(f"{failed['GET']} GETs failed in a planned change")
    if event == "`kill -9`" and found["span"] > LONGEST_SPAN:
        said.append(
            f"requests failed during {found['span']:.1f} s, {LONGEST_SPAN} s at most may be"
        )
    most = most_failed(front_end, event)
    if most is not None and sum(failed.values()) > most:
        said.append(f"{sum(failed.values())} requests failed, at most {most} may")
    return said


HAPROXY = """
global
    stats socket {root}/haproxy.sock mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 4s
    timeout check 1s
    retries 3
    option redispatch 1
frontend www
    bind 127.0.0.1:8080
    default_backend site
{application}
backend site
    balance roundrobin
    {use}
    retry-on conn-failure empty-response response-timeout 503
    http-request disable-l7-retry unless METH_GET
    option httpchk
    http-check send meth GET uri /-/ready
    default-server {speaks} inter 500ms fall 2 rise 1 pool-max-conn 8
{servers}
"""
HAPROXY_FASTCGI = {
    "application": "fcgi-app python\n    docroot /srv/site\n    option keep-conn",
    "use": "use-fcgi-app python",
    "speaks": "proto fcgi check-proto fcgi check port 9001",
}
HAPROXY_HTTP = {
    "application": "",
    "use": "option http-server-close",
    "speaks": "send-proxy-v2 check",
}
# The file that --include-file names, as in conf-examples.
INCLUDED = """
<Location "/-/">
    SetHandler wsgi-health
    Require all granted
</Location>
<Location "/-/ready">
    <If "-f '{disk}/draining'">
        Redirect 503
    </If>
</Location>
"""
NGINX = """
daemon off;
pid {root}/nginx.pid;
error_log {root}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    fastcgi_temp_path {root}/fastcgi;
    proxy_temp_path {root}/proxy;
    scgi_temp_path {root}/scgi;
    uwsgi_temp_path {root}/uwsgi;
    upstream site {{
        zone site 64k;
{servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:8080;
        location / {{
            fastcgi_pass site;
            fastcgi_keep_conn on;
            fastcgi_connect_timeout 1s;
            fastcgi_read_timeout 4s;
            fastcgi_next_upstream error timeout http_503;
            include /etc/nginx/fastcgi_params;
        }}
    }}
}}
"""
CADDY = """
{{
    admin off
}}
{machines}
http://:8080 {{
    bind 127.0.0.1
    reverse_proxy {servers} {{
        lb_policy round_robin
        lb_try_duration 3s
        lb_try_interval 100ms
        health_uri /-/ready
        health_interval 500ms
        health_timeout 3s
        health_status 200
        fail_duration 2s
        max_fails 1
    }}
}}
"""
# The site of a machine, at a port of its own on loopback.
CADDY_MACHINE = """
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy /-/ready {address}:9001 {{
        transport http {{
            dial_timeout 1s
        }}
    }}
    reverse_proxy {address}:9000 {{
        transport fastcgi {{
            dial_timeout 1s
            read_timeout 4s
        }}
    }}
    handle_errors {{
        abort
    }}
}}
"""
APACHE = """
ServerRoot {root}
ServerName localhost
User www-data
Group www-data
Listen 127.0.0.1:8080
PidFile {root}/httpd.pid
ErrorLog {root}/httpd.log
{modules}
<Proxy "balancer://site">
{servers}
    ProxySet maxattempts=2
</Proxy>
<Proxy "balancer://once">
{servers_once}
    ProxySet maxattempts=0
</Proxy>
RewriteEngine On
RewriteCond %{{REQUEST_METHOD}} !^(GET|HEAD)$
RewriteRule "^(.*)$" "balancer://once$1" [P]
ProxyPass "/" "balancer://site/"
"""
APACHE_MODULES = [
    "mpm_event",
    "unixd",
    "authz_core",
    "rewrite",
    "proxy",
    "proxy_fcgi",
    "proxy_balancer",
    "proxy_hcheck",
    "watchdog",
    "slotmem_shm",
    "lbmethod_byrequests",
]
