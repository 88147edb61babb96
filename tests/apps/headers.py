"""Calls start_response in right and wrong ways, and says what it answered."""

import sys
from urllib.parse import unquote

from by_path import answer, by_path


class Headers(list):
    pass


class Text(str):
    pass


def call(environ, start_response):
    """?<a tuple> calls start_response with it; a refusal is the answer's text."""
    arguments = eval(unquote(environ["QUERY_STRING"]))
    try:
        start_response(*arguments)
    except Exception as error:
        return answer(start_response, f"{type(error).__name__}: {error}")
    return [b"accepted"]


def keyword(environ, start_response):
    try:
        start_response(status="200 OK", headers=[])
    except TypeError as error:
        return answer(start_response, f"TypeError: {error}")
    return [b"accepted"]


def returned(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(f"{write.__name__} {callable(write)}".encode())
    return []


def twice(environ, start_response):
    """The second call, before anything is out, replaces the first."""
    start_response("500 First", [("X-First", "yes"), ("Content-Length", "999")])
    return answer(start_response, "second")


def twice_with_exc_info(environ, start_response):
    start_response("200 OK", [("X-First", "yes")])
    try:
        raise ValueError("the application's own")
    except ValueError:
        start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]


def after_output(environ, start_response):
    """?again or ?exc_info: what the second call says once the head is out."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"out|")
    try:
        if environ["QUERY_STRING"] == "again":
            start_response("200 OK", [])
        else:
            try:
                raise KeyError("the original")
            except KeyError:
                start_response("500 Late", [], sys.exc_info())
    except Exception as error:
        write(f"{type(error).__name__}: {error}".encode())
    return []


def write_str(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        write("text")
    except TypeError as error:
        write(f"TypeError: {error}".encode())
    return []


def many(environ, start_response):
    headers = [(f"X-Header-{n}", "v" * n) for n in range(90)]
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return [b"many"]


def unauthorised(environ, start_response):
    """Apache makes the page: WSGI's part is the challenge."""
    start_response(
        "401 Unauthorized",
        [("WWW-Authenticate", 'Basic realm="a"'), ("WWW-Authenticate", "Bearer"), ("X-Other", "1")],
    )
    return []


def original(environ, start_response):
    """Asks for a 500 by raising after its challenge."""
    start_response("200 OK", [("WWW-Authenticate", 'Basic realm="a"'), ("X-Lost", "yes")])
    raise ValueError("after start_response")


application = by_path(globals())
