"""The command status says in a sentence that a group has no manager."""

import os
import time

import pytest
from harness import daemons
from harness.conf import Conf
from harness.status import group, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such commands")
NO_MANAGER = "it has no manager; the error log and the status page say why"
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def conf(groups):
    text = f"""
    {groups}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site
    WSGIScriptAlias /broken ${{ROOT}}/app.py process-group=broken
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    return Conf(text, files=(("app.py", APP), ("out/README", "")), timeout=60)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into all processes")
def test_group_whose_manager_is_not_started_is_critical(start, run, asks):
    groups = "WSGIDaemonProcess site\nWSGIDaemonProcess broken python-home=${ROOT}/missing"
    server = start(groups)
    server.log.allow("missing", "broken")
    assert len(daemons.managers(server)) == 1
    # Its socket is open all the same: the time is not used up.
    began = time.monotonic()
    told = asks(server, "status", "--timeout", "60", status=2)
    by_name = {it["name"]: it for it in told["groups"]}
    assert told["severity"] == by_name["broken"]["severity"] == "critical"
    assert by_name["site"]["severity"] == "ok"
    assert by_name["broken"]["problem"] == NO_MANAGER
    done = run(server, "status", "broken", "--timeout", "60")
    assert done.returncode == 2
    first = done.stdout.splitlines()[0]
    assert first == f"WSGI CRITICAL: 0 of 1 process groups well; 'broken': {NO_MANAGER}"
    for words in (["ps"], ["stacks", "broken"], ["top", "--json", "--count", "1"]):
        done = run(server, *words, "--timeout", "60")
        assert NO_MANAGER in done.stdout + done.stderr
        assert done.returncode == 1
    assert time.monotonic() - began < 50
    # The cause is known where the sentence says.
    assert "missing" in group(server, "broken")["start_block"]
    assert "Does not start: " in status(server, "group=broken")
    assert server.get("/broken").status == 503
