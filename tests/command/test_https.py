"""HTTPS: an authority of the user's own for development, own certificates in production."""

import contextlib
import http.client
import socket
import ssl

import pytest
from harness.httpd import free_ports, ports_locked

pytestmark = pytest.mark.ours_only("runs ours")


def get(port, authority, host="localhost", path="/", alpn=()):
    """(status, headers, body, protocol) of a request that checks the certificate."""
    context = ssl.create_default_context(cafile=authority)
    if alpn:
        context.set_alpn_protocols(alpn)
    # The address is the loopback's; the name is that which the certificate is for.
    raw = socket.create_connection(("127.0.0.1", port), 30)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.sock = context.wrap_socket(raw, server_hostname=host)
        agreed = connection.sock.selected_alpn_protocol()
        if agreed == "h2":
            return None, None, None, agreed
        connection.request("GET", path, headers={"Host": f"{host}:{port}"})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode(), agreed


@pytest.fixture
def two_ports():
    with ports_locked():
        return free_ports(2)


def secure_port(server):
    return int(server.wait_for(r"serving on https://127\.0\.0\.1:(\d+)/").group(1))


def test_authority_is_made_once_and_signs_for_this_machine(start, short):
    data = short / "data"
    server = start("--reload", "--https", XDG_DATA_HOME=str(data))
    authority = data / "mod_wsgi_rs/authority/authority.crt"
    server.wait_for("an authority for development has been made. To trust it, once:")
    assert f"-i {authority}" in server.text()
    port = secure_port(server)
    for host in ("localhost", "127.0.0.1"):
        status, _, body, _ = get(port, authority, host)
        assert (status, "one" in body) == (200, True)
        assert "/__mod_wsgi_rs__/refresh.js" in body
    with pytest.raises(ssl.SSLCertVerificationError):
        get(port, authority, "other.example")
    assert (data / "mod_wsgi_rs/authority/authority.key").stat().st_mode & 0o777 == 0o600
    assert (data / "mod_wsgi_rs/authority").stat().st_mode & 0o777 == 0o700
    made = authority.read_bytes()
    # HTTP goes on beside it.
    assert server.get()[0] == 200
    second = start("--reload", "--https", XDG_DATA_HOME=str(data))
    second.wait_for("the certificate is signed by ")
    assert get(secure_port(second), authority)[0] == 200
    assert authority.read_bytes() == made


def test_http_2_is_spoken_with_https_where_mod_http2_is_installed(start, short, env):
    if not env.has_module("http2"):
        pytest.skip("Apache has no mod_http2")
    server = start("--https", XDG_DATA_HOME=str(short / "data"))
    authority = short / "data/mod_wsgi_rs/authority/authority.crt"
    port = secure_port(server)
    assert get(port, authority, alpn=["h2", "http/1.1"])[3] == "h2"
    assert get(port, authority, alpn=["http/1.1"])[3] == "http/1.1"


def test_own_certificate_serves_https_and_redirects_http(start, two_ports, certificate, site):
    port, https = two_ports
    (site / "app.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [f\"{environ['wsgi.url_scheme']} {environ['SSL_PROTOCOL']}\".encode()]\n"
    )
    server = start(
        *("--https-port", https, "--ssl-certificate-file", certificate[0]),
        *("--ssl-certificate-key-file", certificate[1], "--https-only", "--ssl-environment"),
        *("--hsts-policy", "max-age=3600", "--server-name", "localhost"),
        port=port,
    )
    status, headers, body, _ = get(https, certificate[0])
    assert status == 200
    assert body.startswith("https TLSv1.")
    assert headers["Strict-Transport-Security"] == "max-age=3600"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/page?x=1", headers={"Host": f"localhost:{server.port}"})
        response = connection.getresponse()
        assert response.status == 301
        assert response.getheader("Location") == f"https://localhost:{https}/page?x=1"


def test_https_is_refused_for_a_server_that_is_kept_and_with_another_certificate(run, short):
    done = run("setup-server", "--https", "--server-root", short / "root", check=False)
    assert done.returncode == 2
    assert "--https is for start-server" in done.stderr
    done = run("start-server", "--https", "--ssl-certificate", short / "own", check=False)
    assert done.returncode == 2
    assert "with a certificate of your own use --https-port alone" in done.stderr
