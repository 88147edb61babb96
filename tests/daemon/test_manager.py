"""The manager of a group has no Python in it: wsgi-daemon-X.Y is run for each worker."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.daemons import manager, settled
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi's daemons have no manager")

APP = """
import ctypes, os
def application(environ, start_response):
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {os.getuid()} {dumpable}".encode()]
"""
TEXT = """
WSGISocketPrefix ${ROOT}/wsgi
WSGIDaemonProcess site threads=2 OPTIONS
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
"""


@pytest.fixture
def place(servers, env, tmp_path_factory):
    """A folder of the test's own with module and programs, that every user may read."""
    folder = servers.base / tmp_path_factory.mktemp("programs").name
    folder.mkdir()
    folder.chmod(0o755)
    release = Path(env.module).parent
    daemon = f"wsgi-daemon-{env.python}"
    if not (release / "wsgi-daemon-manager").exists():
        pytest.skip("this module has no manager beside it")
    for name in (Path(env.module).name, daemon, "wsgi-daemon-manager"):
        shutil.copy2(release / name, folder / name)
    yield folder
    shutil.rmtree(folder)


def conf(module, options="", **more):
    text = f'LoadModule wsgi_module "{module}"\n' + TEXT.replace("OPTIONS", options)
    return Conf(text, files=(("app.py", APP),), load_wsgi=False, **more)


@pytest.fixture
def start(start, place, env):
    """start(options) is a running server with the module of `place`."""
    return functools.partial(start, place / Path(env.module).name)


def exe(pid):
    return Path(os.readlink(f"/proc/{pid}/exe")).name


def maps_python(pid):
    return "libpython" in Path(f"/proc/{pid}/maps").read_text()


def private_memory(pid):
    """What is not of any file, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split()[0]: line.split()[1] for line in lines[1:]}
    return int(sizes["Anonymous:"]) * 1024


def worker(server):
    return int(server.get("/").text.split()[0])


@pytest.mark.parametrize("options", ["", "preload=On", "processes=0-1"])
def test_the_manager_has_no_python(start, env, options):
    server = start(options)
    pid = worker(server)
    above = manager(server)
    assert (exe(above), maps_python(above)) == ("wsgi-daemon-manager", False)
    assert (exe(pid), maps_python(pid)) == (f"wsgi-daemon-{env.python}", True)
    assert daemons.status_of(pid)["PPid"] == str(above)
    assert Path(f"/proc/{pid}/comm").read_text() == f"{exe(pid)[:15]}\n"
    # With Python's library it would be a megabyte.
    assert private_memory(above) < 300 * 1024


def test_all_have_the_name_of_the_group(start):
    server = start("display-name=(wsgi:site)")
    for pid in (worker(server), manager(server)):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
        assert shown == b"(wsgi:site)"
        assert Path(f"/proc/{pid}/comm").read_text() == "(wsgi:site)\n"


def test_an_upgrade_changes_nothing_until_the_group_is_started_anew(start, place, env):
    server = start()
    first = worker(server)
    program = place / f"wsgi-daemon-{env.python}"
    program.rename(place / "old")
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    server.log.allow("killed by signal 9")
    os.kill(first, 9)
    second = wait_until(lambda: settled(server, 1, without=[first]), "another worker")[0]
    assert worker(server) == second
    assert exe(second).startswith("old")
    assert maps_python(second)


@pytest.mark.parametrize("mode", [0o750, 0o711])
def test_unreadable_program_manages_its_workers(start, place, env, mode):
    """It is run by root then, as long as it is."""
    (place / f"wsgi-daemon-{env.python}").chmod(mode)
    server = start()
    assert exe(manager(server)) == f"wsgi-daemon-{env.python}"
    assert worker(server) in daemons.workers(server)


def test_program_manages_without_a_separate_manager(start, place, env):
    (place / "wsgi-daemon-manager").unlink()
    server = start()
    assert worker(server) in daemons.workers(server)
    assert exe(manager(server)) == f"wsgi-daemon-{env.python}"


def test_a_program_that_does_not_run_is_named(start, place, env, servers):
    program = place / f"wsgi-daemon-{env.python}"
    program.write_bytes(b"\x7fELF nothing of the kind")
    server = start(timeout=3)
    server.log.allow("WSGI", "worker .* exited", "cannot run")
    (line, *_) = server.log.wait_for(f"cannot run {program}: ")
    assert line.level == "crit"


def test_missing_locale_is_logged_once(start):
    server = start("processes=2 locale=xx_YY.UTF-8 maximum-requests=1")
    server.log.allow("WSGI0079")
    seen = set()
    wait_until(lambda: seen.add(worker(server)) or len(seen) > 3, "other workers")
    # The log is complete when the server has stopped.
    server.stop()
    assert len(server.log.find("WSGI0079")) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_others_of_the_same_user_may_look_into_a_worker_as_little_as_before(start, place, env):
    looks = [start().get("/").text.split()[1:]]
    (place / "wsgi-daemon-manager").unlink()
    looks.append(start().get("/").text.split()[1:])
    assert looks[0] == looks[1]
    assert looks[0][1] == "0"


def test_manager_prints_its_usage(place):
    done = subprocess.run(
        [place / "wsgi-daemon-manager", "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("wsgi-daemon: wsgi-daemon-manager is for Apache")
