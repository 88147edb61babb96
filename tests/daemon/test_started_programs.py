"""Programs that applications start find the signals of a fresh program."""

import pytest
from harness.conf import Conf

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
    pytest.mark.ours_only("mod_wsgi's daemons block no signal, and have no templates"),
]

APP = """
import json, multiprocessing, os, subprocess

STATUS = ["/bin/sh", "-c", "exec cat /proc/self/status"]

def signals():
    text = subprocess.run(STATUS, capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":", 1) for line in text.splitlines())
    # Signals 32 and 33 are the C library's own: its posix_spawn, which make uses, ignores them.
    own = 1 << 31 | 1 << 32
    return [int(fields[name], 16) & ~own for name in ("SigBlk", "SigIgn")]

def fresh():
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        process.terminate()
        ended = process.wait(20)
    return ended

AT_IMPORT = [signals(), fresh()]

def application(environ, start_response):
    found = [AT_IMPORT, [signals(), fresh()]]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""


def conf(options):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP),))


@pytest.mark.parametrize("options", ["", "preload=On"])
def test_no_signal_is_blocked_or_ignored_in_a_program(private, options):
    server = private(conf(options))
    assert server.get("/").json() == [[[0, 0], -15]] * 2
