"""Every shape a response may have."""

import json
import sys
import threading

from by_path import answer, by_path

TEXT = [("Content-Type", "text/plain")]
closed = []
kept = {}
TIMEOUT = 10


def hello(environ, start_response):
    return answer(start_response, "Hello World!")


def pieces(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one,", b"", b"two,", b"three"]


def generator(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"first,"
    yield b""
    yield b"second"


def late_start(environ, start_response):
    """A generator may call start_response as late as just before its first item."""
    yield from ()
    start_response("202 Later", TEXT)
    yield b"late"


def empty(environ, start_response):
    start_response("200 OK", TEXT)
    return []


def nothing_but_empty(environ, start_response):
    start_response("200 OK", [*TEXT, ("X-Kept", "yes")])
    return [b"", b""]


def writer(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"written,")
    write(b"")
    write(b"again,")
    return [b"returned"]


def writer_only(environ, start_response):
    start_response("200 OK", TEXT)(b"written")
    return []


def located(environ, start_response):
    """/located?<status>&<where to>"""
    status, _, where = environ["QUERY_STRING"].partition("&")
    more = [("Location", where), ("Set-Cookie", "from=located"), ("X-From", "located")]
    body = b"not here"
    start_response(f"{status} There", [*TEXT, *more, ("Content-Length", str(len(body)))])
    return [body]


def circle(environ, start_response):
    start_response("200 OK", [*TEXT, ("Location", "/circle")])
    return [b"round and round"]


def arrived(environ, start_response):
    """What is left of the request that was located first."""
    names = ["REQUEST_METHOD", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"]
    names += ["REDIRECT_URL", "REDIRECT_STATUS", "REDIRECT_REQUEST_METHOD", "HTTP_X_ASKED"]
    told = {name: environ[name] for name in names if name in environ}
    told["body"] = len(environ["wsgi.input"].read())
    return answer(start_response, json.dumps(told), "application/json")


def status(environ, start_response):
    """/status/<the status line>, with a body that some statuses must not have."""
    start_response(environ["PATH_INFO"].split("/", 2)[2], TEXT)
    return [b"body"]


def bodiless(environ, start_response):
    """/bodiless/204 or 304, as an application that knows the rules answers them."""
    start_response(environ["PATH_INFO"].split("/", 2)[2] + " None", [("X-Kept", "yes")])
    return []


def length(environ, start_response):
    """?<declared>,<piece>,<piece>… declares one length and sends what it likes."""
    declared, *parts = environ["QUERY_STRING"].split(",")
    start_response("200 OK", [*TEXT, ("Content-Length", declared)])
    return Closing(part.encode() for part in parts)


def method(environ, start_response):
    return answer(start_response, environ["REQUEST_METHOD"])


class Closing:
    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return self.items

    def close(self):
        closed.append("closed")
        print("close() was called", file=sys.stderr)


def closing(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing([b"a", b"b"])


def closing_fails(environ, start_response):
    """Raises after the first piece; close() is still due."""
    start_response("200 OK", TEXT)

    def items():
        yield b"a"
        raise ValueError("in the middle")

    return Closing(items())


def closing_refuses(environ, start_response):
    """Raises before anything is out; close() is still due."""
    start_response("200 OK", TEXT)

    def items():
        raise ValueError("at the beginning")
        yield

    return Closing(items())


def endless(environ, start_response):
    """Stops only when the server stops asking."""
    start_response("200 OK", TEXT)

    def items():
        while True:
            yield b"x" * 65536

    return Closing(items())


def endless_write(environ, start_response):
    """write() must raise once the client has left."""
    write = start_response("200 OK", TEXT)
    try:
        for _ in range(10_000):
            write(b"x" * 65536)
    except OSError as error:
        print("write raised OSError:", error, file=sys.stderr)
    return []


def getitem(environ, start_response):
    """The old sequence protocol is an iterable too."""

    class Sequence:
        def __getitem__(self, index):
            return [b"x", b"y"][index]

    start_response("200 OK", TEXT)
    return Sequence()


class Instance:
    def __init__(self, environ, start_response):
        self.start = start_response

    def __iter__(self):
        self.start("200 OK", TEXT)
        yield b"a class is an application"


as_class = Instance


def ticks(environ, start_response):
    """The second piece comes only once /release was asked for."""
    event = kept["event"] = threading.Event()
    start_response("200 OK", TEXT)
    yield b"tick\n"
    event.wait(10)
    yield b"tock\n"


def release(environ, start_response):
    kept["event"].set()
    return answer(start_response, "released")


def keep(environ, start_response):
    kept["start"], kept["write"] = start_response, start_response("200 OK", TEXT)
    return [b"kept"]


def use_kept(environ, start_response):
    said = []
    for call in (lambda: kept["start"]("200 OK", TEXT), lambda: kept["write"](b"x")):
        try:
            call()
        except RuntimeError as error:
            said.append(f"RuntimeError {error}")
    return answer(start_response, "\n".join(said))


def big(environ, start_response):
    """/big/<pieces of 64 KiB>"""
    count = int(environ["PATH_INFO"].split("/")[2])
    start_response("200 OK", [*TEXT, ("Content-Length", str(count * 65536))])
    return (bytes([65 + n % 26]) * 65536 for n in range(count))


def error_page(environ, start_response):
    """/error_page/<status>: an error with a body of the application's own."""
    return answer(
        start_response, "the application's page", status=environ["PATH_INFO"].split("/", 2)[2]
    )


def lingering(environ, start_response):
    """/lingering?<where>: goes on until /let_go although all of its answer is there."""
    kept["lingering"] = threading.Event()
    write = start_response("200 OK", [*TEXT, ("Content-Length", "4")])
    return Lingering(environ["QUERY_STRING"], write, kept["lingering"])


class Lingering:
    def __init__(self, where, write, event):
        self.where, self.write, self.event = where, write, event

    def __iter__(self):
        if self.where == "write":
            self.write(b"here")
        else:
            yield b"here"
        if self.where != "close":
            self.event.wait(TIMEOUT)

    def close(self):
        if self.where == "close":
            self.event.wait(TIMEOUT)
        print("let go" if self.event.is_set() else "waited in vain", file=sys.stderr)


def let_go(environ, start_response):
    kept["lingering"].set()
    return answer(start_response, "done")


application = by_path(globals())
