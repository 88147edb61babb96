"""The command status says in a sentence that a group has no manager."""

import re

import pytest
from harness import daemons
from harness.conf import Conf
from harness.status import group, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such commands")

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


def test_group_whose_manager_is_not_started_is_critical(start, run, asks):
    groups = "WSGIDaemonProcess site\nWSGIDaemonProcess broken python-home=${ROOT}/missing"
    server = start(groups)
    server.log.allow("missing", "broken")
    assert len(daemons.managers(server)) == 1
    told = asks(server, "status", "--timeout", "1", status=2)
    by_name = {it["name"]: it for it in told["groups"]}
    assert told["severity"] == by_name["broken"]["severity"] == "critical"
    assert by_name["site"]["severity"] == "ok"
    assert "there is none, as the error log and the status page say" in by_name["broken"]["problem"]
    done = run(server, "status", "broken", "--timeout", "1")
    assert done.returncode == 2
    first = done.stdout.splitlines()[0]
    assert re.match(
        r"WSGI CRITICAL: 0 of 1 process groups well; 'broken': its manager has not", first
    )
    # The cause is known where the sentence says.
    assert "missing" in group(server, "broken")["start_block"]
    assert "Does not start: " in status(server, "group=broken")
    assert server.get("/broken").status == 503
