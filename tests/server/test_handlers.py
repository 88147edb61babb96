"""The other ways to a script: SetHandler, AddHandler, rewriting, and what may go wrong there."""

import pytest
from harness.client import ask, head, split
from harness.conf import Conf

ASK = "from ask import *\nfrom ask import application\n"
SAYS = """
def application(environ, start_response):
    body = b"{}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""

HANDLERS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    Alias /set ${ROOT}/set
    Alias /added ${ROOT}/added
    Alias /forbidden ${ROOT}/set
    Alias /old-type ${ROOT}/set
    Alias /index ${ROOT}/index
    Alias /static ${ROOT}/static
    Alias /fallback ${ROOT}/fallback
    Alias /included ${ROOT}/included
    <Directory ${ROOT}/set>
        Options ExecCGI
    </Directory>
    <Location /set>
        SetHandler wsgi-script
    </Location>
    <Location /forbidden>
        Options -ExecCGI
        SetHandler wsgi-script
    </Location>
    <Location /old-type>
        SetHandler application/x-httpd-wsgi
    </Location>
    <Directory ${ROOT}/added>
        Options ExecCGI
        AddHandler wsgi-script .wsgi
    </Directory>
    <Directory ${ROOT}/index>
        Options ExecCGI
        AddHandler wsgi-script .wsgi
        DirectoryIndex index.wsgi
    </Directory>
    <Directory ${ROOT}/fallback>
        Options ExecCGI
        AddHandler wsgi-script .wsgi
        FallbackResource /fallback/front.wsgi
    </Directory>
    <Directory ${ROOT}/included>
        Options ExecCGI Includes
        AddHandler wsgi-script .wsgi
        AddOutputFilter INCLUDES .shtml
        AddType text/html .shtml
    </Directory>
    <Location /set/restricted>
        Require all denied
    </Location>
    RewriteEngine On
    RewriteRule ^/pretty/(.*)$ /added/app.wsgi/$1 [QSA,PT]
    RewriteRule ^/by-rule$ ${ROOT}/set/app.py [H=wsgi-script]
    WSGIScriptAlias /mixed ${ROOT}/set/app.py
    Alias /mixed/static ${ROOT}/static
    <Location /mixed/private>
        AuthType Basic
        AuthName private
        AuthBasicProvider file
        AuthUserFile ${ROOT}/users
        Require valid-user
    </Location>
    WSGIScriptAlias /error-page ${APPS}/environ.py
    <Location /static>
        ErrorDocument 404 /error-page/absent
    </Location>
    """,
    modules=(
        *("alias", "mime", "dir", "rewrite", "include", "authn_core", "authn_file", "auth_basic"),
        *("authz_user",),
    ),
    files=(
        ("set/app.py", ASK),
        ("added/app.wsgi", ASK),
        ("added/page.txt", "a page"),
        ("index/index.wsgi", ASK),
        ("fallback/front.wsgi", ASK),
        ("fallback/real.txt", "a real file"),
        ("static/style.css", "body {}"),
        ("included/page.shtml", '<p><!--#include virtual="part.wsgi?x" --></p>'),
        ("included/part.wsgi", SAYS.format("the included part")),
        # user:pass
        ("users", "user:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n"),
    ),
)


@pytest.fixture
def server(serve):
    return serve(HANDLERS)


NAMES = "[environ['SCRIPT_NAME'], environ['PATH_INFO']]"


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/set/app.py", "/added/app.wsgi", "/old-type/app.py"])
def test_a_handler_serves_a_script_in_place(server, mount):
    assert ask(server, NAMES, f"{mount}/x/y") == [mount, "/x/y/"]
    handler = "application/x-httpd-wsgi" if "old" in mount else "wsgi-script"
    assert ask(server, "environ['mod_wsgi.request_handler']", mount) == handler


def test_without_execcgi_a_script_is_forbidden(server):
    assert server.get("/forbidden/app.py").status == 403
    server.log.expect("WSGI0134: ")


def test_addhandler_leaves_other_files_alone(server):
    assert server.get("/added/page.txt").text == "a page"


def test_a_missing_script_is_a_404(server):
    response = server.get("/added/absent.wsgi")
    assert response.status == 404
    server.log.expect("WSGI0135: ")


@pytest.mark.parametrize("path", ["/set/", "/set"])
def test_a_directory_under_sethandler_is_no_script(server, path):
    assert server.get(path).status in (301, 403)
    server.log.allow("WSGI0136: ")


def test_a_script_may_be_a_directorys_index(server):
    assert ask(server, "1 + 1", "/index") == 2


def test_a_front_controller_by_fallbackresource(server):
    assert server.get("/fallback/real.txt").text == "a real file"
    assert ask(server, "environ['REQUEST_URI'].partition('?')[0]", "/fallback/no/such") == (
        "/fallback/no/such/"
    )


def test_a_rewritten_path_reaches_its_script(server):
    assert ask(server, NAMES, "/pretty/a/b") == ["/added/app.wsgi", "/a/b/"]


def test_a_rewrite_rule_may_name_the_handler(server):
    raw = server.raw(head("/by-rule?1", "Connection: close"))
    # mod_rewrite's H= comes without the ExecCGI of a script alias, which this directory has.
    assert split(raw)[1] == b"1"


def test_a_script_can_be_included_by_mod_include(server):
    assert server.get("/included/page.shtml").text == "<p>the included part</p>"


# --- beside Apache's own --------------------------------------------------------------------------


def test_static_files_beside_an_application(server):
    assert server.get("/mixed/static/style.css").text == "body {}"
    assert ask(server, NAMES, "/mixed/else") == ["/mixed", "/else/"]


def test_apaches_authentication_guards_an_application(server):
    assert server.get("/mixed/private").status == 401
    expression = "[environ['REMOTE_USER'], environ['AUTH_TYPE'], 'HTTP_AUTHORIZATION' in environ]"
    credentials = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert ask(server, expression, "/mixed/private", headers=credentials) == [
        "user",
        "Basic",
        False,
    ]
    server.log.allow("AH01617", "AH01618")


def test_an_application_that_is_an_error_page_knows_the_original_request(server):
    values = server.get("/static/absent?q=1").json()["values"]
    assert values["REDIRECT_STATUS"] == "404"
    assert values["REDIRECT_URL"] == "/static/absent"
    assert values["REDIRECT_QUERY_STRING"] == "q=1"
    assert values["REQUEST_URI"] == "/static/absent?q=1"
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("/error-page", "/absent")


def test_access_control_comes_first(server):
    assert server.get("/set/restricted").status == 403
    server.log.allow("AH01630")
