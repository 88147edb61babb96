"""WSGISlowRequests: what takes too long is in the log, with the place where it is."""

import concurrent.futures
import re

import pytest
from harness.conf import Conf
from harness.error_log import ErrorLog

TEXT = """
    WSGIPythonPath ${APPS}
    WSGISlowRequests 0.2
    WSGIScriptAlias /main ${APPS}/slow.py application-group=%{GLOBAL}
    WSGIScriptAlias /named ${APPS}/slow.py application-group=named
    """
SLOW = Conf(TEXT)
slow_requests_log = pytest.mark.differs(
    "slow-requests-log", "mod_wsgi sends them to telemetry only"
)


def warm(server, mount="/main"):
    """Loads the script, which may be slow itself."""
    server.log.allow(r"slow\.py\] ")
    assert server.get(f"{mount}/quick").text == "quick"


@slow_requests_log
@pytest.mark.needs_lock("the stack of a thread that goes on meanwhile is not shown")
@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/main", "/named"])
def test_a_slow_request_is_reported_with_its_stack(serve, mpm, mount):
    server = serve(SLOW, private=True)
    warm(server, mount)
    path = "busy" if mpm == "prefork" else "blocked"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, f"{mount}/{path}?x=1")
        (line,) = server.log.wait_for(f"slow request GET {mount}/{path}\\?x=1 has taken")
        if path == "blocked":
            server.log.wait_for("in wait_for_it")
            assert server.get(f"{mount}/release").status == 200
        assert waiting.result().status == 200
    (end,) = server.log.wait_for(f"slow request GET {mount}/{path}\\?x=1 took")
    assert (line.level, end.level) == ("warn", "warn")
    assert "slow.py] " in line.text
    so_far, whole = (float(re.search(r" (\d+\.\d+) s", text)[1]) for text in (line.text, end.text))
    assert 0.2 <= so_far <= whole < 15
    lines = [found.text for found in server.log.find(r"slow\.py\] ")]
    first = next(at for at, text in enumerate(lines) if f"{mount}/{path}" in text)
    lines = lines[first:]
    innermost = "wait_for_it" if path == "blocked" else "burn_the_cpu"
    assert any(f"in {innermost}" in text for text in lines)
    # The frames stand as in a traceback: the innermost is the last.
    places = [text for text in lines if re.search(r"File .*slow\.py", text)]
    assert f"in {innermost}" in places[-1]
    assert f"in {path}" in places[-2]


@slow_requests_log
def test_a_slow_request_is_reported_once(serve):
    server = serve(SLOW, private=True)
    warm(server)
    assert server.get("/main/busy").text == "burnt"
    server.log.expect("slow request GET /main/busy took")
    server.log.allow("slow.py\\] ")
    assert len(server.log.find("slow request GET /main/busy has taken")) == 1


@slow_requests_log
@pytest.mark.needs_lock("the stack of a thread that goes on meanwhile is not shown")
def test_a_slow_stream_is_reported(serve):
    server = serve(SLOW, private=True)
    warm(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/main/streamed")
        server.log.expect("slow request GET /main/streamed has taken", "in streamed")
        server.get("/main/release")
        assert waiting.result().body == b"firstsecond"
    server.log.expect("slow request GET /main/streamed took")


@slow_requests_log
def test_a_virtual_hosts_slow_request_is_in_its_own_log(serve):
    text = f"""{TEXT}
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName other.example
        ErrorLog "${{ROOT}}/other_log"
    </VirtualHost>
    """
    server = serve(Conf(text), private=True)
    other = ErrorLog(server.root / "other_log")
    assert server.get("/main/busy", host="other.example").text == "burnt"
    other.wait_for("slow request GET /main/busy has taken")
    other.wait_for("slow request GET /main/busy took")
    assert not server.log.find("slow request")


@pytest.mark.parametrize("line", ["", "WSGISlowRequests 0", "WSGISlowRequests 60"])
def test_fast_request_is_not_reported(serve, line):
    server = serve(Conf(TEXT.replace("WSGISlowRequests 0.2", line)), private=True)
    assert server.get("/main/busy").text == "burnt"
    server.stop()
    assert not server.log.find("slow request")


@slow_requests_log
def test_a_server_stops_while_a_slow_request_runs(serve):
    server = serve(SLOW, private=True)
    warm(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        warm(server, "/named")
        waiting = pool.submit(server.get, "/named/busy")
        server.log.expect("slow request GET /named/busy has taken")
        server.stop()
        assert waiting.result().text == "burnt"
    server.log.allow("slow.py\\] ")
