"""Every directive in scopes: the innermost value holds, what is left out comes from outside."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.client import ask, basic
from harness.conf import Conf
from harness.directives import DIRECTIVES, plain
from harness.env import TESTS
from harness.httpd import wait_until

# What stands at each place, by the values of one directive; deeper ones are inside those before.
TEXT = """
    WSGIPythonPath ${APPS}
    AccessFileName .htaccess
    Alias /dir ${ROOT}/dir
    BEFORE
    SERVER
    <Directory ${ROOT}/dir>
        AllowOverride FileInfo AuthConfig
        Options +ExecCGI
        SetHandler wsgi-script
        OUTER
    </Directory>
    <Directory ${ROOT}/dir/deep>
        DIRECTORY
    </Directory>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        VHOST
    </VirtualHost>
"""
ASK = "from ask import *\nfrom ask import application\nother = application\n"
PLACES = {
    "SERVER": ("localhost", "/dir/app.wsgi"),
    "VHOST": ("virtual.example", "/dir/app.wsgi"),
    "OUTER": ("localhost", "/dir/app.wsgi"),
    "DIRECTORY": ("virtual.example", "/dir/deep/app.wsgi"),
    "HTACCESS": ("virtual.example", "/dir/deep/er/app.wsgi"),
}
EVERYWHERE = ["SERVER", "VHOST", "DIRECTORY", "HTACCESS"]
NOT_HTACCESS = EVERYWHERE[:3]
DIRECTORIES = ["OUTER", "DIRECTORY", "HTACCESS"]


def scoped(name, values, *, before="", app=ASK, files=(), modules=()):
    """A configuration with the directive given these values, by place."""
    text = TEXT.replace("BEFORE", before)
    for place in PLACES:
        value = values.get(place)
        text = text.replace(place, "" if value is None else f"{name} {value}")
    files = [*files, *((f"dir/{folder}app.wsgi", app) for folder in ("", "deep/", "deep/er/"))]
    if "HTACCESS" in values:
        files.append(("dir/deep/er/.htaccess", f"{name} {values['HTACCESS']}\n"))
    return Conf(text, ("alias", "setenvif", *modules), files=tuple(files))


def cases(places, values):
    """Each place with a value of its own; and only the two outer ones with one."""
    one, two = values
    alternating = {place: (one, two)[n % 2] for n, place in enumerate(places)}
    return [alternating, {places[0]: two, places[1]: one}]


def expected(places, values):
    """{place: the value that holds there}."""
    found, holds = {}, None
    for place in places:
        holds = values.get(place, holds)
        found[place] = holds
    return found


def in_each(places, values, probe):
    """What holds at each place, by `probe(host=…, path=…)`."""
    seen = {place: probe(host=PLACES[place][0], path=PLACES[place][1]) for place in places}
    # Everything is inside the main server; a place where nothing is written is asked all the same.
    assert seen == expected(places, values)


anyhow = pytest.mark.embedded_only("who serves has no part in it")


def parametrize(places, values):
    return pytest.mark.parametrize("values", cases(places, values), ids=lambda v: "-".join(v))


ON_OFF = ("On", "Off")


@anyhow
@parametrize(EVERYWHERE, ON_OFF)
def test_wsgimapheadtoget_of_the_innermost_place_holds(serve, values):
    app = """
def application(environ, start_response):
    start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"])])
    return []
"""
    server = serve(scoped("WSGIMapHEADToGET", values, app=app))

    def probe(host, path):
        method = server.request("HEAD", path, host=host).header("X-Method")
        return {"GET": "On", "HEAD": "Off"}[method]

    in_each(EVERYWHERE, values, probe)


@pytest.mark.differs(
    "error-override-embedded", "mod_wsgi overrides error pages in daemon mode only", mode="embedded"
)
@parametrize(EVERYWHERE, ON_OFF)
def test_wsgierroroverride_of_the_innermost_place_holds(serve, values):
    app = """
def application(environ, start_response):
    start_response("404 Gone away", [])
    return [b"Off"]
"""
    server = serve(scoped("WSGIErrorOverride", values, app=app, before="ErrorDocument 404 On"))
    in_each(EVERYWHERE, values, lambda host, path: server.get(path, host=host).text)


@pytest.mark.embedded_only("a daemon process is replaced as a whole")
@parametrize(EVERYWHERE, ON_OFF)
def test_wsgiscriptreloading_of_the_innermost_place_holds(serve, values):
    app = "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    app += "    return [b'Off']\n"
    server = serve(scoped("WSGIScriptReloading", values, app=app), private=True)
    # The main server has the same files as the virtual host.
    places = EVERYWHERE[1:]
    for place in places:
        assert server.get(PLACES[place][1], host=PLACES[place][0]).text == "Off"
    for path in (server.root / "dir").rglob("app.wsgi"):
        path.write_text(app.replace("Off", "On"))
        os.utime(path, (time.time() + 5,) * 2)
    held = expected(EVERYWHERE, values)
    for place in places:
        assert server.get(PLACES[place][1], host=PLACES[place][0]).text == held[place]


@pytest.mark.embedded_only("each place has a process group of its own")
@pytest.mark.parametrize("values", cases(EVERYWHERE, ON_OFF)[:1], ids=["alternating"])
def test_wsgiignoreactivity_of_the_innermost_place_holds(serve, values):
    groups = "".join(
        f"WSGIDaemonProcess {place} threads=1 inactivity-timeout=3 python-path=${{APPS}}\n"
        for place in EVERYWHERE
    )
    choice = "WSGIProcessGroup %{ENV:GROUP}\nSetEnvIf X-Group (.*) GROUP=$1\n"
    text = scoped("WSGIIgnoreActivity", values, before=choice)
    conf = Conf(groups + text.text, text.modules, files=text.files)
    server = serve(conf, private=True)

    def pid(group, place):
        host, path = PLACES[place]
        return ask(server, "os.getpid()", path, host=host, headers={"X-Group": group})

    # The first request that counts starts the clock.
    first = {place: pid(place, "VHOST") for place in EVERYWHERE}
    ignored = {place for place, value in values.items() if value == "On"}
    replaced = set()

    def all_ignored_ones_replaced():
        daemons.pause(0.1)
        replaced.update(place for place in EVERYWHERE if pid(place, place) != first[place])
        return replaced >= ignored

    wait_until(all_ignored_ones_replaced, "idle processes to be replaced")
    assert replaced == ignored


@pytest.mark.embedded_only("Apache's processes do the sending")
@parametrize(EVERYWHERE, ON_OFF)
def test_wsgienablesendfile_of_the_innermost_place_holds(serve, values, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("strace is missing")
    app = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "300000")])
    return environ["wsgi.file_wrapper"](open(__file__.rpartition("/dir/")[0] + "/big", "rb"))
"""
    files = [("big", "x" * 300_000)]
    conf = scoped("WSGIEnableSendfile", values, app=app, files=files, before="EnableSendfile On")
    server = serve(conf)
    (pid,) = server.children()
    trace = tmp_path / "trace"
    calls = "trace=sendfile,sendfile64,shutdown"
    command = ["strace", "-f", "-e", calls, "-o", trace, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        if "attached" not in (said := tracer.stderr.readline()):
            pytest.skip(f"cannot trace processes here: {said}")

        def count(call):
            return trace.read_text().count(f" {call}")

        def probe(host, path):
            before, ended = count("sendfile"), count("shutdown")
            answer = server.get(path, host=host, headers={"Connection": "close"})
            assert len(answer.body) == 300_000
            # The client may have the last byte before strace has written the call.
            wait_until(lambda: count("shutdown") > ended, "the end of the connection")
            return "On" if count("sendfile") > before else "Off"

        in_each(EVERYWHERE, values, probe)
    finally:
        tracer.terminate()
        tracer.wait()


# --- not in .htaccess -----------------------------------------------------------------------------

GROUPS = """
    WSGIDaemonProcess one threads=1 python-path=${APPS}
    WSGIDaemonProcess two threads=1 python-path=${APPS}
"""


@pytest.mark.embedded_only("names its own process groups")
@parametrize(NOT_HTACCESS, ("one", "two"))
def test_wsgiprocessgroup_of_the_innermost_place_holds(serve, values):
    server = serve(scoped("WSGIProcessGroup", values, before=GROUPS))
    group = "environ['mod_wsgi.process_group']"
    in_each(NOT_HTACCESS, values, lambda host, path: ask(server, group, path, host=host))


@pytest.mark.embedded_only("names its own process groups")
@parametrize(NOT_HTACCESS, ("one", "two"))
def test_wsgirestrictprocess_of_the_innermost_place_holds(serve, values):
    choice = "WSGIProcessGroup %{ENV:GROUP}\nSetEnvIf X-Group (.*) GROUP=$1\n"
    server = serve(scoped("WSGIRestrictProcess", values, before=GROUPS + choice))

    def probe(host, path):
        def status(group):
            return server.get(f"{path}?1", host=host, headers={"X-Group": group}).status

        return {(200, 500): "one", (500, 200): "two"}[status("one"), status("two")]

    in_each(NOT_HTACCESS, values, probe)
    server.log.expect("WSGI0149: ", count=3)


@anyhow
@parametrize(NOT_HTACCESS, ("${ROOT}/one.py", "${ROOT}/two.py"))
def test_wsgidispatchscript_of_the_innermost_place_holds(serve, values):
    files = [
        (f"{name}.py", f"def application_group(environ):\n    return '${{ROOT}}/{name}.py'\n")
        for name in ("one", "two")
    ]
    server = serve(scoped("WSGIDispatchScript", values, files=files))
    group = "environ['mod_wsgi.application_group']"
    in_each(NOT_HTACCESS, values, lambda host, path: ask(server, group, path, host=host))


@pytest.mark.embedded_only("the request stays with Apache's processes")
@parametrize(NOT_HTACCESS, ON_OFF)
def test_wsgipassapacherequest_of_the_innermost_place_holds(serve, values):
    server = serve(scoped("WSGIPassApacheRequest", values))
    given = "'On' if 'apache.request_rec' in environ else 'Off'"
    in_each(NOT_HTACCESS, values, lambda host, path: ask(server, given, path, host=host))


@anyhow
@parametrize(NOT_HTACCESS, ("mine ${ROOT}/one.py", "mine ${ROOT}/two.py"))
def test_wsgihandlerscript_of_the_innermost_place_holds(serve, values):
    files = [
        (
            f"{name}.py",
            "def handle_request(environ, start_response):\n    start_response('200 OK', [])\n"
            f"    return [b'mine ${{ROOT}}/{name}.py']\n",
        )
        for name in ("one", "two")
    ]
    conf = scoped("WSGIHandlerScript", values, files=files)
    text = conf.text.replace("SetHandler wsgi-script", "SetHandler mine")
    server = serve(Conf(text, conf.modules, files=conf.files))
    in_each(NOT_HTACCESS, values, lambda host, path: server.get(path, host=host).text)


# --- who may come in ------------------------------------------------------------------------------

KNOWS = """
def knows(environ):
    return environ.get("HTTP_X_WHO") == "{name}"
def allow_access(environ, host):
    return knows(environ)
def check_password(environ, user, password):
    return knows(environ)
def groups_for_user(environ, user):
    return ["staff"] * knows(environ)
"""
SCRIPTS = {
    "WSGIAccessScript": "",
    "WSGIAuthUserScript": "AuthType Basic\nAuthName site\nAuthBasicProvider wsgi\n"
    "Require valid-user\n",
    "WSGIAuthGroupScript": "AuthType Basic\nAuthName site\nAuthBasicProvider file\n"
    "AuthUserFile ${ROOT}/passwords\nRequire wsgi-group staff\n",
}
AUTH = ("auth_basic", "authn_core", "authn_file", "authz_user")


@anyhow
@pytest.mark.parametrize("name", SCRIPTS)
@parametrize(DIRECTORIES, ("${ROOT}/one.py", "${ROOT}/two.py"))
def test_the_innermost_script_about_access_is_asked(serve, name, values):
    files = [(f"{who}.py", KNOWS.replace("{name}", who)) for who in ("one", "two")]
    files.append(("passwords", "alice:{SHA}w3QkzGJswDXW5OKZHAJw0FELjfM=\n"))
    conf = scoped(name, values, files=files, modules=AUTH)
    text = conf.text.replace("SetHandler", SCRIPTS[name] + "SetHandler")
    server = serve(Conf(text, conf.modules, files=conf.files))
    server.log.allow("AH0", "WSGI00")

    def probe(host, path):
        def status(who):
            headers = {"X-Who": who, "Authorization": basic("alice:wonder")}
            return server.get(f"{path}?1", host=host, headers=headers).status

        refused = 403 if name == "WSGIAccessScript" else 401
        first, second = status("one"), status("two")
        assert {first, second} == {200, refused}
        return "${ROOT}/one.py" if first == 200 else "${ROOT}/two.py"

    in_each(DIRECTORIES, values, probe)


# --- lists ----------------------------------------------------------------------------------------


def test_import_scripts_of_all_servers_are_loaded(serve, mode):
    group = "process-group=%{GLOBAL} application-group=%{GLOBAL}"
    if mode == "daemon":
        group = group.replace("%{GLOBAL}", "tests", 1)
    line = "WSGIImportScript ${ROOT}/NAME.py " + group
    conf = scoped(
        "WSGIImportScript",
        {place: line.replace("NAME", place).partition(" ")[2] for place in ("SERVER", "VHOST")},
        files=[(f"{place}.py", f"print('imported by {place}')") for place in ("SERVER", "VHOST")],
    )
    server = serve(conf, private=True)
    server.log.expect("imported by SERVER", "imported by VHOST")


@pytest.mark.embedded_only("names its own process groups")
def test_a_virtual_host_has_the_process_groups_of_the_main_server_and_its_own(serve):
    options = "threads=1 python-path=${APPS}"
    values = {"SERVER": f"one {options}", "VHOST": f"two {options}"}
    choice = "WSGIProcessGroup %{ENV:GROUP}\nSetEnvIf X-Group (.*) GROUP=$1\n"
    server = serve(scoped("WSGIDaemonProcess", values, before=choice))
    group = "environ['mod_wsgi.process_group']"
    for name in ("one", "two"):
        headers = {"X-Group": name}
        assert ask(server, group, "/dir/app.wsgi", host="virtual.example", headers=headers) == name
    response = server.get("/dir/app.wsgi?1", headers={"X-Group": "two"})
    assert response.status == 500
    server.log.expect("WSGI0152: ")


# --- of the whole server --------------------------------------------------------------------------

TWICE = Conf(
    """
    WSGIPythonHome /usr/share
    WSGIPythonHome /usr
    WSGIPythonPath /usr/share
    WSGIPythonPath ${APPS}
    WSGIPythonEggs /usr
    WSGIPythonEggs /tmp
    WSGIPythonOptimize 2
    WSGIPythonOptimize 1
    WSGIPythonWarnings error::UserWarning
    WSGIPythonWarnings ignore::UserWarning
    WSGIPythonHashSeed 1
    WSGIPythonHashSeed 0
    WSGIDontWriteBytecode Off
    WSGIDontWriteBytecode On
    WSGISwitchInterval 0.03
    WSGISwitchInterval 0.02
    WSGIRestrictStdin Off
    WSGIRestrictStdin On
    WSGIRestrictStdout Off
    WSGIRestrictStdout On
    WSGIRestrictSignal On
    WSGIRestrictSignal Off
    WSGIRestrictEmbedded On
    WSGIRestrictEmbedded Off
    WSGICaseSensitivity On
    WSGICaseSensitivity Off
    WSGIServerMetrics Off
    WSGIServerMetrics On
    WSGIDestroyInterpreter On
    WSGIDestroyInterpreter Off
    WSGISlowRequests 1
    WSGISlowRequests 0
    WSGITelemetryOptions All
    WSGITelemetryOptions None
    WSGIPerInterpreterGIL On
    WSGIPerInterpreterGIL Off
    WSGIFreeThreading On
    WSGIFreeThreading Off
    WSGISocketPrefix run/one
    WSGISocketPrefix run/two
    WSGISocketRotation On
    WSGISocketRotation Off
    WSGIAcceptMutex default
    WSGIAcceptMutex flock
    WSGIVerboseDebugging On
    WSGIVerboseDebugging Off
    WSGIScriptAlias /Resource ${APPS}/ask.py
    WSGIScriptAlias / ${APPS}/ask.py application-group=%{GLOBAL}
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
    </VirtualHost>
    """
)


@pytest.mark.embedded_only("about Apache's own processes; daemons have options of their own")
@pytest.mark.parametrize("host", ["localhost", "virtual.example"])
@pytest.mark.parametrize(
    ("mount", "expression", "value"),
    [
        ("", "sys.prefix", "/usr"),
        ("", "'/usr/share' in sys.path", False),
        ("", "os.environ['PYTHON_EGG_CACHE']", "/tmp"),
        ("", "sys.flags.optimize", 1),
        ("", "sys.warnoptions[-2:]", ["error::UserWarning", "ignore::UserWarning"]),
        ("", "sys.flags.hash_randomization", 0),
        ("", "sys.dont_write_bytecode", True),
        ("", "round(sys.getswitchinterval(), 6)", 0.02),
        ("", "type(sys.stdin).__name__", "Restricted"),
        ("", "type(sys.stdout).__name__", "Restricted"),
        ("", "type(signal.signal).__name__", "function"),
        ("/Resource", "environ['mod_wsgi.application_group'].partition('|')[2]", "/resource"),
        ("", "__import__('mod_wsgi').server_metrics() is None", False),
    ],
)
def test_the_last_of_two_lines_holds_in_every_server(serve, host, mount, expression, value):
    assert ask(serve(TWICE), expression, mount, host=host) == value


@pytest.mark.embedded_only("about Apache's own processes")
def test_the_last_word_on_the_end_of_interpreters_holds(serve, env):
    server = serve(TWICE, private=True)
    if env.oracle:
        # It warns of what the next line takes back.
        server.log.allow("WSGI0198|WSGI0200")
    assert (
        ask(server, "__import__('atexit').register(os.write, 2, b'said at the end\\n') and 1") == 1
    )
    server.stop()
    assert not server.log.find("said at the end")


# Where directives are tried that are not tried here.
ELSEWHERE = [
    "config/test_scopes",
    "server/test_trusted_proxies",
    "scripts/test_interpreter_options",
    "access/test_authentication",
    "observe/test_logging",
    "observe/test_json_records",
]


@pytest.mark.ours_only("mod_wsgi has no status page")
def test_wsgistatusrequestlines_of_the_innermost_section_holds(serve):
    page = "<Location /{}>\nSetHandler wsgi-status\n{}\n</Location>\n"
    text = "WSGIScriptAlias /missing ${ROOT}/missing.py\nWSGIStatusRequestLines Off\n"
    text += page.format("outer", "") + page.format("inner", "WSGIStatusRequestLines Path")
    server = serve(Conf(text), private=True)
    assert server.get("/missing/page").status == 404
    server.log.expect("WSGI0135: ")
    lines = {
        path: [failure["request"] for failure in server.get(f"{path}?json").json()["failures"]]
        for path in ("/outer", "/inner")
    }
    assert lines == {"/outer": [""], "/inner": ["GET /missing/page"]}


@pytest.mark.ours_only("reads tests")
def test_every_directive_has_a_test_of_its_merging():
    pages = [Path(__file__), *(TESTS / f"{name}.py" for name in ELSEWHERE)]
    text = "\n".join(page.read_text() for page in pages)
    names = {plain(name) for name in DIRECTIVES} - {"WSGITelemetryService"}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()
