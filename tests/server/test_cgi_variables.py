"""Apache's own directives on CGI variables hold for applications: CGIVar, QualifyRedirectURL."""

import json

import pytest
from harness.client import ask
from harness.conf import Conf

CONF = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /told ${APPS}/ask.py
    WSGIScriptAlias /page ${APPS}/environ.py
    RewriteEngine On
    RewriteRule ^/old/(.*)$ /told/$1 [PT]
    RewriteRule ^/current/(.*)$ /told/current/$1 [PT]
    <Location /told/current>
        CGIVar REQUEST_URI current-uri
    </Location>
    <Location /told/original>
        CGIVar REQUEST_URI original-uri
    </Location>
    <LocationMatch "^/(gone|qualified)">
        ErrorDocument 403 /page/error
        Require all denied
    </LocationMatch>
    <Location /page/error>
        Require all granted
    </Location>
    <Location /qualified>
        ErrorDocument 403 /page/error/whole
    </Location>
    <Location /page/error/whole>
        QualifyRedirectURL On
    </Location>
    <Location /page/error/plain>
        QualifyRedirectURL Off
    </Location>
    """,
    modules=("rewrite",),
)


@pytest.fixture
def server(serve):
    server = serve(CONF)
    server.log.allow("AH01630")
    return server


def test_request_uri_is_the_one_of_the_request_line(server):
    for path in ("/told/a%20b", "/told/original/a", "/old/a"):
        uri = ask(server, "environ['REQUEST_URI']", path)
        assert uri.startswith(f"{path}/?")


def test_request_uri_is_the_current_path_where_cgivar_says_so(server):
    assert ask(server, "environ['REQUEST_URI']", "/told/current/a%20b") == "/told/current/a b/"
    assert ask(server, "environ['REQUEST_URI']", "/current/a") == "/told/current/a/"


def test_redirect_url_is_a_path(server):
    response = server.get("/gone/a?x=1")
    values = json.loads(response.body)["values"]
    assert (values["REDIRECT_URL"], values["REDIRECT_QUERY_STRING"]) == ("/gone/a", "x=1")


@pytest.mark.parametrize("host", ["localhost", "other.example:81"])
def test_redirect_url_is_absolute_with_qualifyredirecturl(server, host):
    response = server.get("/qualified/a?x=1", host=host)
    values = json.loads(response.body)["values"]
    assert values["REDIRECT_URL"] == f"http://{host}/qualified/a?x=1"
    assert values["REDIRECT_QUERY_STRING"] == "x=1"
