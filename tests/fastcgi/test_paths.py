"""SCRIPT_NAME and PATH_INFO, as each web server in front of wsgi-daemon makes them."""

import contextlib
import shutil

import pytest
from harness import fastcgi_client as fastcgi
from harness import frontends
from harness.httpd import free_ports, ports_locked, wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

NGINX = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        fastcgi_pass 127.0.0.1:{daemon};
        include /etc/nginx/{params};
        {more}
    }}
}}
"""
CADDY = """
http://:{port} {{
    bind 127.0.0.1
    {more}
    reverse_proxy 127.0.0.1:{daemon} {{
        transport fastcgi {{
            {params}
        }}
    }}
}}
"""
NGINX_SPLIT = """
        fastcgi_split_path_info ^(/blog)(.*)$;
        fastcgi_param SCRIPT_NAME $fastcgi_script_name;
        fastcgi_param PATH_INFO $fastcgi_path_info;
"""
# A split that matches nothing of the site's: PATH_INFO is sent, and empty.
NGINX_PHP = """
        fastcgi_split_path_info ^(.+\\.php)(/.+)$;
        fastcgi_param PATH_INFO $fastcgi_path_info;
"""
APACHE = 'ProxyPass "/" "fcgi://127.0.0.1:{daemon}/"'
APACHE_GENERIC = f"{APACHE}\nProxyFCGIBackendType GENERIC"
APACHE_MOUNTED = 'ProxyPass "/blog" "fcgi://127.0.0.1:{daemon}"'
APACHE_BALANCER = """
<Proxy "balancer://site">
    BalancerMember "fcgi://127.0.0.1:{daemon}"
</Proxy>
ProxyPass "/" "balancer://site/"
"""
APACHE_HANDLER = """
<Location "/">
    SetHandler "proxy:fcgi://127.0.0.1:{daemon}"
    Require all granted
</Location>
"""
APACHE_SPLIT = """
ProxyPass "/blog/" "fcgi://127.0.0.1:{daemon}/"
ProxyFCGISetEnvIf "true" SCRIPT_NAME "/blog"
ProxyFCGISetEnvIf "%{{REQUEST_URI}} =~ m#^/blog(.*)#" PATH_INFO "$1"
"""
# The web server, its configuration, options of the program, and by path: SCRIPT_NAME, PATH_INFO.
ROOT = {"/": ("", "/"), "/blog/a%20b/c?d=e": ("", "/blog/a b/c"), "/static": ("", "/static")}
MOUNTED = {
    "/blog": ("/blog", ""),
    "/blog/": ("/blog", "/"),
    "/blog/a%20b/c?d=e": ("/blog", "/a b/c"),
}
CASES = [
    ("nginx", "", ("fastcgi_params",), (), ROOT),
    ("nginx", "", ("fastcgi.conf",), (), ROOT),
    ("nginx", "", ("fastcgi_params",), ("--script-name", "/blog/"), MOUNTED),
    ("nginx", NGINX_SPLIT, ("fastcgi_params",), (), MOUNTED),
    ("nginx", NGINX_SPLIT, ("fastcgi_params",), ("--script-name", "/blog"), MOUNTED),
    ("nginx", NGINX_PHP, ("fastcgi_params",), ("--front", "nginx"), ROOT),
    ("haproxy", "", (), (), ROOT),
    ("haproxy", "", (), ("--front", "haproxy", "--script-name", "/blog"), MOUNTED),
    ("haproxy", "path-info ^()(/.*)$", (), (), ROOT),
    ("haproxy", "path-info ^(/blog)(/.*)?$", (), ("--script-name", "/blog"), MOUNTED),
    ("caddy", "", ("",), (), ROOT),
    ("caddy", "", ("",), ("--script-name", "/blog"), MOUNTED),
    ("caddy", "uri strip_prefix /blog", ("",), ("--script-name", "/blog"), MOUNTED),
    ("caddy", "", ("split .php",), ("--front", "caddy"), ROOT),
    ("apache", APACHE, (), (), ROOT),
    ("apache", APACHE_GENERIC, (), (), ROOT),
    ("apache", APACHE_GENERIC, (), ("--front", "apache"), ROOT),
    ("apache", APACHE_BALANCER, ("proxy_balancer", "slotmem_shm", "lbmethod_byrequests"), (), ROOT),
    ("apache", APACHE_HANDLER, (), (), ROOT),
    ("apache", APACHE_HANDLER, (), ("--front", "apache", "--script-name", "/blog"), MOUNTED),
    ("apache", APACHE_MOUNTED, (), ("--script-name", "/blog"), MOUNTED),
    ("apache", APACHE_SPLIT, (), (), {"/blog/a%20b/c?d=e": ("/blog", "/a b/c")}),
]


@pytest.fixture
def front_of(daemon, servers):
    """front_of(name, text, more, options): a client of the web server before a daemon."""
    with contextlib.ExitStack() as stack:

        def start(name, text, more, options):
            daemon.root.chmod(0o755)
            with ports_locked():
                (port,) = free_ports(1)
                daemon.start_at(f"tcp:127.0.0.1:{port}", options=options)
                wait_until(lambda: answers(port), "the daemon")
            if name == "nginx":
                front = frontends.nginx_with(
                    daemon.root,
                    lambda own: NGINX.format(port=own, daemon=port, params=more[0], more=text),
                )
            elif name == "caddy":
                front = frontends.caddy_with(
                    daemon.root,
                    lambda own: CADDY.format(port=own, daemon=port, params=more[0], more=text),
                )
            elif name == "haproxy":
                front = frontends.haproxy(daemon.root, f"127.0.0.1:{port}", text)
            else:
                front = frontends.apache_with(servers, text.format(daemon=port), *more)
            return stack.enter_context(front)

        yield start


def answers(port):
    with contextlib.suppress(OSError):
        return fastcgi.get(("127.0.0.1", port)).status == 200
    return False


@pytest.mark.parametrize(("name", "text", "more", "options", "paths"), CASES)
def test_path_is_split_by_the_conventions_of_the_web_server(
    front_of, servers, name, text, more, options, paths
):
    if name == "apache" and not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    if name != "apache" and not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    client = front_of(name, text, more, options)
    for path, (script_name, path_info) in paths.items():
        environ = client.get(path).json()["environ"]
        found = (environ["SCRIPT_NAME"], environ["PATH_INFO"])
        assert found == (script_name, path_info), path
        assert not environ.get("SCRIPT_FILENAME", "").startswith("proxy:")
        assert environ.get("QUERY_STRING", "") == ("d=e" if "?" in path else "")


@pytest.mark.parametrize(
    ("options", "params", "split"),
    [
        # Caddy's `transport fastcgi` without `split`, and after `uri strip_prefix /blog`.
        ((), {"SCRIPT_NAME": "", "PATH_INFO": "/a b"}, ("", "/a b")),
        (("--front", "caddy"), {"SCRIPT_NAME": "", "PATH_INFO": "/a b"}, ("", "/a b")),
        (
            ("--script-name", "/blog"),
            {"SCRIPT_NAME": "", "PATH_INFO": "/a b", "REQUEST_URI": "/blog/a%20b"},
            ("/blog", "/a b"),
        ),
        (
            ("--script-name", "/blog"),
            {"SCRIPT_NAME": "", "PATH_INFO": "/blog/a b"},
            ("/blog", "/a b"),
        ),
        # With `split .php`, where it finds none.
        (("--front", "caddy"), {"SCRIPT_NAME": "/a b", "PATH_INFO": ""}, ("", "/a b")),
    ],
)
def test_path_is_split_by_the_conventions_of_caddy(daemon, options, params, split):
    """By its documented parameters."""
    daemon.start(*options)
    software = {"SERVER_SOFTWARE": "Caddy/v2.8.4", "SCRIPT_FILENAME": "/srv/a b"}
    environ = daemon.json(**software, **params)["environ"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == split
