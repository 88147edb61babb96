"""Every conf-examples/*.conf is started, and answers what its comments promise.

An example says what it answers in lines like `# Answers: GET /path -> 200 text`; instead of the
path it may give a URL, whose host is then requested. `WEBSOCKET /path -> 101 hello` is what comes
back for "hello". It may use ${EXAMPLE_PORT},
${EXAMPLE_TLS_PORT}, ${EXAMPLE_ROOT} (a readable copy of conf-examples), ${EXAMPLE_CERTIFICATE},
${EXAMPLE_KEY}, ${EXAMPLE_VENV} (with Django, Flask, FastAPI), ${EXAMPLE_OTHER_VENV} (of another
Python, where its daemon program is installed) and ${EXAMPLE_PACKAGES} (the first one's
site-packages), and whatever else Apache lets it Define.
"""

import http.client
import re
import shutil
import ssl
import subprocess
import sys

import pytest
from harness.conf import Conf
from harness.env import REPO
from harness.pythons import pythons
from harness.websocket import websocket

FOLDER = REPO / "conf-examples"
EXAMPLES = sorted(FOLDER.glob("*.conf"))
ANSWERS = re.compile(
    r"^# Answers: (?P<method>[A-Z]+) (?P<path>\S+) -> (?P<status>\d+) ?(?P<text>.*)$", re.M
)
MODULES = (
    *("alias", "mime", "dir", "env", "setenvif", "headers", "rewrite", "filter", "deflate"),
    *("authn_core", "socache_shmcb", "ssl", "http2"),
)

needs_examples = pytest.mark.skipif(not EXAMPLES, reason="conf-examples is empty")


def without_comments(text):
    return re.sub(r"^\s*#.*$", "", text, flags=re.M)


@pytest.fixture
def example_root(servers):
    """conf-examples, where Apache's user can read it."""
    root = servers.base / "conf-examples"
    if not root.exists():
        shutil.copytree(FOLDER, root)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        for path in root.glob("*.conf"):
            # Tests listen on the loopback interface only.
            text = path.read_text()
            path.write_text(re.sub(r"^(\s*Listen\s+)\$", r"\g<1>127.0.0.1:$", text, flags=re.M))
    return root


@pytest.fixture
def defines(example_root, certificate, packages, other_venv):
    """{variable: value} for an example, without the ports."""
    return {
        "EXAMPLE_ROOT": example_root,
        "EXAMPLE_CERTIFICATE": certificate[0],
        "EXAMPLE_KEY": certificate[1],
        "EXAMPLE_VENV": packages.parents[2],
        "EXAMPLE_OTHER_VENV": other_venv,
        "EXAMPLE_PACKAGES": packages,
    }


@pytest.fixture
def other_venv(env, servers, installation):
    """A virtual environment of another version of Python, if the module has a program for one."""
    others = [
        version
        for version in pythons()[0]
        if version != env.python and (env.module.parent / f"wsgi-daemon-{version}").exists()
    ]
    program = installation(others[0]) if others else sys.executable
    venv = servers.base / "other-venv"
    if not venv.exists():
        subprocess.run([program, "-m", "venv", "--without-pip", venv], check=True)
    return venv


def wrapped(example, defines):
    """The example inside what an installed Apache has around it."""
    text = without_comments(example.read_text())
    ports = {
        # An example with a Listen of its own gets the second port for it.
        "EXAMPLE_PORT": "${PORT2}"
        if re.search(r"^\s*Listen\s+\S*EXAMPLE_PORT", text, re.M)
        else "${PORT}",
        "EXAMPLE_TLS_PORT": "${PORT2}",
    }
    lines = [f"Define {name} {value}" for name, value in (ports | defines).items()]
    lines.append("SSLSessionCache none")
    lines.append(f"Include {defines['EXAMPLE_ROOT']}/{example.name}")
    return Conf("\n".join(lines), MODULES)


def fetch(server, example, method, path):
    """(status, text) over TLS where the example speaks it, from the port it listens on."""
    text = without_comments(example.read_text())
    own_port = re.search(r"^\s*Listen\s+\S*EXAMPLE_", text, re.M)
    port = server.port2 if own_port else server.port
    has_tls = bool(re.search(r"SSLEngine\s+on", text, re.I))
    if method == "WEBSOCKET":
        # As the page of this host has it.
        origin = f"Origin: http{'s' if has_tls else ''}://localhost:{port}"
        with websocket(port, path, origin, tls=has_tls) as ws:
            ws.send_text("hello")
            return 101, ws.receive()
    if has_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=15, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, headers={"Host": f"localhost:{port}"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@needs_examples
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_begins_with_its_purpose_and_promises_an_answer(example):
    text = example.read_text()
    assert text.startswith("# ")
    assert ANSWERS.search(text), "no line `# Answers: GET /path -> 200 text`"


def test_every_example_is_in_the_table():
    text = (FOLDER / "README.md").read_text()
    front_ends = (FOLDER / "front-ends").rglob("*")
    files = [*EXAMPLES, *FOLDER.glob("*.yml"), *(file for file in front_ends if file.is_file())]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert sorted(links) == sorted(str(file.relative_to(FOLDER)) for file in files)


def as_parameter(example):
    own = example.stem in (
        "django-channels",
        "django-environment",
        "fastapi",
        "preload-daemon",
        "status",
        "virtual-hosts-daemon",
    )
    marks = [pytest.mark.ours_only("mod_wsgi does not have all that it names")] if own else []
    return pytest.param(example, marks=marks, id=example.stem)


@pytest.mark.embedded_only("an example says itself where it is served")
@needs_examples
@pytest.mark.parametrize("example", map(as_parameter, EXAMPLES))
def test_an_example_starts_and_answers(serve, example, defines):
    server = serve(wrapped(example, defines), private=True)
    # The example may load again what an installed Apache has loaded; mod_ssl has remarks on the
    # OpenSSL it was built with, and on a certificate as short-lived as ours.
    server.log.allow("AH01574: module .* is already loaded", "AH01873|AH01882|AH01906|AH01909")
    for promise in ANSWERS.finditer(example.read_text()):
        status, text = fetch(server, example, promise["method"], promise["path"])
        promised = re.sub(r"\$\{(\w+)\}", lambda it: str(defines[it[1]]), promise["text"])
        assert (status, promised in text) == (int(promise["status"]), True), text
