"""Heads of responses that are too long for a front end, and the line that says so."""

import shutil

import pytest
from harness import frontends
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

APPLICATION = """
def application(environ, start_response):
    count, _, length = environ.get("QUERY_STRING", "").partition(",")
    headers = [(f"X-{n}", "x" * int(length or 0)) for n in range(int(count or 0))]
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return [b"served"]
"""
NGINX = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        fastcgi_pass unix:{socket};
        include /etc/nginx/fastcgi_params;
        {more}
    }}
}}
"""
# The front end, and by the number and the length of headers: the status.
CASES = [
    ("nginx", "", {"2,1000": 200, "9,1000": 502}),
    ("nginx", "fastcgi_buffer_size 16k; fastcgi_buffers 8 16k;", {"9,1000": 200, "1,9000": 200}),
    ("haproxy", "", {"2,1000": 200, "9,1000": 200, "1,9000": 200}),
    ("apache", "", {"2,1000": 200, "9,1000": 200, "40,1000": 200, "1,8100": 200, "1,9000": 500}),
]


@pytest.mark.parametrize(("name", "more", "statuses"), CASES)
def test_head_reaches_the_client_or_the_log_says_why_not(daemon, servers, name, more, statuses):
    if name == "apache" and not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    if name != "apache" and not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    daemon.root.chmod(0o755)
    daemon.script.write_text(APPLICATION)
    daemon.start("--socket-mode", "666")
    values = {"socket": daemon.socket, "more": more}
    if name == "nginx":
        front = frontends.nginx_with(daemon.root, lambda port: NGINX.format(port=port, **values))
    elif name == "haproxy":
        front = frontends.haproxy(daemon.root, f"unix@{daemon.socket}")
    else:
        text = f'ProxyPass "/" "unix:{daemon.socket}|fcgi://localhost/"'
        front = frontends.apache_with(
            servers, text, allowed=[r"\bAH0\d{4}: ", "Premature end of script"]
        )
    lines = 0
    with front as client:
        for query, status in statuses.items():
            assert client.get(f"/?{query}").status == status, query
            count, length = map(int, query.split(","))
            if count * length > 8192:
                wait_until(lambda: "WSGI0249" in daemon.log(), "the line")
                lines = 1
            assert daemon.log().count("WSGI0249") == lines


def test_line_about_long_heads_names_the_longest_header_and_comes_once_a_minute(daemon):
    daemon.script.write_text(APPLICATION)
    daemon.start("--processes", "1", "--threads", "4")
    for _ in range(20):
        answer = daemon.get("/?1,9000")
        assert (answer.status, len(answer.head["x-0"])) == (200, 9000)
    wait_until(lambda: "WSGI0249" in daemon.log(), "the line")
    assert " bytes, 9006 of them in the header X-0; mod_proxy_fcgi takes 8190" in daemon.log()
    assert daemon.log().count("WSGI0249") == 1
