"""What the scope announces beside the specification of HTTP."""

import contextlib
import http.client
import json
import re
import ssl
import subprocess

import pytest
from harness.asgi import APP, WEBSOCKET_APP, conf
from harness.client import TIMEOUT, basic, head, read_all, read_until
from harness.conf import tls_host
from harness.websocket import websocket

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
HTTP_EXTENSIONS = {
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
    "http.response.early_hint": {},
}
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
    assert scope["scheme"] == "https"
    assert "tls" not in scope["extensions"]


@pytest.mark.parametrize("path", ["/scope", "/mounted/scope"])
def test_tls_tells_a_websocket_of_its_connection(serve, certificate, path):
    exports = "<Location /scope>\nSSLOptions +StdEnvVars +ExportCertData\n</Location>\n"
    more = exports + tls_host(certificate)
    server = serve(conf(more=more, modules=("ssl",), app=WEBSOCKET_APP))
    server.log.allow("AH01873|AH01906")
    with websocket(server.port2, path, tls=True) as ws:
        scope = json.loads(ws.receive())
        version = ws.sock.version()
    assert scope["scheme"] == "wss"
    told = scope["extensions"].get("tls")
    if path == "/mounted/scope":
        # mod_ssl exports nothing there.
        assert told is None
    else:
        assert told["tls_version"] == VERSIONS[version]
        assert pem(told["server_cert"]) == pem(certificate[0].read_text())
        assert told["client_cert_chain"] == []


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
    assert (
        server.get("/scope", headers={"Remote-User": "someone"}).json()["extensions"]
        == HTTP_EXTENSIONS
    )


def files(size):
    """A file of `size` bytes that tells each position, and what it has."""
    return "".join(f"{number:015}\n" for number in range(size // 16))


LARGE = files(4_000_000)
FILES = (("files/large", LARGE), ("files/small", "small\n"), ("files/empty", ""))
PATHS = (
    APP
    + '''
import tempfile

FILES = os.path.dirname(__file__) + "/files/"


async def do_path(scope, receive, send):
    await start(send, headers=[("content-type", "text/plain")])
    name = scope["query_string"].decode()
    await send({"type": "http.response.pathsend", "path": FILES + name})


async def do_parts(scope, receive, send):
    """Bytes, a part, the rest from the position on, and bytes."""
    await start(send)
    kind = {"type": "http.response.zerocopysend", "more_body": True}
    await send({"type": "http.response.body", "body": b"begin,", "more_body": True})
    with open(FILES + "large", "rb") as file:
        await send(kind | {"file": file, "offset": 16, "count": 32})
        await send(kind | {"file": file.fileno(), "count": 1_000_000})
        await send(kind | {"file": file})
    await end(send, b",end")


async def do_refused(scope, receive, send):
    """What is said of messages that cannot be."""
    read, write = os.pipe()
    said = []
    await start(send)
    path, zero = "http.response.pathsend", "http.response.zerocopysend"
    with tempfile.TemporaryDirectory() as folder, open(FILES + "small", "rb") as file:
        os.mkfifo(folder + "/fifo")
        for message in [
            {"type": path},
            {"type": path, "path": "files/small"},
            {"type": path, "path": FILES + "none"},
            {"type": path, "path": FILES},
            {"type": path, "path": folder + "/fifo"},
            {"type": zero},
            {"type": zero, "file": "x"},
            {"type": zero, "file": read},
            {"type": zero, "file": file, "offset": -1},
            {"type": zero, "file": file, "offset": 7},
            {"type": zero, "file": file, "count": 7},
        ]:
            try:
                await send(message)
            except Exception as error:
                said.append(type(error).__name__)
    await send({"type": "http.response.body", "body": json.dumps(said).encode(), "more_body": True})
    try:
        await send({"type": path, "path": FILES + "small"})
    except RuntimeError as error:
        await end(send, str(error).encode())
'''
)


@pytest.fixture
def sender(serve):
    return serve(conf(app=PATHS, files=FILES))


def test_files_are_announced(sender):
    assert sender.get("/scope").json()["extensions"] == HTTP_EXTENSIONS


@pytest.mark.all_mpms
@pytest.mark.parametrize("name", ["large", "small", "empty"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_file_at_a_path_is_all_of_the_body(sender, name, method):
    content = dict(FILES)[f"files/{name}"]
    answer = sender.request(method, f"/path?{name}")
    assert (answer.status, answer.truncated) == (200, False)
    assert answer.text == ("" if method == "HEAD" else content)
    if method == "GET":
        assert answer.header("content-length") == str(len(content))


@pytest.mark.all_mpms
def test_parts_of_a_file_come_between_other_parts_of_the_body(sender):
    expected = f"begin,{LARGE[16:48]}{LARGE},end"
    for _ in range(3):
        assert sender.get("/parts").text == expected


def test_files_are_read_where_the_daemon_has_another_user_than_apache(serve, env):
    if env.user is None:
        pytest.skip("only root starts daemons of another user")
    server = serve(conf("user=games", app=PATHS, files=FILES))
    assert server.get("/path?large").text == LARGE
    assert server.get("/parts").text == f"begin,{LARGE[16:48]}{LARGE},end"


def test_slow_reader_of_a_file_that_is_read_does_not_stop_others(serve, env):
    if env.user is None:
        pytest.skip("only root starts daemons of another user")
    server = serve(
        conf("user=games response-spool-size=0 response-buffer-size=65536", app=PATHS, files=FILES)
    )
    with server.socket() as sock:
        sock.sendall(head("/path?large", "Connection: close"))
        read_until(sock, b"0000\n")
        assert server.get("/path?small").text == "small\n"
        assert read_all(sock).endswith(LARGE[-16:].encode())


def test_files_that_cannot_be_sent_are_exceptions_of_send(sender):
    said, end, rest = sender.get("/refused").text.partition("]")
    errors = ["TypeError", "ValueError", "OSError", "ValueError", "ValueError", "ValueError"]
    errors += ["TypeError", "ValueError", "ValueError", "ValueError", "ValueError"]
    assert json.loads(said + end) == errors
    assert rest == "'http.response.pathsend' was sent beside other parts of the body"
