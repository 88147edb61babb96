"""Codes of docs/errors.md that no test of another theme provokes."""

import pytest
from harness.client import ask, head
from harness.conf import Conf

pytestmark = pytest.mark.ours_only("our words, and what makes us say them")

ASK = "WSGIPythonPath ${APPS}\nWSGIApplicationGroup named\nWSGIScriptAlias / ${APPS}/ask.py\n"
GROUP = """
WSGIDaemonProcess site threads={} {}
WSGIScriptAlias / ${{ROOT}}/app.wsgi process-group=site application-group=%{{GLOBAL}}
"""
TRACEBACK = r"^Traceback|^  |^Exception ignored"
PLAIN = """
def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]
"""
FILES = (("app.wsgi", PLAIN),)


def custom(text, body):
    """A configuration whose Python runs `body` before anything of ours."""
    files = (("start/sitecustomize.py", body), ("more/one.py", ""))
    return Conf(text, files=files, environment=(("PYTHONPATH", "${ROOT}/start"),))


@pytest.mark.embedded_only("the environment is Apache's")
def test_directory_that_cannot_be_added_is_logged(serve):
    body = "import site\nsite.addsitedir = lambda *_: 1 / 0\n"
    server = serve(custom(ASK, body), private=True)
    assert server.get("/?1").status == 500
    (first, *_) = server.log.expect("WSGI0091: ")
    assert first.level == "error"
    server.log.allow("ZeroDivisionError", TRACEBACK, "WSGI0109", "ModuleNotFoundError", "^Hint: ")


@pytest.mark.embedded_only("the environment is Apache's")
def test_a_module_that_interpreters_share_from_their_start_is_a_warning(serve, env):
    if env.python_version >= (3, 13):
        pytest.skip("no module of this Python shares its state")
    text = "WSGIScriptAlias /other ${APPS}/ask.py application-group=other\n" + ASK
    server = serve(custom(text, "import decimal\n"), private=True)
    for path in ("/?1", "/other?1"):
        assert server.get(path).status == 200
    lines = server.log.expect("WSGI0211: ", count=2)
    assert {line.level for line in lines} == {"warn"}
    server.log.allow("WSGI0211: .*_decimal")


@pytest.mark.embedded_only("the environment is Apache's")
def test_a_python_that_cannot_be_started_is_critical_and_a_500(serve):
    server = serve(custom(ASK, "import sys\ndel sys.path\n"), private=True)
    assert server.get("/?1").status == 500
    server.log.expect("WSGI0188: ", "WSGI0036: ", "WSGI0210: ")
    assert server.log.find("WSGI0036: ")[0].level == "crit"
    server.log.allow("AttributeError", "usercustomize")


@pytest.mark.embedded_only("a daemon process ends without its interpreters")
def test_interpreter_that_cannot_be_ended_is_logged(serve):
    text = "WSGIScriptAlias /other ${APPS}/ask.py application-group=other\n" + ASK
    server = serve(Conf(text), private=True)
    assert ask(server, "setattr(threading, '_shutdown', lambda: 1 / 0)") is None
    server.stop()
    (first, *_) = server.log.expect("WSGI0098: ")
    assert first.level == "error"
    server.log.allow("ZeroDivisionError", TRACEBACK)


@pytest.mark.embedded_only("names its own process group")
def test_a_group_of_service_scripts_serves_no_requests(serve):
    server = serve(Conf(GROUP.format(0, ""), files=FILES), private=True)
    assert server.get("/").status == 503
    server.log.expect("WSGI0153: ")


@pytest.mark.embedded_only("names its own process group")
def test_foreign_owned_script_is_refused(serve, env):
    if env.user is None:
        pytest.skip("needs root to have files of several users")
    server = serve(Conf(GROUP.format(1, "script-user=games"), files=FILES), private=True)
    assert server.get("/").status == 403
    server.log.expect("WSGI0162: .*does not belong to the user of script-user")


@pytest.mark.embedded_only("names its own process group")
def test_a_body_that_cannot_be_read_for_a_daemon_is_a_line_for_debugging(serve):
    text = "WSGIChunkedRequest On\n" + GROUP.format(1, "")
    server = serve(Conf(text, files=FILES, wsgi_level="wsgi:debug"), private=True)
    server.raw(head("/", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", end=True)
    (line,) = server.log.expect("WSGI0126: ")
    assert line.level == "debug"
    server.log.allow("AH0")


@pytest.mark.embedded_only("names its own process group")
def test_sockets_that_cannot_be_made_keep_apache_from_starting(servers, mpm, mode):
    text = "WSGISocketPrefix /proc/nowhere/wsgi\n" + GROUP.format(1, "")
    server = servers.make(Conf(text, files=FILES), mpm, mode)
    with pytest.raises(Exception, match="WSGI0013"):
        server.start()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import sys\nsys.exit(3)\n", "WSGI0107"),
        ("raise ValueError\n", "WSGI0109"),
        ("this is no Python\n", "WSGI0105"),
        ("other = 1\n", "WSGI0089"),
    ],
)
def test_a_script_that_cannot_be_used_has_a_code(serve, script, code):
    server = serve(Conf("WSGIScriptAlias / ${ROOT}/a.wsgi", files=(("a.wsgi", script),)))
    assert server.get("/").status == 500
    (line,) = server.log.expect(f"{code}: ")
    assert line.level == "error"
    server.log.allow(TRACEBACK, r"^\w+Error|^SystemExit", "WSGI017[45]: ")
