"""What the scope announces beside the specification of HTTP."""

import contextlib
import http.client
import json
import re
import ssl
import subprocess

import pytest
from harness.asgi import conf
from harness.client import TIMEOUT, basic
from harness.conf import tls_host

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

EXPORTS = """
<Location /scope>
    SSLOptions +StdEnvVars +ExportCertData
    SSLVerifyClient optional_no_ca
    SSLVerifyDepth 3
</Location>
"""
VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


@pytest.fixture
def tls(serve, certificate):
    """tls(path, cert=False, version=…) is the scope of a request over TLS."""
    more = EXPORTS + tls_host(certificate, "SSLVerifyClient optional_no_ca")
    server = serve(conf(more=more, modules=("ssl",)))
    server.log.allow("AH01873|AH01882|AH01906|AH02039|AH02040")

    def tls(path, cert=False, version=None):
        context = ssl.create_default_context(cafile=str(certificate[0]))
        if cert:
            context.load_cert_chain(*certificate)
        if version:
            context.minimum_version = context.maximum_version = version
        connection = http.client.HTTPSConnection(
            "localhost", server.port2, context=context, timeout=TIMEOUT
        )
        with contextlib.closing(connection):
            connection.connect()
            facts = connection.sock.version(), connection.sock.cipher()[0]
            connection.request("GET", path, headers={"Connection": "close"})
            return json.loads(connection.getresponse().read()), facts

    return tls


def pem(text):
    """The base64 of a certificate, without line ends."""
    (found,) = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END", text, re.S)
    return "".join(found.split())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_tells_of_the_connection(tls, certificate, version):
    scope, (protocol, cipher) = tls("/scope", version=version)
    told = scope["extensions"]["tls"]
    assert told["tls_version"] == VERSIONS[protocol]
    listed = subprocess.run(
        ["openssl", "ciphers", "-V"], capture_output=True, text=True, check=True
    )
    number = next(line.split() for line in listed.stdout.splitlines() if f" {cipher} " in line)[0]
    high, low = number.split(",")
    assert told["cipher_suite"] == int(high, 16) << 8 | int(low, 16)
    assert pem(told["server_cert"]) == pem(certificate[0].read_text())
    assert told["client_cert_chain"] == []
    assert told["client_cert_name"] is told["client_cert_error"] is None


def test_tls_tells_of_the_certificate_of_the_client(tls, certificate):
    told = tls("/scope", cert=True)[0]["extensions"]["tls"]
    assert pem(told["client_cert_chain"][0]) == pem(certificate[0].read_text())
    assert told["client_cert_name"] == "CN=localhost"
    # The certificate is its own issuer, which the server does not know.
    assert told["client_cert_error"]


def test_tls_is_announced_only_where_mod_ssl_exports_its_variables(tls):
    scope, _ = tls("/mounted/scope")
    assert (scope["scheme"], scope["extensions"]) == ("https", {})


def test_client_that_httpd_has_authenticated_is_named(serve):
    more = """
    <Location /scope/private>
        AuthType Basic
        AuthName realm
        AuthBasicProvider file
        AuthUserFile ${ROOT}/users
        Require valid-user
    </Location>
    """
    modules = ("auth_basic", "authn_core", "authn_file", "authz_user")
    # openssl passwd -apr1 -salt salt secret
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", "-salt", "salt", "secret"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    server = serve(conf(more=more, modules=modules, files=(("users", f"someone:{hashed}"),)))
    scope = server.get("/scope/private", headers={"Authorization": basic("someone:secret")}).json()
    told = scope["extensions"]["mod_wsgi.authentication"]
    assert told == {"user": "someone", "type": "Basic"}
    assert server.get("/scope/private").status == 401
    # No header of a client is taken for it.
    assert server.get("/scope", headers={"Remote-User": "someone"}).json()["extensions"] == {}
