"""WSGIAccessScript: which hosts may come in; and where the lines on access may stand."""

import contextlib
import http.client
import re
import ssl
from urllib.parse import quote

import pytest
from harness.access import FILES, TRACEBACK, TURNED_AWAY
from harness.client import TIMEOUT, ask
from harness.conf import Conf, tls_host

AUTH = ("auth_basic", "authn_core", "authz_user", "access_compat")

TEXT = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${APPS}/ask.py
    WSGIApplicationGroup %{GLOBAL}
    <Location /access>
        WSGIAccessScript ${APPS}/access.py
    </Location>
    <Location /access/off>
        WSGIScriptReloading Off
    </Location>
    <Location /access/group>
        WSGIAccessScript ${APPS}/access.py application-group=guards
    </Location>
    <Location /access/server>
        WSGIAccessScript ${APPS}/access.py application-group=%{SERVER}
    </Location>
    <Location /access/native>
        WSGIPassApacheRequest On
    </Location>
    <Location /access/empty>
        WSGIAccessScript ${ROOT}/empty.py
    </Location>
    <Location /access/broken>
        WSGIAccessScript ${ROOT}/broken.py
    </Location>
    <Location /access/missing>
        WSGIAccessScript ${ROOT}/missing.py
    </Location>
    <Location /any>
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        WSGIAuthUserScript ${APPS}/access.py
        Require valid-user
        WSGIAccessScript ${APPS}/access.py
        Satisfy Any
    </Location>
"""
ACCESS = Conf(TEXT, AUTH, files=FILES)


@pytest.fixture
def server(serve):
    server = serve(ACCESS)
    server.log.allow(TURNED_AWAY)
    return server


# --- WSGIAccessScript -----------------------------------------------------------------------------


@pytest.mark.all_mpms
def test_access_script_allows_and_denies(get, server):
    assert get("/access", "True").status == 200
    assert get("/access", "False").status == 403
    server.log.expect("WSGI0057: ")
    # No opinion: what Apache itself says holds.
    assert get("/access", "None").status == 200


def test_the_host_is_the_clients_address(get):
    assert get("/access", "host == '127.0.0.1' and type(host) is str").status == 200


@pytest.mark.parametrize(
    ("answer", "code"),
    [("1", "WSGI0055: "), ("'yes'", "WSGI0055: "), ("[]", "WSGI0055: "), ("b''", "WSGI0055: ")],
)
def test_an_access_script_that_says_something_else_keeps_out(get, server, answer, code):
    assert get("/access", answer).status == 403
    server.log.expect(code)


def test_an_access_script_that_raises_keeps_out(get, server):
    assert get("/access", "1 / 0").status == 403
    server.log.expect_traceback("WSGI0174: ", "^ZeroDivisionError")


def test_an_access_script_that_exits_keeps_out_and_the_process_stays(get, server):
    assert get("/access", "sys.exit(3)").status == 403
    server.log.expect_traceback("WSGI0175: ", "^SystemExit")
    assert get("/access", "True").status == 200


def test_an_access_script_without_the_function_keeps_out(get, server):
    assert get("/access/empty").status == 403
    server.log.expect("WSGI0056: ")


@pytest.mark.parametrize("path", ["/access/broken", "/access/missing"])
def test_an_access_script_that_cannot_be_loaded_keeps_out(get, server, path):
    assert get(path).status == 403
    server.log.allow("WSGI0105: ", "WSGI0109: ", TRACEBACK)


def test_an_access_script_runs_in_the_interpreter_that_is_asked_for(get, server):
    group = "environ['mod_wsgi.application_group']"
    assert get("/access", f"{group} == ''").status == 200
    assert get("/access/group", f"{group} == 'guards'").status == 200
    assert get("/access/server", f"{group}.startswith('localhost')").status == 200
    module = "__import__('mod_wsgi').application_group"
    assert get("/access/group", f"{module} == 'guards'").status == 200


def test_output_of_an_access_script_is_logged(get, server):
    assert get("/access", "print('seen', environ['REQUEST_METHOD']) or True").status == 200
    server.log.expect("seen GET$")
    text = "environ['wsgi.errors'].write('told\\n') and True"
    assert get("/access", text).status == 200
    server.log.expect("told$")


@pytest.mark.embedded_only("the application has to share the interpreter of the script")
def test_access_script_sees_the_original_request(serve):
    server = serve(ACCESS)
    headers = {
        "Authorization": "Basic dTpw",
        "Proxy": "http://evil.example/",
        "Content-Type": "text/x",
        "X-Own": "caf\xe9",
    }
    path = f"/access/a/b?{quote('1')}"
    assert server.get(path, headers=headers).status == 200
    seen = ask(server, "sys.modules['seen_by_access'].environ")
    kept = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/access/a/b",
        "QUERY_STRING": "1",
        "REQUEST_URI": path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost",
        "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "text/x",
        "HTTP_X_OWN": "caf\xe9",
        "HTTP_HOST": "localhost",
        "mod_wsgi.process_group": "",
        "mod_wsgi.application_group": "",
    }
    assert {key: seen.get(key) for key in kept} == kept
    for key in ("SERVER_PORT", "SERVER_SOFTWARE", "REMOTE_PORT", "DOCUMENT_ROOT"):
        assert seen[key]
    assert "SERVER_SIGNATURE" in seen
    absent = {
        "HTTP_AUTHORIZATION",
        "wsgi.input",
        "wsgi.version",
        "wsgi.url_scheme",
        "apache.request_rec",
        "mod_wsgi.callable_object",
    }
    assert absent & set(seen) == set()
    types = ask(server, "sys.modules['seen_by_access'].types")
    assert types["apache.version"] == types["mod_wsgi.version"] == "tuple"


@pytest.mark.embedded_only("the application has to share the interpreter of the script")
@pytest.mark.differs("auth-environ", "mod_wsgi lets a client set HTTP_PROXY")
def test_a_proxy_header_is_not_shown_to_an_access_script(serve):
    server = serve(ACCESS)
    assert server.get("/access", headers={"Proxy": "http://evil.example/"}).status == 200
    assert ask(server, "'HTTP_PROXY' in sys.modules['seen_by_access'].environ") is False


def test_an_access_script_may_ask_about_tls(get):
    assert get("/access", "environ['mod_ssl.is_https']() == 0").status == 200
    assert get("/access", "environ['mod_ssl.var_lookup']('SSL_PROTOCOL') is None").status == 200


def test_asking_about_tls_wants_a_name(get, server):
    assert get("/access", "environ['mod_ssl.var_lookup'](1)").status == 403
    server.log.expect_traceback("WSGI0174: ", "^TypeError")


@pytest.mark.embedded_only("the application has to share the interpreter of the script")
def test_request_data_of_an_access_script_ends_with_its_request(serve):
    server = serve(ACCESS)
    assert server.get("/access").status == 200
    kept = "sys.modules['seen_by_access'].kept"
    assert "RuntimeError" in ask(server, f"{kept}['mod_ssl.is_https']()")
    assert "RuntimeError" in ask(server, f"{kept}['mod_ssl.var_lookup']('HTTPS')")


def test_access_script_gets_request_rec_with_wsgipassapacherequest(get):
    assert get("/access", "'apache.request_rec' not in environ").status == 200
    text = "type(environ['apache.request_rec']).__name__ == 'PyCapsule'"
    assert get("/access/native", text).status == 200


def test_a_changed_access_script_is_loaded_anew_unless_reloading_is_off(serve):
    text = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${APPS}/ask.py
    <Location />
        WSGIAccessScript ${ROOT}/changing.py
    </Location>
    <Location /kept>
        WSGIAccessScript ${ROOT}/kept.py
        WSGIScriptReloading Off
    </Location>
    """
    allow = "def allow_access(environ, host):\n    return True\n"
    files = (("changing.py", allow), ("kept.py", allow))
    server = serve(Conf(text, files=files), private=True)
    assert server.get("/?1").status == server.get("/kept/?1").status == 200
    for name in ("changing.py", "kept.py"):
        server.write(name, allow.replace("True", "False  # changed"))
    assert server.get("/?1").status == 403
    assert server.get("/kept/?1").status == 200
    server.log.expect("WSGI0057: ")
    server.log.expect("Reloading WSGI script .*changing.py")


def test_an_access_script_of_htaccess_needs_authconfig(serve):
    def conf(override):
        text = f"""
        WSGIPythonPath ${{APPS}}
        Alias /dir ${{ROOT}}/dir
        <Directory ${{ROOT}}/dir>
            AllowOverride {override}
            Options +ExecCGI
            SetHandler wsgi-script
        </Directory>
        """
        app = "from ask import *\nfrom ask import application\n"
        script = "WSGIAccessScript ${APPS}/access.py\n"
        return Conf(text, ("alias",), files=(("dir/app.py", app), ("dir/.htaccess", script)))

    server = serve(conf("AuthConfig"))
    assert server.get("/dir/app.py?1", headers={"X-Answer": "True"}).status == 200
    assert server.get("/dir/app.py?1", headers={"X-Answer": "False"}).status == 403
    server.log.expect("WSGI0057: ")
    server = serve(conf("FileInfo"))
    assert server.get("/dir/app.py?1").status == 500
    server.log.expect(r"\.htaccess: WSGIAccessScript not allowed here")


def test_an_inner_access_script_replaces_the_outer_one(get):
    # Of /access it would be an answer, of /access/group it is one too: by another interpreter.
    group = "environ['mod_wsgi.application_group']"
    assert get("/access/group", f"{group} == ''").status == 403


@pytest.mark.parametrize(
    ("answer", "credentials", "status"),
    [
        ("'password' not in dir()", None, 200),
        ("'password' in dir()", None, 401),
        ("'password' in dir()", "alice:wonder", 200),
    ],
)
def test_any_of_address_and_password_will_do(get, server, answer, credentials, status):
    assert get("/any", answer, credentials).status == status
    assert server.log.find("WSGI0057") == []


# --- what is accepted -----------------------------------------------------------------------------

SCRIPTS = ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript"]
PLACES = [
    "<Directory /srv>\n{}\n</Directory>",
    "<Location /x>\n{}\n</Location>",
    "<Files x>\n{}\n</Files>",
    '<If "true">\n{}\n</If>',
    "<VirtualHost *>\n<Directory /srv>\n{}\n</Directory>\n</VirtualHost>",
]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("place", PLACES)
def test_the_directives_stand_in_directories(configtest, place, name):
    for options in ("", " application-group=%{GLOBAL}", " application-group='a b'"):
        accepted, printed = configtest(Conf(place.format(f"{name} /a.py{options}")))
        assert accepted, printed


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("place", ["{}", "<VirtualHost *>\n{}\n</VirtualHost>"])
def test_the_directives_stand_nowhere_else(configtest, place, name):
    accepted, printed = configtest(Conf(place.format(f"{name} /a.py")))
    assert not accepted
    assert f"{name} not allowed" in printed


ERRORS = [
    ("", "ocation of"),
    (" /a.py nonsense", "nvalid option|name=value"),
    (" /a.py process-group=x", "nvalid option|has no option"),
    (" /a.py application-group=", "application group"),
]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(("arguments", "words"), ERRORS)
def test_a_bad_line_is_refused(configtest, name, arguments, words):
    accepted, printed = configtest(Conf(PLACES[0].format(f"{name}{arguments}")))
    assert not accepted
    assert re.search(words, printed)


# --- over TLS -------------------------------------------------------------------------------------


def test_access_script_sees_the_encrypted_connection(serve, certificate):
    text = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${APPS}/ask.py
    <Location />
        WSGIAccessScript ${APPS}/access.py
    </Location>
    """
    server = serve(Conf(text + tls_host(certificate), ("ssl",)), private=True)
    server.log.allow("AH01873|AH01882|AH01906")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    lookup = "environ['mod_ssl.var_lookup']"
    for answer in (
        "environ['mod_ssl.is_https']() == 1",
        f"{lookup}('SSL_PROTOCOL').startswith('TLS') and {lookup}(b'HTTPS') == 'on'",
        f"not {lookup}('SSL_CLIENT_S_DN') and not {lookup}('SSL_NOTHING')",
    ):
        connection = http.client.HTTPSConnection(
            "localhost", server.port2, context=context, timeout=TIMEOUT
        )
        with contextlib.closing(connection):
            headers = {"Connection": "close", "X-Answer": answer}
            connection.request("GET", "/?1", headers=headers)
            assert connection.getresponse().status == 200, answer
