"""The harness judges: which lines of a log and which ends of httpd fail a test."""

import sys

import pytest
import several_machines
from harness import balancers
from harness.conf import Conf
from harness.error_log import ErrorLog

pytestmark = pytest.mark.ours_only("asks the harness, no server")

PREFIX = "[Sun Nov 29 15:18:55 2026] [{}] [pid 7] "
CRASHES = [
    ("core:notice", "AH00052: child pid 7 exit signal Segmentation fault (11)"),
    ("wsgi:error", "daemon 'site' worker 7 was killed by signal 11 while serving GET /"),
    ("wsgi:error", "thread 'main' panicked at src/lib.rs:1:1"),
    ("wsgi:error", "Fatal Python error: Aborted"),
]


@pytest.fixture
def log(tmp_path):
    """log(lines) is an error log with these (level, text)."""

    def log(*lines):
        path = tmp_path / "error_log"
        path.write_text("".join(f"{PREFIX.format(level)}{text}\n" for level, text in lines))
        return ErrorLog(path)

    return log


def texts(lines):
    return [line.text for line in lines]


def test_unnamed_warning_is_unexpected(log):
    judged = log(("wsgi:info", "fine"), ("wsgi:warn", "one"), ("core:error", "two"))
    assert texts(judged.unexpected()) == ["one", "two"]
    judged.allow("^one$")
    assert texts(judged.unexpected()) == ["two"]


def test_line_past_the_log_of_apache_is_unexpected(tmp_path):
    path = tmp_path / "error_log"
    path.write_text("free(): invalid pointer\n")
    assert texts(ErrorLog(path).unexpected()) == ["free(): invalid pointer"]


@pytest.mark.parametrize("line", CRASHES)
def test_crash_is_unexpected_whatever_is_allowed(log, line):
    judged = log(line)
    judged.allow("child pid|worker|thread|Fatal", "exit signal|killed|panicked|Python error")
    assert texts(judged.unexpected()) == [line[1]]
    judged.expect_crash("signal|panicked|Fatal")
    assert judged.unexpected() == []


def test_end_by_a_signal_that_tests_send_is_no_crash(log):
    judged = log(("core:notice", "AH00052: child pid 7 exit signal Killed (9)"))
    assert judged.crashes() == []


@pytest.mark.parametrize("pattern", ["", ".", "(?s).*", "|x", "^"])
def test_pattern_that_every_line_matches_is_refused(log, pattern):
    with pytest.raises(AssertionError, match="permits every line"):
        log().allow(pattern)


@pytest.mark.parametrize(("status", "complaints"), [(0, 0), (1, 1), (-11, 1)])
def test_exit_status_of_httpd_is_judged(env, tmp_path, status, complaints):
    from harness.httpd import Httpd

    class Ended:
        @staticmethod
        def poll():
            return status

    server = Httpd(env, tmp_path, Conf(""), "event", "embedded", tmp_path)
    server.process, server.came_up = Ended, True
    assert len(server.verdict()) == complaints


def figures(get=0, post=0, twice=0, sent=100, span=0):
    """Those of an event of several_machines.py, with so many failed requests."""
    methods = {"GET": get, "POST": post}
    shown = {method: {"sent": sent, "failed": failed} for method, failed in methods.items()}
    return {**shown, "twice": twice, "span": span}


@pytest.mark.parametrize(
    ("front", "event", "found", "is_right"),
    [
        ("haproxy", balancers.DRAIN, figures(), True),
        ("haproxy", balancers.DRAIN, figures(get=1), False),
        ("nginx", "a fourth host", figures(get=1), False),
        ("nginx", "a new version on all three", figures(twice=1), False),
        ("haproxy", "`kill -9`", figures(get=4, post=4), True),
        ("haproxy", "`kill -9`", figures(get=4, post=5), False),
        ("caddy", "`kill -9`", figures(post=8, span=0.5), True),
        ("caddy", "`kill -9`", figures(post=9, span=0.5), False),
        ("caddy", "`kill -9`", figures(post=4, span=1.5), False),
        ("apache", "`kill -9`", figures(post=40, span=0.5), True),
        ("apache", "`kill -9`", figures(post=8, span=7), False),
        ("apache", "link down", figures(get=8, post=9), False),
        ("server", "SIGSTOP", figures(post=16), True),
        ("server", "SIGSTOP", figures(twice=1), False),
        ("server", "SIGSTOP", figures(sent=0), False),
        ("server", "full disk, workers replaced", figures(twice=1), False),
    ],
)
def test_event_that_has_lost_more_than_its_limit_ends_several_machines_with_1(
    monkeypatch, capsys, front, event, found, is_right
):
    assert balancers.faults(front, event, found) == [] or not is_right
    for method in ("GET", "POST"):
        found[method]["slowest"] = 0.5
    monkeypatch.setattr(several_machines, "measure", lambda *_: found)
    monkeypatch.setattr(several_machines.os, "geteuid", lambda: 0)
    monkeypatch.setattr(several_machines.shutil, "which", lambda _: "/bin/it")
    monkeypatch.setattr(sys, "argv", ["several_machines.py", front, "--only", event])
    assert several_machines.main() == (0 if is_right else 1)
    assert ("WRONG: " in capsys.readouterr().err) is not is_right
