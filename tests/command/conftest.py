"""The command, and folders of applications for it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from harness import command
from harness.httpd import free_ports, ports_locked


@pytest.fixture
def site(short):
    """The folder of an application; app.py says `one`."""
    folder = short / "site"
    folder.mkdir()
    (folder / "app.py").write_text(command.APP.replace("TEXT", "one"))
    return folder


@pytest.fixture
def short():
    """A folder for every user, whose path leaves room for the names of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run(env, site):
    """run("module-location"): a command that ends by itself, in the site's folder."""
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")

    def run(*arguments, cwd=site, **keywords):
        return command.run_command(*arguments, cwd=cwd, module=env.module, **keywords)

    return run


@pytest.fixture
def start(env, site):
    """start("--reload"): a server in the site's folder."""
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")
    started = []

    def start(*arguments, cwd=site, port=None, ready=True, **keywords):
        with ports_locked():
            port = port or free_ports(1)[0]
            server = command.Started(*arguments, cwd=cwd, module=env.module, port=port, **keywords)
            started.append(server)
            if ready:
                server.wait_for("serving on ")
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def activated(short, packages):
    """The variables of a shell that has activated an environment with Django, Flask, FastAPI."""
    venv = short / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    [site_packages] = venv.glob("lib/python*/site-packages")
    (site_packages / "installed.pth").write_text(f"{packages}\n")
    return {"VIRTUAL_ENV": str(venv), "PATH": f"{venv}/bin:{os.environ['PATH']}"}


@pytest.fixture
def ordinary_user(env):
    """Whom a command can be started as; None where the tests run as an ordinary user."""
    return env.user if os.geteuid() == 0 else None
