"""The secret of --secret-file, as each front end sends it by docs/several-machines.md."""

import contextlib
import re
import shutil

import pytest
from harness import fastcgi_client as fastcgi
from harness import frontends
from harness.env import REPO
from harness.httpd import free_ports, ports_locked, wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

PAGE = REPO / "docs/several-machines.md"
SECRET = "1f0e9a7c55aa"
NGINX = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        fastcgi_pass 127.0.0.1:{daemon};
        include /etc/nginx/fastcgi_params;
        {setting}
    }}
}}
"""
CADDY = """
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{daemon} {{
        transport fastcgi {{
            {setting}
        }}
    }}
}}
"""
APACHE = """
ProxyPass "/" "fcgi://127.0.0.1:{daemon}/"
{setting}
"""


def setting_of(title):
    """The setting of a front end, as the page has it, with the secret of this test."""
    (setting,) = re.findall(rf'^\| {title} \| `([^`]*"SECRET"[^`]*)`', PAGE.read_text(), re.M)
    return setting.replace('"SECRET"', f'"{SECRET}"')


def answers(port):
    with contextlib.suppress(OSError):
        return fastcgi.get(("127.0.0.1", port), "/-/ready").status == 200
    return False


@pytest.mark.parametrize("title", ["nginx", "HAProxy", "Caddy", "Apache"])
def test_front_end_with_the_setting_of_the_page_is_served_and_others_are_not(
    daemon, servers, title
):
    program = title.lower()
    if program == "apache" and not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    if program != "apache" and not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    secret = daemon.root / "secret"
    secret.write_text(f"{SECRET}\n")
    with ports_locked():
        (port,) = free_ports(1)
        daemon.start_at(f"tcp:127.0.0.1:{port}", options=["--secret-file", secret])
        wait_until(lambda: answers(port), "the daemon")

    def front(setting):
        values = {"daemon": port, "setting": setting}
        if program == "apache":
            return frontends.apache_with(
                servers, APACHE.format(**values), allowed=[r"\bAH0\d{4}: "]
            )
        if program == "haproxy":
            return frontends.haproxy(daemon.root, f"127.0.0.1:{port}", setting, has_check=True)
        text = {"nginx": NGINX, "caddy": CADDY}[program]
        start = getattr(frontends, f"{program}_with")
        return start(daemon.root, lambda own: text.format(port=own, **values))

    setting = setting_of(title)
    with front(setting) as client:
        answer = client.get("/a?b")
        assert answer.status == 200
        assert SECRET not in answer.text
    with front(setting.replace(SECRET, "another")) as client:
        assert client.get("/a?b").status in (500, 502, 503)
