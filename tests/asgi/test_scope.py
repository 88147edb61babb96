"""What a scope says where proxies, the configuration or other mounts have a part in it."""

import json
from urllib.parse import quote

import pytest
from harness.asgi import APP, WEBSOCKET_APP, conf
from harness.client import head, split
from harness.conf import Conf
from harness.websocket import websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

TRUSTED = """
<Location /trusted>
    WSGITrustedProxies 127.0.0.1 10.0.0.0/8
    WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Server X-Forwarded-Port
    WSGITrustedProxyHeaders X-Forwarded-Proto X-Script-Name
</Location>
<Location /stand-in>
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Forwarded-For
    SetEnv HTTP_X_FORWARDED_FOR "10.6.6.6, 10.1.2.3"
</Location>
<Location /variables>
    WSGIPassAuthorization On
    SetEnv HTTP_X_SOME conf
    SetEnv CONTENT_TYPE text/conf
    SetEnv HTTP_HOST conf.example
    SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1
</Location>
<Location /added>
    RequestHeader add X-Many second
</Location>
"""
MODULES = ("env", "setenvif", "headers", "alias", "rewrite")


@pytest.fixture
def scope_of(serve):
    """scope_of(path, *fields) is the scope of a GET with these header lines."""
    server = serve(conf(more=TRUSTED, modules=MODULES))

    def scope_of(path, *fields, host="asked.example", **options):
        raw = server.raw(head(path, *fields, "Connection: close", host=host, **options))
        return json.loads(split(raw)[1])

    scope_of.server = server
    return scope_of


def values(scope, name):
    pairs = scope["headers"]
    if pairs and isinstance(pairs[0][0], dict):
        pairs = [(name["bytes"], value["bytes"]) for name, value in pairs]
    return [value for field, value in pairs if field == name]


def test_header_that_a_trusted_proxy_replaces_is_in_the_scope_once(scope_of):
    fields = ["X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.2", "X-Forwarded-Host: front.example"]
    scope = scope_of("/trusted", *fields)
    assert values(scope, "x-forwarded-for") == ["1.2.3.4, 10.0.0.2"]
    assert values(scope, "host") == ["front.example"]
    assert scope["client"][0] == "1.2.3.4"


def test_header_that_a_trusted_proxy_replaces_is_in_the_scope_of_a_websocket_once(serve):
    more = """
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host
    """
    server = serve(conf(more=more, app=WEBSOCKET_APP))
    fields = ["X-Forwarded-For: 6.6.6.6, 1.2.3.4", "X-Forwarded-Host: front.example"]
    with websocket(server.port, "/scope", *fields) as ws:
        scope = json.loads(ws.receive())
    assert values(scope, "x-forwarded-for") == ["1.2.3.4"]
    assert values(scope, "host") == ["front.example"]


def test_variable_that_stands_in_for_the_header_of_a_proxy_is_in_the_scope_once(scope_of):
    scope = scope_of("/stand-in")
    assert values(scope, "x-forwarded-for") == ["10.1.2.3"]
    assert scope["client"][0] == "10.1.2.3"


def test_headers_of_the_client_replace_variables_of_the_configuration(scope_of):
    sent = ["X-Some: client", "Content-Type: text/client", "Authorization: Bearer token"]
    scope = scope_of("/variables", *sent)
    for name, expected in [
        ("x-some", "client"),
        ("content-type", "text/client"),
        ("authorization", "Bearer token"),
        ("host", "asked.example"),
    ]:
        assert values(scope, name) == [expected]


def test_variables_of_the_configuration_are_headers_that_the_client_has_not_sent(scope_of):
    scope = scope_of("/variables")
    assert values(scope, "x-some") == ["conf"]
    assert values(scope, "content-type") == ["text/conf"]
    assert values(scope, "authorization") == []


def test_header_that_the_configuration_adds_is_a_second_one(scope_of):
    assert values(scope_of("/added", "X-Many: first"), "x-many") == ["first", "second"]


def test_headers_of_a_request_keep_their_order(scope_of):
    fields = ["X-Charlie: 1", "Accept: */*", "X-Alpha: 2", "Cookie: a=1", "Content-Length: 0"]
    scope = scope_of("/scope", *fields, "X-Bravo: 3", method="POST")
    names = [name["bytes"] for name, _ in scope["headers"]]
    expected = ["host", "x-charlie", "accept", "x-alpha", "cookie", "content-length", "x-bravo"]
    assert names == [*expected, "connection"]


def test_server_is_the_listener_whatever_host_the_client_asks_for(scope_of):
    scope = scope_of("/scope", "X-Forwarded-Port: 8443", "X-Forwarded-Server: front.example")
    assert scope["server"] == ["127.0.0.1", scope_of.server.port]
    assert scope_of("/scope", host="asked.example:99")["server"] == scope["server"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("X-Forwarded-Port: 8443", ["127.0.0.1", 8443]),
        ("X-Forwarded-Server: front.example", ["front.example", None]),
        ("X-Forwarded-Port: none", ["127.0.0.1", None]),
        ("X-Forwarded-Host: front.example:8443", ["127.0.0.1", None]),
    ],
)
def test_server_is_the_one_that_a_trusted_proxy_names(scope_of, field, expected):
    address, port = expected
    assert scope_of("/trusted", field)["server"] == [address, port or scope_of.server.port]


def test_root_path_is_the_mount_point_that_a_trusted_proxy_names(scope_of):
    scope = scope_of("/trusted/a%20b", "X-Script-Name: /front")
    assert (scope["root_path"], scope["path"]) == ("/front", "/front/trusted/a b")
    assert scope["raw_path"] == {"bytes": "/trusted/a%20b"}


def test_scheme_is_that_of_the_client_of_a_trusted_proxy(scope_of):
    assert scope_of("/trusted", "X-Forwarded-Proto: https")["scheme"] == "https"
    assert scope_of("/scope", "X-Forwarded-Proto: https")["scheme"] == "http"


MOUNTS = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site interface=asgi
ASGIScriptAliasMatch ^/sites/([a-z]+)/v[0-9] ${ROOT}/$1.py process-group=site
ASGIScriptAlias /folder/ ${ROOT}/ process-group=site
WSGIProcessGroup site
Alias /handled ${ROOT}/app.py
<Location /handled>
    SetHandler asgi-script
    Options +ExecCGI
</Location>
RewriteEngine On
RewriteRule ^/short/(.*) /sites/app/v2/$1 [PT]
"""


@pytest.mark.parametrize(
    ("url", "root_path", "path"),
    [
        ("/sites/app/v1/a%20b", "/sites/app/v1", "/sites/app/v1/a b"),
        ("/sites/app/v1", "/sites/app/v1", "/sites/app/v1"),
        ("/handled/x/%C3%BC", "/handled", "/handled/x/ü"),
        ("/handled", "/handled", "/handled"),
        ("/folder/app.py/x", "/folder/app.py", "/folder/app.py/x"),
    ],
)
def test_root_path_is_the_path_that_leads_to_the_script(serve, url, root_path, path):
    server = serve(Conf(MOUNTS, files=(("app.py", APP),), modules=MODULES, threads=16))
    scope = server.get(f"{url}?q=1").json()
    assert (scope["root_path"], scope["path"]) == (root_path, path)
    assert scope["raw_path"] == {"bytes": url}


def test_path_of_a_url_that_has_been_rewritten_is_the_new_one(serve):
    server = serve(Conf(MOUNTS, files=(("app.py", APP),), modules=MODULES, threads=16))
    scope = server.get("/short/x").json()
    assert (scope["root_path"], scope["path"]) == ("/sites/app/v2", "/sites/app/v2/x")


def headers_sent(server, pairs):
    answer = server.get(f"/headers?{quote(json.dumps(pairs))}")
    assert (answer.status, answer.text) == (200, "ok")
    return answer


def test_headers_of_a_response_keep_their_order(serve):
    server = serve(conf())
    pairs = [["x-c", "1"], ["set-cookie", "a=1"], ["x-a", "2"], ["set-cookie", "b=2"], ["x-c", "3"]]
    sent = headers_sent(server, pairs).headers
    own = {name for name, _ in pairs}
    assert [[name, value] for name, value in sent if name.lower() in own] == pairs


@pytest.mark.parametrize("coding", ["chunked", "gzip", "identity"])
def test_transfer_encoding_is_that_of_apache_and_not_of_the_application(serve, coding):
    """As the specification has it: servers may ignore the header of the application."""
    server = serve(conf())
    answer = headers_sent(server, [["Transfer-Encoding", coding], ["x-own", "1"]])
    assert answer.header("x-own") == "1"
    assert answer.header_values("Transfer-Encoding") in ([], ["chunked"])
    assert coding not in (answer.header_values("Transfer-Encoding") if coding != "chunked" else [])
