"""What an application is told of a client that came through a proxy, and by whom."""

import contextlib
import http.client
import json
import ssl

import pytest
from harness.client import TIMEOUT, head, split
from harness.conf import Conf, tls_host

CLIENT = "X-Forwarded-For X-Client-IP X-Real-IP"
SCHEME = "X-Forwarded-Proto X-Forwarded-Scheme X-Scheme X-Forwarded-HTTPS X-Forwarded-SSL X-HTTPS"
REST = (
    "X-Forwarded-Host X-Host X-Forwarded-Server X-Forwarded-Port "
    "X-Script-Name X-Forwarded-Script-Name"
)
ALL = f"{CLIENT} {REST} {SCHEME}"

# /trusted believes 127.0.0.1, from which the tests come; /strange believes another address.
PROXIES = Conf(
    f"""
    WSGIScriptAlias / ${{APPS}}/environ.py
    Listen [::1]:${{PORT2}}
    <Location /trusted>
        WSGITrustedProxyHeaders {ALL}
        WSGITrustedProxies 127.0.0.1 10.0.0.0/8 fd00::/8
    </Location>
    <Location /strange>
        WSGITrustedProxyHeaders {ALL}
        WSGITrustedProxies 10.0.0.0/8 fd00::/8
    </Location>
    <Location /any-proxy>
        WSGITrustedProxyHeaders {ALL}
    </Location>
    <Location /half>
        WSGITrustedProxyHeaders x-forwarded-for x-forwarded-proto
        WSGITrustedProxies 127.0.0.0/255.255.255.0
    </Location>
    <Location /six>
        WSGITrustedProxyHeaders X-Forwarded-For
        WSGITrustedProxies ::1 fd00::/8
    </Location>
    <Location /variable>
        WSGITrustedProxyHeaders X-Forwarded-Proto
        WSGITrustedProxies 127.0.0.1
        SetEnv HTTPS on
    </Location>
    <Location /planted>
        WSGITrustedProxyHeaders X-Forwarded-For
        WSGITrustedProxies 10.0.0.1
        SetEnvIf X-Plant (.*) HTTP_X_REAL_IP=$1
    </Location>
    """,
    modules=("env", "setenvif"),
)


@pytest.fixture
def server(serve):
    return serve(PROXIES)


@pytest.fixture
def environ(server):
    """environ(path, Name=value…) is the environ of one GET request."""

    def environ(path, source="127.0.0.1", address="127.0.0.1", port=None, **headers):
        connection = http.client.HTTPConnection(
            address, port or server.port, timeout=TIMEOUT, source_address=(source, 0)
        )
        fields = {"Host": "asked.example", "Connection": "close"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request("GET", path, headers=fields)
            return json.loads(connection.getresponse().read())["values"]

    return environ


# What is believed, for each header: the variable it becomes and a value.
BELIEVED = {
    "X-Forwarded-For": ("REMOTE_ADDR", "203.0.113.7"),
    "X-Client-IP": ("REMOTE_ADDR", "203.0.113.7"),
    "X-Real-IP": ("REMOTE_ADDR", "2001:db8::7"),
    "X-Forwarded-Host": ("HTTP_HOST", "front.example:8443"),
    "X-Host": ("HTTP_HOST", "front.example"),
    "X-Forwarded-Server": ("SERVER_NAME", "front.example"),
    "X-Forwarded-Port": ("SERVER_PORT", "8443"),
    "X-Script-Name": ("SCRIPT_NAME", "/mounted"),
    "X-Forwarded-Script-Name": ("SCRIPT_NAME", "/mounted"),
    "X-Forwarded-Proto": ("wsgi.url_scheme", "https"),
    "X-Forwarded-Scheme": ("wsgi.url_scheme", "https"),
    "X-Scheme": ("wsgi.url_scheme", "https"),
    "X-Forwarded-HTTPS": ("wsgi.url_scheme", "https"),
    "X-Forwarded-SSL": ("wsgi.url_scheme", "https"),
    "X-HTTPS": ("wsgi.url_scheme", "https"),
}


def sent(name):
    """The value of a header that says what BELIEVED expects of it."""
    variable, value = BELIEVED[name]
    on = name in ("X-Forwarded-HTTPS", "X-Forwarded-SSL", "X-HTTPS")
    return "On" if on and variable == "wsgi.url_scheme" else value


def variable_of(name):
    return "HTTP_" + name.upper().replace("-", "_")


@pytest.mark.parametrize("name", BELIEVED)
@pytest.mark.parametrize("mount", ["/trusted", "/any-proxy"])
def test_trusted_header_replaces_the_value_of_apache(environ, mount, name):
    variable, value = BELIEVED[name]
    values = environ(mount, **{name: sent(name)})
    assert values[variable] == value
    assert values[variable_of(name)] == sent(name)
    assert ("mod_wsgi.mount_point" in values) == (variable == "SCRIPT_NAME")
    if variable == "SCRIPT_NAME":
        assert values["mod_wsgi.mount_point"] == value
        assert values["mod_wsgi.script_name"] == ""


@pytest.mark.parametrize("name", BELIEVED)
def test_the_header_of_an_untrusted_peer_changes_nothing_and_is_removed(environ, name):
    plain, values = environ("/strange"), environ("/strange", **{name: sent(name)})
    variable, _ = BELIEVED[name]
    assert values[variable] == plain[variable]
    assert variable_of(name) not in values


def test_all_headers_of_an_untrusted_peer_together_change_nothing(environ):
    times = {"mod_wsgi.request_start", "mod_wsgi.queue_start", "mod_wsgi.daemon_start"}
    own = times | {"mod_wsgi.application_start", "mod_wsgi.request_id", "mod_wsgi.connection_id"}
    own |= {"REMOTE_PORT", "mod_wsgi.thread_id", "wsgi.input", "wsgi.errors"}
    plain, values = (
        environ("/strange"),
        environ("/strange", **{name: sent(name) for name in ALL.split()}),
    )
    assert {k: v for k, v in values.items() if k not in own} == {
        k: v for k, v in plain.items() if k not in own
    }


def test_peer_is_recognised_by_its_address(environ):
    trusted = environ("/half", source="127.0.0.1", X_Forwarded_For="203.0.113.7")
    assert trusted["REMOTE_ADDR"] == "203.0.113.7"
    # 127.0.1.2 is outside of 127.0.0.0/255.255.255.0.
    stranger = environ("/half", source="127.0.1.2", X_Forwarded_For="203.0.113.7")
    assert stranger["REMOTE_ADDR"] == "127.0.1.2"
    assert "HTTP_X_FORWARDED_FOR" not in stranger


def test_a_peer_may_come_over_ipv6(server, environ):
    six = {"source": "::1", "address": "::1", "port": server.port2}
    values = environ("/six", **six, X_Forwarded_For="203.0.113.7, fd00::5")
    assert values["REMOTE_ADDR"] == "203.0.113.7"
    values = environ("/trusted", **six, X_Forwarded_For="203.0.113.7")
    assert values["REMOTE_ADDR"] == "::1"


@pytest.mark.parametrize(
    ("list_", "client", "left"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.1.1", "203.0.113.7", "203.0.113.7, 10.1.1.1"),
        ("203.0.113.7,10.2.2.2 ,, 10.1.1.1", "203.0.113.7", "203.0.113.7, 10.2.2.2, 10.1.1.1"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2", "10.2.2.2, 10.1.1.1"),
        ("6.6.6.6, unknown, 10.1.1.1", "unknown", "unknown, 10.1.1.1"),
        ("2001:db8::7, fd00::1", "2001:db8::7", "2001:db8::7, fd00::1"),
    ],
)
def test_client_is_the_first_from_the_right_that_is_no_proxy(environ, list_, client, left):
    values = environ("/trusted", X_Forwarded_For=list_)
    assert (values["REMOTE_ADDR"], values["HTTP_X_FORWARDED_FOR"]) == (client, left)


def test_several_lines_of_a_header_are_one_list(server):
    lines = ("X-Forwarded-For: 6.6.6.6, 203.0.113.7", "X-Forwarded-For: 10.1.1.1")
    _, body = split(server.raw(head("/trusted", *lines, "Connection: close")))
    assert json.loads(body)["values"]["REMOTE_ADDR"] == "203.0.113.7"


def test_without_a_list_of_proxies_the_first_entry_is_the_client(environ):
    values = environ("/any-proxy", X_Forwarded_For=" 6.6.6.6 , 10.1.1.1")
    assert values["REMOTE_ADDR"] == "6.6.6.6"
    assert values["HTTP_X_FORWARDED_FOR"] == "6.6.6.6 , 10.1.1.1"


def test_of_several_headers_the_one_listed_last_wins_and_alone_is_seen(environ):
    values = environ("/trusted", X_Forwarded_For="1.1.1.1", X_Client_IP="2.2.2.2")
    assert values["REMOTE_ADDR"] == values["HTTP_X_CLIENT_IP"] == "2.2.2.2"
    assert "HTTP_X_FORWARDED_FOR" not in values
    values = environ("/trusted", X_Forwarded_Proto="https", X_HTTPS="off")
    assert values["wsgi.url_scheme"] == "http"
    assert "HTTP_X_FORWARDED_PROTO" not in values


def test_headers_of_kinds_that_are_not_listed_are_left_alone(environ):
    values = environ("/half", X_Forwarded_Host="front.example", X_Real_IP="2.2.2.2", X_HTTPS="on")
    assert values["HTTP_X_FORWARDED_HOST"] == "front.example"
    assert values["HTTP_HOST"] == "asked.example"
    # Of a kind of which another header is listed.
    assert "HTTP_X_REAL_IP" not in values
    assert "HTTP_X_HTTPS" not in values
    assert values["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(
    ("sent", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("gopher", "https"), ("", "https")],
)
def test_a_proxy_may_contradict_setenv(environ, sent, scheme):
    assert environ("/variable", X_Forwarded_Proto=sent)["wsgi.url_scheme"] == scheme


def test_a_variable_cannot_stand_in_for_the_header_of_an_untrusted_peer(environ):
    values = environ("/planted", X_Plant="6.6.6.6")
    assert values["REMOTE_ADDR"] == "127.0.0.1"
    assert "HTTP_X_REAL_IP" not in values


def test_header_with_underscores_is_not_trusted(server):
    request = head("/trusted", "X_Forwarded_For: 6.6.6.6", "Connection: close")
    _, body = split(server.raw(request))
    values = json.loads(body)["values"]
    assert values["REMOTE_ADDR"] == "127.0.0.1"
    assert "HTTP_X_FORWARDED_FOR" not in values


def test_without_the_directives_headers_are_plain_headers(environ):
    values = environ("/", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https")
    assert values["REMOTE_ADDR"] == "127.0.0.1"
    assert values["HTTP_X_FORWARDED_FOR"] == "6.6.6.6"
    assert (values["wsgi.url_scheme"], values["HTTP_X_FORWARDED_PROTO"]) == ("http", "https")
    assert "mod_wsgi.mount_point" not in values


# --- scopes ---------------------------------------------------------------------------------------

SCOPES = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGITrustedProxyHeaders X-Real-IP
    WSGITrustedProxies 10.0.0.1
    Alias /dir ${ROOT}/dir
    <Directory ${ROOT}/dir>
        AllowOverride FileInfo
        Options +ExecCGI
        SetHandler wsgi-script
    </Directory>
    <Location /dir/deep>
        WSGITrustedProxies 127.0.0.1
        WSGITrustedProxies 10.9.9.9
    </Location>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        WSGITrustedProxies 127.0.0.1
        WSGITrustedProxyHeaders X-Client-IP
        WSGITrustedProxyHeaders X-Host
    </VirtualHost>
    """,
    modules=("alias",),
    files=(
        ("dir/app.wsgi", "from environ import application"),
        ("dir/deep/app.wsgi", "from environ import application"),
        ("dir/er/app.wsgi", "from environ import application"),
        (
            "dir/er/.htaccess",
            "WSGITrustedProxies 127.0.0.0/8\nWSGITrustedProxyHeaders X-Real-IP X-Scheme\n",
        ),
        ("dir/bad/app.wsgi", "from environ import application"),
        ("dir/bad/.htaccess", "WSGITrustedProxies localhost\n"),
    ),
)
SAID = {"X-Real-IP": "1.1.1.1", "X-Client-IP": "2.2.2.2", "X-Host": "said", "X-Scheme": "https"}


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("localhost", "/dir/app.wsgi", ("127.0.0.1", "localhost", "http")),
        ("virtual.example", "/dir/app.wsgi", ("2.2.2.2", "said", "http")),
        ("localhost", "/dir/deep/app.wsgi", ("1.1.1.1", "localhost", "http")),
        ("localhost", "/dir/er/app.wsgi", ("1.1.1.1", "localhost", "https")),
    ],
)
def test_the_innermost_lists_hold_whole_and_lines_of_one_place_add_up(serve, host, path, expected):
    values = serve(SCOPES).get(path, host=host, headers=SAID).json()["values"]
    found = (values["REMOTE_ADDR"], values["HTTP_HOST"], values["wsgi.url_scheme"])
    assert found == expected


def test_bad_proxy_in_htaccess_is_a_500_with_a_logged_reason(serve):
    server = serve(SCOPES)
    assert server.get("/dir/bad/app.wsgi").status == 500
    server.log.expect(r"\.htaccess: .*localhost")


@pytest.mark.parametrize(
    "place", ["{}", "<VirtualHost *>\n{}\n</VirtualHost>", "<Files x>\n{}\n</Files>"]
)
def test_the_directives_may_stand_anywhere(configtest, place):
    lines = f"WSGITrustedProxyHeaders {ALL.lower()}\nWSGITrustedProxies 10 10.1 10.0.0.0/8 ::1"
    accepted, printed = configtest(Conf(place.format(lines)))
    assert accepted, printed
    assert ":warn]" not in printed


@pytest.mark.parametrize("value", ["localhost", "10.0.0.0/99", "::1/129", "*", "1.2.3.4.5"])
def test_a_proxy_that_is_no_address_is_refused(configtest, value):
    accepted, printed = configtest(Conf(f"WSGITrustedProxies 10.0.0.1 {value}"))
    assert not accepted
    assert value in printed


@pytest.mark.differs("unknown-proxy-header", "mod_wsgi ignores the name without a word")
def test_an_unknown_header_is_a_warning(configtest):
    accepted, printed = configtest(Conf("WSGITrustedProxyHeaders Forwarded X-Real-IP"))
    assert accepted
    assert 'ignores "Forwarded"' in printed


# --- over TLS -------------------------------------------------------------------------------------


def test_a_trusted_proxy_decides_the_scheme_even_over_tls(serve, certificate):
    text = """
    WSGIScriptAlias / ${APPS}/environ.py
    <Location /trusted>
        WSGITrustedProxyHeaders X-Forwarded-Proto
        WSGITrustedProxies 127.0.0.1
    </Location>
    """
    server = serve(Conf(text + tls_host(certificate), modules=("ssl",)), private=True)
    server.log.allow("AH01873|AH01882|AH01906")
    context = ssl.create_default_context(cafile=str(certificate[0]))

    def scheme(path, **headers):
        connection = http.client.HTTPSConnection(
            "localhost", server.port2, context=context, timeout=TIMEOUT
        )
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"} | headers)
            return json.loads(connection.getresponse().read())["values"]["wsgi.url_scheme"]

    assert scheme("/") == scheme("/trusted") == "https"
    assert scheme("/trusted", **{"X-Forwarded-Proto": "http"}) == "http"
    assert scheme("/", **{"X-Forwarded-Proto": "http"}) == "https"
