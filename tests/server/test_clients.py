"""curl in HTTP/1.0, 1.1 and 2, in clear and over TLS."""

import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest
from harness.conf import Conf, tls_host
from harness.conversation import Chunks, Stream
from harness.httpd import wait_until

TEXT = """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIChunkedRequest On
    WSGIScriptAlias /ask ${APPS}/ask.py
    WSGIScriptAlias /exported ${APPS}/ask.py
    <Location /exported>
        SSLOptions +StdEnvVars
    </Location>
    WSGIScriptAlias /body ${APPS}/body.py
    WSGIScriptAlias /files ${APPS}/files.py
    WSGIScriptAlias /errors ${APPS}/errors.py
    WSGIScriptAlias / ${APPS}/response.py
    Protocols h2 h2c http/1.1
"""
SMALL = "0123456789abcdefghijklmnopqrstuvwxyz\n"

if not shutil.which("curl"):
    pytest.skip("curl is not installed", allow_module_level=True)


@pytest.fixture
def server(serve, certificate):
    modules = ("ssl", "http2", "socache_shmcb")
    return serve(Conf(TEXT + tls_host(certificate), modules, files=(("files/small", SMALL),)))


@pytest.fixture(params=["1.0", "1.1", "2", "1.0+tls", "1.1+tls", "2+tls"])
def curl(request, server):
    """curl(path, *options) is what curl printed, in one version of HTTP."""
    version, _, tls = request.param.partition("+")
    base = f"https://localhost:{server.port2}" if tls else f"http://localhost:{server.port}"
    flags = {"1.0": ["--http1.0"], "1.1": ["--http1.1"], "2": ["--http2"]}[version]
    if version == "1.0" and tls:
        # This curl's ALPN offer of http/1.0 makes the handshake fail.
        flags.append("--no-alpn")
    if version == "2" and not tls:
        flags = ["--http2-prior-knowledge"]
    if version == "2" and server.mpm == "prefork":
        pytest.skip("mod_http2 does not serve under prefork")

    def curl(path, *options, codes=(0,), body=b""):
        command = ["curl", "-sS", "-k", "-4", "-m", "20", *flags, *options, base + path]
        done = subprocess.run(command, input=body, capture_output=True, timeout=30, check=False)
        assert done.returncode in codes, done.stderr
        return done.stdout

    curl.version, curl.tls = version, bool(tls)
    return curl


@pytest.mark.all_mpms
def test_a_request_is_answered_in_its_version(curl):
    # Apache answers an HTTP/1.0 request with its own version.
    answered = {"1.0": "1.1"}.get(curl.version, curl.version)
    assert curl("/hello", "-w", "|%{http_version}") == f"Hello World!|{answered}".encode()
    protocol = {"1.0": b'"HTTP/1.0"', "1.1": b'"HTTP/1.1"', "2": b'"HTTP/2.0"'}[curl.version]
    assert curl("/ask?environ['SERVER_PROTOCOL']", "-g") == protocol


@pytest.mark.all_mpms
def test_the_scheme_is_known(curl):
    scheme = b'"https"' if curl.tls else b'"http"'
    assert curl("/ask?environ['wsgi.url_scheme']", "-g") == scheme
    assert curl("/ask?'HTTPS'%20in%20environ", "-g") == b"false"


def test_bodies_go_both_ways(curl):
    body = bytes(range(256)) * 4000
    assert curl("/body/echo", "--data-binary", "@-", body=body) == body


no_length = pytest.mark.differs(
    "http-2-body-without-length", "mod_wsgi's daemons are given no body then", mode="daemon"
)


@pytest.mark.parametrize(
    "curl",
    [
        "1.1",
        "1.1+tls",
        pytest.param("2", marks=no_length),
        pytest.param("2+tls", marks=no_length),
    ],
    indirect=True,
)
def test_a_body_of_unknown_length_arrives(curl):
    answer = curl("/body/length", "-X", "POST", "-T", "-", body=b"x" * 300_000)
    assert b'"length": 300000' in answer


@pytest.mark.differs(
    "daemon-full-duplex", "mod_wsgi's daemon mode reads all of a body first", always=False
)
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_conversation_goes_on_line_by_line(server, version, tls):
    """Each line is answered before the next one is sent. No curl can do that."""
    with contextlib.ExitStack() as stack:
        port = server.port2 if tls else server.port
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15))
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2" if version == "2" else "http/1.1"])
            sock = stack.enter_context(context.wrap_socket(sock))
        talk = Stream(sock, "/body/parrot") if version == "2" else Chunks(sock, "/body/parrot")
        for size in (5, 300, 20_000, 5):
            said = b"x" * size + b"\n"
            talk.say(said)
            heard = b""
            while len(heard) < len(said):
                piece = talk.hear()
                assert piece, heard
                heard += piece
            assert heard == said
        talk.say(b"", last=True)
        assert talk.hear() == b""


@pytest.mark.differs(
    "daemon-full-duplex", "mod_wsgi's daemon mode reads all of a body first", always=False
)
def test_a_long_answer_to_a_long_body_that_still_comes(curl):
    body = bytes(range(256)) * 4096 * 8
    assert len(curl("/body/twice", "--data-binary", "@-", body=body)) == 2 * len(body)


@pytest.mark.parametrize("path", ["/generator", "/pieces", "/big/30", "/empty"])
def test_responses_without_a_length_are_complete(server, curl, path):
    assert curl(path) == server.get(path).body


def test_head_has_no_body(curl):
    head = curl("/hello", "-I")
    assert b" 200" in head.split(b"\n")[0]
    assert b"Hello" not in head


def test_files_are_sent_whole(curl, server, env):
    if env.oracle:
        # Under HTTP/2 mod_wsgi now and then takes the end of the file for the client's leaving.
        server.log.allow("WSGI0174: .*OSError", "^OSError: mod_wsgi client connection closed")
    assert curl("/files/whole?small") == SMALL.encode()


@pytest.mark.all_mpms
@pytest.mark.differs(
    "truncation-daemon",
    "mod_wsgi's Apache takes whatever end a daemon's answer has for its end",
    mode="daemon",
)
@pytest.mark.parametrize("curl", ["1.1", "1.1+tls"], indirect=True)
def test_a_truncated_answer_is_an_error_for_curl(server, curl):
    # 18: partial file, 56: failure when receiving.
    assert curl("/errors/raises_later", codes=(18, 56)) == b"a piece"
    server.log.expect_traceback("WSGI0174: ", "ValueError: after the first piece")
    assert curl("/hello") == b"Hello World!"


@pytest.mark.parametrize("curl", ["1.0", "1.0+tls"], indirect=True)
def test_a_truncated_answer_is_over_for_http_1_0(server, curl):
    # It has no way to tell.
    assert curl("/errors/raises_later", codes=(0, 56)) == b"a piece"
    server.log.expect_traceback("WSGI0174: ", "ValueError: after the first piece")


@pytest.mark.differs("truncation-http-2", "mod_wsgi ends the stream as if the answer were whole")
@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("curl", ["2", "2+tls"], indirect=True)
def test_a_truncated_http_2_answer_resets_its_stream(server, curl):
    # 92: a stream was not closed cleanly; 16, 56: the connection went with it.
    assert curl("/errors/raises_later", codes=(16, 18, 56, 92)) in (b"a piece", b"")
    server.log.expect_traceback("WSGI0174: ", "ValueError: after the first piece")
    assert curl("/hello") == b"Hello World!"


ENDLESS = """
import pathlib, time

OUT = pathlib.Path(__file__).with_name("out")


class Pieces:
    def __iter__(self):
        while True:
            yield b"x" * 1000
            time.sleep(0.01)

    def close(self):
        (OUT / "closed").write_text("")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Pieces()
"""


@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("resets", [True, False])
def test_an_http_2_client_that_leaves_ends_the_answer(serve, resets):
    """By a reset of its stream, or with its connection."""
    text = """
    Protocols h2c http/1.1
    # httpd may see the request before the frame that ends it: then it has a body.
    WSGIChunkedRequest On
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /endless ${ROOT}/endless.py
    WSGIScriptAlias / ${APPS}/response.py
    """
    files = (("endless.py", ENDLESS), ("out/README", "the application writes here"))
    server = serve(Conf(text, ("http2",), files=files), private=True)
    (server.root / "out").chmod(0o777)
    server.log.allow("WSGI0174|OSError|client connection|Traceback|^  |AH")
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as sock:
        talk = Stream(sock, "/endless")
        talk.say(b"", last=True)
        for _ in range(3):
            assert talk.hear()
        if resets:
            # CANCEL
            talk.frame(talk.RESET, 0, 1, (8).to_bytes(4, "big"))
            wait_until((server.root / "out/closed").exists, "the end of the answer", timeout=20)
    wait_until((server.root / "out/closed").exists, "the end of the answer", timeout=20)
    assert server.get("/hello").status == 200


# In clear, this curl trips over parallel streams with prior knowledge.
@pytest.mark.parametrize("curl", ["2+tls"], indirect=True)
def test_many_streams_of_one_connection(curl):
    queries = ",".join(f"?{n}" for n in range(20))
    assert curl(f"/hello{{{queries}}}", "-Z", "--parallel-max", "10") == b"Hello World!" * 20


@pytest.mark.parametrize("curl", ["1.1+tls", "2+tls"], indirect=True)
def test_mod_ssls_variables_are_there_when_asked_for(curl):
    assert curl("/ask?'SSL_CIPHER'%20in%20environ") == b"false"
    assert curl("/exported?'SSL_CIPHER'%20in%20environ") == b"true"
