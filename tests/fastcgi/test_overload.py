"""What front ends do when one of two hosts does not serve a request: docs/several-machines.md has
the table.
"""

import contextlib
import shutil

import pytest
from harness import frontends
from harness.fastcgi_backend import OVERLOADED, Backend, end, response

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

NGINX = """
upstream site {{ server 127.0.0.1:{bad} max_fails=0; server 127.0.0.1:{good} max_fails=0; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        fastcgi_pass site;
        fastcgi_next_upstream error timeout http_503;
        include /etc/nginx/fastcgi_params;
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 20s
    timeout server 3s
    retries 2
    option redispatch 1
frontend www
    bind 127.0.0.1:{port}
    default_backend site
fcgi-app python
    docroot /srv/site
backend site
    balance roundrobin
    retry-on conn-failure empty-response 503
    http-request disable-l7-retry if METH_POST
    use-fcgi-app python
    server bad 127.0.0.1:{bad} proto fcgi
    server good 127.0.0.1:{good} proto fcgi
"""
CADDY = """
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{bad} 127.0.0.1:{good} {{
        transport fastcgi {{
            read_timeout 3s
        }}
        lb_policy round_robin
        lb_try_duration 3s
        lb_try_interval 50ms
    }}
}}
"""
APACHE = """
<Proxy "balancer://site">
    BalancerMember "fcgi://127.0.0.1:{bad}" retry=0
    BalancerMember "fcgi://127.0.0.1:{good}" retry=0
    ProxySet failonstatus=503
</Proxy>
ProxyPass "/" "balancer://site/"
"""
# mod_proxy sends a request again to another member whatever its method, unless it may not.
APACHE_ONCE = (
    """
<Proxy "balancer://once">
    BalancerMember "fcgi://127.0.0.1:{bad}" retry=0
    BalancerMember "fcgi://127.0.0.1:{good}" retry=0
    ProxySet maxattempts=0
</Proxy>
RewriteEngine On
RewriteCond "%{{REQUEST_METHOD}}" "!^(GET|HEAD)$"
RewriteRule "^(.*)$" "balancer://once$1" [P]
"""
    + APACHE
)
APACHE_LINES = [r"\bAH0\d{4}: "]
BUSY = response("503 Service Unavailable", "busy", ["Retry-After: 1"])
FAILURES = {
    "refused": None,
    "closed": lambda _: None,
    "overloaded": lambda _: end(OVERLOADED),
    "busy": lambda _: BUSY,
}
# For GET and for POST: what a client gets (200 is the other host's answer; an empty 200 is
# none), and whether a request was sent to both hosts.
ELSEWHERE, TWICE = (200, False), (200, True)
OUTCOMES = {
    ("nginx", "refused"): (ELSEWHERE, ELSEWHERE),
    ("nginx", "closed"): (TWICE, (502, False)),
    ("nginx", "overloaded"): ((502, False), (502, False)),
    ("nginx", "busy"): (TWICE, (503, False)),
    ("haproxy", "refused"): (ELSEWHERE, ELSEWHERE),
    ("haproxy", "closed"): (TWICE, (502, False)),
    ("haproxy", "overloaded"): ((504, False), (504, False)),
    ("haproxy", "busy"): (TWICE, (503, False)),
    ("caddy", "refused"): (ELSEWHERE, (502, False)),
    ("caddy", "closed"): (TWICE, (502, False)),
    ("caddy", "overloaded"): (TWICE, (502, False)),
    ("caddy", "busy"): ((503, False), (503, False)),
    ("apache", "refused"): (ELSEWHERE, ELSEWHERE),
    ("apache", "closed"): (TWICE, TWICE),
    ("apache", "overloaded"): (("empty", False), ("empty", False)),
    ("apache", "busy"): ((503, False), (503, False)),
    ("apache-once", "refused"): (ELSEWHERE, (503, False)),
    ("apache-once", "closed"): (TWICE, (503, False)),
    ("apache-once", "overloaded"): (("empty", False), ("empty", False)),
    ("apache-once", "busy"): ((503, False), (503, False)),
}


@pytest.fixture
def front_of(tmp_path, servers):
    """front_of(name, bad, good): a client of a front end of two hosts."""
    with contextlib.ExitStack() as stack:

        def start(name, bad, good):
            ports = {"bad": bad, "good": good}
            if name == "nginx":
                front = frontends.nginx_with(
                    tmp_path, lambda port: NGINX.format(port=port, **ports)
                )
            elif name == "caddy":
                front = frontends.caddy_with(
                    tmp_path, lambda port: CADDY.format(port=port, **ports)
                )
            elif name == "haproxy":
                front = frontends.haproxy_with(
                    tmp_path, lambda port: HAPROXY.format(port=port, **ports)
                )
            else:
                modules = ("proxy_balancer", "slotmem_shm", "lbmethod_byrequests", "rewrite")
                text = APACHE_ONCE if name == "apache-once" else APACHE
                front = frontends.apache_with(
                    servers, text.format(**ports), *modules, allowed=APACHE_LINES
                )
            return stack.enter_context(front)

        yield start


@contextlib.contextmanager
def host(failure):
    """A host that serves, and answers so once it is told to fail; None: it listens no more."""
    backend = Backend(lambda _: response())

    def fail():
        if failure:
            backend.answer = failure
        else:
            backend.close()

    backend.fail = fail
    try:
        yield backend
    finally:
        backend.close()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["nginx", "haproxy", "caddy", "apache", "apache-once"])
def test_request_that_one_host_does_not_serve_goes_to_the_other_one(
    front_of, servers, name, failure
):
    program = name.partition("-")[0]
    if program == "apache" and not servers.env.has_module("proxy_balancer"):
        pytest.skip("this Apache has no mod_proxy_balancer")
    if program != "apache" and not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    with host(FAILURES[failure]) as bad, host(lambda _: response()) as good:
        client = front_of(name, bad.port, good.port)
        bad.fail()
        found = []
        for method in ("GET", "POST"):
            bad.requests.clear()
            good.requests.clear()
            answers = [client.request(method, f"/{number}", body=b"") for number in range(6)]
            # Half of them come to the other host at once.
            statuses = {(answer.status, answer.text == "served") for answer in answers}
            ((status, served),) = statuses - {(200, True)} or {(200, True)}
            uris = [uri for _, uri in [*bad.requests, *good.requests]]
            is_sent_twice = len(uris) > len(set(uris))
            found.append((status if served == (status == 200) else "empty", is_sent_twice))
    assert tuple(found) == OUTCOMES[name, failure]
