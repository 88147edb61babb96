"""WSGILogFormat json: records of Python's logging are lines of JSON in Apache's error log."""

import json
import re

import pytest
from harness.conf import Conf
from harness.httpd import wait_until
from harness.json_lines import records

pytestmark = pytest.mark.ours_only("mod_wsgi has no WSGILogFormat")

APP = r"""
import logging, sys, threading
import mod_wsgi
log = logging.getLogger("shop.cart")
log.warning("while %s", "loading")
print("printed while loading")
HOSTILE = "\"}, {\\ \x1b[2J\u2028 \U0001f600 \xe9"
OWN = logging.getLogger("own")
OWN.propagate = False
OWN.addHandler(mod_wsgi.LogHandler())
OWN.handlers[0].setFormatter(logging.Formatter("own: %(message)s"))
class Loop(dict):
    pass
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        try:
            raise ValueError('quoted "text" \\ and caf\xe9')
        except ValueError:
            log.exception("failed\nwith a second line")
    elif path == "/long":
        log.error("x" * 50_000, extra={"much": "y" * 50_000})
    elif path == "/deep":
        def deep(depth):
            if depth == 0:
                raise RuntimeError("at the bottom " + "z" * 9000 + " the end")
            deep(depth - 1)
        try:
            deep(200)
        except RuntimeError:
            log.exception("m" * 20_000, stack_info=True)
    elif path == "/extra":
        loop = []
        loop.append(loop)
        deep = []
        for _ in range(10_000):
            deep = [deep]
        class Silent:
            def __repr__(self):
                raise ValueError
        more = {"order": 7, "what": object(), "loop": loop, "deep": deep, "silent": Silent()}
        log.error("more", extra=more | {"keys": {(1, 2): 3}, "number": float("nan")})
    elif path == "/hostile":
        log.error(HOSTILE)
    elif path == "/wide":
        log.error("\U0001f600" * 20_000 + HOSTILE, exc_info=ValueError("\U0001f600" * 9000 + "end"))
    elif path == "/print":
        print(HOSTILE)
        print("to stderr", file=sys.stderr)
        print("x" * 9000, end="", file=environ["wsgi.errors"])
        print(HOSTILE * 2000, file=sys.stderr)
    elif path == "/thread":
        thread = threading.Thread(target=log.error, args=("outside of a request",))
        thread.start()
        thread.join()
    elif path == "/own":
        OWN.error("as before")
    else:
        log.warning("id")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(environ.get("mod_wsgi.request_id")).encode()]
"""

HOSTILE = '"}, {\\ \x1b[2J\u2028 \U0001f600 \xe9'

# As docs/directives.md has it: one backslash of two, and nothing before the JSON.
SED = r"""'s/\\\\/\\/g; s/^.*{"time"/{"time"/'"""


def conf(lines="WSGILogFormat json", more=""):
    text = f"""
    {lines}
    WSGIScriptAlias /other ${{ROOT}}/app.py application-group=other
    WSGIScriptAlias / ${{ROOT}}/app.py application-group=%{{GLOBAL}}
    {more}
    """
    return Conf(text, files=(("app.py", APP),))


def find(server, **wanted):
    """The only record with these values."""

    def found():
        every = records(server.log.text())
        return [it for it in every if wanted.items() <= it.items()]

    [record] = wait_until(found, f"a record with {wanted}")
    return record


def test_records_and_printed_lines_are_one_line_of_json_each(serve, mode):
    server = serve(conf(), private=True)
    server.log.allow('"time"', r"^own: as before$")
    own = {"process_group": "tests" if mode == "daemon" else "", "application_group": ""}

    # A record has its level, its logger and the ids of its request.
    number = server.get("/id").text
    (line,) = server.log.find('"message": "id"')
    assert line.level == "warn"
    record = find(server, message="id")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record.pop("pid") > 1
    expected = {"level": "WARNING", "logger": "shop.cart", "message": "id", "request_id": number}
    assert record == expected | own

    # What is written while the script is loaded belongs to the request that loads it, if one does.
    assert find(server, message="while loading")["logger"] == "shop.cart"
    assert find(server, message="printed while loading")["logger"] == "sys.stdout"

    # An exception, and what would break the line.
    server.get("/raise")
    record = find(server, message="failed\nwith a second line")
    trace = record["exception"].splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == 'ValueError: quoted "text" \\ and caf\xe9'
    server.get("/hostile")
    assert find(server, message=HOSTILE)["level"] == "ERROR"

    # Long records stay one line, and say that something is missing.
    server.get("/long")
    record = find(server, truncated=True, level="ERROR")
    assert record["message"].startswith("xxx")
    assert "extra" not in record
    server.get("/deep")
    [record] = [it for it in records(server.log.text()) if it["message"].startswith("mmm")]
    assert record["truncated"] is True
    assert record["exception"].endswith(" the end")
    server.get("/wide")
    [record] = [it for it in records(server.log.text()) if it["message"].startswith("\U0001f600")]
    assert record["exception"].endswith("end")

    # Fields of the application, whatever they are.
    server.get("/extra")
    extra = find(server, message="more")["extra"]
    assert extra["order"] == 7
    assert extra["what"].startswith("<object object")
    assert extra["loop"] == "[[...]]"
    assert extra["silent"] == "<Silent>"
    assert extra["keys"] == "{(1, 2): 3}"
    assert extra["number"] == "nan"
    assert "[[[[" in extra["deep"] or extra["deep"] == "<list>"

    # Outside of a request, and with a formatter of the application's.
    server.get("/thread")
    assert find(server, message="outside of a request")["request_id"] is None
    server.get("/own")
    server.log.expect(r"own: as before$")


def test_printed_lines_are_json(serve, mode):
    server = serve(conf("WSGILogFormat json\nWSGIPrintLevel warn"), private=True)
    server.log.allow('"time"')
    number = server.get("/print").text
    record = find(server, message=HOSTILE, logger="sys.stdout")
    assert (record["level"], record["request_id"]) == ("WARNING", number)
    assert record["process_group"] == ("tests" if mode == "daemon" else "")
    assert find(server, message="to stderr")["logger"] == "sys.stderr"
    # Nothing but the end of the request ends it.
    record = find(server, logger="wsgi.errors")
    assert record["truncated"] is True
    assert record["request_id"] == number
    assert record["message"] == "x" * len(record["message"])
    [record] = [
        it
        for it in records(server.log.text())
        if it["logger"] == "sys.stderr" and it["message"] != "to stderr"
    ]
    assert record["truncated"] is True
    assert (HOSTILE * 2000).startswith(record["message"])
    # In pieces of httpd, no line would be JSON by itself.
    assert all(line.text.endswith("}") for line in server.log.find('"time"'))


def test_interpreter_has_a_format_of_its_own(serve):
    lines = """
    <WSGIInterpreterOptions application-group=other>
        WSGILogFormat json
    </WSGIInterpreterOptions>
    """
    server = serve(conf(lines), private=True)
    server.log.allow("while loading", "printed", r"\] id$", '"time"')
    server.get("/id")
    server.log.expect(r"\] id$")
    server.get("/other/id")
    assert find(server, message="id")["application_group"] == "other"


def test_program_behind_the_error_log_makes_valid_json_of_the_lines(private):
    # As docs/directives.md has it.
    host = """
    <VirtualHost *:${PORT}>
        ErrorLog "|${ROOT}/program"
    </VirtualHost>
    """

    def prepare(server):
        program = server.root / "program"
        log = server.root / "json_log"
        program.write_text(f"#!/bin/sh\nexec sed -u {SED} >>{log}\n")
        program.chmod(0o755)

    server = private(conf(more=host), prepare)
    server.get("/raise")
    server.get("/hostile")

    def written():
        log = server.root / "json_log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if line.startswith('{"time"')]

    found = wait_until(lambda: [it for it in written() if it["message"] == HOSTILE], "the record")
    assert len(found) == 1
    [record] = [it for it in written() if "exception" in it]
    assert record["exception"].endswith('quoted "text" \\ and caf\xe9')
