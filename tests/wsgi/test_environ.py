"""The environ an application is called with: PEP 3333's keys, CGI's, mod_wsgi's and Apache's."""

import time

import pytest
from harness.client import head, split
from harness.conf import Conf

ENVIRON = Conf(
    """
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /app ${APPS}/environ.py
    WSGIScriptAlias /validated ${APPS}/environ.py callable-object=validated
    WSGIScriptAlias /auth ${APPS}/environ.py
    WSGIScriptAlias /get ${APPS}/environ.py
    WSGIScriptAlias /behind ${APPS}/environ.py/prefix
    WSGIScriptAlias / ${APPS}/environ.py
    ServerAdmin admin@example.org
    SetEnv FROM_SETENV "set by the administrator"
    SetEnv LATIN "caf\xe9"
    SetEnvIf X-Secure yes HTTPS=on
    SetEnvIf X-Secure one HTTPS=1
    SetEnvIf X-Secure other HTTPS=off
    SetEnv PATH /never/seen
    SetEnv REQUEST_METHOD OVERRIDDEN
    SetEnv wsgi.version OVERRIDDEN
    SetEnv wsgi.multithread OVERRIDDEN
    SetEnv wsgi.run_once OVERRIDDEN
    SetEnv wsgi.input_terminated OVERRIDDEN
    SetEnv wsgi.file_wrapper OVERRIDDEN
    SetEnv wsgi.url_scheme OVERRIDDEN
    SetEnv wsgi.errors OVERRIDDEN
    SetEnv apache.version OVERRIDDEN
    SetEnv mod_wsgi.version OVERRIDDEN
    SetEnv mod_wsgi.process_group OVERRIDDEN
    SetEnv mod_wsgi.application_group OVERRIDDEN
    SetEnv mod_wsgi.callable_object OVERRIDDEN
    SetEnv mod_wsgi.handler_script OVERRIDDEN
    SetEnv mod_wsgi.queue_start OVERRIDDEN
    SetEnv mod_wsgi.thread_id OVERRIDDEN
    SetEnv mod_wsgi.x-header-only 1
    SetEnv wsgi.own "the administrator's"
    SetEnv mod_wsgi.own "the administrator's"
    RewriteEngine On
    RewriteRule ^/renamed/(.*)$ /app/rewritten/$1 [PT,E=FROM_REWRITE:yes]
    <Location /auth>
        WSGIPassAuthorization On
    </Location>
    <Location /named>
        SetEnv HTTP_lower lower
        SetEnv HTTP_X-Dash dash
        SetEnv HTTP_PROXY http://proxy.example/
        SetEnv HTTP_CONTENT_TYPE type
        SetEnv HTTP_CONTENT_LENGTH length
        SetEnv HTTP_X_SENT "not sent"
    </Location>
    <Location /get>
        WSGIMapHEADToGET On
    </Location>
    """,
    modules=("env", "setenvif", "rewrite"),
)


@pytest.fixture
def server(serve):
    return serve(ENVIRON)


@pytest.fixture
def environ(server):
    """environ(path, header=value…) is the environ of one GET request."""

    def environ(path, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.get(path, headers=names).json()["values"]

    return environ


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/app", "/validated"])
def test_the_cgi_variables_describe_the_request(server, mount):
    values = server.get(f"{mount}/a/b?x=1&y=%20", host=f"localhost:{server.port}").json()["values"]
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": mount,
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "x=1&y=%20",
        "REQUEST_URI": f"{mount}/a/b?x=1&y=%20",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_SCHEME": "http",
        "SERVER_ADMIN": "admin@example.org",
        "DOCUMENT_ROOT": f"{server.root}/htdocs",
        "SCRIPT_FILENAME": f"{server.apps}/environ.py",
        "HTTP_HOST": f"localhost:{server.port}",
    }
    assert {key: values.get(key) for key in expected} == expected
    assert values["SERVER_SOFTWARE"].startswith("Apache")
    assert values["REMOTE_PORT"].isdigit()
    assert "CONTEXT_PREFIX" in values
    assert "CONTEXT_DOCUMENT_ROOT" in values


@pytest.mark.frontends
@pytest.mark.all_mpms
def test_the_wsgi_keys_have_the_types_pep_3333_asks_for(server):
    seen = server.get("/app").json()
    values, types = seen["values"], seen["types"]
    assert seen["environ_type"] == "dict"
    assert values["wsgi.version"] == "(1, 0)"
    assert values["wsgi.url_scheme"] == "http"
    assert values["wsgi.run_once"] is False
    assert values["wsgi.input_terminated"] is True
    assert types["wsgi.input"] == "Input"
    assert types["wsgi.file_wrapper"] == "type"
    assert types["wsgi.multithread"] == types["wsgi.multiprocess"] == "bool"
    assert values["wsgi.multithread"] is (server.mode == "daemon" or server.mpm != "prefork")
    strings = [key for key in types if "." not in key]
    assert {types[key] for key in strings} == {"str"}


@pytest.mark.embedded_only("a daemon goes by processes=")
def test_wsgi_multiprocess_is_true_when_there_may_be_several_children(serve):
    server = serve(Conf("WSGIScriptAlias / ${APPS}/environ.py", children=2))
    assert server.get("/").json()["values"]["wsgi.multiprocess"] is True


def test_wsgi_multiprocess_is_false_when_there_is_one_child(environ):
    assert environ("/app")["wsgi.multiprocess"] is False


def test_the_mod_wsgi_keys_say_how_the_request_is_served(server):
    before = time.time()
    seen = server.get("/app/x").json()
    after = time.time()
    values, types = seen["values"], seen["types"]
    expected = {
        "mod_wsgi.process_group": "" if server.mode == "embedded" else "tests",
        "mod_wsgi.application_group": "",
        "mod_wsgi.callable_object": "application",
        "mod_wsgi.request_handler": "wsgi-script",
        "mod_wsgi.handler_script": "",
        "mod_wsgi.script_name": "/app",
        "mod_wsgi.path_info": "/x",
        "mod_wsgi.listener_host": "127.0.0.1",
        "mod_wsgi.listener_port": str(server.port),
    }
    assert {key: values.get(key) for key in expected} == expected
    assert types["mod_wsgi.version"] == "tuple"
    assert types["apache.version"] == "tuple"
    major, minor, *_ = server.env.version.split(".")
    assert values["apache.version"].startswith(f"({major}, {minor}, ")
    assert values["mod_wsgi.request_id"]
    assert int(values["mod_wsgi.server_pid"]) in server.children()
    assert types["mod_wsgi.thread_id"] == "int"
    started, called = values["mod_wsgi.request_start"], values["mod_wsgi.application_start"]
    assert before - 1 <= started <= called <= after + 1
    assert types["mod_wsgi.request_start"] == types["mod_wsgi.application_start"] == "float"
    if server.mode == "embedded":
        assert values["mod_wsgi.queue_start"] == values["mod_wsgi.daemon_start"] == 0.0


@pytest.mark.parametrize("mount", ["/app", "/validated"])
def test_the_administrators_variables_replace_nothing_that_the_gateway_says(server, mount):
    response = server.get(mount)
    assert not [key for key, value in response.json()["values"].items() if value == "OVERRIDDEN"]
    # A variable that the gateway does not set is passed on.
    for key in ("wsgi.own", "mod_wsgi.own"):
        assert response.json()["values"][key] == "the administrator's"


def test_internal_keys_and_the_servers_path_are_kept_from_the_application(environ):
    values = environ("/app")
    assert not [key for key in values if key.startswith("mod_wsgi.x-")]
    absent = {"PATH", "GATEWAY_INTERFACE", "SERVER_SIGNATURE", "REMOTE_HOST", "REMOTE_IDENT"}
    absent |= {"PATH_TRANSLATED", "LD_LIBRARY_PATH", "HTTPS", "mod_ssl.is_https"}
    assert not absent & set(values)


def test_without_a_mount_point_script_name_is_empty(environ):
    values = environ("/a/b")
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("", "/a/b")


def test_at_the_mount_point_itself_path_info_is_empty(environ):
    values = environ("/app")
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("/app", "")
    assert (values["QUERY_STRING"], values["REQUEST_URI"]) == ("", "/app")


@pytest.mark.parametrize("rest", ["", "/", "/a/b", "//a//b"])
def test_path_behind_the_script_is_no_part_of_script_name(environ, rest):
    values = environ(f"/behind{rest}")
    path = rest.replace("//", "/")
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("/behind", f"/prefix{path}")


def test_repeated_slashes_collapse_in_path_info_but_not_in_request_uri(environ):
    values = environ("//app///a//b/")
    assert values["SCRIPT_NAME"] == "/app"
    assert values["PATH_INFO"] == "/a/b/"
    assert values["REQUEST_URI"] == "//app///a//b/"


@pytest.mark.frontends
@pytest.mark.parametrize(
    ("path", "path_info"),
    [
        ("/app/caf%C3%A9", "/cafÃ©"),
        ("/app/caf%E9", "/café"),
        ("/app/a%20b", "/a b"),
        ("/app/%FF%FE", "/ÿþ"),
        ("/app/100%25", "/100%"),
    ],
)
def test_path_info_is_the_decoded_bytes_as_latin_1(environ, path, path_info):
    values = environ(path)
    assert values["PATH_INFO"] == path_info
    assert values["REQUEST_URI"] == path


@pytest.mark.frontends
def test_header_values_are_bytes_as_latin_1(server):
    raw = server.raw(head("/app", b"X-Bytes: \xe9\xff\x80", "Connection: close"))
    assert b'"HTTP_X_BYTES": "\\u00e9\\u00ff\\u0080"' in split(raw)[1]


@pytest.mark.frontends
def test_headers_become_http_variables(environ):
    values = environ("/app", X_One="1", accept="text/html", X_2="2", Cookie="a=b")
    assert values["HTTP_X_ONE"] == "1"
    assert values["HTTP_ACCEPT"] == "text/html"
    assert values["HTTP_X_2"] == "2"
    assert values["HTTP_COOKIE"] == "a=b"


def test_as_many_headers_arrive_as_apache_lets_in(serve):
    text = "LimitRequestFields 0\nWSGIScriptAlias / ${APPS}/environ.py"
    server = serve(Conf(text))
    fields = [f"X-{number}: {number}" for number in range(10_000)]
    raw = server.raw(head("/", *fields, "Connection: close"))
    assert raw.startswith(b"HTTP/1.1 200")
    assert b'"HTTP_X_9999": "9999"' in raw


def test_repeated_headers_are_joined_by_a_comma(server):
    raw = server.raw(head("/app", "X-List: a", "X-List: b", "Connection: close"))
    assert b'"HTTP_X_LIST": "a, b"' in split(raw)[1]


@pytest.mark.frontends
def test_content_type_and_length_have_no_http_prefix(server):
    values = server.post("/app", b"12345", headers={"Content-Type": "text/x-test"}).json()["values"]
    assert values["CONTENT_TYPE"] == "text/x-test"
    assert values["CONTENT_LENGTH"] == "5"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(values)


@pytest.mark.frontends
def test_a_request_without_a_body_has_neither(environ):
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH"} & {k for k, v in environ("/app").items() if v}


@pytest.mark.parametrize(
    "name", ["X_Smuggled", "X.Dotted", "X~Tilde", "X!Bang", "Content_Length", "X_One"]
)
def test_header_names_that_could_be_mistaken_for_others_are_dropped(server, name):
    raw = server.raw(head("/app", f"{name}: smuggled", "Connection: close"))
    assert raw.startswith(b"HTTP/1.1 200")
    assert b"smuggled" not in raw


@pytest.mark.frontends
def test_the_proxy_header_is_dropped(environ):
    assert "HTTP_PROXY" not in environ("/app", Proxy="http://evil.example")


def test_credentials_are_withheld_unless_asked_for(environ):
    values = environ("/app", Authorization="Basic dTpw", Proxy_Authorization="Basic dTpw")
    assert not [key for key in values if "AUTHORIZATION" in key]


def test_credentials_are_passed_where_wsgipassauthorization_is_on(environ):
    values = environ("/auth", Authorization="Basic dTpw", Proxy_Authorization="Basic dTpw")
    assert values["HTTP_AUTHORIZATION"] == "Basic dTpw"
    assert "HTTP_PROXY_AUTHORIZATION" not in values


def test_the_administrators_variables_are_there(environ):
    values = environ("/app")
    assert values["FROM_SETENV"] == "set by the administrator"
    assert values["LATIN"].startswith("caf")


def test_the_administrators_variables_may_have_names_that_no_header_gets(environ):
    own = {
        "HTTP_lower": "lower",
        "HTTP_X-Dash": "dash",
        "HTTP_PROXY": "http://proxy.example/",
        "HTTP_CONTENT_TYPE": "type",
        "HTTP_CONTENT_LENGTH": "length",
    }
    values = environ("/named", Proxy="http://evil.example", X_Sent="sent")
    assert own.items() <= values.items()
    assert not {"HTTP_LOWER", "HTTP_X_DASH"} & set(values)
    assert values["HTTP_X_SENT"] == "sent"
    assert environ("/named")["HTTP_X_SENT"] == "not sent"


def test_cgi_variables_override_the_administrators(environ):
    assert environ("/app")["REQUEST_METHOD"] == "GET"


def test_a_rewritten_request_keeps_its_original_uri(environ):
    values = environ("/renamed/x?q=1")
    assert values["FROM_REWRITE"] == "yes"
    assert values["REQUEST_URI"] == "/renamed/x?q=1"
    assert (values["SCRIPT_NAME"], values["PATH_INFO"]) == ("/app", "/rewritten/x")


@pytest.mark.parametrize(
    ("header", "scheme"), [("yes", "https"), ("one", "https"), ("other", "http")]
)
def test_the_https_variable_decides_the_scheme_and_is_consumed(environ, header, scheme):
    values = environ("/app", X_Secure=header)
    assert values["wsgi.url_scheme"] == scheme
    assert "HTTPS" not in values


@pytest.mark.frontends
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_every_method_reaches_the_application(server, method):
    assert server.request(method, "/app").json()["values"]["REQUEST_METHOD"] == method


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_protocol_is_the_clients(server, version):
    raw = server.raw(head("/app", "Connection: close", version=version))
    assert b'"SERVER_PROTOCOL": "HTTP/%s"' % version.encode() in raw


def test_an_absolute_request_target_is_kept_in_request_uri(server):
    raw = server.raw(head("http://localhost/app/x?y", "Connection: close"))
    assert b'"REQUEST_URI": "http://localhost/app/x?y"' in raw
    assert b'"PATH_INFO": "/x"' in raw


def test_every_request_has_its_own_environ_and_id(environ):
    assert environ("/app")["mod_wsgi.request_id"] != environ("/app")["mod_wsgi.request_id"]
