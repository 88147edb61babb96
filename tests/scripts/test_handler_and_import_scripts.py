"""WSGIHandlerScript, a script that is an Apache handler; WSGIImportScript, loaded at the start."""

import re

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.httpd import wait_until

HANDLER = """
from ask import *
from ask import application as handle_request

def application(environ, start_response):
    raise RuntimeError("never called")
"""

TEXT = """
    WSGIPythonPath ${APPS}
    WSGIDaemonProcess second python-path=${APPS}
    WSGIHandlerScript everywhere ${ROOT}/handler.py
    WSGIHandlerScript chosen ${ROOT}/handler.py process-group=second application-group=own
    WSGIHandlerScript main ${ROOT}/handler.py application-group=%{GLOBAL} pass-authorization=On
    WSGIHandlerScript embedded ${ROOT}/handler.py process-group=%{GLOBAL}
    WSGIHandlerScript CamelCase ${ROOT}/empty.py
    WSGIHandlerScript camelcase ${ROOT}/handler.py
    WSGIHandlerScript empty ${ROOT}/empty.py
    WSGIHandlerScript missing ${ROOT}/missing.py
    WSGIHandlerScript broken ${ROOT}/broken.py
    WSGIApplicationGroup configured
    WSGICallableObject application
    Alias /files ${ROOT}/files
    <Directory ${ROOT}/files>
        AddHandler everywhere .page
        AddHandler CamelCase .camel
        DirectoryIndex index.page
    </Directory>
    <Location /virtual>
        SetHandler everywhere
    </Location>
    <Location /virtual/chosen>
        SetHandler chosen
    </Location>
    <Location /virtual/main>
        SetHandler main
    </Location>
    <Location /virtual/embedded>
        SetHandler embedded
    </Location>
    <Location /virtual/empty>
        SetHandler empty
    </Location>
    <Location /virtual/missing>
        SetHandler missing
    </Location>
    <Location /virtual/broken>
        SetHandler broken
    </Location>
    <Location /virtual/unknown>
        SetHandler undefined
    </Location>
    <Location /inner>
        WSGIHandlerScript everywhere ${ROOT}/other.py
        WSGIHandlerScript here ${ROOT}/handler.py
        SetHandler everywhere
    </Location>
    <Location /inner/here>
        SetHandler here
    </Location>
    <Location /inner/outer>
        SetHandler main
    </Location>
    <Location /strict>
        SetHandler everywhere
        AcceptPathInfo Off
    </Location>
    WSGIScriptAlias /aliased ${ROOT}/empty.py application-group=alias
    <Location /aliased>
        SetHandler everywhere
    </Location>
    <VirtualHost *>
        ServerName localhost
        RewriteEngine On
        RewriteRule ^/rewritten /virtual/by-rule [H=everywhere,PT]
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        WSGIHandlerScript everywhere ${ROOT}/other.py
    </VirtualHost>
"""
FILES = (
    ("handler.py", HANDLER),
    ("other.py", HANDLER + "\nimport ask\n"),
    ("empty.py", "# no functions\n"),
    ("broken.py", "raise KeyError('on purpose')\n"),
    ("files/a.page", "what the script is asked about"),
    ("files/index.page", "the index"),
    ("files/b.camel", ""),
    ("files/plain.txt", "just a file"),
)
HANDLERS = Conf(TEXT, ("alias", "mime", "dir", "rewrite"), files=FILES)
TRACEBACK = r"WSGI0174|Traceback|File|Error|raise"

NAMES = ("process_group", "application_group", "callable_object", "request_handler")
WHERE = f"[environ['mod_wsgi.' + name] for name in {NAMES}]"
SCRIPT = "environ['mod_wsgi.handler_script'].rpartition('/')[2]"


@pytest.fixture
def server(serve):
    return serve(HANDLERS)


@pytest.fixture
def here(mode):
    """The process group that the configuration names."""
    return "tests" if mode == "daemon" else ""


# --- handlers -------------------------------------------------------------------------------------


@pytest.mark.all_mpms
def test_a_handler_serves_files_of_its_extension(server, here):
    expression = "[environ['SCRIPT_FILENAME'].rpartition('/')[2], environ['PATH_INFO']]"
    assert ask(server, expression, "/files/a.page") == ["a.page", "/"]
    assert ask(server, WHERE, "/files/a.page") == [
        here,
        "configured",
        "handle_request",
        "everywhere",
    ]
    assert ask(server, SCRIPT, "/files/a.page") == "handler.py"
    assert server.get("/files/plain.txt").text == "just a file"
    assert server.get("/files/?1").json() == 1


def test_apache_puts_a_handlers_name_into_lower_case(server):
    assert ask(server, SCRIPT, "/files/b.camel") == "handler.py"


def test_a_handler_needs_no_file(server):
    assert ask(server, SCRIPT, "/virtual/some/where") == "handler.py"
    whole = "environ['SCRIPT_NAME'] + environ['PATH_INFO']"
    assert ask(server, whole, "/virtual/some/where") == "/virtual/some/where/"


def test_a_handler_may_be_named_by_a_rewrite_rule(server):
    assert ask(server, SCRIPT, "/rewritten") == "handler.py"


def test_a_handler_has_groups_of_its_own(server, here):
    assert ask(server, WHERE, "/virtual/chosen")[:2] == ["second", "own"]
    assert ask(server, WHERE, "/virtual/main")[:2] == [here, ""]
    assert ask(server, WHERE, "/virtual/embedded")[:2] == ["", "configured"]


def test_a_handler_may_be_given_the_credentials(server):
    credentials = "environ.get('HTTP_AUTHORIZATION')"
    headers = {"Authorization": "Basic dTpw"}
    assert ask(server, credentials, "/virtual/main", headers=headers) == "Basic dTpw"
    assert ask(server, credentials, "/virtual", headers=headers) is None


def test_other_scripts_have_no_handler_script(serve):
    server = serve(Conf("WSGIPythonPath ${APPS}\nWSGIScriptAlias / ${APPS}/ask.py"))
    assert ask(server, "environ['mod_wsgi.handler_script']") == ""


def test_an_inner_handler_hides_the_outer_one_of_its_name_and_no_other(server):
    assert ask(server, SCRIPT, "/inner") == "other.py"
    assert ask(server, SCRIPT, "/inner/here") == "handler.py"
    assert ask(server, WHERE, "/inner/outer")[3] == "main"
    assert ask(server, SCRIPT, "/virtual", host="virtual.example") == "other.py"


def test_a_handler_may_take_the_place_of_an_alias(server):
    assert ask(server, SCRIPT, "/aliased") == "handler.py"
    assert ask(server, WHERE, "/aliased")[1:3] == ["configured", "handle_request"]


def test_unknown_handler_is_declined(server):
    assert server.get("/virtual/unknown").status == 404


def test_a_handler_heeds_acceptpathinfo(server):
    assert server.get("/strict/a/b?1").status == 404
    server.log.expect("WSGI0137: ")


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        pytest.param(
            "/virtual/empty",
            "WSGI0089: ",
            500,
            marks=pytest.mark.differs(
                "missing-callable-500", "mod_wsgi answers 404 in embedded mode", mode="embedded"
            ),
        ),
        ("/virtual/broken", "WSGI0109: ", 500),
        ("/virtual/missing", "WSGI0105: ", 500),
    ],
)
def test_failing_handler_is_logged(server, path, code, status):
    assert server.get(path).status == status
    server.log.expect(code)
    server.log.allow(TRACEBACK, "WSGI0082: ")


def test_a_changed_handler_script_is_loaded_anew(serve):
    text = "WSGIHandlerScript mine ${ROOT}/mine.py\n<Location />\nSetHandler mine\n</Location>"
    source = """
def handle_request(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"{}"]
"""
    files = (("mine.py", source.replace("{}", "old")),)
    server = serve(Conf(text, files=files), private=True)
    assert server.get("/").text == "old"
    server.write("mine.py", source.replace("{}", "new").replace('"3"', '"3" ""'))
    wait_until(lambda: server.get("/").text == "new", "the changed script")


@pytest.mark.differs("script-owner-handlers", "mod_wsgi looks at no handler script")
def test_foreign_owned_handler_script_is_refused(serve, env):
    if env.user is None:
        pytest.skip("needs root to have files of several users")
    text = f"""
    WSGIPythonPath ${{APPS}}
    WSGIDaemonProcess owned python-path=${{APPS}} script-user=#{env.user.pw_uid}
    WSGIHandlerScript mine ${{ROOT}}/handler.py process-group=owned
    <Location />
        SetHandler mine
    </Location>
    """
    server = serve(Conf(text, files=FILES))
    assert server.get("/?1").status == 403
    server.log.expect("WSGI01[67]")


# --- what is accepted as a handler ----------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "{}",
        "<VirtualHost *>\n{}\n</VirtualHost>",
        "<Directory /srv>\n{}\n</Directory>",
        "<Files x>\n{}\n</Files>",
    ],
)
def test_a_handler_may_be_defined_anywhere(configtest, place):
    options = "process-group=%{GLOBAL} application-group='a b' pass-authorization=oN"
    accepted, printed = configtest(Conf(place.format(f"WSGIHandlerScript name /a.py {options}")))
    assert accepted, printed


def test_a_handler_may_not_be_defined_in_htaccess(serve):
    text = """
    Alias /dir ${ROOT}/dir
    <Directory ${ROOT}/dir>
        AllowOverride All
    </Directory>
    """
    files = (("dir/file", ""), ("dir/.htaccess", "WSGIHandlerScript name /a.py\n"))
    server = serve(Conf(text, ("alias",), files=files))
    assert server.get("/dir/file").status == 500
    server.log.expect(r"\.htaccess: WSGIHandlerScript not allowed here")


OPTIONS = "nvalid option|has no option|name=value"
HANDLER_ERRORS = [
    ("", "[Nn]ame (of|for)"),
    (" name", "ocation of"),
    (" name /a.py nonsense", OPTIONS),
    (" name /a.py callable-object=x", OPTIONS),
    (" name /a.py process-group=", "process group"),
    (" name /a.py application-group=", "application group"),
    (" name /a.py pass-authorization=Perhaps", "authorization"),
]


@pytest.mark.parametrize(("arguments", "words"), HANDLER_ERRORS)
def test_a_bad_handler_is_refused(configtest, arguments, words):
    accepted, printed = configtest(Conf(f"WSGIHandlerScript{arguments}"))
    assert not accepted
    assert re.search(words, printed)


# --- import scripts -------------------------------------------------------------------------------

IMPORTED = """
import sys
import mod_wsgi
sys.modules.setdefault("imported_here", type(sys)("imported_here")).by = __file__
print("imported", __file__.rpartition("/")[2], "into", repr(mod_wsgi.application_group),
      "of", repr(mod_wsgi.process_group))
"""
BOTH = "process-group={} application-group={}"


def imports(*lines, extra="", files=()):
    text = "WSGIPythonPath ${APPS}\nWSGIDaemonProcess second python-path=${APPS}\n"
    text += "".join(f"WSGIImportScript {line}\n" for line in lines)
    scripts = (("one.py", IMPORTED), ("two.py", IMPORTED), ("broken.py", "raise KeyError(1)\n"))
    text += f"WSGIScriptAlias / ${{APPS}}/ask.py\n{extra}"
    return Conf(text, files=(*scripts, *files))


def announced(server, count):
    """What the import scripts have printed."""
    lines = server.log.wait_for("^imported ", count)
    server.log.allow("^imported ")
    return [line.text for line in lines]


def test_an_import_script_is_loaded_when_its_process_starts(serve):
    conf = imports(
        "${ROOT}/one.py " + BOTH.format("%{GLOBAL}", "%{GLOBAL}"),
        "${ROOT}/two.py " + BOTH.format("%{GLOBAL}", "own"),
        "${ROOT}/one.py " + BOTH.format("second", "%{GLOBAL}"),
        "${ROOT}/two.py " + BOTH.format("second", "own"),
    )
    server = serve(conf, private=True)
    found = announced(server, 4)
    assert [text for text in found if text.endswith("of ''")] == [
        "imported one.py into '' of ''",
        "imported two.py into 'own' of ''",
    ]
    assert [text for text in found if text.endswith("of 'second'")] == [
        "imported one.py into '' of 'second'",
        "imported two.py into 'own' of 'second'",
    ]


@pytest.mark.parametrize("group", ["%{GLOBAL}", "second"])
def test_application_finds_imported_modules(serve, group):
    alias = f"WSGIScriptAlias /here ${{ROOT}}/app.py {BOTH.format(group, 'own')}\n"
    conf = imports(
        f"${{ROOT}}/one.py {BOTH.format(group, 'own')}",
        files=(("app.py", "from ask import *\nfrom ask import application\n"),),
    )
    server = serve(
        Conf(conf.text.replace("WSGIScriptAlias /", f"{alias}WSGIScriptAlias /"), files=conf.files),
        private=True,
    )
    by = "sys.modules['imported_here'].by.rpartition('/')[2]"
    assert ask(server, by, "/here") == "one.py"
    announced(server, 1)


@pytest.mark.parametrize("group", ["%{GLOBAL}", "second"])
def test_failing_import_script_is_logged_and_the_next_one_is_loaded(serve, group):
    conf = imports(
        "${ROOT}/broken.py " + BOTH.format(group, "own"),
        "${ROOT}/missing.py " + BOTH.format(group, "own"),
        "${ROOT}/two.py " + BOTH.format(group, "own"),
    )
    server = serve(conf, private=True)
    assert announced(server, 1)[0].startswith("imported two.py into 'own'")
    assert ask(server, "1") == 1
    server.log.expect("WSGI01(09|10): ")
    server.log.expect("WSGI010[56]: ")
    server.log.allow(TRACEBACK, "direct cause", "daemon 'second'", "daemon .* worker")


def test_an_import_script_starts_python_where_applications_may_not_run(serve):
    lines = "${ROOT}/one.py " + BOTH.format("%{GLOBAL}", "own")
    server = serve(imports(lines, extra="WSGIRestrictEmbedded On\n"), private=True)
    assert announced(server, 1) == ["imported one.py into 'own' of ''"]


def test_an_import_script_of_another_group_keeps_applications_apart(serve):
    lines = "${ROOT}/one.py " + BOTH.format("%{GLOBAL}", "another")
    conf = imports(lines, extra="WSGIApplicationGroup site\n")
    server = serve(conf, private=True)
    announced(server, 1)
    assert ask(server, "'imported_here' in sys.modules") is False
    assert ask(server, "environ['mod_wsgi.application_group']") == "site"


def test_an_import_script_may_stand_in_a_virtual_host(serve):
    line = "WSGIImportScript ${ROOT}/one.py " + BOTH.format("%{GLOBAL}", "own")
    vhost = f"<VirtualHost *>\nServerName localhost\n{line}\n</VirtualHost>\n"
    server = serve(imports(extra=vhost), private=True)
    assert announced(server, 1) == ["imported one.py into 'own' of ''"]


IMPORT_ERRORS = [
    ("", "ocation of"),
    (" /a.py", "process-group=|[Nn]ame of WSGI application group"),
    (" /a.py process-group=%{GLOBAL}", "application group|application-group="),
    (" /a.py application-group=x", "process group|process-group="),
    (" /a.py process-group=none application-group=x", "not yet configured"),
    (" /a.py process-group=%{GLOBAL} application-group=", "application group"),
    (" /a.py process-group=%{GLOBAL} application-group=x callable-object=y", OPTIONS),
]


@pytest.mark.parametrize(("arguments", "words"), IMPORT_ERRORS)
def test_a_bad_import_is_refused(configtest, arguments, words):
    accepted, printed = configtest(Conf(f"WSGIImportScript{arguments}"))
    assert not accepted
    assert re.search(words, printed)


def test_an_import_script_needs_a_group_that_its_server_may_use(configtest):
    line = f"WSGIImportScript /a.py {BOTH.format('theirs', 'x')}"
    text = f"""
    <VirtualHost *>
        ServerName theirs.example
        WSGIDaemonProcess theirs
    </VirtualHost>
    <VirtualHost *>
        ServerName ours.example
        {line}
    </VirtualHost>
    """
    accepted, printed = configtest(Conf(text))
    assert not accepted
    assert "not accessible" in printed
    accepted, printed = configtest(Conf(text.replace("ours.example", "theirs.example")))
    assert accepted, printed


@pytest.mark.parametrize("place", ["<Directory /srv>\n{}\n</Directory>", "<Files x>\n{}\n</Files>"])
def test_an_import_script_is_refused_in_directories(configtest, place):
    line = f"WSGIImportScript /a.py {BOTH.format('%{GLOBAL}', 'x')}"
    accepted, printed = configtest(Conf(place.format(line)))
    assert not accepted
    assert re.search("WSGIImportScript (cannot occur within|not allowed)", printed)
