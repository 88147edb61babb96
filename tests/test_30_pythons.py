"""The module for each other shared-library CPython of this machine; what differs among them."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from harness.conf import Conf
from harness.env import REPO, TESTS

OLDEST = (3, 10)
# What is told by one Python is told by all, or needs packages made for the Python at hand.
TOLD = [
    "test_08_logging",
    "test_09_file_wrapper",
    "test_1",
    "test_2",
    "test_30",
    "test_31",
    "test_40_trusted",
    "test_90",
    "test_91",
    # Those with process groups: test_27 builds the daemon program for another version.
    "test_42_dispatch",
    "test_45_scripts",
    "test_48_everything",
    "a_daemon_process",
    "reason_of_a_replacement",
    "memory",
    "virtual_environment",
    "be_a_prefix",
    "is_as_usual",
]
# What goes deepest into CPython goes on, wherever it stands.
DEEPEST = ["test_15_django", "test_18_signals"]
UNNEEDED = shutil.ignore_patterns(
    "test", "tests", "idlelib", "config-*", "__pycache__", "site-packages", "ensurepip"
)
ABOUT = (
    "import sys, sysconfig as s; "
    "print(*sys.version_info[:2], s.get_config_var('Py_ENABLE_SHARED') or 0,"
    " s.get_config_var('INSTSONAME') or '-', s.get_config_var('LIBDIR') or '-', sys.prefix,"
    " s.get_config_var('Py_GIL_DISABLED') or 0, sep='\\n')"
)

CALLBACKS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/callback.py application-group=%{GLOBAL}
    WSGIScriptAlias /one ${APPS}/callback.py application-group=one
    WSGIScriptAlias /two ${APPS}/callback.py application-group=two
    """,
    files=(("out/README", "the applications write here"),),
)


@pytest.mark.all_mpms
@pytest.mark.differs(
    "callbacks-in-sub-interpreters",
    "up to Python 3.11 mod_wsgi hangs, or runs them in the interpreter the thread knew first",
    always=False,
)
def test_c_code_calls_back_in_the_interpreter_that_called_it(serve):
    server = serve(CALLBACKS, private=True)
    for _ in range(3):
        for group in ("main", "one", "two", "one"):
            name = group.replace("main", "")
            assert server.get(f"/{group}/called_back").text == f"{name} {name}"


@pytest.mark.embedded_only("stops httpd's own child; a daemon has one interpreter here")
@pytest.mark.all_mpms
@pytest.mark.differs(
    "callbacks-in-sub-interpreters", "up to Python 3.11 mod_wsgi hangs", always=False
)
def test_c_code_calls_back_when_its_interpreter_ends(serve):
    server = serve(CALLBACKS, private=True)
    (server.root / "out").chmod(0o777)
    out = server.root / "out/called"
    for group in ("one", "two", "main"):
        server.get(f"/{group}/at_exit?{out}")
    server.stop()
    assert sorted(out.read_text().split("\n")) == [
        "",
        "called back in ",
        "called back in one",
        "called back in two",
    ]


@functools.cache
def pythons():
    """{version: program} of the others, and [why not] for those left out."""
    candidates = [
        *Path.home().glob(".pyenv/versions/*/bin/python3"),
        *(
            path
            for folder in ("/usr/bin", "/usr/local/bin")
            for path in Path(folder).glob("python3.*")
            if re.fullmatch(r"python3\.\d+", path.name)
        ),
    ]
    found, left_out = {}, []
    for program in sorted(set(candidates)):
        done = subprocess.run([program, "-c", ABOUT], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            left_out.append(f"{program}: does not run")
            continue
        major, minor, shared, name, libdir, _, free_threaded = done.stdout.split("\n")[:7]
        version = (int(major), int(minor))
        if version < OLDEST:
            left_out.append(f"{program}: older than 3.10")
        elif shared != "1" or not (Path(libdir) / name).exists():
            left_out.append(f"{program}: no shared library")
        elif free_threaded != "0":
            left_out.append(f"{program}: free-threaded")
        else:
            found.setdefault(f"{major}.{minor}", program)
    return found, left_out


@pytest.fixture(scope="session")
def installation(env, servers):
    """installation(version) is a copy of its Python that Apache's user can read."""

    def installation(version):
        program = pythons()[0][version].resolve()
        prefix = program.parents[1]
        if prefix == Path("/usr") or env.readable_by_children(prefix / "bin"):
            return program
        # At the same place the next time, so that cargo finds nothing to do.
        folder = REPO / "target/pythons"
        folder.mkdir(parents=True, exist_ok=True)
        if not env.readable_by_children(folder):
            folder = Path(tempfile.mkdtemp(dir=servers.base))
            folder.chmod(0o755)
        copy = folder / version / "python"
        if not copy.exists():
            for part in ("bin", "lib", "include"):
                shutil.copytree(prefix / part, copy / part, symlinks=True, ignore=UNNEEDED)
            subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
        return copy / "bin" / program.name

    return installation


def build(version, program):
    target = REPO / "target/pythons" / version / "build"
    done = subprocess.run(
        ["cargo", "build", "--release", "--locked", "-p", "mod_wsgi_rs", "--target-dir", target],
        cwd=REPO,
        env=os.environ | {"PYO3_PYTHON": str(program), "CARGO_TERM_COLOR": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target / "release/libmod_wsgi_rs.so"


@pytest.mark.slow
@pytest.mark.ours_only("builds ours")
@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(10, 16)])
def test_the_behaviour_is_the_same_with_python(env, installation, version):
    if "MOD_WSGI_RS_SO" in os.environ:
        pytest.skip("MOD_WSGI_RS_SO names the one module to test")
    if version == env.python:
        pytest.skip(f"the other tests are about Python {version}")
    found, left_out = pythons()
    if version not in found:
        others = [why for why in left_out if f"/{version}" in why or f"python{version}" in why]
        pytest.skip("; ".join(others) or f"there is no Python {version} on this machine")
    others = sorted(found, key=lambda it: int(it.split(".")[1]))
    if version not in {others[0], others[-1]} and not os.environ.get("EVERY_PYTHON"):
        pytest.skip("the oldest and the newest are tried; EVERY_PYTHON=1 tries all")
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    module = build(version, installation(version))
    linked = subprocess.check_output(["ldd", module], text=True)
    assert f"libpython{version}.so" in linked
    # A test_1 is told, but not those that go deepest.
    wanted = " and ".join(f"not {name}" for name in TOLD)
    selection = f"({wanted}) or ((({' or '.join(DEEPEST)})) and not memory) or calls_back"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "--mpm=event", "--mode=embedded"),
            *("-k", selection, TESTS),
        ],
        cwd=REPO,
        env=os.environ | {"MOD_WSGI_RS_SO": str(module)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-300:])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
