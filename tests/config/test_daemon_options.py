"""The values that each option of WSGIDaemonProcess takes, and how it refuses the others."""

import os
import re
import subprocess

import pytest
from harness.conf import Conf
from harness.daemon_options import FORMER, OPTIONS, OURS
from harness.env import REPO

pytestmark = pytest.mark.embedded_only("a line is read before any process is started")


# To an ordinary user chroot= says that it needs root (test_chroot_needs_root).
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use chroot=")


def goods(table):
    return [
        pytest.param(option, value, marks=needs_root if option == "chroot" else ())
        for option, (good, _) in table.items()
        for value in good
    ]


def bads(table):
    return [
        pytest.param(option, value, sentence, marks=marks_of(option, value, sentence))
        for option, (_, bad) in table.items()
        for value, sentence in bad.items()
    ]


def marks_of(option, value, sentence):
    if option == "chroot":
        return needs_root
    if "of this system" in sentence or "this system does not have" in sentence:
        return pytest.mark.differs("unknown-account", "Apache's look-up ends the program")
    if value == "x" and (
        "at least 0" in sentence or "from 0" in sentence or "priority" in sentence
    ):
        return pytest.mark.differs("trailing-text", "mod_wsgi takes it for 0")
    return ()


def readable(value):
    return str(value)[:40]


@pytest.fixture
def read(configtest, env):
    """read(options) is whether a group with them is accepted, and what httpd says."""
    # With threads=0 a group needs a script.
    script = "WSGIImportScript /srv/x.py process-group=site application-group=x"
    return lambda options: configtest(Conf(f"WSGIDaemonProcess site {options}\n{script}"))


def taken(read, option, value):
    accepted, printed = read(f"{option}={value}")
    assert accepted, printed
    assert ":warn]" not in printed


def refused(read, option, value):
    accepted, printed = read(f"{option}={value}")
    assert not accepted
    return printed


@pytest.mark.ours_only("reads our manual")
def test_the_table_of_options_is_complete():
    page = (REPO / "docs/directives.md").read_text()
    section = page[page.index("## WSGIDaemonProcess") :]
    names = re.findall(r"^\| `([a-z-]+)` \|", section[: section.index("\n## ", 5)], re.M)
    assert set(names) == {*OPTIONS, *OURS, *FORMER}


@pytest.mark.parametrize(("option", "value"), goods(OPTIONS))
def test_an_option_takes_its_values(read, option, value):
    taken(read, option, value)


@pytest.mark.ours_only("mod_wsgi does not know it")
@pytest.mark.parametrize(("option", "value"), goods(OURS))
def test_own_option_takes_its_values(read, option, value):
    taken(read, option, value)


@pytest.mark.parametrize(("option", "value", "sentence"), bads(OPTIONS), ids=readable)
def test_an_option_refuses_other_values(read, env, option, value, sentence):
    printed = refused(read, option, value)
    assert "Syntax error on line" in printed
    if not env.oracle:
        shown = value if len(value) < 1000 else value[:1000] + "..."
        assert f'\nWSGIDaemonProcess: {option}="{shown}" {sentence}\n' in printed


@pytest.mark.ours_only("mod_wsgi does not know it")
@pytest.mark.parametrize(("option", "value", "sentence"), bads(OURS), ids=readable)
def test_own_option_refuses_other_values(read, option, value, sentence):
    printed = refused(read, option, value)
    assert f'\nWSGIDaemonProcess: {option}="{value}" {sentence}\n' in printed


@pytest.mark.parametrize(
    "option", ["lang", "locale", "display-name", "python-home", "python-path", "python-eggs"]
)
def test_empty_text_is_the_same_as_no_option(read, option):
    taken(read, option, "")


@pytest.mark.differs("trailing-text", "mod_wsgi drops the text without a word")
@pytest.mark.parametrize("option", ["threads", "request-timeout", "memory-limit", "cpu-priority"])
def test_text_behind_a_number_is_named(read, option):
    accepted, printed = read(f"{option}=60s")
    assert accepted
    assert f'{option}="60s" is read as 60, "s" is ignored' in printed


@pytest.mark.differs("directives-of-4", "mod_wsgi 6 refuses to start over them")
@pytest.mark.parametrize("option", FORMER)
def test_an_option_of_mod_wsgi_4_is_accepted_with_a_warning(read, option):
    accepted, printed = read(f"{option}=/etc/newrelic.ini")
    assert accepted
    assert f"WSGIDaemonProcess: {option}= has no effect: " in printed


def test_chroot_needs_root(servers, env, mpm, mode):
    if env.user is None:
        pytest.skip("only root can become another user")
    server = servers.make(Conf("WSGIDaemonProcess site chroot=/srv"), mpm, mode)
    assert server.configtest()[0]
    command = [env.httpd, "-d", server.root, "-f", server.root / "httpd.conf", "-t"]
    done = subprocess.run(command, capture_output=True, text=True, user=env.user.pw_uid)
    assert done.returncode != 0
    assert "chroot" in done.stderr
    assert "root" in done.stderr.replace("chroot", "")
    assert env.oracle or 'chroot="/srv" needs Apache to be started as root' in done.stderr


@pytest.mark.differs("group-checked", "mod_wsgi tries to start as many")
@pytest.mark.parametrize("number", ["10001", "20000", "2147483647"])
def test_more_processes_than_a_group_may_have_are_refused(read, number):
    printed = refused(read, "processes", number)
    sentence = "must be a number of processes, from 1 to 10000"
    assert f'WSGIDaemonProcess: processes="{number}" {sentence}' in printed


@pytest.mark.differs("group-checked", "mod_wsgi starts a process that does nothing")
def test_group_of_service_scripts_without_a_script_is_refused(configtest):
    accepted, printed = configtest(Conf("WSGIDaemonProcess site threads=0"))
    assert not accepted
    assert "WSGIDaemonProcess site: threads: a group of service scripts (threads=0)" in printed
