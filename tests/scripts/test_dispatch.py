"""WSGIDispatchScript: a script chooses where a request is to run."""

import re

import pytest
from harness.client import ask
from harness.conf import Conf

ASK = "from ask import *\nfrom ask import application\nother = application\n"

TEXT = """
    WSGIPythonPath ${APPS}
    WSGIDaemonProcess second python-path=${APPS}
    WSGIScriptAlias /plain ${ROOT}/app.py
    WSGIScriptAlias /alias ${ROOT}/app.py application-group=alias callable-object=other
    WSGIScriptAlias / ${ROOT}/app.py
    WSGIApplicationGroup configured
    WSGIDispatchScript ${APPS}/dispatch.py
    SetEnv NAMED fromenv
    <Location /plain>
        WSGIDispatchScript ${ROOT}/empty.py
    </Location>
    <Location /guards>
        WSGIDispatchScript ${APPS}/dispatch.py application-group=guards
    </Location>
    <Location /restricted>
        WSGIRestrictProcess tests %{GLOBAL}
    </Location>
    <Location /broken>
        WSGIDispatchScript ${ROOT}/broken.py
    </Location>
    <Location /missing>
        WSGIDispatchScript ${ROOT}/missing.py
    </Location>
    <Location /native>
        WSGIPassApacheRequest On
    </Location>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        WSGIDispatchScript ${ROOT}/fixed.py
    </VirtualHost>
"""
DISPATCH = Conf(
    TEXT,
    ("env", "setenvif"),
    files=(
        ("app.py", ASK),
        ("empty.py", "# no functions\n"),
        ("broken.py", "raise KeyError('on purpose')\n"),
        ("fixed.py", "def application_group(environ):\n    return 'of the virtual host'\n"),
    ),
)

NAMES = ("process_group", "application_group", "callable_object")
WHERE = f"[environ['mod_wsgi.' + name] for name in {NAMES}]"
TRACEBACK = r"WSGI0174|Traceback|File|Error|return|raise|eval|\^\^|direct cause|~~"


@pytest.fixture
def server(serve):
    server = serve(DISPATCH)
    server.log.allow("application_group is asked")
    return server


@pytest.fixture
def where(server):
    """where(path, Process=…, Application=…, Callable=…) is where a request ran."""

    def where(path="/", host="localhost", **headers):
        headers = {f"X-{name}": value for name, value in headers.items()}
        return ask(server, WHERE, path.rstrip("/"), host=host, headers=headers)

    return where


@pytest.fixture
def here(mode):
    """The process group that the configuration names."""
    return "tests" if mode == "daemon" else ""


@pytest.mark.all_mpms
def test_unanswered_questions_stay_as_configured(where, here):
    assert where() == [here, "configured", "application"]
    assert where("/plain") == [here, "configured", "application"]
    assert where("/alias") == [here, "alias", "other"]


@pytest.mark.parametrize("path", ["/", "/alias"])
def test_a_script_chooses_all_three(where, path):
    found = where(path, Process="'second'", Application="'chosen'", Callable="'other'")
    assert found == ["second", "chosen", "other"]
    found = where(path, Process="''", Application="''", Callable="'other'")
    assert found == ["", "", "other"]


def test_a_name_may_be_bytes(where):
    assert where(Process="b'second'", Application="b'chosen'") == [
        "second",
        "chosen",
        "application",
    ]


@pytest.mark.parametrize(
    ("value", "group"),
    [
        ("%{GLOBAL}", ""),
        ("%{SERVER}", "localhost"),
        ("%{HOST}", "localhost"),
        ("%{RESOURCE}", "localhost|"),
        ("%{ENV:NAMED}", "fromenv"),
    ],
)
def test_returned_values_are_expanded(where, value, group):
    assert re.sub(r":\d+", "", where(Application=repr(value))[1]) == group


def test_the_groups_expand_for_processes_and_callables_too(where):
    assert where(Process="'%{GLOBAL}'")[0] == ""


def test_a_script_is_asked_in_the_main_interpreter_or_in_the_one_named(where):
    group = "environ['mod_wsgi.application_group'] and 'named' or 'main'"
    assert where("/", Application=group)[1] == "main"
    assert where("/guards", Application=group)[1] == "named"


def test_a_virtual_host_has_its_own_script(where, here):
    assert where(host="virtual.example") == [here, "of the virtual host", "application"]


@pytest.mark.parametrize("value", ["1", "True", "[]", "chr(8364)", "1 / 0"])
@pytest.mark.parametrize("function", ["Process", "Application", "Callable"])
def test_a_name_that_is_none_fails_the_request(server, function, value):
    assert server.get("/?1", headers={f"X-{function}": value}).status == 500
    server.log.expect("WSGI0174: ")
    server.log.allow(TRACEBACK)
    if function == "Process" and value not in ("True", "chr(8364)"):
        assert not server.log.find("application_group is asked")


@pytest.mark.parametrize("path", ["/broken", "/missing"])
@pytest.mark.differs("dispatch-failure-500", "mod_wsgi serves the request as configured")
def test_a_script_that_cannot_be_loaded_fails_the_request(server, path):
    assert server.get(f"{path}?1").status == 500
    server.log.expect("WSGI010[59]: ")
    server.log.allow(TRACEBACK)


def test_a_group_that_may_not_be_used_here_is_refused_after_dispatch(server, where, here):
    assert where("/restricted")[0] == here
    assert server.get("/restricted?1", headers={"X-Process": "'second'"}).status == 500
    server.log.expect("WSGI0149: ")


def test_a_group_that_does_not_exist_fails_the_request(server):
    assert server.get("/?1", headers={"X-Process": "'nowhere'"}).status == 500
    server.log.expect("WSGI015[01]: ")


def test_dispatch_script_gets_request_rec_with_wsgipassapacherequest(where):
    kind = "type(environ.get('apache.request_rec')).__name__"
    assert where("/", Application=kind)[1] == "NoneType"
    assert where("/native", Application=kind)[1] == "PyCapsule"


@pytest.mark.embedded_only("the application has to share the interpreter of the script")
def test_a_script_sees_the_environ_the_application_will_get(server):
    headers = {"X-Application": "''", "Proxy": "x", "X_Under": "x"}
    text = "{key: value for key, value in environ.items() if type(value) is str}"
    expression = f"[sys.modules['seen_by_dispatch'].environ, {text}]"
    seen, given = ask(server, expression, "/some", headers=headers)
    differ = {"mod_wsgi.application_group", "mod_wsgi.callable_object", "mod_wsgi.process_group"}
    plain = {key: value for key, value in given.items() if key not in differ}
    own = {"mod_wsgi.handler_script", "wsgi.url_scheme", "mod_wsgi.connection_id"}
    assert {key: seen.get(key) for key in plain if key not in own} == {
        key: value for key, value in plain.items() if key not in own
    }
    assert seen["mod_wsgi.process_group"] == seen["mod_wsgi.application_group"] == ""
    assert seen["NAMED"] == "fromenv"
    assert "mod_wsgi.callable_object" not in seen
    assert "wsgi.input" not in seen
    assert "wsgi.errors" in seen


def test_python_starts_for_a_script_where_applications_may_not_run(serve):
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess second python-path=${APPS}
    WSGIScriptAlias / ${APPS}/ask.py process-group=second
    WSGIDispatchScript ${APPS}/dispatch.py
    """
    server = serve(Conf(text))
    server.log.allow("application_group is asked")
    group = "environ['mod_wsgi.application_group']"
    assert ask(server, group, headers={"X-Application": "'chosen'"}) == "chosen"
    assert server.get("/?1", headers={"X-Process": "''"}).status == 500
    server.log.expect("WSGI0143: ")


# --- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "{}",
        "<VirtualHost *>\n{}\n</VirtualHost>",
        "<Directory /srv>\n{}\n</Directory>",
        "<Location /x>\n{}\n</Location>",
    ],
)
def test_the_directive_may_stand_anywhere(configtest, place):
    accepted, printed = configtest(Conf(place.format("WSGIDispatchScript /a application-group=b")))
    assert accepted, printed


def test_the_directive_may_not_stand_in_htaccess(serve):
    text = """
    Alias /dir ${ROOT}/dir
    <Directory ${ROOT}/dir>
        AllowOverride All
    </Directory>
    """
    files = (("dir/file", ""), ("dir/.htaccess", "WSGIDispatchScript /a.py\n"))
    server = serve(Conf(text, ("alias",), files=files))
    assert server.get("/dir/file").status == 500
    server.log.expect(r"\.htaccess: WSGIDispatchScript not allowed here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "ocation of"),
        (" /a.py nonsense", "nvalid option|name=value"),
        (" /a.py process-group=x", "nvalid option|has no option"),
        (" /a.py application-group=", "application group"),
    ],
)
def test_a_bad_line_is_refused(configtest, arguments, words):
    accepted, printed = configtest(Conf(f"WSGIDispatchScript{arguments}"))
    assert not accepted
    assert re.search(words, printed)
