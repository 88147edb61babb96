"""The last failures on the status page: of all groups, and of each."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until
from harness.status import Texts, status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such handlers")

APP = r"""
def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/raise"):
        raise RuntimeError("on purpose")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
DEEP = "deep/" + "/".join(["a-folder-with-a-long-name"] * 8)


def conf():
    text = f"""
    WSGIDaemonProcess quiet threads=2
    WSGIDaemonProcess loud threads=2
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=quiet
    WSGIScriptAlias /loud ${{ROOT}}/{DEEP}/loud.py process-group=loud
    WSGIScriptAlias /own ${{ROOT}}/app.py process-group=%{{GLOBAL}}
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    files = (("app.py", APP), (f"{DEEP}/loud.py", APP), ("out/README", ""))
    return Conf(text, files=files, timeout=60)


def failures(server, query="json"):
    return [(it["group"], it["request"]) for it in status(server, query)["failures"]]


def test_failures_of_one_group_do_not_push_out_those_of_another(start):
    server = start()
    server.log.allow("on purpose", "WSGI0174", "RuntimeError", "Traceback", "^  ")
    for path in ("/app/raise", "/own/raise", *(f"/loud/raise/{count}" for count in range(15))):
        assert server.get(path).status == 500
    loud = [("loud", f"GET /loud/raise/{count}") for count in range(14, 4, -1)]
    wait_until(lambda: failures(server) == loud, "the last ten of all")
    assert failures(server, "json&group=loud") == loud
    assert failures(server, "json&group=quiet") == [("quiet", "GET /app/raise")]
    texts = Texts(status(server, "group=quiet")).texts
    assert "GET /app/raise" in texts
    assert not any("loud" in text for text in texts)
    # The next one of another is the first of all.
    assert server.get("/own/raise/again").status == 500
    newest = ("", "GET /own/raise/again")
    wait_until(lambda: failures(server) == [newest, *loud[:9]], "the failure of embedded mode")


def test_long_path_of_a_script_keeps_its_end_and_a_long_request_its_beginning(start):
    server = start()
    server.log.allow("on purpose", "WSGI0174", "RuntimeError", "Traceback", "^  ")
    assert server.get("/loud/raise/" + "x" * 600).status == 500
    [failure] = wait_until(lambda: status(server)["failures"], "the failure")
    assert failure["script"].startswith("…")
    assert failure["script"].endswith("/a-folder-with-a-long-name/loud.py")
    assert 100 < len(failure["script"]) < 170
    assert failure["request"].startswith("GET /loud/raise/xxx")
    assert failure["request"].endswith("x…")
    assert len(failure["request"]) > 200
    texts = Texts(status(server, "")).texts
    assert failure["script"] in texts
    assert failure["request"] in texts
