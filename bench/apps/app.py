"""The application that every contender serves; a path for each case."""

import os
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = b"x" * 8192
BLOCK = b"x" * 65536
BLOCKS = 1024
LARGE = os.path.join(HERE, "large")
# How often `spin` goes round in 2 ms on this machine; bench/rounds.py has measured it.
with open(os.path.join(HERE, "spin")) as _file:
    SPIN = int(_file.read())


def answer(start_response, body):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ, start_response):
    return answer(start_response, b"Hello, world!")


def page(environ, start_response):
    return answer(start_response, PAGE)


def post(environ, start_response):
    length = int(environ["CONTENT_LENGTH"])
    if len(environ["wsgi.input"].read(length)) != length:
        raise OSError("the body is short")
    return answer(start_response, b"Hello, world!")


def sleep(environ, start_response):
    time.sleep(0.005)
    return answer(start_response, b"Hello, world!")


def spin(environ, start_response):
    total = 0
    for number in range(SPIN):
        total += number
    return answer(start_response, b"Hello, world!")


def stream(environ, start_response):
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(len(BLOCK) * BLOCKS)),
        ],
    )
    return (BLOCK for _ in range(BLOCKS))


def thirty(environ, start_response):
    blocks = 480
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(len(BLOCK) * blocks)),
        ],
    )
    return (BLOCK for _ in range(blocks))


def large(environ, start_response):
    file = open(LARGE, "rb")  # noqa: SIM115 - close() is the server's
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/octet-stream"),
            ("Content-Length", str(os.fstat(file.fileno()).st_size)),
        ],
    )
    # PEP 3333 leaves it to the server whether there is one.
    if wrapper := environ.get("wsgi.file_wrapper"):
        return wrapper(file, 65536)
    return iter(lambda: file.read(65536), b"")


def upload(environ, start_response):
    source, left = environ["wsgi.input"], int(environ["CONTENT_LENGTH"])
    while left and (block := source.read(min(left, 65536))):
        left -= len(block)
    if left:
        raise OSError("the body is short")
    return answer(start_response, b"Hello, world!")


def django(environ, start_response):
    # Importing Django must not count for the other pages.
    from django_site import application as site

    PATHS["/django"] = site
    return site(environ, start_response)


PATHS = {
    f"/{function.__name__}": function
    for function in (hello, page, post, sleep, spin, stream, thirty, large, upload, django)
}
# The same in a server without an application is a file.
PATHS["/pause"] = sleep


def application(environ, start_response):
    # With hundreds of process groups, each has a prefix of its own, which is in SCRIPT_NAME.
    return PATHS[environ["PATH_INFO"]](environ, start_response)
