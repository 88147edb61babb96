"""WSGI_FLAGS of requests and WebSockets that an application of ASGI serves, or does not."""

import contextlib

import pytest
from harness.flags import conf, flags, told
from harness.websocket import Refused, websocket

pytestmark = pytest.mark.ours_only("mod_wsgi knows no ASGI")

APP = r"""
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("there is no lifespan")
    path = scope["path"]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    if path == "/app/silent":
        return
    headers = [(b"content-type", b"text/plain")]
    if path == "/app/short":
        headers.append((b"content-length", b"100"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/app/headless":
        return
    more = path == "/app/cut"
    await send({"type": "http.response.body", "body": b"some", "more_body": more})
"""
UNSTARTED = """
async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.fixture
def start(private):
    def start(options="", app=APP, alias=None, more=""):
        groups = f"WSGIRestrictEmbedded On\nWSGIDaemonProcess site interface=asgi {options}"
        alias = alias or "ASGIScriptAlias /app ${ROOT}/app.py process-group=site"
        configuration = conf(groups, alias, more, (("app.py", app),))
        return private(configuration, lambda server: (server.root / "out").chmod(0o777))

    return start


@pytest.mark.parametrize(
    ("path", "expected", "line"),
    [
        ("/app/silent", ("500", "XH"), "WSGI0226: .*without sending a response"),
        ("/app/headless", ("500", "XH"), "WSGI0226: .*before its response was complete"),
        ("/app/cut", ("200", "XB"), "WSGI0226: .*before its response was complete"),
        ("/app/short", ("200", "XB"), "shorter than its Content-Length"),
    ],
)
def test_response_that_an_application_does_not_complete_has_its_flag(start, path, expected, line):
    server = start()
    with contextlib.suppress(Exception):
        server.get(path)
    assert flags(server, path) == expected
    told(server, expected[1], line)


def test_websocket_beyond_the_limit_of_a_process_has_its_flag(start):
    server = start("websocket-limit=1")
    with websocket(server.port, "/app/one"):
        with pytest.raises(Refused) as refused, websocket(server.port, "/app/two"):
            pass
        assert refused.value.status == 503
        assert flags(server, "/app/two") == ("503", "OL")
        told(server, "OL", "WSGI0233")


def test_application_that_has_not_started_has_its_flag(start):
    alias = "Alias /app ${ROOT}/app.py"
    more = """
    <Location /app>
        SetHandler asgi-script
        WSGIProcessGroup site
        Options +ExecCGI
    </Location>
    """
    server = start(app=UNSTARTED, alias=alias, more=more)
    assert server.get("/app").status == 503
    assert flags(server, "/app") == ("503", "SF")
    told(server, "SF", "WSGI0238: .*no database")
    server.log.allow("WSGI0225")
