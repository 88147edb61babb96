"""The files of a customer that the parent examines: none of them stops another customer's site."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import daemons, fuse
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("python-home is not looked at")

APP = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
SOON = 8


def conf(home="home/venv", text="", *, files=(), **options):
    """A group `customer` with a home of its own and a group `whole`."""
    groups = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess customer python-home=${{ROOT}}/{home}
    WSGIDaemonProcess whole
    {text}
    WSGIScriptAlias /whole ${{ROOT}}/app.py process-group=whole application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=customer application-group=%{{GLOBAL}}
    """
    return Conf(groups, files=(("app.py", APP), *files), timeout=60, **options)


def settings(env):
    return ("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")


def fifo(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def device(path):
    path.symlink_to("/dev/tty")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(3 << 30)


def long_base(path):
    path.write_text("home = " + "/a" * (1 << 20) + "\n")


def long_existing_base(path):
    path.write_text("home = " + "/usr/.." * 700 + "\n")


def folder(path):
    path.mkdir()


KINDS = [fifo, endless, device, sparse, long_base, long_existing_base, folder]


def replace(server, kind):
    path = server.root / "home/venv/pyvenv.cfg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    kind(path)


def resident(server):
    """Megabytes of the parent, now and at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def restarts(server, signum=signal.SIGUSR1):
    before = len(server.log.find(READY))
    server.send_signal(signum)
    server.log.wait_for(READY, count=before + 1, timeout=SOON)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_a_customer_do_not_stop_a_restart(start, env, kind):
    server = start(files=(settings(env),))
    worker = server.get("/").text
    replace(server, kind)
    before = resident(server)
    restarts(server)
    server.log.expect("customer python-home names .*; daemon process group 'customer'")
    server.log.allow("other process groups are not affected")
    assert resident(server) < before + 20
    # The group goes on as it was; no worker of it is started with what is there now.
    assert server.get("/").text == worker
    assert server.get("/whole").status == 200
    restarts(server, signal.SIGHUP)
    assert server.get("/").text == worker


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_a_customer_do_not_keep_the_server_from_starting(start, env, kind):
    server = start(prepare=lambda server: replace(server, kind))
    server.log.allow("other process groups are not affected")
    began = time.monotonic()
    assert server.get("/whole").status == 200
    assert server.get("/").status == 503
    assert time.monotonic() - began < SOON
    server.log.expect("WSGI0117: daemon process 'customer' is not started: WSGIDaemonProcess")
    # Nothing is started that would fail.
    assert len(daemons.managers(server)) == 1
    shutil.rmtree(server.root / "home")
    server.write(*settings(env))
    wait_until(lambda: daemons.serves(server), "the group to serve", timeout=40)
    server.log.expect("manager started after .* failed attempt")


@pytest.fixture
def hanging_files():
    with fuse.hanging_files() as files:
        yield files


def test_settings_on_a_hanging_file_system_stop_neither_a_start_nor_a_restart(
    start, env, hanging_files
):
    def hangs(path):
        path.symlink_to(hanging_files.file)

    began = time.monotonic()
    server = start(prepare=lambda server: replace(server, hangs))
    # The process that has read the file cannot end before the file system does.
    server.log.allow("other process groups are not affected", "AH00488: long lost child came home")
    assert server.get("/whole").status == 200
    assert server.get("/").status == 503
    restarts(server)
    assert server.get("/whole").status == 200
    assert time.monotonic() - began < 3 * SOON
    server.log.expect("WSGI0117: daemon process 'customer' is not started: WSGIDaemonProcess")
    hanging_files.abort()
    replace(server, lambda path: path.write_text(settings(env)[1]))
    wait_until(lambda: daemons.serves(server), "the group to serve", timeout=40)


def test_settings_of_a_customer_are_read_with_the_permissions_of_the_customer(start, env):
    if os.geteuid() != 0:
        pytest.skip("only root reads what the group's user cannot")
    secret = ("secret/settings", "home = /usr/bin\nversion = 2.77\n")

    def prepare(server):
        (server.root / "secret").chmod(0o700)
        replace(server, lambda path: path.symlink_to(server.root / "secret/settings"))

    server = start(files=(secret,), prepare=prepare)
    server.log.allow("python-home names '.*/venv', whose pyvenv.cfg cannot be read: Permission")
    assert "2.77" not in server.printed() + server.log.text()
    assert server.get("/whole").status == 200


def test_fifo_among_the_pth_files_of_a_customer_stops_this_customer_alone(start, env):
    """CPython opens them itself: its start waits, and no other process does."""
    packages = f"home/venv/lib/python{env.python}/site-packages"

    def prepare(server):
        (server.root / packages).mkdir(parents=True)
        fifo(server.root / packages / "x.pth")

    server = start(files=(settings(env),), prepare=prepare)
    server.log.allow("customer", "WSGI0")
    assert server.get("/whole").status == 200
    restarts(server)
    assert server.get("/whole").status == 200
    begun = time.monotonic()
    server.stop(signal.SIGTERM)
    assert time.monotonic() - begun < SOON


# --- the command that stops a server --------------------------------------------------------------


@pytest.mark.parametrize("command", ["stop", "graceful-stop"])
@pytest.mark.parametrize("broken", ["customer", "server"])
def test_server_is_stopped_whatever_its_python_home_is(start, env, command, broken):
    if broken == "server":
        text = "WSGIPythonHome ${ROOT}/home/server\nWSGIRestrictEmbedded Off\nPidFile ${ROOT}/pid"
    else:
        text = "PidFile ${ROOT}/pid"
    path, content = settings(env)
    files = ((path, content), ("home/server/pyvenv.cfg", content))
    server = start(text=text, files=files)
    assert server.get("/whole").status == 200
    if broken == "server":
        shutil.rmtree(server.root / "home/server")
    else:
        replace(server, fifo)
    done = subprocess.run(
        server._command("-k", command), capture_output=True, text=True, timeout=SOON, check=False
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not server.running, "the end of the server", timeout=20)


@pytest.mark.parametrize("command", ["-t", "-k"])
def test_other_commands_refuse_a_python_home_that_is_gone(servers, mpm, command):
    server = servers.make(Conf("WSGIPythonHome ${ROOT}/gone"), mpm, "embedded")
    server._write_conf()
    arguments = ["-t"] if command == "-t" else ["-k", "start"]
    done = subprocess.run(
        server._command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "WSGIPythonHome names" in done.stdout + done.stderr


# --- directories to import from -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WSGIDaemonProcess x python-path=/usr:${ROOT}/gone", "x python-path names '.*/gone'"),
        ("WSGIPythonPath /usr:${ROOT}/gone", "WSGIPythonPath names '.*/gone'"),
    ],
)
def test_missing_directory_to_import_from_is_a_warning(servers, mpm, line, words):
    accepted, printed = servers.make(Conf(line), mpm, "embedded").configtest()
    assert accepted
    assert re.search(f"{words}, which does not exist", printed), printed
    assert "'/usr'" not in printed
