"""The values that each option of WSGIDaemonProcess takes, and how it refuses the others."""

import os
import re
import subprocess

import pytest
from harness.conf import Conf
from harness.env import REPO

pytestmark = pytest.mark.embedded_only("a line is read before any process is started")

LARGEST = "2147483647"
WHOLE = "must be {}, a whole number of at least {}"
FLAG = (["On", "off"], {"": (said := "must be one of: Off | On"), "1": said})


def number(unit, least=0, good=()):
    said = WHOLE.format(unit, least)
    return ([str(least), LARGEST, *good], {"": said, "x": said, str(least - 1): said})


def size(least):
    good, bad = number("a number of bytes", good=[str(least)])
    return good, bad | {str(least - 1): f"must be at least {least} bytes, or 0 for the default"}


def account(kind):
    thing = f"names no {kind} of this system"
    empty = f"is not allowed, it must name a {kind}"
    return ["games", "#5"], {"": empty, "nobody-of-that-name": thing}


SECONDS = number("a number of seconds")
REQUESTS = number("a number of requests")
BYTES = number("a number of bytes", good=["4294967296"])
ABSOLUTE = "must be an absolute path"
ROOT = "is not allowed: a daemon process may not run as root"
GROUP = "names a group this system does not have"
OCTAL = "must be an octal number such as 0027"
PRIORITY = "must be a priority, a whole number"
RANGE = "must be a number from 1, or MIN-MAX with MIN from 0"
INTERVAL = "must be a positive number of seconds"
PATH_OR_URL = "must be a path such as /health, or http://www.example.com/health, without %"
TOO_MANY = ",".join(["#5"] * 65_536)
# What each takes, and what it says of what it does not take.
OPTIONS = {
    "user": (account("user")[0], account("user")[1] | {"root": ROOT, "#0": ROOT}),
    "group": account("group"),
    "supplementary-groups": (
        ["games", "games,#5"],
        {"games,nobody-of-that-name": GROUP, TOO_MANY: "has too many supplementary groups"},
    ),
    "threads": (
        ["0", "1", "65533"],
        dict.fromkeys(["", "x", "-1", "65534"], "must be a number of threads, from 0 to 65533"),
    ),
    "umask": (
        ["0", "027", "0777"],
        dict.fromkeys(["", "9", "x"], "must be an octal number such as 0027"),
    ),
    "chroot": (["/srv"], {"": ABSOLUTE, "srv": ABSOLUTE}),
    "home": (["/srv"], {"": ABSOLUTE, "srv": ABSOLUTE}),
    "lang": (["C.UTF-8"], {}),
    "locale": (["C.UTF-8"], {}),
    "display-name": (["%{GROUP}", "'my site'"], {}),
    "python-home": (["/usr"], {}),
    "python-path": (["/a:/b"], {}),
    "python-eggs": (["/tmp"], {}),
    "switch-interval": (["0.01", "2"], dict.fromkeys(["", "0", "-1", "x", "0.1s"], INTERVAL)),
    "stack-size": number("a number of bytes", least=1),
    "maximum-requests": REQUESTS,
    "startup-timeout": SECONDS,
    "shutdown-timeout": SECONDS,
    "deadlock-timeout": SECONDS,
    "inactivity-timeout": SECONDS,
    "request-timeout": SECONDS,
    "interrupt-timeout": SECONDS,
    "graceful-timeout": SECONDS,
    "eviction-timeout": SECONDS,
    "restart-interval": SECONDS,
    "connect-timeout": SECONDS,
    "socket-timeout": SECONDS,
    "queue-timeout": SECONDS,
    "listen-backlog": number("a number"),
    "send-buffer-size": size(512),
    "receive-buffer-size": size(512),
    "header-buffer-size": size(8192),
    "response-buffer-size": size(65_536),
    "response-socket-timeout": SECONDS,
    "response-flush-delay": number("a number of milliseconds"),
    "socket-user": account("user"),
    "script-user": account("user"),
    "script-group": account("group"),
    "cpu-time-limit": SECONDS,
    "cpu-priority": (
        ["-20", "0", "19"],
        dict.fromkeys(["", "x"], "must be a priority, a whole number"),
    ),
    "memory-limit": BYTES,
    "virtual-memory-limit": BYTES,
    # On gives a warning.
    "server-metrics": (["Off"], FLAG[1]),
    "processes": (["1", LARGEST], number("a number of processes", least=1)[1]),
}
# What mod_wsgi has not.
OURS = {
    "processes": (["0-1", "2-8"], dict.fromkeys(["0-0", "3-2", "1-x", "1-"], RANGE)),
    "preload": FLAG,
    # What it takes depends on aliases: tests/daemon/test_warm_up.py.
    "warm-up": ([], dict.fromkeys(["", "health", "/a%20b", "http://", "/a#b"], PATH_OR_URL)),
    "reload": FLAG,
    "maximum-requests-jitter": REQUESTS,
    "maximum-memory": BYTES,
}
FORMER = ["newrelic-config-file", "newrelic-environment"]


# To an ordinary user chroot= says that it needs root, whatever its value (test_chroot_needs_root).
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
    return lambda options: configtest(Conf(f"WSGIDaemonProcess site {options}"))


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
def test_an_option_of_ours_takes_its_values(read, option, value):
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
def test_an_option_of_ours_refuses_other_values(read, option, value, sentence):
    printed = refused(read, option, value)
    assert f'\nWSGIDaemonProcess: {option}="{value}" {sentence}\n' in printed


@pytest.mark.parametrize(
    "option", ["lang", "locale", "display-name", "python-home", "python-path", "python-eggs"]
)
def test_an_empty_text_is_as_if_it_were_not_there(read, option):
    taken(read, option, "")


@pytest.mark.differs("trailing-text", "mod_wsgi drops the text without a word")
@pytest.mark.parametrize("option", ["threads", "request-timeout", "memory-limit", "cpu-priority"])
def test_text_behind_a_number_is_told(read, option):
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
