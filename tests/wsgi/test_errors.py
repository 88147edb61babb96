"""When things fail: what the client sees, and what the error log says."""

import socket

import pytest
from harness.client import head, read_all, split
from harness.conf import Conf

SCRIPTS = {
    "syntax.wsgi": "def application(:\n",
    "raises.wsgi": "import nowhere_to_be_found\n",
    "exits.wsgi": "import sys\nsys.exit(3)\n",
    "interrupts.wsgi": "raise KeyboardInterrupt\n",
    "empty.wsgi": "",
    "unreadable.wsgi": "def application(environ, start_response): pass\n",
    "directory/inside.wsgi": "",
}

ERRORS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /documented ${APPS}/errors.py
    WSGIScriptAlias /no_path_info ${APPS}/errors.py
    WSGIScriptAlias /not_callable ${APPS}/errors.py callable-object=not_callable
    WSGIScriptAlias /no_such_callable ${APPS}/errors.py callable-object=no_such_thing
    WSGIScriptAlias /scripts ${ROOT}/scripts
    WSGIScriptAlias / ${APPS}/errors.py
    <Location /documented>
        ErrorDocument 500 "the administrator's page"
    </Location>
    <Location /no_path_info>
        AcceptPathInfo Off
    </Location>
    """,
    files=tuple((f"scripts/{name}", text) for name, text in SCRIPTS.items()),
)


@pytest.fixture
def server(serve):
    server = serve(ERRORS)
    (server.root / "scripts/unreadable.wsgi").chmod(0)
    return server


@pytest.fixture(autouse=True)
def server_is_unharmed(server):
    children = server.children()
    yield
    assert server.get("/fine").text == "fine"
    assert server.children() == children


def context(server):
    """How a log record names the main interpreter."""
    where = "in embedded mode" if server.mode == "embedded" else "of daemon process 'tests'"
    return f"main interpreter {where}"


# --- exceptions -----------------------------------------------------------------------------------


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("path", "error", "tail"),
    [
        ("/raises", "ValueError", "ValueError: before start_response"),
        ("/raises_started", "ValueError", "ValueError: after start_response"),
        ("/raises_first", "ValueError", "ValueError: before the first piece"),
        ("/recursion", "RecursionError", "RecursionError: maximum recursion depth exceeded"),
        ("/interrupts", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("/never_starts", "RuntimeError", "RuntimeError: "),
        ("/never_starts_nor_sends", "RuntimeError", "RuntimeError: "),
        ("/returns?None", "TypeError", "TypeError: 'NoneType' object is not iterable"),
        ("/returns?7", "TypeError", "TypeError: 'int' object is not iterable"),
        ("/returns?'text'", "TypeError", "TypeError: "),
        ("/returns?[b'ok'][0]", "TypeError", "TypeError: "),
    ],
)
def test_an_exception_before_output_is_a_500_and_a_traceback(server, path, error, tail):
    response = server.get(path)
    assert (response.status, response.reason) == (500, "Internal Server Error")
    assert "Internal Server Error" in response.text
    assert "Traceback" not in response.text
    assert response.header("X-Never") is None
    header, *_ = server.log.expect_traceback("WSGI0174: ", f"^{tail}")
    script = f"{server.apps}/errors.py"
    assert f"[script {script}] {error} exception raised processing WSGI script '{script}'" in (
        header.text
    )
    assert context(server) in header.text
    assert header.level == "error"
    assert header.module == "wsgi"


@pytest.mark.differs(
    "whole-traceback", "mod_wsgi leaves out a traceback's outermost frame, often the only one"
)
def test_a_traceback_is_one_record_a_line(server):
    server.get("/raises")
    block = server.log.expect_traceback("WSGI0174: ", "^ValueError: before start_response$")
    texts = [line.text.strip() for line in block]
    assert texts[1] == "Traceback (most recent call last):"
    assert any(text.startswith('File "') and "errors.py" in text for text in texts)
    assert 'raise ValueError("before start_response")' in texts


def test_a_chained_exception_shows_its_cause(server):
    server.get("/chained")
    block = server.log.expect_traceback("WSGI0174: ", "^ValueError: the effect$")
    assert "KeyError: 'the cause'" in [line.text for line in block]


def test_an_exception_in_other_scripts_is_logged(server):
    assert server.get("/unicode").status == 500
    server.log.expect_traceback("WSGI0174: ", r"^ValueError: caf(é|\\)")


def test_a_message_of_several_lines_cannot_forge_a_record(server):
    assert server.get("/many_lines").status == 500
    block = server.log.expect_traceback("WSGI0174: ", r'^[^"]*line three$')
    assert {line.level for line in block} == {"error"}


def test_an_exception_without_words_is_still_logged(server):
    assert server.get("/unprintable").status == 500
    server.log.expect_traceback("WSGI0174: ", "Unprintable: ")


def test_system_exit_is_a_500_and_the_child_lives_on(server):
    assert server.get("/exits").status == 500
    server.log.expect_traceback(
        "WSGI0175: .*SystemExit exception raised by WSGI script", "^SystemExit: leaving"
    )


@pytest.mark.parametrize("item", ["'text'", "bytearray(b'x')", "memoryview(b'x')", "7", "None"])
def test_an_item_that_is_not_bytes_is_a_500(server, item):
    assert server.get(f"/yields/first?{item}").status == 500
    server.log.expect_traceback("WSGI0174: .*TypeError", "^TypeError: ")


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "0x10", "4,4", "99999999999999999999"])
def test_a_bad_content_length_is_a_500(server, value):
    assert server.get(f"/content_length?{value}").status == 500
    server.log.expect_traceback("WSGI0174: .*ValueError", "^ValueError: ")


# --- after the head is out ------------------------------------------------------------------------

truncation_daemon = pytest.mark.differs(
    "truncation-daemon",
    "mod_wsgi's Apache takes whatever end a daemon's answer has for its end",
    mode="daemon",
)


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("path", "piece", "code"),
    [
        pytest.param("/raises_later", b"a piece", "WSGI0174", marks=truncation_daemon),
        ("/raises_later_with_length", b"a piece", "WSGI0174"),
        pytest.param(
            "/raises_after_write",
            b"written",
            "WSGI0174",
            marks=pytest.mark.differs(
                "truncation-after-write", "mod_wsgi appends its error page to what write() sent"
            ),
        ),
        pytest.param("/exits_later", b"a piece", "WSGI0175", marks=truncation_daemon),
        pytest.param("/yields/later?'text'", b"a piece", "WSGI0174", marks=truncation_daemon),
    ],
)
def test_a_failure_after_output_is_visible_to_the_client(server, path, piece, code):
    response = server.get(path)
    assert (response.status, response.body, response.truncated) == (200, piece, True)
    server.log.expect_traceback(f"{code}: ", "ValueError: after|SystemExit: leaving|TypeError: ")


@pytest.mark.differs(
    "truncation-closes", "mod_wsgi keeps the connection alive after an answer it cut short"
)
@pytest.mark.parametrize("path", ["/raises_later", "/raises_later_with_length"])
def test_a_truncated_answer_ends_its_connection(server, path):
    raw = server.raw(head(path) + head("/fine"))
    assert raw.count(b"HTTP/1.1 ") == 1
    assert b"\r\n0\r\n" not in raw
    server.log.expect_traceback("WSGI0174: ", "ValueError: after")


@pytest.mark.parametrize(
    ("path", "tail"),
    [("/close_raises", "ValueError: from close"), ("/close_is_odd", "ValueError: from looking")],
)
def test_a_failing_close_leaves_the_answer_alone(server, path, tail):
    response = server.get(path)
    assert (response.status, response.body, response.truncated) == (200, b"complete", False)
    server.log.expect_traceback("WSGI0174: |WSGI0194: ", tail)


# --- scripts that cannot be loaded ----------------------------------------------------------------


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("script", "code", "tail"),
    [
        ("syntax.wsgi", "WSGI0105", "SyntaxError: "),
        ("raises.wsgi", "WSGI0109", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("interrupts.wsgi", "WSGI0109", "KeyboardInterrupt"),
    ],
)
def test_a_script_that_cannot_be_loaded_is_a_500_and_tried_again(server, script, code, tail):
    for _ in range(2):
        assert server.get(f"/scripts/{script}").status == 500
    server.log.expect(code, "WSGI0174: ", f"^{tail}", count=2)
    server.log.allow("^Traceback ", r"^\s")


def test_a_script_that_exits_while_loading_is_a_500(server):
    assert server.get("/scripts/exits.wsgi").status == 500
    server.log.expect("WSGI0107: ")
    server.log.allow("WSGI017[45]: ", "^Traceback ", r"^\s", "^SystemExit: 3")


missing_callable_500 = pytest.mark.differs(
    "missing-callable-500", "mod_wsgi answers 404 in embedded mode", mode="embedded"
)


@pytest.mark.parametrize(
    ("path", "callable_", "script"),
    [
        pytest.param("/no_such_callable", "no_such_thing", "errors.py", marks=missing_callable_500),
        pytest.param(
            "/not_callable",
            "not_callable",
            "errors.py",
            marks=pytest.mark.differs(
                "missing-callable-500", "mod_wsgi calls what cannot be called"
            ),
        ),
        pytest.param(
            "/scripts/empty.wsgi", "application", "empty.wsgi", marks=missing_callable_500
        ),
    ],
)
def test_missing_callable_is_a_500_naming_callable_and_file(server, path, callable_, script):
    assert server.get(path).status == 500
    line = server.log.expect("WSGI0089: ")[0]
    assert callable_ in line.text
    assert script in line.text


def test_a_missing_script_is_a_404(server):
    assert server.get("/scripts/absent.wsgi").status == 404
    assert "absent.wsgi" in server.log.expect("WSGI0135: ")[0].text


def test_a_directory_is_a_403(server):
    assert server.get("/scripts/directory").status == 403
    server.log.expect("WSGI0136: ")


@pytest.mark.differs("unreadable-script-403", "mod_wsgi answers 500, with a traceback")
def test_an_unreadable_script_is_a_403(server, env):
    if env.user is None:
        pytest.skip("a file one owns oneself and cannot read proves nothing")
    assert server.get("/scripts/unreadable.wsgi").status == 403
    assert "unreadable.wsgi" in server.log.expect("WSGI0105: ")[0].text


def test_unaccepted_path_info_is_a_404(server):
    assert server.get("/no_path_info/x").status == 404
    server.log.expect("WSGI0137: ")


# --- Apache's part --------------------------------------------------------------------------------


def test_errordocument_applies_to_errors_of_the_module(server):
    response = server.get("/documented/raises")
    assert (response.status, response.text) == (500, "the administrator's page")
    server.log.expect_traceback("WSGI0174: ", "ValueError: before")


def test_head_of_a_failing_application_has_no_body(server):
    raw = server.raw(head("/raises", "Connection: close", method="HEAD"))
    assert raw.startswith(b"HTTP/1.1 500 ")
    assert split(raw)[1] == b""
    server.log.expect_traceback("WSGI0174: ", "ValueError: before")


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /fine HTTP/1.1\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nBroken header\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /fine HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 120 + b"\r\n",
        bytes(range(256)) * 4,
    ],
)
def test_a_malformed_request_gets_a_4xx(server, request_):
    with server.socket() as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        raw = read_all(sock)
    server.log.allow(r"^\[?(client|AH\d)")
    assert raw == b"" or raw.split(b" ")[1][:1] in (b"4", b"5")
    assert b"fine" not in split(raw)[1].replace(b"/fine", b"")
