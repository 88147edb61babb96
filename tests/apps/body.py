"""Reads wsgi.input in every way PEP 3333 names, and says what came of it."""

import json

from by_path import answer, by_path

kept = []


def tell(start_response, value):
    return answer(start_response, json.dumps(value), "application/json")


def attempt(call):
    """The latin-1 text of the bytes, or the exception's type and words."""
    try:
        result = call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    if isinstance(result, list):
        return [item.decode("latin-1") for item in result]
    return result.decode("latin-1") if isinstance(result, bytes) else result


def echo(environ, start_response):
    return answer(start_response, environ["wsgi.input"].read(-1), "application/octet-stream")


def length(environ, start_response):
    """Reads in pieces, so that a large body costs no memory."""
    count = total = 0
    while piece := environ["wsgi.input"].read(65536):
        count += len(piece)
        total = (total + sum(piece[:1]) + len(piece) * piece[-1]) % 1000003
    return tell(start_response, {"length": count, "sum": total})


def declared(environ, start_response):
    """What the environ says of the body's length."""
    return tell(start_response, environ.get("CONTENT_LENGTH"))


def steps(environ, start_response):
    """?read:3,readline,readlines:10,iter runs these calls in turn."""
    stream, results = environ["wsgi.input"], []
    for step in environ["QUERY_STRING"].split(","):
        name, _, number = step.partition(":")
        arguments = [int(number)] if number else []
        if name == "iter":
            results.append(attempt(lambda: list(stream)))
        else:
            results.append(attempt(lambda: getattr(stream, name)(*arguments)))
    return tell(start_response, results)


def lines(environ, start_response):
    """Under wsgiref.validate every call must have exactly the arguments it allows."""
    stream = environ["wsgi.input"]
    got = [stream.readline(), stream.read(2), *stream.readlines(), stream.read(1)]
    return tell(start_response, [piece.decode("latin-1") for piece in got])


def ignore(environ, start_response):
    return answer(start_response, "the body was not read")


def keyword(environ, start_response):
    return tell(start_response, attempt(lambda: environ["wsgi.input"].read(n=1)))


def after_output(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"early|"
    yield environ["wsgi.input"].read(-1)


def parrot(environ, start_response):
    """Answers each line when it has come, without waiting for the next."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from iter(environ["wsgi.input"].readline, b"")


def greet(environ, start_response):
    """Speaks before it listens."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"hello|"
    yield from iter(environ["wsgi.input"].readline, b"")


def twice(environ, start_response):
    """Answers more than it gets, while it gets it."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    while piece := environ["wsgi.input"].read(65536):
        yield piece
        yield piece


def shout(environ, start_response):
    """A long answer before the first look at the body."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(64):
        yield b"x" * 65536
    yield b"|%d" % len(environ["wsgi.input"].read())


def impatient(environ, start_response):
    """Ends its answer in the middle of the body."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield environ["wsgi.input"].readline()


def failing(environ, start_response):
    """The first read fails; the second says that it already has."""
    stream = environ["wsgi.input"]
    first = attempt(lambda: stream.read(-1))
    second = attempt(lambda: stream.read(1))
    print("read failure:", first, "then:", second, file=environ["wsgi.errors"])
    return tell(start_response, [first, second])


def keep(environ, start_response):
    kept[:] = [environ["wsgi.input"]]
    return answer(start_response, "kept")


def use_kept(environ, start_response):
    (stream,) = kept
    calls = {
        "read": lambda: stream.read(1),
        "readline": stream.readline,
        "readlines": stream.readlines,
        "iterate": lambda: next(iter(stream)),
        "close": stream.close,
    }
    return tell(start_response, {name: attempt(call) for name, call in calls.items()})


application = by_path(globals())
