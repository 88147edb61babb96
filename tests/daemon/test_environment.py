"""The environment of daemon processes: environment= and what they inherit of Apache's."""

import os
import pwd
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import TESTS

pytestmark = pytest.mark.ours_only("mod_wsgi's daemons have all of Apache's environment")

APP = (TESTS / "apps/faults.py").read_text()
ROOT = os.geteuid() == 0
# An account that every Debian and Fedora has.
USER = pwd.getpwnam("games")
AS_USER = f"user={USER.pw_name}" if ROOT else ""


def conf(options="", **more):
    group = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2 {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(group, files=(("app.py", APP),), **more)


# What every process needs, and all that a program of root's is told.
NEEDED = {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
SERVICE = {
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "http",
    "WATCHDOG_USEC": "1000000",
    "WATCHDOG_PID": "1",
}
GIVEN = {
    "LANG": "C.UTF-8",
    "LC_TIME": "C",
    "TZ": "Europe/Vienna",
    "TMPDIR": "/tmp",
    "DATABASE_URL": "postgresql://db/site",
    "APACHE_RUN_USER": "www-data",
    "LD_LIBRARY_PATH": "/nowhere",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONPATH": "/nowhere/modules",
    "USER": "root",
    **SERVICE,
}


def environment_of(pid):
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def others(names):
    return {name for name in names if not name.startswith("LC_")} - NEEDED


def inside(server):
    return daemons.evaluate(server, "dict(__import__('os').environ)")


def test_environment_of_apache_is_inherited_but_for_variables_of_systemd(start_warm):
    server = start_warm(AS_USER, environment=tuple(GIVEN.items()))
    found = inside(server)
    wanted = GIVEN.keys() - SERVICE.keys() - {"USER"}
    assert {name: found[name] for name in wanted} == {name: GIVEN[name] for name in wanted}
    assert not SERVICE.keys() & found.keys()
    if ROOT:
        assert (found["HOME"], found["USER"]) == (USER.pw_dir, USER.pw_name)
    assert "/nowhere/modules" in daemons.evaluate(server, "__import__('sys').path")
    # The loader and the C library of the process have had it, too.
    (worker,) = daemons.workers(server)
    assert environment_of(worker)["LD_LIBRARY_PATH"] == "/nowhere"
    # The manager begins as root, and searches no directory of the group's user for libraries.
    assert not others(environment_of(daemons.manager(server)))


def test_environment_none_leaves_the_variables_of_every_process(start_warm):
    server = start_warm(f"{AS_USER} environment=none", environment=tuple(GIVEN.items()))
    found = inside(server)
    assert (found["LC_TIME"], found["TZ"]) == ("C", "Europe/Vienna")
    for pid in [daemons.manager(server), *daemons.workers(server)]:
        assert not others(environment_of(pid)) - {"HOME"}


@pytest.mark.parametrize("inherit", [False, True])
def test_environment_lists_variables_with_and_without_values(start_warm, inherit):
    words = "DATABASE_URL HOME=/srv LD_LIBRARY_PATH=/tenant 'SPACED=a b' EMPTY= LANG=C"
    words += " inherit" if inherit else ""
    server = start_warm(f'{AS_USER} environment="{words}"', environment=tuple(GIVEN.items()))
    found = inside(server)
    wanted = {
        "DATABASE_URL": GIVEN["DATABASE_URL"],
        "HOME": "/srv",
        "LD_LIBRARY_PATH": "/tenant",
        "SPACED": "a b",
        "EMPTY": "",
        "LANG": "C",
    }
    assert {name: found[name] for name in wanted} == wanted
    assert ("APACHE_RUN_USER" in found) == inherit
    assert not others(environment_of(daemons.manager(server)))


def test_option_for_the_language_stands_above_the_environment(start_warm):
    server = start_warm("environment='LANG=de_DE.UTF-8' lang=C.UTF-8")
    assert inside(server)["LANG"] == "C.UTF-8"
