"""Aliases, and modules of Apache that decide where a request goes: mod_dir and its like."""

import pytest
from harness.conf import Conf

SAYS = """
import json
def application(environ, start_response):
    names = ["mod_wsgi.process_group", "mod_wsgi.callable_object", "SCRIPT_NAME", "PATH_INFO"]
    body = json.dumps([environ[name] for name in names]).encode()
    if environ["QUERY_STRING"] == "credentials":
        body = environ.get("HTTP_AUTHORIZATION", "none").encode()
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
other = application
"""
# Nothing here has `Options ExecCGI`: what is served is served because it is an alias's.
ALIASES = Conf(
    """
    WSGIDaemonProcess jail
    WSGIApplicationGroup %{GLOBAL}
    Alias /plain/ ${ROOT}/plain/
    Alias /scripts/alias/ ${ROOT}/plain/
    WSGIScriptAlias /front ${ROOT}/app.py process-group=jail callable-object=other \\
        pass-authorization=On
    WSGIScriptAlias /more ${ROOT}/app.py
    WSGIScriptAlias /scripts/ ${ROOT}/scripts/ process-group=jail callable-object=other
    WSGIScriptAliasMatch ^/match/[a-z]+ ${ROOT}/app.py process-group=jail callable-object=other
    AddHandler wsgi-script .wsgi
    AddType text/html .wsgi .shtml
    <Location /index/front>
        DirectoryIndex nowhere /front
    </Location>
    <Location /index/more>
        DirectoryIndex /more
    </Location>
    <Location /index/match>
        DirectoryIndex /match/some
    </Location>
    <Location /index/plain>
        DirectoryIndex /plain/app.wsgi
    </Location>
    <Location /fallback>
        FallbackResource /front
    </Location>
    <Location /scripts/>
        Options MultiViews FollowSymLinks
        DirectoryIndex app.wsgi
    </Location>
    <Location /scripts/leaves/>
        DirectoryIndex /plain/app.wsgi
    </Location>
    <Directory ${ROOT}/scripts/rewritten>
        RewriteEngine On
        RewriteRule ^in$ /front [L]
        RewriteRule ^out$ /plain/app.wsgi [L]
    </Directory>
    RewriteEngine On
    RewriteRule ^/pretty/(.*) /front/$1 [PT]
    <Location /refused>
        Require all denied
        ErrorDocument 403 /front/refused
    </Location>
    <Location /front/refused>
        Require all granted
    </Location>
    <Location /more/closed>
        Require all denied
        ErrorDocument 403 /plain/app.wsgi
    </Location>
    Action by-action /front
    <Location /action>
        SetHandler by-action
    </Location>
    <Directory ${ROOT}/htdocs/included>
        Options Includes
        AddOutputFilter INCLUDES .shtml
    </Directory>
    """,
    modules=("alias", "mime", "dir", "negotiation", "rewrite", "include", "actions"),
    files=(
        ("app.py", SAYS),
        ("plain/app.wsgi", SAYS),
        ("scripts/app.wsgi", SAYS),
        ("scripts/leaves/x", "x"),
        ("scripts/rewritten/in", "x"),
        ("scripts/rewritten/out", "x"),
        *((f"htdocs/{name}/x", "x") for name in ("fallback", "refused", "action")),
        *((f"htdocs/index/{name}/x", "x") for name in ("front", "more", "match", "plain")),
        ("htdocs/included/in.shtml", '<!--#include virtual="/front" -->'),
        ("htdocs/included/out.shtml", '<!--#include virtual="/plain/app.wsgi" -->'),
        ("htdocs/included/in-out.shtml", '<!--#include virtual="/front" -->' * 2),
    ),
)


@pytest.fixture
def server(serve):
    return serve(ALIASES)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        # mod_dir puts a subrequest in the place of the request.
        ("/index/front/", ["/front", ""]),
        ("/index/match/", ["/match/some", ""]),
        ("/fallback/none", ["/front", ""]),
        ("/scripts/", ["/scripts/app.wsgi", ""]),
        # So does mod_negotiation, with a file that stands beside.
        ("/scripts/app", ["/scripts/app.wsgi", ""]),
        ("/pretty/x", ["/front", "/x"]),
        ("/refused/x", ["/front", "/refused"]),
        ("/scripts/rewritten/in", ["/front", ""]),
        ("/action/x", ["/front", "/action/x"]),
        ("/included/in.shtml", ["/front", ""]),
    ],
)
def test_alias_options_hold_for_every_redirecting_module(server, path, names):
    server.log.allow("AH01630: client denied .*/refused")
    assert server.get(path).json() == ["jail", "other", *names]


def test_an_alias_without_options_is_one_too(server, mode):
    group = "" if mode == "embedded" else "tests"
    assert server.get("/index/more/").json() == [group, "application", "/more", ""]


def test_credentials_are_passed_through_mod_dir_where_the_alias_says_so(server):
    fields = {"Authorization": "Basic YTpi"}
    assert server.get("/index/front/?credentials", headers=fields).text == "Basic YTpi"
    assert server.get("/index/more/?credentials", headers=fields).text == "none"


@pytest.mark.parametrize("path", ["/plain/app.wsgi", "/index/plain/", "/scripts/rewritten/out"])
def test_unaliased_target_gets_no_alias_options(server, path):
    assert server.get(path).status == 403
    server.log.expect("WSGI0134")


@pytest.mark.differs("alias-ends", "mod_wsgi takes the index for the alias's own")
def test_alias_options_end_where_mod_dir_leaves_the_alias(server):
    assert server.get("/scripts/leaves/").status == 403
    server.log.expect("WSGI0134")


def test_an_error_page_is_not_the_aliass(server):
    # The page that is no alias's may not run either; Apache says so in its own words.
    assert "Additionally" in server.get("/more/closed").text
    server.log.expect("AH01630")
    server.log.expect("WSGI0134")


def test_an_included_script_that_is_no_aliass_does_not_run(server):
    assert "an error occurred" in server.get("/included/out.shtml").text
    server.log.expect("WSGI0134")
    server.log.expect("unable to include")


def test_aliases_may_be_included_again_and_again(server):
    assert server.get("/included/in-out.shtml").text.count('"other"') == 2
