"""`make run`: the private Apache of scripts/run, with every example and with one's own files."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness.env import REPO
from harness.httpd import die_with_parent, free_ports, ports_locked, wait_until

EXAMPLES = sorted(path.stem for path in (REPO / "conf-examples").glob("*.conf"))

pytestmark = pytest.mark.ours_only("runs ours")


class Run:
    """One run of scripts/run, in a process group of its own, as a terminal gives it."""

    def __init__(self, command, log, **variables):
        self.log = log
        with ports_locked(), log.open("wb") as output:
            self.port, self.tls_port = free_ports(2)
            ports = {"PORT": str(self.port), "TLS_PORT": str(self.tls_port)}
            kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            self.process = subprocess.Popen(
                command,
                env=kept | {"LANG": "C.UTF-8"} | ports | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            with contextlib.suppress(AssertionError):
                wait_until(lambda: self.says_that_it_serves() or self.ended(), "the server", 60)

    def says_that_it_serves(self):
        return "serving " in self.text().replace("serving a copy", "")

    def ended(self):
        return self.process.poll() is not None

    def text(self):
        return self.log.read_text()

    def get(self, path="/"):
        """(status, text), over TLS where the run says https."""
        assert self.says_that_it_serves(), self.text()
        # Lines of the application may have URLs, too.
        if re.search(r"^serving .* on https://", self.text(), re.M):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.tls_port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def members(self):
        """Every process of the session that this run is."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(int(stat.parent.name))
        return found

    def stop(self):
        """As Ctrl-C does: SIGINT to the whole group."""
        if not self.ended():
            os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def run(tmp_path):
    """run(script, EXAMPLE="hello") starts scripts/run, that of a copy of the source tree."""
    runs = []

    def run(*command, **variables):
        runs.append(Run(command, tmp_path / f"output-{len(runs)}", **variables))
        return runs[-1]

    yield run
    for started in runs:
        if not started.ended():
            started.stop()
        # Whatever a failed test has left.
        for pid in started.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def readable(servers):
    """A folder of the test's own that Apache's user may enter; pytest's are their owner's alone."""
    folder = servers.base / f"run-{time.monotonic_ns()}"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def tree(env, readable):
    """A source tree of the test's own, with what is built: scripts/run writes into it."""
    tree = readable / "tree"
    for name in ("scripts", "conf-examples"):
        shutil.copytree(REPO / name, tree / name)
    (tree / "target/release").mkdir(parents=True)
    beside = env.module.parent
    for built in (
        env.module,
        *beside.glob("wsgi-daemon-*"),
        *beside.glob("wsgi_host.cpython-*.so"),
    ):
        if built.suffix != ".d":
            shutil.copy(built, tree / "target/release" / built.name)
    (tree / "tests").mkdir()
    shutil.copy(REPO / "tests/requirements.txt", tree / "tests")
    return tree


@pytest.fixture
def own(readable):
    """A folder for an application of one's own."""
    folder = readable / "own"
    folder.mkdir(mode=0o755)
    return folder


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_served_by_make_run(run, tree, packages, example):
    server = run(tree / "scripts/run", EXAMPLE=example, EXAMPLE_VENV=str(packages.parents[2]))
    assert f"serving conf-examples/{example}.conf on http" in server.text(), server.text()
    text = (REPO / f"conf-examples/{example}.conf").read_text()
    for path, status in re.findall(r"^# Answers: GET (\S+) -> (\d+)", text, re.M):
        assert server.get(path)[0] == int(status), server.text()


# In place of Python: an environment is that of the tests, with a pip that notes its arguments.
PYTHON = """\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
echo venv >>{notes}
mkdir -p "$3/bin"
cp {venv}/pyvenv.cfg "$3/"
ln -s {venv}/lib "$3/lib"
ln -s {venv}/bin/python "$3/bin/python"
printf '#!/bin/sh\\necho "$@" >>{notes}\\n' >"$3/bin/pip"
chmod 755 "$3/bin/pip"
"""


def test_environment_of_the_examples_is_made_once(run, tree, packages, readable):
    notes, python = readable / "notes", readable / "python"
    python.write_text(PYTHON.format(python=sys.executable, notes=notes, venv=packages.parents[2]))
    python.chmod(0o755)
    for _ in range(2):
        server = run(tree / "scripts/run", EXAMPLE="flask", PYTHON=str(python))
        assert server.get()[0] == 200, server.text()
        server.stop()
    made, installed = notes.read_text().splitlines()
    assert made == "venv"
    found = dict(word.split("==") for word in installed.split() if "==" in word)
    assert sorted(found) == ["Django", "Flask", "channels", "fastapi"]
    required = (REPO / "tests/requirements.txt").read_text().splitlines()
    assert {f"{name}=={version}" for name, version in found.items()} <= set(required)


def test_a_request_is_seen_and_nothing_is_left_after_ctrl_c(run, tree):
    server = run(tree / "scripts/run", EXAMPLE="hello-daemon")
    assert server.get("/one?two")[0] == 200
    wait_until(lambda: '"GET /one?two HTTP/1.1" 200' in server.text(), "the line of the access log")
    assert len(server.members()) > 3
    assert server.stop() == 0
    assert "caught SIGTERM, shutting down" in server.text()
    wait_until(lambda: server.members() == [], "the end of all processes")


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_nothing_is_left_after_make_is_told_to_end(run, tree):
    server = run("make", "-C", str(tree), "-f", str(REPO / "Makefile"), "-o", "build", "run")
    assert server.get()[0] == 200
    server.process.terminate()
    server.process.wait(20)
    wait_until(lambda: server.members() == [], "the end of all processes")


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is missing")
def test_nothing_is_left_after_the_script_is_killed(run, tree):
    server = run(tree / "scripts/run", EXAMPLE="hello-daemon")
    assert server.get()[0] == 200
    server.process.kill()
    server.process.wait(20)
    wait_until(lambda: server.members() == [], "the end of all processes")


def test_nothing_says_serving_before_the_port_is_open(run, tree):
    conf = tree / "conf-examples/broken.conf"
    conf.write_text("# Answers nothing.\nErrorDocument 404 /\nListen 127.0.0.1:1x\n")
    server = run(tree / "scripts/run", EXAMPLE="broken")
    assert server.process.wait(20) != 0
    assert not server.says_that_it_serves()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who opens what Apache's user may not")
def test_a_tree_that_apaches_user_may_not_enter_is_served_as_a_copy(run, tree):
    tree.chmod(0o700)
    server = run(tree / "scripts/run", EXAMPLE="hello-daemon")
    assert "may not enter" in server.text()
    assert server.get()[0] == 200, server.text()
    copy = Path(re.search(r"serving a copy in (\S+)", server.text()).group(1))
    assert copy.exists()
    server.stop()
    assert not copy.parent.exists()


def as_user(user, tree, readable):
    """A script that runs scripts/run as this user."""
    script = readable / "as-user"
    script.write_text(
        f"#!/bin/sh\nexec setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups "
        f"{tree}/scripts/run\n"
    )
    script.chmod(0o755)
    return script


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can give a file to another user")
def test_a_log_that_belongs_to_another_user_is_written_to(run, tree, readable, env):
    # As after `su - user`: the descriptor is open, /dev/stderr may not be opened again.
    user = env.user
    for path in (tree, *tree.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    server = run(as_user(user, tree, readable))
    server.log.chmod(0o600)
    assert server.get()[0] == 200, server.text()
    wait_until(lambda: '"GET / HTTP/1.1" 200' in server.text(), "the line of the access log")


def test_a_taken_port_is_said(run, tree):
    first = run(tree / "scripts/run")
    done = subprocess.run(
        [tree / "scripts/run"],
        env=os.environ | {"PORT": str(first.port)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"port {first.port} is taken" in done.stderr


@pytest.mark.parametrize("port", ["80a", "0", "65536", "-1", "100000"])
@pytest.mark.parametrize("name", ["PORT", "TLS_PORT"])
def test_number_that_is_no_port_is_named(run, tree, name, port):
    server = run(tree / "scripts/run", **{name: port})
    assert server.process.wait(20) != 0
    assert f"{name}={port} is no port" in server.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who can give a file to another user")
@pytest.mark.parametrize("kept", ["files", "the folder", "nothing"])
def test_files_of_another_user_s_run_are_said(run, tree, env, readable, kept):
    # As after `sudo make run`. Where there is nothing yet, the source tree is another user's.
    user, files = env.user, tree / ".httpd"
    if kept != "nothing":
        files.mkdir(mode=0o755)
    if kept == "files":
        (files / "site.conf").write_text("")
        os.chown(files, user.pw_uid, user.pw_gid)
    server = run(as_user(user, tree, readable))
    assert server.process.wait(20) != 0
    [line] = server.text().splitlines()
    name = files / "site.conf" if kept == "files" else files
    said = "cannot be made: run make as the user" if kept == "nothing" else "belongs to root"
    assert line.startswith(f"{name} {said}")


def test_an_example_that_does_not_exist_is_answered_with_those_that_do(run, tree):
    server = run(tree / "scripts/run", EXAMPLE="nothing")
    server.process.wait(20)
    assert "there is no conf-examples/nothing.conf" in server.text()
    assert all(example in server.text() for example in EXAMPLES)


# --- APP= -----------------------------------------------------------------------------------------

HELLO = """\
import other

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(other.text + environ["mod_wsgi.process_group"]).encode()]
"""


@pytest.mark.parametrize("name", ["app.wsgi", "wsgi.py", "site/wsgi.py", "app.py", "main.py"])
@pytest.mark.parametrize("named", ["the folder", "the file"])
def test_application_named_by_the_user_is_served(run, tree, own, name, named):
    script = own / name
    script.parent.mkdir(exist_ok=True)
    if script.parent != own:
        (script.parent / "__init__.py").write_text("")
    script.write_text(HELLO)
    (own / "other.py").write_text('text = "from the folder "')
    server = run(tree / "scripts/run", APP=str(own if named == "the folder" else script))
    assert server.get() == (200, "from the folder app"), server.text()


def test_a_flask_object_with_its_virtual_environment_is_served(run, tree, own, packages):
    (own / "app.py").write_text(
        "import flask\napp = flask.Flask(__name__)\napp.route('/')(lambda: 'Flask')\n"
    )
    (own / "venv").symlink_to(packages.parents[2])
    server = run(tree / "scripts/run", APP=str(own))
    assert server.get() == (200, "Flask"), server.text()


@pytest.mark.parametrize(
    ("script", "text"), [("fastapi/shop.py", "FastAPI"), ("flask/notes.py", "Flask")]
)
def test_an_application_that_its_script_calls_app_is_served_whatever_words_the_text_has(
    run, tree, packages, script, text
):
    own = tree / "conf-examples" / script
    assert "application" in own.read_text()
    server = run(tree / "scripts/run", APP=str(own), VIRTUAL_ENV=str(packages.parents[2]))
    assert server.get()[0] == 200, server.text()
    assert f"Hello from {text}" in server.get()[1]


MOUNTED = """\
from fastapi import FastAPI
from fastapi.middleware.wsgi import WSGIMiddleware
from flask import Flask

old = Flask(__name__)
old.route("/")(lambda: "Flask")
app = FastAPI()


@app.get("/")
async def index():
    return "FastAPI"


app.mount("/old", WSGIMiddleware(old))
"""


def test_an_application_of_asgi_that_mounts_one_of_wsgi_is_served(run, tree, own, packages):
    (own / "main.py").write_text(MOUNTED)
    server = run(tree / "scripts/run", APP=str(own), VIRTUAL_ENV=str(packages.parents[2]))
    assert server.get() == (200, '"FastAPI"'), server.text()
    assert server.get("/old/") == (200, "Flask"), server.text()


def test_djangos_folder_is_served(run, tree, packages):
    project = tree / "conf-examples/django-virtualenv"
    server = run(tree / "scripts/run", APP=str(project), VIRTUAL_ENV=str(packages.parents[2]))
    assert server.get()[0] == 200, server.text()


def test_a_module_that_changes_is_loaded_anew(run, tree, own):
    (own / "app.wsgi").write_text(HELLO)
    (own / "other.py").write_text('text = "old "')
    server = run(tree / "scripts/run", APP=str(own))
    assert server.get() == (200, "old app"), server.text()
    (own / "other.py").write_text('text = "brand new "')
    wait_until(lambda: server.get() == (200, "brand new app"), "the new text")


def test_first_request_after_a_save_has_the_new_code(run, tree, own):
    (own / "other.py").write_text('text = "save 0 "')
    script = own / "app.wsgi"
    script.write_text(HELLO)
    server = run(tree / "scripts/run", APP=str(own))
    assert server.get() == (200, "save 0 app"), server.text()
    for number in range(1, 4):
        script.write_text(HELLO.replace("other.text +", f"'save {number} ' +"))
        assert server.get() == (200, f"save {number} app"), server.text()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "which file is the application?"),
        (["one.wsgi", "two.wsgi"], "which file is the application?"),
        (None, "there is no such file or folder"),
    ],
)
def test_a_folder_that_leaves_a_choice_is_refused(run, tree, own, files, text):
    if files is None:
        own.rmdir()
    for name in files or []:
        (own / name).write_text(HELLO)
    server = run(tree / "scripts/run", APP=str(own))
    assert server.process.wait(20) != 0
    assert text in server.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who opens what Apache's user may not")
def test_an_application_that_apaches_user_may_not_read_is_said(run, tree, own, env):
    (own / "app.wsgi").write_text(HELLO)
    own.chmod(0o700)
    server = run(tree / "scripts/run", APP=str(own))
    assert server.process.wait(20) != 0
    assert f"Apache's user {env.user.pw_name} may not read {own}/app.wsgi" in server.text()
