"""Groups by Pythons of any kind, which load the extension: without a shared library, pyenv's, a
free-threaded one; and that each finds there what it finds in a terminal.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until
from harness.pythons import (
    build_extension,
    by_age,
    every_python,
    extension_name,
    has_manager,
    link_whole,
    place_module,
)

pytestmark = pytest.mark.ours_only("our own programs")

# Seconds for an answer. The application starts a Pool by *spawn*, which compiles half of the
# standard library where no bytecode of its optimisation is kept.
PATIENCE = 120
# What an interpreter is: asked in a group and in a terminal. A group has no first '' in sys.path,
# and an argument list of its own.
ABOUT = """
def about():
    import json, multiprocessing.spawn, os, site, sys, sysconfig
    names = "executable prefix base_prefix exec_prefix version warnoptions flags"
    found = {name: str(getattr(sys, name)) for name in names.split()}
    found["path"] = [entry for entry in sys.path if entry]
    found["stdlib"] = sysconfig.get_path("stdlib")
    found["seen by .pth"] = getattr(sys, "seen_by_pth", None)
    found["user site"] = site.ENABLE_USER_SITE
    found["xoptions"] = {k: v for k, v in sys._xoptions.items() if k != "gil"}
    found["encodings"] = [sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()]
    found["locked"] = getattr(sys, "_is_gil_enabled", lambda: True)()
    found["spawned"] = os.fsdecode(multiprocessing.spawn.get_executable())
    # A Pool of 3.13t takes a minute on a busy machine, in a terminal as well.
    if "t" not in sys.abiflags:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found["spawned"] = pool.apply(eval, ("__import__('sys').executable",))
    return json.loads(json.dumps(found))
"""
APP = (
    ABOUT
    + """
import json, os, subprocess, sys
IMPORTED_BY = os.getpid()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    found = {"about": None if environ["QUERY_STRING"] else about(), "pid": os.getpid()}
    found["is a copy"] = IMPORTED_BY != os.getpid()
    found["argv"] = [sys.argv, sys.orig_argv, "" in sys.path]
    found["locked"] = getattr(sys, "_is_gil_enabled", lambda: True)()
    found["main"] = sorted(vars(sys.modules["__main__"]))
    found["modules"] = "wsgi_host" in sys.modules
    found["hash"] = hash("a text")
    found["environ"] = {n: v for n, v in os.environ.items() if not n.startswith("LISTEN")}
    child = subprocess.check_output(["env"], text=True).splitlines()
    found["child"] = sorted(line for line in child if line.startswith("PYTHON"))
    return [json.dumps(found).encode()]
"""
)


@pytest.fixture
def modules(env, servers, tmp_path_factory):
    """modules({version: extension}, linked=()) is the module with these beside it, and the programs
    linked to a Python of these versions.
    """
    if not has_manager(env):
        pytest.skip("this module has no manager beside it")
    made = []

    def modules(extensions, linked=()):
        made.append(servers.base / tmp_path_factory.mktemp("modules").name)
        return place_module(env, made[-1], extensions, linked)

    yield modules
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def extension(env):
    """The extension for the Python of the module: that of `make build`, where there is one."""
    built = Path(env.module).parent / extension_name(env.python)
    if built.exists():
        return built
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    return build_extension(f"/usr/bin/python{env.python}", env.python)


def conf(module, text, **more):
    return Conf(
        f'LoadModule wsgi_module "{module}"\n{text}',
        files=(("app.py", APP),),
        load_wsgi=False,
        # On a busy machine a Python takes long to start and to import, in a terminal as well.
        **({"timeout": PATIENCE} | more),
    )


def group(name, options):
    return f"""
    WSGIDaemonProcess {name} threads=2 {options}
    WSGIScriptAlias /{name} ${{ROOT}}/app.py process-group={name} application-group=%{{GLOBAL}}
    """


def virtual_environment(python, folder, **told):
    """One with a file of site-packages that runs code."""
    env = os.environ | told
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, env=env)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "seen.pth").write_text("import sys; sys.seen_by_pth = sys.executable\n")
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


def in_terminal(python, **told):
    """What the same Python says where a person calls it."""
    code = f"{ABOUT}\nprint(__import__('json').dumps(about()))"
    told = {"PATH": os.environ["PATH"], "LANG": os.environ.get("LANG", "C"), **told}
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env=told, check=True
    )
    return json.loads(done.stdout)


def without_library():
    for python in every_python()[0]:
        if python.is_whole and not python.version.endswith("t"):
            return python
    pytest.skip("each Python of this machine uses a shared library")


def free_threaded():
    for python in every_python()[0]:
        if python.version.endswith("t"):
            return python
    pytest.skip("there is no free-threaded Python on this machine")


def of_pyenv(env):
    """One of another version than the module's, and of pyenv's where there is one."""
    others = {
        it.version: it
        for it in every_python()[0]
        if it.has_library and it.version != env.python and "t" not in it.version
    }
    if not others:
        pytest.skip("there is no other Python with a shared library on this machine")
    return others["3.12" if "3.12" in others else by_age(others)[-1]]


@pytest.fixture(scope="session")
def whole(env, servers, installation):
    """A readable copy of a Python of pyenv's, built as pyenv does by default: without a library."""
    python = of_pyenv(env)
    source = installation(python.version).parents[1]
    copy = servers.base / f"whole-{python.version}"
    shutil.copytree(source, copy, symlinks=True)
    # The static library is no part of the copy that other tests use.
    original = Path(python.program).resolve().parents[1]
    for config in original.glob(f"lib/python{python.version}/config-*"):
        if not (target := copy / config.relative_to(original)).exists():
            shutil.copytree(config, target)
    if not link_whole(copy, python.version):
        pytest.skip("there is no static library of another Python, or no compiler")
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return python.version, copy / f"bin/python{python.version}"


def prepared(servers, python, version):
    """A virtual environment, and the extension for its Python."""
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    venv = virtual_environment(python, servers.base / f"any-{version}-{Path(python).parent.name}")
    return venv, build_extension(python, version)


def asked(server, name):
    return server.get(f"/{name}", timeout=PATIENCE).json()


def maps_library(pid):
    return "libpython" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.slow
def test_one_apache_serves_groups_of_pythons_of_any_kind(servers, modules, start, whole):
    debian = without_library()
    kinds = {"without": (debian.version, debian.program), "pyenv": whole}
    free = [it for it in every_python()[0] if it.version.endswith("t")]
    if free:
        kinds["free"] = (free[0].version, free[0].program)
    made = {name: prepared(servers, it[1], it[0]) for name, it in kinds.items()}
    module = modules({kinds[name][0]: it[1] for name, it in made.items()})
    text = "".join(group(name, f"python-home={venv}") for name, (venv, _) in made.items())
    server = start(module, text)
    for name, (venv, _) in made.items():
        wait_until(lambda at=f"/{name}?brief": daemons.serves(server, at), name, timeout=60)
        found = asked(server, name)
        about = found["about"]
        assert about == in_terminal(venv / "bin/python") | {"locked": True}, name
        assert about["executable"] == str(venv / "bin/python")
        assert about["prefix"] == str(venv)
        assert about["seen by .pth"] == about["executable"]
        assert about["spawned"] == about["executable"]
        assert about["version"].startswith(kinds[name][0].rstrip("t") + ".")
        assert found["argv"] == [["mod_wsgi"], ["mod_wsgi"], False]
        assert not maps_library(found["pid"])
        assert not [variable for variable in found["environ"] if variable.startswith("PYTHON")]
    if not free:
        pytest.skip("all of it has passed, but there is no free-threaded Python on this machine")


@pytest.mark.slow
def test_free_threaded_group_runs_without_its_lock(servers, modules, start):
    python = free_threaded()
    venv, built = prepared(servers, python.program, python.version)
    options = """
    <WSGIInterpreterOptions process-group=free>
        WSGIFreeThreading On
    </WSGIInterpreterOptions>
    """
    text = group("free", f"python-home={venv} preload=On") + options
    server = start(modules({python.version: built}), text)
    wait_until(lambda: daemons.serves(server, "/free?brief"), "the group", timeout=60)
    found = asked(server, "free?brief")
    assert (found["locked"], found["is a copy"]) == (False, True)


@pytest.mark.slow
def test_python_whose_library_only_its_group_finds(env, servers, modules, start, installation):
    """As with a prefix that was moved: environment= says where the loader looks."""
    python = of_pyenv(env)
    program = installation(python.version)
    library = program.parents[1] / "lib"
    told = {"LD_LIBRARY_PATH": str(library)}
    venv = virtual_environment(program, servers.base / f"moved-{python.version}", **told)
    built = build_extension(python.program, python.version)
    options = f"python-home={venv} environment=LD_LIBRARY_PATH={library}"
    server = start(modules({python.version: built}), group("moved", options))
    found = asked(server, "moved")
    assert found["about"] == in_terminal(venv / "bin/python", **told)
    assert maps_library(found["pid"])


SAME = {
    "nothing": ("", ""),
    "optimised": ("WSGIPythonOptimize 2\nWSGIDontWriteBytecode On", ""),
    "warnings": (
        "WSGIPythonWarnings error::UserWarning\nWSGIPythonWarnings ignore::ImportWarning",
        'environment="PYTHONWARNINGS=default::UserWarning"',
    ),
    "seed": ("WSGIPythonHashSeed 7", 'environment="PYTHONHASHSEED=9"'),
    "random": ("", 'environment="PYTHONHASHSEED=9"'),
    "variables": (
        "",
        'environment="PYTHONOPTIMIZE=1 PYTHONDONTWRITEBYTECODE=x PYTHONUTF8=1 PYTHONDEVMODE=1 '
        'PYTHONSAFEPATH=1 PYTHONPATH=/nowhere PYTHONUNBUFFERED=1"',
    ),
    "inspect": ("", 'environment="PYTHONINSPECT=1"'),
    "locale": ("", "locale=C.UTF-8 lang=C"),
    "plain locale": ("", 'environment="LANG=C LC_ALL=C"'),
}


@pytest.mark.parametrize("case", SAME)
def test_application_sees_the_same_as_in_a_linked_program(env, modules, start, extension, case):
    lines, options = SAME[case]
    found = []
    for beside in (modules({}, linked=[env.python]), modules({env.python: extension})):
        server = start(beside, lines + group("site", options))
        # A program that multiprocessing starts would wait for input, too.
        found.append(asked(server, "site?brief" if case == "inspect" else "site"))
        pid = found[-1].pop("pid")
        assert Path(f"/proc/{pid}/comm").read_text() == f"wsgi-daemon-{env.python}"[:15] + "\n"
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        assert Path(os.fsdecode(shown)).name == f"wsgi-daemon-{env.python}"
    if case != "seed":
        assert found[0].pop("hash") != found[1].pop("hash")
    assert found[0] == found[1]


PREFIX = "python-home=/usr"


def runs_linked(env, server, path="site?brief"):
    """Whether the worker is the linked program; the other way, it is a Python."""
    program = Path(os.readlink(f"/proc/{asked(server, path)['pid']}/exe")).name
    if program == f"wsgi-daemon-{env.python}":
        return True
    assert program.startswith("python"), program
    return False


def test_extension_is_used_where_the_linked_program_is_installed_too(
    env, servers, modules, start, extension
):
    both = modules({env.python: extension}, linked=[env.python])
    venv = virtual_environment(f"/usr/bin/python{env.python}", servers.base / "both")
    text = group("site", "") + group("home", f"python-home={venv}") + group("prefix", PREFIX)
    server = start(both, text)
    for name in ("site", "home", "prefix"):
        assert not runs_linked(env, server, f"{name}?brief"), name


def unexecutable(venv, base, env):
    """No user may execute the environment's own Python."""
    (venv / "bin/python").unlink()
    shutil.copy2(f"/usr/bin/python{env.python}", venv / "bin/python")
    for name in ("python3", f"python{env.python}"):
        (venv / "bin" / name).unlink(missing_ok=True)
    (venv / "bin/python").chmod(0o644)


def without_program(venv, base, env):
    shutil.rmtree(venv / "bin")


def hidden_base(venv, base, env):
    """The user may not enter the directory of the Python that it was made from."""
    base.mkdir(mode=0o700)
    (base / "bin").mkdir()
    settings = venv / "pyvenv.cfg"
    text = re.sub(r"^home = .*", f"home = {base}/bin", settings.read_text(), flags=re.MULTILINE)
    settings.write_text(text)


def another_python(venv, base, env):
    """A prefix that has the library, and no program of that version."""
    shutil.rmtree(venv)
    (venv / "lib").mkdir(parents=True)
    (venv / "lib" / f"python{env.python}").symlink_to(f"/usr/lib/python{env.python}")
    (venv / "bin").mkdir()
    (venv / "bin/python3").symlink_to("/bin/false")


def foreign_mount(venv, base, env):
    """Nothing may be executed on the file system."""
    shutil.copytree(venv, base, symlinks=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", venv],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("this machine mounts nothing")
    shutil.copytree(base, venv, symlinks=True, dirs_exist_ok=True)
    # Links would lead to a file system on which programs run.
    for name in ("python", "python3", f"python{env.python}"):
        (venv / "bin" / name).unlink(missing_ok=True)
        shutil.copy2(f"/usr/bin/python{env.python}", venv / "bin" / name)


FALLBACKS = [unexecutable, without_program, hidden_base, another_python, foreign_mount]


@pytest.mark.parametrize("damage", FALLBACKS)
def test_linked_program_serves_where_the_python_of_a_home_cannot_be_run(
    env, servers, modules, start, extension, damage
):
    if os.getuid() != 0 and damage in (hidden_base, foreign_mount):
        pytest.skip("only root has another user, and mounts")
    venv, base = (servers.base / f"{damage.__name__}{it}" for it in ("", "-base"))
    virtual_environment(f"/usr/bin/python{env.python}", venv)
    try:
        damage(venv, base, env)
        both = modules({env.python: extension}, linked=[env.python])
        server = start(both, group("site", f"python-home={venv}"))
        server.log.allow("Python takes its own library from")
        assert runs_linked(env, server)
    finally:
        if os.path.ismount(venv):
            subprocess.run(["umount", "-l", venv], check=True)


def test_linked_program_serves_without_a_separate_manager(env, modules, start, extension):
    both = modules({env.python: extension}, linked=[env.python])
    (both.parent / "wsgi-daemon-manager").unlink()
    assert runs_linked(env, start(both, group("site", "")))


def test_linked_program_serves_where_the_extension_is_not_readable(env, modules, start, extension):
    both = modules({env.python: extension}, linked=[env.python])
    (both.parent / extension_name(env.python)).chmod(0o640)
    assert runs_linked(env, start(both, group("site", "")))


def test_a_missing_extension_is_one_sentence(env, servers, modules, start, extension):
    home = servers.base / "home-3.98"
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.98.1\n")
    text = group("other", f"python-home={home}") + group("mine", "")
    server = start(modules({env.python: extension}), text)
    (line,) = [line for line in server.printed().splitlines() if "3.98" in line][:1]
    assert "WSGIDaemonProcess other needs the extension for Python 3.98, which is not" in line
    assert f"(installed: {env.python}); make build-python PYTHON=python3.98 makes one" in line
    assert asked(server, "mine")["about"]["executable"]
    assert server.get("/other").status == 503
    server.log.expect("WSGI0117: daemon process 'other' is not started: .*Python 3.98", "3.98")


def test_python_that_has_become_another_version_is_one_sentence(
    env, servers, modules, start, extension
):
    """Its owner has made the virtual environment anew while Apache runs."""
    others = {it.version: it for it in every_python()[0] if it.version != env.python}
    readable = [it for it in others.values() if env.readable_by_children(it.program)]
    if not readable:
        pytest.skip("there is no other Python that Apache's user can run")
    venv = virtual_environment(f"/usr/bin/python{env.python}", servers.base / "anew")
    server = start(modules({env.python: extension}), group("site", f"python-home={venv}"))
    pid = asked(server, "site?brief")["pid"]
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to(readable[0].program)
    server.log.allow("killed by signal 9", "exited", "WSGI")
    os.kill(pid, 9)
    (line, *_) = server.log.wait_for(
        "WSGI0036: Python cannot be started in this process: ", timeout=30
    )
    assert f"{venv}/bin/python is" in str(line)
    assert f"and not CPython {env.python}" in str(line)


def test_python_that_cannot_be_run_any_more_is_one_sentence(
    env, servers, modules, start, extension
):
    venv = virtual_environment(f"/usr/bin/python{env.python}", servers.base / "gone")
    server = start(modules({env.python: extension}), group("site", f"python-home={venv}"))
    pid = asked(server, "site?brief")["pid"]
    (venv / "bin/python").unlink()
    server.log.allow("killed by signal 9", "exited", "WSGI", "cannot run")
    os.kill(pid, 9)
    (line, *_) = server.log.wait_for(f"cannot run {venv}/bin/python: No such file", timeout=30)
    assert line.level == "crit"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_tenants_python_runs_as_the_tenant_only(env, servers, modules, start, extension):
    """A program in the place of Python notes who runs it."""
    venv = virtual_environment(f"/usr/bin/python{env.python}", servers.base / "hostile")
    notes = servers.base / "hostile-notes"
    notes.mkdir()
    notes.chmod(0o777)
    program = venv / "bin/python"
    real = program.resolve()
    program.unlink()
    program.write_text(f'#!/bin/bash\nid -u >>{notes}/$$\nexec -a "$0" {real} "$@"\n')
    program.chmod(0o755)
    options = f"python-home={venv} user=games preload=On processes=2"
    server = start(modules({env.python: extension}), group("site", options))
    wait_until(lambda: [*notes.iterdir()], "a note")
    assert asked(server, "site?brief")["pid"]
    users = {line for note in notes.iterdir() for line in note.read_text().split()}
    assert users == {str(pwd.getpwnam("games").pw_uid)}


def test_workers_of_a_template_share_its_memory(env, modules, start, extension):
    server = start(modules({env.python: extension}), group("site", "preload=On processes=2"))
    found = asked(server, "site")
    assert found["is a copy"]
    assert daemons.status_of(found["pid"])["PPid"] == str(daemons.manager(server))
    assert found["about"] | {"spawned": 0} == in_terminal(Path(found["about"]["executable"])) | {
        "spawned": 0
    }
