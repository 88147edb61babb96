"""Every way in which an application can fail."""

import sys

from by_path import answer, by_path

TEXT = [("Content-Type", "text/plain")]


def fine(environ, start_response):
    return answer(start_response, "fine")


def raises(environ, start_response):
    raise ValueError("before start_response")


def raises_started(environ, start_response):
    start_response("200 OK", [("X-Never", "sent"), *TEXT])
    raise ValueError("after start_response")


def raises_first(environ, start_response):
    start_response("200 OK", TEXT)
    raise ValueError("before the first piece")
    yield


def raises_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"a piece"
    raise ValueError("after the first piece")


def raises_later_with_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "100")])
    yield b"a piece"
    raise ValueError("after the first piece")


def raises_after_write(environ, start_response):
    start_response("200 OK", TEXT)(b"written")
    raise ValueError("after write")


def chained(environ, start_response):
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise ValueError("the effect") from cause


def unicode(environ, start_response):
    raise ValueError("caf\xe9 \u20ac \U0001f40d")


def many_lines(environ, start_response):
    raise ValueError("line one\nline two\n[fake:emerg] line three")


def unprintable(environ, start_response):
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    raise Unprintable


def recursion(environ, start_response):
    return recursion(environ, start_response)


def exits(environ, start_response):
    sys.exit("leaving")


def exits_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"a piece"
    sys.exit("leaving")


def interrupts(environ, start_response):
    raise KeyboardInterrupt


def yields(environ, start_response):
    """/yields/first?<expression> or /yields/later?<expression>: an item that is not bytes."""
    start_response("200 OK", TEXT)
    if environ["PATH_INFO"].endswith("later"):
        yield b"a piece"
    yield eval(environ["QUERY_STRING"])


def returns(environ, start_response):
    """?<expression> is the return value."""
    start_response("200 OK", TEXT)
    return eval(environ["QUERY_STRING"])


def never_starts(environ, start_response):
    return [b"too early"]


def never_starts_nor_sends(environ, start_response):
    return []


def content_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", environ["QUERY_STRING"])])
    return [b"body"]


class Failing:
    """Iterates well and closes badly."""

    def __init__(self, error):
        self.error = error

    def __iter__(self):
        return iter([b"complete"])

    def close(self):
        raise self.error


def close_raises(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "8")])
    return Failing(ValueError("from close"))


def close_is_odd(environ, start_response):
    class Odd(Failing):
        @property
        def close(self):
            raise ValueError("from looking for close")

    start_response("200 OK", [*TEXT, ("Content-Length", "8")])
    return Odd(None)


application = by_path(globals())
not_callable = "a string"
