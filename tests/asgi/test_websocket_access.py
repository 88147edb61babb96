"""What Apache decides of a handshake before the application hears of it."""

import collections
import json

import pytest
from harness.access import TURNED_AWAY
from harness.asgi import WEBSOCKET_APP
from harness.client import TIMEOUT
from harness.conf import Conf
from harness.websocket import Refused, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
# Access scripts run in Apache's own processes: these may have Python.
ALIAS = """
WSGIDaemonProcess site
ASGIScriptAlias / ${ROOT}/app.py process-group=site
"""
SCRIPT = """
<Location /echo>
    WSGIAccessScript ${APPS}/access.py
</Location>
"""
FILES = (("app.py", WEBSOCKET_APP),)


@pytest.fixture
def start(private):
    """start(more) is a server with these lines."""

    def start(more="", **others):
        server = private(Conf(f"WSGIPythonPath ${{APPS}}\n{ALIAS}{more}", files=FILES, **others))
        server.log.allow(TURNED_AWAY)
        return server

    return start


def echoes(server, answer, *fields):
    """Whether the access script, which answers with this expression, lets a handshake through."""
    try:
        with websocket(server.port, "/echo", f"X-Answer: {answer}", *fields) as ws:
            ws.send_text("x")
            assert ws.receive() == "x"
            assert ws.close() == (1000, "")
    except Refused as refused:
        return refused.status != 403
    return True


def handshakes(server):
    return len(server.get("/").json()["events"])


@pytest.mark.all_mpms
def test_access_script_decides_before_the_application(start):
    server = start(SCRIPT)
    assert not echoes(server, "False")
    assert handshakes(server) == 0
    assert echoes(server, "True")
    assert handshakes(server) == 1


def test_access_script_knows_the_handshake(start):
    server = start(SCRIPT)
    asked = (
        "environ['HTTP_UPGRADE'] == 'websocket' and environ['HTTP_ORIGIN'] == 'http://x.example'"
    )
    assert echoes(server, asked, "Origin: http://x.example")
    assert not echoes(server, asked, "Origin: http://y.example")


def test_access_script_that_fails_opens_nothing(start):
    server = start(SCRIPT)
    server.log.allow_traceback("ZeroDivisionError: division by zero")
    # As for any other request.
    assert not echoes(server, "1/0")
    assert server.get("/echo", headers={"X-Answer": "1/0"}).status == 403
    assert handshakes(server) == 0


def test_access_script_is_told_the_address_that_connects_whatever_a_trusted_proxy_says(start):
    """As with any other request: those headers are for applications."""
    trusted = "WSGITrustedProxies 127.0.0.1\nWSGITrustedProxyHeaders X-Forwarded-For\n"
    server = start(trusted + SCRIPT)
    fields = {"X-Forwarded-For": "10.1.2.3"}
    for address, comes_in in [("127.0.0.1", True), ("10.1.2.3", False)]:
        asked = f"environ['REMOTE_ADDR'] == '{address}'"
        assert echoes(server, asked, "X-Forwarded-For: 10.1.2.3") == comes_in
        status = server.get("/echo", headers=fields | {"X-Answer": asked}).status
        assert status == (200 if comes_in else 403)


def test_header_of_a_host_that_is_not_trusted_tells_a_handshake_nothing(start):
    more = "WSGITrustedProxies 127.0.0.2\nWSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto"
    server = start(more)
    fields = ["X-Forwarded-For: 10.1.2.3", "X-Forwarded-Proto: https"]
    with websocket(server.port, "/scope", *fields) as ws:
        scope = json.loads(ws.receive())
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "ws")
    assert "x-forwarded-for" not in dict(scope["headers"])


@pytest.mark.all_mpms
@pytest.mark.parametrize("require", ["all denied", "not ip 127.0.0.1", "valid-user"])
def test_require_holds_for_handshakes(start, require):
    authentication = """
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        WSGIAuthUserScript ${APPS}/access.py
    """
    more = f"""
    <Location /echo>
        {authentication if require == "valid-user" else ""}
        <RequireAll>
            Require all {"denied" if require == "all denied" else "granted"}
            {"" if require == "all denied" else f"Require {require}"}
        </RequireAll>
    </Location>
    """
    server = start(more, modules=("auth_basic", "authn_core", "authz_user"))
    with pytest.raises(Refused) as refused, websocket(server.port):
        pass
    assert refused.value.status == (401 if require == "valid-user" else 403)
    assert handshakes(server) == 0
    if require == "valid-user":
        # alice:wonder
        with websocket(server.port, "/echo", "Authorization: Basic YWxpY2U6d29uZGVy") as ws:
            ws.send_text("x")
            assert ws.receive() == "x"


@pytest.fixture
def over_http_2(start):
    """over_http_2(more) is a connection of HTTP/2, whether it offers WebSockets (RFC 8441), and
    ask(headers), the status of a request on it.
    """
    h2 = pytest.importorskip("h2.connection")
    events = pytest.importorskip("h2.events")
    settings = pytest.importorskip("h2.settings")

    def over_http_2(more):
        server = start(f"Protocols h2c http/1.1\n{more}", modules=("http2",), threads=16)
        sock = server.socket()
        with_sock = sock.__enter__()
        with_sock.settimeout(TIMEOUT)
        connection = h2.H2Connection()
        connection.initiate_connection()
        with_sock.sendall(connection.data_to_send())

        come = collections.deque()

        def next_of(*kinds, stream=None):
            while True:
                while come:
                    event = come.popleft()
                    if isinstance(event, kinds) and stream in (
                        None,
                        getattr(event, "stream_id", None),
                    ):
                        return event
                come.extend(connection.receive_data(with_sock.recv(65536)))
                with_sock.sendall(connection.data_to_send())

        def ask(*headers):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, headers)
            with_sock.sendall(connection.data_to_send())
            event = next_of(events.ResponseReceived, events.StreamReset, stream=stream)
            return dict(getattr(event, "headers", [])).get(b":status")

        next_of(events.RemoteSettingsChanged)
        code = settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        offers = connection.remote_settings.get(code, 0) == 1
        return server, offers, ask, lambda: sock.__exit__(None, None, None)

    return over_http_2


PLACE = [(":scheme", "http"), (":authority", "localhost")]
CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), *PLACE, (":path", "/echo")]


def test_over_http_2_websockets_are_not_offered(over_http_2):
    _, offers, ask, close = over_http_2("")
    assert not offers
    assert ask((":method", "GET"), *PLACE, (":path", "/")) == b"200"
    close()


def test_over_http_2_a_handshake_is_a_501_where_apache_offers_websockets(over_http_2):
    server, offers, ask, close = over_http_2("H2WebSockets on")
    if not offers:
        pytest.skip("this mod_http2 has no H2WebSockets")
    assert ask(*CONNECT, ("sec-websocket-version", "13")) == b"501"
    server.log.expect("WSGI0230: a handshake of a WebSocket is refused: it came over HTTP/2")
    # The connection goes on.
    assert ask((":method", "GET"), *PLACE, (":path", "/")) == b"200"
    assert handshakes(server) == 0
    close()
