"""The fields of docs/operations.md are those of real answers: each command with --json, ?json."""

import contextlib
import json
import os
import re
import signal

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import REPO
from harness.httpd import wait_until
from harness.status import status

pytestmark = pytest.mark.ours_only("mod_wsgi has no such answers")

APP = r"""
import os, time
HERE = os.path.dirname(__file__)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("on purpose")
    while path == "/wait" and not os.path.exists(os.path.join(HERE, "out", "finish")):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
LOOP = r"""
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""
# Its slot has no worker most of the time.
BROKEN = "import os\nos._exit(3)\n"
LOOP = r"""
import asyncio, os
FINISH = os.path.join(os.path.dirname(__file__), "out", "finish")
async def application(scope, receive, send):
    while scope["path"].endswith("wait") and not os.path.exists(FINISH):
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""
KINDS = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def conf(orders=False):
    if orders:
        text = """
    WSGIDaemonProcess site processes=2 threads=2
    WSGIDaemonProcess loop threads=1 asgi-lifespan=off
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    ASGIScriptAlias /loop ${ROOT}/loop.py process-group=loop application-group=%{GLOBAL}
    """
        files = (("app.py", APP), ("loop.py", LOOP), ("out/README", ""))
        return Conf(text, files=files, timeout=60)
    text = """
    WSGIDaemonProcess site processes=2 threads=2 preload=On
    WSGIDaemonProcess broken threads=1
    WSGIScriptAlias /app ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    WSGIScriptAlias /broken ${ROOT}/broken.py process-group=broken application-group=%{GLOBAL}
    WSGIScriptAlias /own ${ROOT}/app.py
    WSGIDaemonProcess loop processes=1
    ASGIScriptAlias /loop ${ROOT}/loop.py process-group=loop
    <Location /wsgi-status>
        SetHandler wsgi-status
    </Location>
    """
    files = (("app.py", APP), ("broken.py", BROKEN), ("loop.py", LOOP), ("out/README", ""))
    return Conf(text, files=files, timeout=60)


def rows(heading):
    """The fields of a section, and the kinds that each may have."""
    page = (REPO / "docs/operations.md").read_text()
    section = page.partition(f"\n### {heading}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    found = {}
    for names, kinds in re.findall(r"^\| (`.*?`) \| ([a-z ]+) \|", section, re.M):
        for name in re.findall(r"`([^`]+)`", names):
            assert name not in found, name
            found[name] = set(kinds.split(" or "))
    assert found
    return found


def documented():
    names = ("status --json", "ps --json", "top --json", "wsgi-status?json")
    of_status, of_ps, of_top, of_page = map(rows, names)
    of_top |= {name: kinds for name, kinds in of_status.items() if name != "error"}
    for name, kinds in of_status.items():
        if name.startswith("groups[].workers[]"):
            of_ps[name.removeprefix("groups[].")] = kinds
    for name in [name for name in of_page if name.endswith(".…") and name != "embedded.…"]:
        del of_page[name]
        short, like = name[:-1], name[:-1].replace("recent.", "")
        fields = [(field, kinds) for field, kinds in of_page.items() if field.startswith(like)]
        assert fields, name
        of_page |= {field.replace(like, short): kinds for field, kinds in fields}
    for name, kinds in [*of_page.items()]:
        if kinds == {"as above"}:
            of_page[name] = of_status[name]
        if name.startswith("groups[].requests."):
            kinds = of_page[name]
            of_page[name.replace("groups[].requests", "embedded", 1)] = kinds
    del of_page["embedded.…"]
    return {"status": of_status, "ps": of_ps, "top": of_top, "page": of_page}


def leaves(value, path=""):
    """(path, kind) of each value below this one that has none below it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
        if value:
            yield path, "object"
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path + "[]")
    else:
        yield path, KINDS[type(value)]


def pattern(name):
    """`exits.REASON` is any field of `exits`."""
    return re.compile(re.sub(r"[A-Z]{4,}", r"\\w+", re.escape(name)))


class Compared:
    """What answers had, beside what is documented."""

    def __init__(self, fields):
        self.kinds = fields
        self.patterns = {name: pattern(name) for name in fields}
        self.missing = set(fields)
        self.wrong = set()

    def take(self, answer):
        for path, kind in leaves(answer):
            names = [name for name, it in self.patterns.items() if it.fullmatch(path)]
            self.missing -= set(names)
            # An object is documented only where something else may be in its place.
            if kind != "object" and not any(kind in self.kinds[name] for name in names):
                self.wrong.add((path, kind))


def test_answers_have_the_fields_that_are_documented_and_no_others(start, asks):
    server = start()
    server.log.allow("on purpose", "WSGI0174", "ValueError", "Traceback", "^  ", "exited with")
    server.log.allow("WSGI0117", "not started", "broken")
    assert [server.get(f"/{place}/raise").status for place in ("app", "own")] == [500, 500]
    assert server.get("/loop").status == 200
    compared = {name: Compared(fields) for name, fields in documented().items()}
    compared["status"].take(asks(server, "status", "no-such-group", status=3))
    compared["top"].take(asks(server, "top", "no-such-group", status=1))
    with server.socket() as sock, server.socket() as own:
        sock.sendall(b"GET /app/wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        own.sendall(b"GET /own/wait HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def is_complete():
            compared["status"].take(asks(server, "status"))
            compared["ps"].take(asks(server, "ps"))
            compared["top"].take(asks(server, "top", "--count", "1"))
            compared["page"].take(status(server))
            return not any(it.missing for it in compared.values())

        try:
            wait_until(is_complete, "all fields", timeout=30)
        except AssertionError:
            assert {name: it.missing for name, it in compared.items()} == {}
        (server.root / "out/finish").touch()
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        assert own.recv(100).startswith(b"HTTP/1.1 200")
    assert {name: it.wrong for name, it in compared.items()} == {
        "status": set(),
        "ps": set(),
        "top": set(),
        "page": set(),
    }


ORDERS, STACKS, LEVEL = "reload, recycle and drain --json", "stacks --json", "log-level --json"


def test_orders_print_the_fields_that_are_documented_and_no_others(start, asks):
    server = start(orders=True)
    assert server.get("/loop").status == 200
    compared = {name: Compared(rows(name)) for name in (ORDERS, STACKS, LEVEL)}

    def take(name, *words, status):
        answer = asks(server, *words, status=status)
        compared[name].take(answer)
        return answer

    with contextlib.ExitStack() as stack:
        for path in ("/app/wait", "/loop/wait"):
            sock = stack.enter_context(server.socket())
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        of_stacks = compared[STACKS]

        def is_complete():
            for group in ("site", "loop"):
                compared[STACKS].take(asks(server, "stacks", group))
            return of_stacks.missing == {"error"}

        with contextlib.suppress(AssertionError):
            wait_until(is_complete, "all fields", timeout=30)
        (server.root / "out/finish").touch()
    take(LEVEL, "log-level", "site", "debug", status=0)
    replaced = take(ORDERS, "reload", "site", status=0)["replaced"]
    take(ORDERS, "recycle", str(replaced[0]["pid"]), status=0)
    server.write("app.py", "raise RuntimeError('on purpose')\n")
    server.log.allow("on purpose", "Traceback", r"^ ", "could not load", "WSGI0109", "WSGI0174")
    server.log.allow(r"^\[script")
    assert not take(ORDERS, "reload", "site", status=1)["done"]
    take(ORDERS, "drain", "site", status=0)
    for name, order in ((ORDERS, "reload"), (STACKS, "stacks"), (LEVEL, "log-level")):
        take(name, order, "nothing", status=1)
    assert {name: it.missing for name, it in compared.items() if it.missing} == {}
    assert {name: it.wrong for name, it in compared.items() if it.wrong} == {}


def test_an_error_before_any_answer_is_an_object_as_well(start, run, asks):
    server = start(orders=True)
    (group,) = asks(server, "status", "site")["groups"]
    daemons.freeze(group["manager"]["pid"])
    try:
        for command in ("stacks", "log-level", "reload"):
            told = asks(server, command, "site", "--timeout", "1", status=1)
            assert list(told) == ["error"]
            assert "process group 'site': " in told["error"]
    finally:
        os.kill(group["manager"]["pid"], signal.SIGCONT)
    nowhere = server.root / "no-such-folder"
    for words in (["ps"], ["drain", "site"], ["reload", "site"], ["recycle", str(os.getpid())]):
        done = run(server, *words, "--json", folder=nowhere)
        assert (done.returncode, done.stderr) == (1, "")
        assert list(json.loads(done.stdout)) == ["error"]
        assert "no-such-folder" in done.stdout
