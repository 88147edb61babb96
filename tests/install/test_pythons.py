"""The module for each other shared-library CPython of this machine; what differs among them."""

import os
import shutil
import subprocess
import sys

import pytest
from harness.conf import Conf
from harness.env import REPO, TESTS
from harness.pythons import build, by_age, pythons

STUCK = (
    "observe/test_status_stacks.py"
    "::test_status_answers_at_once_while_each_thread_of_each_worker_is_stuck"
)
# What goes into CPython. The other files ask Apache, the configuration or the wire, and one Python
# answers for all; those with process groups have daemon/test_versions.py.
SELECTED = [
    "wsgi/test_environ.py",
    "wsgi/test_request_body.py",
    "wsgi/test_response.py",
    "wsgi/test_headers.py",
    "wsgi/test_errors.py",
    "scripts/test_reload.py",
    "scripts/test_interpreters.py",
    "scripts/test_interpreter_options.py",
    "server/test_shutdown.py",
    "server/test_apache_request.py",
    "access/test_authentication.py",
    "daemon/test_scheduler.py",
    "daemon/test_forks.py",
    "observe/test_python_module.py",
    "observe/test_events.py",
    "observe/test_metrics.py",
    "observe/test_slow_requests.py",
    "observe/test_telemetry.py",
    "observe/test_task_stacks.py",
    "observe/test_stacks.py::test_stack_of_a_request_has_its_place_and_its_request_line",
    "observe/test_stacks.py::test_stack_comes_while_c_code_holds_the_lock_for_ever",
    f"{STUCK}[event-/app/spin]",
    f"{STUCK}[event-/app/lock]",
    "frameworks/test_django.py",
    "install/test_pythons.py",
]
# What needs packages made for the Python at hand, or says nothing about Python.
LEFT_OUT = [
    "a_daemon_process",
    "reason_of_a_replacement",
    "virtual_environment",
    "be_a_prefix",
    "is_as_usual",
    "is_the_same",
]
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
def test_c_code_calls_back_in_the_calling_interpreter(serve):
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


OLDER = ["3.10", "3.11"]
NEWER = [f"3.{minor}" for minor in range(12, 17)]
FREE_THREADED = [f"3.{minor}t" for minor in range(13, 17)]


def tried(version, found):
    """Whether there is time for it: the oldest and the newest, and the newest free-threaded one."""
    alike = by_age(it for it in found if it.endswith("t") == version.endswith("t"))
    ends = alike[-1:] if version.endswith("t") else [alike[0], alike[-1]]
    return version in ends or bool(os.environ.get("EVERY_PYTHON"))


def run(module, *arguments, **environment):
    """The behaviour tests with this module."""
    options = ("-q", "-n2", "--tb=short", "--mpm=event")
    mine = {name: it for name, it in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=REPO,
        env=mine | environment | {"MOD_WSGI_RS_SO": str(module)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-300:])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


# Classes, because pytest-xdist gives each to a process of its own.
class Behaviour:
    @pytest.mark.slow
    @pytest.mark.begins_first
    @pytest.mark.ours_only("builds ours")
    def test_is_the_same(self, env, installation, version):
        the_behaviour_is_the_same_with_python(env, installation, version)


@pytest.mark.parametrize("version", OLDER)
class TestOlderPythons(Behaviour):
    pass


@pytest.mark.parametrize("version", NEWER)
class TestNewerPythons(Behaviour):
    pass


@pytest.mark.parametrize("version", FREE_THREADED)
class TestFreeThreadedPythons(Behaviour):
    pass


def the_behaviour_is_the_same_with_python(env, installation, version):
    if "MOD_WSGI_RS_SO" in os.environ:
        pytest.skip("MOD_WSGI_RS_SO names the one module to test")
    if version == env.python:
        pytest.skip(f"the other tests are about Python {version}")
    found, left_out = pythons()
    if version not in found:
        others = [why for why in left_out if f"/{version}" in why or f"python{version}" in why]
        pytest.skip("; ".join(others) or f"there is no Python {version} on this machine")
    if not tried(version, found):
        pytest.skip("the oldest and the newest are tried; EVERY_PYTHON=1 tries all")
    if not shutil.which("cargo"):
        pytest.skip("cargo is missing")
    target, python = REPO / "target/pythons" / version, installation(version)
    placed = target / "placed"
    placed.mkdir(parents=True, exist_ok=True)
    for package, built, name in [
        ("mod_wsgi_rs", "libmod_wsgi_rs.so", "mod_wsgi_rs.so"),
        ("wsgi-daemon", "wsgi-daemon", f"wsgi-daemon-{version}"),
    ]:
        folder = build(package, target / "build", "--release", python=python, version=version)
        shutil.copy2(folder / built, placed / name)
    module = placed / "mod_wsgi_rs.so"
    linked = subprocess.check_output(["ldd", module], text=True)
    assert f"libpython{version}.so" in linked
    selection = [TESTS / name for name in SELECTED]
    selection += ["-k", " and ".join(f"not {name}" for name in LEFT_OUT)]
    modes = "embedded,daemon" if os.environ.get("EVERY_PYTHON") else "embedded"
    if not version.endswith("t"):
        run(module, f"--mode={modes}", *selection)
        return
    run(module, TESTS / "scripts/test_free_threading.py")
    run(module, f"--mode={modes}", *selection, FREE_THREADING="1")
    if os.environ.get("EVERY_PYTHON"):
        # With its lock it is like any other.
        run(module, f"--mode={modes}", *selection)
