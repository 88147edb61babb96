"""What applications print: line by line, into the right error log, with the right request."""

import concurrent.futures
import re
from urllib.parse import quote

import pytest
from harness.conf import Conf
from harness.error_log import ErrorLog
from harness.httpd import wait_until

LOGGING = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /validated ${APPS}/logging_.py callable-object=validated
    WSGIScriptAlias / ${APPS}/logging_.py
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName other.example
        ErrorLog "${ROOT}/other_log"
        ErrorLogFormat "[%t] [%-m:%l] [pid %P] %T %M|client=%a|page=%{X-Page}i"
    </VirtualHost>
    """
)

OURS = r"^(\[client [^]]*\] )?\[script [^]]*logging_.py\] "


@pytest.fixture
def server(serve):
    server = serve(LOGGING)
    server.log.allow("while loading$")
    return server


@pytest.fixture
def written(server):
    """written(text, stream) is the error log's records after an application wrote the text."""

    def written(expression, stream="errors"):
        assert server.get(f"/write/{stream}?{quote(expression)}").text == "written"
        # httpd cuts what is too long for a line, and the rest has no script before it.
        server.log.allow(r"logging_\.py\] ", "^x+$", r"^\[\.\.\.\] ")
        return records(server)

    return written


def records(server):
    """The texts of the error log's records of the module at level error."""
    lines = server.log.lines()
    return [line.text for line in lines if (line.module, line.level) == ("wsgi", "error")]


@pytest.mark.all_mpms
@pytest.mark.parametrize("stream", ["errors", "stdout", "stderr"])
def test_a_line_is_one_record_with_its_script(server, stream):
    server.get(f"/write/{stream}?'a line\\n'".replace(" ", "%20"))
    (line,) = server.log.expect(OURS + "a line$")
    assert (line.module, line.level) == ("wsgi", "error")


@pytest.mark.differs("thread-lines", "mod_wsgi's threads share one line", always=False)
def test_lines_of_threads_are_not_mixed(server):
    server.get("/threads")
    server.log.expect("thread", count=1200)
    wanted = {f"thread {name} line {number} end" for name in range(6) for number in range(200)}
    assert {line.text for line in server.log.find("thread|line|end")} == wanted


@pytest.mark.parametrize("stream", ["errors", "stdout", "stderr"])
def test_pieces_of_a_line_are_kept_together_until_the_request_ends(server, stream):
    assert server.get(f"/partial/{stream}").text == "written"
    server.log.expect(OURS + "a line in three pieces$", OURS + "half a line$")


def test_flush_ends_a_record(server):
    assert server.get("/flushed").text == "written"
    server.log.expect(OURS + "first half$", OURS + "second half$")


def test_lines_and_bytes_are_written_alike(server):
    assert server.get("/writelines").text == "written"
    server.log.expect(*[f"{OURS}{text}$" for text in ("one", "two", "bytes", "more bytes")])


@pytest.mark.parametrize(
    ("expression", "texts"),
    [
        (r"'one\ntwo\nthree\n'", ["one", "two", "three"]),
        (r"'one\n\ntwo'", ["one", "two"]),
        (r"''", []),
        (r"'\tindented\n'", [r"\tindented|\\tindented"]),
        (r"'caf\xe9 \u20ac\n'", [r"café €|caf\\xc3\\xa9 \\xe2\\x82\\xac"]),
        (r"'lone \ud800 surrogate\n'", [r"lone \? surrogate"]),
        (r"'a %s %d %n percent\n'", ["a %s %d %n percent"]),
    ],
)
def test_text_becomes_records(server, written, expression, texts):
    written(expression)
    # What ends with the request and not with its line may come after the answer.
    for text in texts:
        server.log.wait_for(OURS + f"({text})")
    # The first request of a server also loads the script, which writes a line.
    found = [it.rpartition("] ")[2] for it in records(server) if "while loading" not in it]
    assert len([text for text in found if text]) == len(texts)


def test_a_line_is_no_forged_record(server, written):
    (record,) = written(r"'innocent\r[fake:emerg] [pid 1] x\n'")
    assert "innocent" in record


@pytest.mark.parametrize("length", [8000, 20_000, 200_000])
def test_a_long_line_does_no_harm(server, written, length):
    found = written(f"'x' * {length} + '\\n'")
    assert 7000 < sum(record.count("x") for record in found) <= length + 100
    assert server.get("/attributes").status == 200


@pytest.mark.parametrize("length", [20_000, 200_000])
@pytest.mark.parametrize("character", ["x", "\xe9", "\U0001f600"])
@pytest.mark.differs("long-lines", "mod_wsgi loses what Apache cuts")
def test_no_part_of_a_long_line_is_lost(server, character, length):
    server.log.allow(r"logging_\.py\] ", r"^\[\.\.\.\] ")
    text = rf"'\U{ord(character):08x}' * {length} + ' and its end\n'"
    assert server.get(f"/write/errors?{quote(text)}").text == "written"
    server.log.wait_for("and its end$")
    lines = [line for line in server.log.lines() if line.module == "wsgi"]
    # The first request of a server also loads the script, which writes a line.
    found = [line.text for line in lines if line.level == "error" and "loading" not in line.text]
    # The path of the script may have the character, too.
    first, *others = found
    pieces = [re.sub(OURS, "", first), *(record.removeprefix("[...] ") for record in others)]
    escaped = "".join(f"\\x{byte:02x}" for byte in character.encode())
    found = character if character in pieces[0] else escaped
    assert sum(piece.count(found) for piece in pieces) == length
    for number, piece in enumerate(pieces):
        # Nothing but whole characters, between the marks.
        end = " and its end" if number == len(pieces) - 1 else " [...]"
        assert piece.removesuffix(end).replace(found, "") == ""


def test_a_nul_does_no_harm(server, written):
    assert "before" in written(r"'before\0after\n'")[0]


@pytest.mark.differs("stderr-descriptor", "mod_wsgi's sys.stderr has no descriptor", mode="daemon")
def test_the_streams_look_like_text_files(server):
    request, raw, stdout, stderr = (
        line.split() for line in server.get("/attributes").text.split("\n")
    )
    rest = ["utf-8", "replace", "False", "False", "False", "False", "True", "OSError"]
    assert request[1:] == ["<wsgi.errors>", *rest]
    assert raw[1:] == ["<wsgi.errors>", *rest]
    assert stdout[1:] == ["<stdout>", *rest]
    # Programs that an application starts get it, and faulthandler writes to it.
    number = "number" if server.mode == "daemon" else "OSError"
    assert stderr[1:] == ["<stderr>", *rest[:-1], *(["a"] if number == "number" else []), number]


FAULTHANDLER = """
import faulthandler, subprocess, sys
faulthandler.enable()
def application(environ, start_response):
    faulthandler.dump_traceback(all_threads=False)
    subprocess.run(["echo", "from a program"], stdout=sys.stderr, check=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(sys.stderr.fileno()).encode()]
"""


@pytest.mark.differs("stderr-descriptor", "mod_wsgi's sys.stderr has no descriptor")
def test_standard_error_of_a_daemon_process_has_its_descriptor(serve, mode):
    if mode == "embedded":
        pytest.skip("that of Apache's own processes may lead nowhere")
    text = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/app.py\n"
    server = serve(Conf(text, files=(("app.py", FAULTHANDLER),)), private=True)
    response = server.get("/")
    assert (response.status, response.text) == (200, "2")
    server.log.expect("in application", "from a program")
    server.log.allow("most recent call first", "^  File ", "^$", "^Current thread", "^Thread ")


def test_logging_warnings_and_tracebacks_arrive(server):
    assert server.get("/by_logging").text == "logged"
    server.log.expect(
        OURS + "through the logging module",
        OURS + ".*UserWarning: through the warnings module",
        OURS + r"Traceback \(most recent call last\):",
        OURS + "ValueError: printed by the application",
        OURS + " ",
    )


LEVELS = """
import logging
log = logging.getLogger("app")
log.warning("while loading")
def application(environ, start_response):
    for level in ("critical", "error", "warning", "info"):
        getattr(log, level)("a record\\nof " + level)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""
LEVELS_OF = {"critical": "crit", "error": "error", "warning": "warn"}
# logging may be there before the module can do anything about it.
EARLY = "import logging, sys; sys.early = True\n"


@pytest.mark.differs("last-resort-level", "mod_wsgi writes all records at error")
@pytest.mark.parametrize("group", ["%{GLOBAL}", "sub"])
@pytest.mark.parametrize("early", ["", EARLY], ids=["late", "early"])
def test_records_without_a_handler_keep_their_level(serve, group, early):
    text = f"""
    WSGIPythonPath ${{ROOT}}/packages
    WSGIScriptAlias / ${{ROOT}}/app.py application-group={group}
    """
    script = LEVELS + (early and "import sys\nassert sys.early\n")
    files = (("app.py", script), ("packages/early.pth", early))
    server = serve(Conf(text, files=files), private=True)
    assert server.get("/").text == "ok"
    for name, level in LEVELS_OF.items():
        for line in server.log.expect(f"of {name}$"):
            assert line.level == level
    assert {line.level for line in server.log.expect("while loading$")} == {"warn"}
    server.log.expect("a record$", count=3)
    assert not server.log.find("of info")


HANDLED = """
import logging, sys
logging.basicConfig(stream=sys.stderr, format="formatted %(message)s")
def application(environ, start_response):
    logging.warning("by its handler")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


def test_records_with_a_handler_are_left_to_the_handler(serve):
    text = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/app.py\n"
    server = serve(Conf(text, files=(("app.py", HANDLED),)), private=True)
    assert server.get("/").text == "ok"
    (line,) = server.log.expect("formatted by its handler$")
    assert line.level == "error"


PRINTS = """
import sys, threading
def application(environ, start_response):
    name = environ["SCRIPT_NAME"]
    sys.stdout.write(name + " half")
    sys.stderr.write(name + " in between\\n")
    print(name, "printed")
    print(name, "to the error stream", file=sys.stderr)
    thread = threading.Thread(target=print, args=(name, "in a thread"))
    thread.start()
    thread.join()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@pytest.mark.ours_only("WSGIPrintLevel")
def test_printed_lines_have_the_level_of_the_configuration(serve):
    text = """
    WSGIPrintLevel info
    <WSGIInterpreterOptions application-group=loud>
        WSGIPrintLevel warn
    </WSGIInterpreterOptions>
    WSGIScriptAlias /loud ${ROOT}/app.py application-group=loud
    WSGIScriptAlias /main ${ROOT}/app.py application-group=%{GLOBAL}
    """
    server = serve(Conf(text, files=(("app.py", PRINTS),)), private=True)
    for path, level in (("/main", "info"), ("/loud", "warn")):
        assert server.get(path).text == "ok"
        for text in ("half", "printed", "in a thread"):
            (line,) = server.log.expect(f"{path} {text}$")
            assert line.level == level, text
        for text in ("in between", "to the error stream"):
            (line,) = server.log.expect(f"{path} {text}$")
            assert line.level == "error", text


def test_output_of_a_loading_script_is_logged(serve):
    server = serve(LOGGING, private=True)
    assert server.get("/attributes").status == 200
    server.log.expect("while loading$")


def test_a_thread_without_a_request_logs_without_a_script(server):
    assert server.get("/from_thread").text == "logged"
    (line,) = server.log.expect("from a thread$")
    assert "[script " not in line.text


@pytest.mark.all_mpms
@pytest.mark.differs(
    "daemon-log-request", "mod_wsgi's daemons know no headers of the request", mode="daemon"
)
@pytest.mark.parametrize("stream", ["errors", "stdout", "stderr"])
def test_a_virtual_hosts_lines_are_in_its_own_log_with_its_client(server, stream):
    log = ErrorLog(server.root / "other_log")
    log.begin()
    server.get(f"/write/{stream}?'elsewhere'", host="other.example", headers={"X-Page": "p1"})
    (line,) = log.wait_for("elsewhere")
    assert line.level == "error"
    assert "|client=127.0.0.1:" in line.text
    assert line.text.endswith("|page=p1")
    assert not server.log.find("elsewhere")


def test_lines_of_an_iteration_belong_to_its_request(server):
    assert server.get("/while_iterating").body == b"onetwo"
    server.log.expect(OURS + "in the first piece$", OURS + "in the second piece$")


def test_two_requests_at_once_do_not_mix_their_lines(server):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda who: server.get(f"/interleaved?{who}").text, ["one", "two"])
        assert list(answers) == ["logged"] * 2
    server.log.expect(OURS + "one begins, one ends$", OURS + "two begins, two ends$")


def test_a_stream_kept_after_its_request_refuses(server):
    assert server.get("/keep").text == "kept"
    # The client has its answer a moment before the server is done with the request.
    refusal = r"RuntimeError .*wsgi.errors.*\nRuntimeError .*wsgi.errors.*"
    wait_until(lambda: re.fullmatch(refusal, server.get("/use_kept").text), "both to be refused")
    server.log.allow("late|Exception ignored|RuntimeError")


def test_validator_accepts_wsgi_errors(server):
    assert server.get("/validated/partial/errors").text == "written"
    server.log.expect(OURS + "a line in three pieces$", OURS + "half a line$")


# --- LogLevel -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "shown"), [("wsgi:warn", False), ("wsgi_module:warn", False), ("wsgi:debug", True)]
)
def test_loglevel_filters_the_records_of_the_module(serve, level, shown):
    conf = Conf("WSGIScriptAlias / ${APPS}/environ.py", wsgi_level=level)
    server = serve(conf, private=True)
    assert server.get("/").status == 200
    assert bool(server.log.find("Loading WSGI script")) is shown


@pytest.mark.parametrize("level", ["wsgi:crit", "wsgi:error"])
def test_loglevel_decides_about_an_applications_lines_too(serve, level):
    server = serve(Conf(LOGGING.text, wsgi_level=level), private=True)
    assert server.get("/write/errors?'a line'".replace(" ", "%20")).text == "written"
    if level == "wsgi:error":
        server.log.expect("a line$", "while loading$")
    server.stop()
    assert bool(server.log.find("a line$")) is (level == "wsgi:error")
