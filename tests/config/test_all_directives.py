"""Every directive and every option at once, and server roots that mod_wsgi-express has written."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from harness.conf import Conf
from harness.env import ORACLE_VENV, REPO
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("our module in place of mod_wsgi's"),
    pytest.mark.embedded_only("each test names its own process groups"),
]

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["mod_wsgi.process_group"].encode()]
"""
SCRIPT = """
def allow_access(environ, host):
    return None
def check_password(environ, user, password):
    return (user, password) == ("u", "p")
def groups_for_user(environ, user):
    return ["staff"]
def get_realm_hash(environ, user, realm):
    return None
def process_group(environ):
    return None
handle_request = lambda environ, start_response: application(environ, start_response)
"""
# A legal value for each option that has not one everywhere.
VALUES = {
    "websocket-compression": "on",
    "user": "www-data", "group": "www-data", "supplementary-groups": "www-data", "umask": "0022",
    "home": "/", "lang": "C.UTF-8", "locale": "C.UTF-8", "display-name": "%{GROUP}",
    "python-path": "/tmp", "python-eggs": "/tmp", "switch-interval": "0.005", "processes": "1-2",
    "stack-size": "1048576", "send-buffer-size": "65536", "receive-buffer-size": "65536",
    "header-buffer-size": "16384", "response-buffer-size": "65536", "socket-user": "www-data",
    "script-user": "root", "cpu-priority": "1", "memory-limit": "8589934592",
    "virtual-memory-limit": "17179869184", "server-metrics": "Off", "preload": "On",
    "reload": "On", "threads": "3", "maximum-memory": "4294967296", "warm-up": "/site",
    "interface": "wsgi", "asgi-lifespan": "auto", "asgi-loop": "asyncio",
}  # fmt: skip
LEFT_OUT = {"script-group", "chroot", "python-home"}


def options():
    """The options of the table in docs/directives.md, each with a legal value."""
    page = (REPO / "docs/directives.md").read_text()
    section = page[page.index("## WSGIDaemonProcess") :]
    names = re.findall(r"^\| `([a-z-]+)` \|", section[: section.index("\n## ", 5)], re.M)
    assert len(names) > 40
    wanted = [name for name in names if name not in LEFT_OUT]
    return " ".join(f"{name}={VALUES.get(name, '60')}" for name in wanted)


EVERYTHING = """
WSGIPythonOptimize 1
WSGIPythonWarnings ignore
WSGIPythonHashSeed 7
WSGIPythonPath /tmp
WSGIPythonEggs /tmp
WSGIDontWriteBytecode On
WSGIDestroyInterpreter On
WSGICaseSensitivity On
WSGIRestrictEmbedded Off
WSGIRestrictStdin On
WSGIRestrictStdout Off
WSGIPrintLevel info
WSGILogFormat json
WSGIRestrictSignal On
WSGISwitchInterval 0.005
WSGISocketPrefix ${ROOT}/wsgi
WSGISocketRotation On
WSGIAcceptMutex default
WSGIServerMetrics On
WSGISlowRequests 30
WSGITelemetryOptions None
WSGIDaemonProcess site OPTIONS
WSGIDaemonProcess by-group script-group=root
WSGIImportScript ${ROOT}/app.py process-group=site application-group=site
<WSGIInterpreterOptions process-group=site>
    WSGISwitchInterval 0.01
</WSGIInterpreterOptions>
WSGIProcessGroup site
WSGIApplicationGroup site
WSGICallableObject application
WSGIRestrictProcess site by-group
WSGIScriptReloading On
WSGIPassAuthorization On
WSGIPassApacheRequest Off
WSGIChunkedRequest On
WSGIErrorOverride Off
WSGIMapHEADToGET Auto
WSGIIgnoreActivity Off
WSGIEnableSendfile On
WSGITrustedProxyHeaders X-Forwarded-For
WSGITrustedProxies 127.0.0.1
WSGIHandlerScript name ${ROOT}/script.py
WSGIScriptAliasMatch ^/match ${ROOT}/app.py
WSGIScriptAlias / ${ROOT}/app.py
<Location /asked>
    WSGIDispatchScript ${ROOT}/script.py
    WSGIAccessScript ${ROOT}/script.py
    AuthType Basic
    AuthName site
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${ROOT}/script.py
    WSGIAuthGroupScript ${ROOT}/script.py
    WSGIGroupAuthoritative On
    Require wsgi-group staff
</Location>
"""
MODULES = ("auth_basic", "authn_core", "authz_user")


def test_configuration_with_nearly_every_directive_serves(private):
    if os.geteuid() != 0:
        pytest.skip("some options need Apache to be started as root")
    text = EVERYTHING.replace("OPTIONS", options())
    conf = Conf(text, files=(("app.py", APP), ("script.py", SCRIPT)), modules=MODULES)
    server = private(conf)
    server.log.allow("Telemetry", "newrelic-[a-z-]+= has no effect")
    response = server.get("/")
    assert (response.status, response.text) == (200, "site")
    assert server.get("/match").text == "site"
    assert server.get("/asked").status == 401
    words = {"Authorization": "Basic dTpw"}
    assert server.request("GET", "/asked", headers=words).text == "site"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def express(servers, env):
    program = ORACLE_VENV / "bin/mod_wsgi-express"
    if not program.exists():
        pytest.skip("mod_wsgi-express is not there; make oracle installs it")
    if os.geteuid() != 0:
        pytest.skip("its server roots are meant to be started as root")
    roots = []
    # Not below the folder of pytest, which every new pytest takes from other users again.
    place = Path(tempfile.mkdtemp(dir=servers.base))
    place.chmod(0o755)

    def setup(*arguments):
        root = place / f"root-{len(roots)}"
        (place / "app.wsgi").write_text(APP)
        (place / "auth.py").write_text(SCRIPT)
        port = free_port()
        command = [program, "setup-server", "app.wsgi", "--server-root", root, "--port", str(port)]
        command += ["--user", env.user.pw_name, "--group", "www-data", *arguments]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        conf = root / "httpd.conf"
        line = f"LoadModule wsgi_module '{env.module}'"
        text, count = re.subn(r"(?m)^LoadModule wsgi_module .*$", line, conf.read_text())
        assert count == 1
        conf.write_text(text)
        started = subprocess.run([root / "apachectl", "start"], capture_output=True, text=True)
        assert started.returncode == 0, started.stderr
        roots.append(root)
        wait_until(lambda: (root / "httpd.pid").exists(), "the server")
        return root, port

    yield setup
    for root in roots:
        pid = int((root / "httpd.pid").read_text())
        subprocess.run([root / "apachectl", "stop"], capture_output=True)
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "its end")
        shutil.rmtree(root)


def fetch(url, user=None, **options):
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic dTpw")
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10, **options) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise


def test_server_root_of_mod_wsgi_express_serves_with_mod_wsgi_rs(express):
    root, port = express("--processes", "2", "--threads", "5")
    assert fetch(f"http://127.0.0.1:{port}/") == (200, f"localhost:{port}")
    with contextlib.suppress(FileNotFoundError):
        assert "[wsgi:error]" not in (root / "error_log").read_text()


def test_access_and_authentication_options_of_mod_wsgi_express_hold(express):
    _, port = express(
        "--auth-user-script", "auth.py", "--auth-type", "Basic", "--auth-group-script", "auth.py",
        "--auth-group", "staff", "--host-access-script", "auth.py",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    assert fetch(url)[0] == 401
    assert fetch(url, user="u")[0] == 200


def test_https_port_of_mod_wsgi_express_serves(express, tmp_path):
    name = "localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={name}", "-keyout", tmp_path / "site.key", "-out", tmp_path / "site.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    express(
        "--https-port",
        str(port),
        "--ssl-certificate",
        str(tmp_path / "site"),
        "--server-name",
        name,
    )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert fetch(f"https://{name}:{port}/", context=context)[0] == 200
