"""Groups of several Python versions in one Apache, and a module that has no Python at all."""

import os
import shutil
import subprocess

import pytest
from harness.conf import Conf
from harness.env import REPO
from harness.httpd import ConfigError
from harness.pythons import build, by_age, pythons

pytestmark = pytest.mark.ours_only("our own programs")

APP = """
import sys
def application(environ, start_response):
    start_response("200 OK", [])
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return ["{}.{} {} {}".format(*sys.version_info[:2], sys.prefix, locked).encode()]
"""


def another(env, free_threaded):
    """A version this machine has beside the module's own."""
    found = [it for it in pythons()[0] if it != env.python and it.endswith("t") == free_threaded]
    if not found:
        kind = "free-threaded" if free_threaded else "other"
        pytest.skip(f"there is no {kind} Python with a shared library on this machine")
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    return "3.12" if "3.12" in found else by_age(found)[-1]


@pytest.fixture
def place(env, servers):
    """place(module, {version: program}) lays them side by side, as `make install` does."""
    made = []

    def place(module, programs):
        folder = servers.base / f"modules-{len(list(servers.base.glob('modules-*')))}"
        folder.mkdir()
        made.append(folder)
        shutil.copy2(module, folder / "mod_wsgi_rs.so")
        for version, program in programs.items():
            shutil.copy2(program, folder / f"wsgi-daemon-{version}")
        return folder / "mod_wsgi_rs.so"

    yield place
    for folder in made:
        shutil.rmtree(folder)


def conf(module, text):
    text = f'LoadModule wsgi_module "{module}"\n{text}'
    return Conf(text, files=(("app.py", APP),), load_wsgi=False)


def program(env):
    return REPO / f"target/release/wsgi-daemon-{env.python}"


def virtual_environment(python, folder):
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("free_threaded", [False, True], ids=["", "free-threaded"])
def test_two_groups_run_two_versions_of_python(
    env,
    servers,
    installation,
    place,
    start,
    free_threaded,
):
    version = another(env, free_threaded)
    python = installation(version)
    target = REPO / "target/pythons" / version / "build"
    folder = build("wsgi-daemon", target, "--release", python=python, version=version)
    built = folder / "wsgi-daemon"
    module = place(env.module, {env.python: program(env), version: built})
    venv = virtual_environment(python, servers.base / f"venv-{version}")
    server = start(
        module,
        f"""
        <WSGIInterpreterOptions process-group=other>
            WSGIFreeThreading {"On" if free_threaded else "Off"}
        </WSGIInterpreterOptions>
        WSGIDaemonProcess mine threads=2
        WSGIDaemonProcess other threads=2 python-home={venv}
        WSGIScriptAlias /mine ${{ROOT}}/app.py process-group=mine application-group=%{{GLOBAL}}
        WSGIScriptAlias /other ${{ROOT}}/app.py process-group=other application-group=%{{GLOBAL}}
        WSGIScriptAlias /embedded ${{ROOT}}/app.py
        """,
    )
    for _ in range(3):
        assert server.get("/mine").text.split()[0] == env.python
        answer = server.get("/other").text.split()
        assert answer == [version.rstrip("t"), str(venv), str(not free_threaded)]
        assert server.get("/embedded").text.split()[0] == env.python


def test_a_version_without_its_program_is_a_sentence_and_a_503(env, servers, place, start):
    home = servers.base / "home-3.99"
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.99.1\n")
    server = start(
        place(env.module, {env.python: program(env)}),
        f"""
        WSGIDaemonProcess other python-home={home}
        WSGIDaemonProcess mine
        WSGIScriptAlias /mine ${{ROOT}}/app.py process-group=mine application-group=%{{GLOBAL}}
        WSGIScriptAlias /other ${{ROOT}}/app.py process-group=other application-group=%{{GLOBAL}}
        """,
    )
    (line,) = [line for line in server.printed().splitlines() if "3.99" in line][:1]
    assert "WSGIDaemonProcess other needs the extension for Python 3.99, which is not" in line
    assert f"(installed: {env.python})" in line
    assert server.get("/mine").text.split()[0] == env.python
    assert server.get("/other").status == 503
    server.log.expect(
        "WSGI0117: daemon process 'other' is not started: .*needs the extension for Python 3.99",
        "3.99",
    )


def test_where_no_program_is_installed_that_is_a_sentence(env, place, start):
    with pytest.raises(ConfigError) as refused:
        start(place(env.module, {}), "WSGIDaemonProcess mine\n")
    (line,) = [line for line in str(refused.value).splitlines() if "needs" in line]
    assert f"WSGIDaemonProcess mine needs the extension for Python {env.python}, which" in line
    assert "(installed: none" in line.replace("none is", "none")


@pytest.mark.slow
def test_a_module_without_python_serves_daemon_groups(env, place, start):
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    target = REPO / "target/without-python"
    built = build(
        "mod_wsgi_rs", target, "--no-default-features", python=os.environ.get("PYO3_PYTHON", "")
    )
    library = built / "libmod_wsgi_rs.so"
    assert "libpython" not in subprocess.check_output(["ldd", library], text=True)
    module = place(library, {env.python: program(env)})
    server = start(
        module,
        """
        WSGIDaemonProcess mine threads=2
        WSGIScriptAlias /mine ${ROOT}/app.py process-group=mine application-group=%{GLOBAL}
        WSGIScriptAlias /embedded ${ROOT}/app.py
        """,
    )
    assert server.get("/mine").text.split()[0] == env.python
    assert server.get("/embedded").status == 500
    server.log.expect("WSGI0142: .*no embedded mode")
    for line in (
        "WSGIAccessScript /a.py",
        "WSGIAuthUserScript /a.py",
        "WSGIAuthGroupScript /a.py",
        "WSGIDispatchScript /a.py",
    ):
        with pytest.raises(ConfigError) as refused:
            start(module, f"<Location /x>\n{line}\n</Location>\n")
        name = line.split()[0]
        assert f"{name} needs Python in Apache's own processes" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        start(module, "WSGIImportScript /a.py process-group=%{GLOBAL} application-group=x\n")
    assert "needs Python in Apache's own processes" in str(refused.value)
