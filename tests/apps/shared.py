"""Sixteen threads at once: everything that requests of one interpreter can have in common."""

import gc
import io
import logging
import sys
import threading

import mod_wsgi
from by_path import answer, by_path

LOCK = threading.Lock()
LOCAL = threading.local()
totals = {"requests": 0}
tokens = []
by_token = {}
heard = []
# Leases, files and environs of requests that may have ended.
kept = [None] * 8
HEADERS = [("Content-Type", "text/plain"), ("X-Shared", "the same list for all")]

logger = logging.getLogger("shared")
logger.addHandler(mod_wsgi.LogHandler())
logger.setLevel(logging.INFO)
logger.propagate = False


def listen(name, request_data=None, **payload):
    if request_data is None:
        # Of the process.
        return
    if name == "request_started":
        request_data["token"] = payload["request_environ"].get("HTTP_X_TOKEN")
    if request_data["token"]:
        heard.append(name)
        assert name == "request_started" or request_data["token"] in by_token


def note(environ):
    """Leaves a trace in all that is shared; says which request this is."""
    token = environ["HTTP_X_TOKEN"]
    with LOCK:
        totals["requests"] += 1
    tokens.append(token)
    by_token[token] = mod_wsgi.request_data()
    LOCAL.count = getattr(LOCAL, "count", 0) + 1
    # Each client sends header names of its own, so that what is remembered of them changes.
    mine = environ["HTTP_X_" + token.partition("-")[0].upper() + "_NAME"]
    assert mine == token, (mine, token)
    if len(tokens) % 64 == 0:
        gc.collect()
    return token


def use_what_others_left(token, environ, start_response):
    """Objects of a request that another thread serves, or has served."""
    place = len(token) + int(token.rpartition("-")[2])
    left, kept[place % len(kept)] = kept[place % len(kept)], (environ, start_response)
    if left is None:
        return
    their_environ, their_start_response = left
    try:
        their_environ["wsgi.input"].read(0)
        their_environ["wsgi.errors"].flush()
    except RuntimeError:
        pass
    try:
        if their_environ["HTTP_X_TOKEN"] == token:
            their_start_response("200 OK", [])
    except RuntimeError:
        pass


def plain(environ, start_response):
    token = note(environ)
    use_what_others_left(token, environ, start_response)
    start_response("200 OK", [*HEADERS, ("X-Token", token)])
    return [token.encode(), b" ", environ["wsgi.input"].read()]


def lines(environ, start_response):
    token = note(environ)
    logger.info("%s is served", token)
    start_response("200 OK", [("X-Token", token)])

    def body():
        yield token.encode() + b" "
        yield from environ["wsgi.input"]

    return body()


def written(environ, start_response):
    token = note(environ)
    print(token, "is printed", file=environ["wsgi.errors"])
    write = start_response("200 OK", [*HEADERS, ("X-Token", token)])
    write(token.encode() + b" ")
    while piece := environ["wsgi.input"].readline(1000):
        write(piece)
    return []


def wrapped(environ, start_response):
    token = note(environ)
    body = io.BytesIO(token.encode() + b" " + environ["wsgi.input"].read())
    start_response("200 OK", [("X-Token", token)])
    return environ["wsgi.file_wrapper"](body, 512)


def file(environ, start_response):
    token = note(environ)
    start_response("200 OK", [("X-Token", token)])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


def replaced(environ, start_response):
    token = note(environ)
    start_response("404 Not Found", HEADERS)
    try:
        raise KeyError(token)
    except KeyError:
        start_response("200 OK", [("X-Token", token)], sys.exc_info())
    return [token.encode(), b" ", environ["wsgi.input"].read()]


def fails(environ, start_response):
    raise ValueError(note(environ))


def listened(environ, start_response):
    mod_wsgi.subscribe_events(listen)
    return answer(start_response, "listening")


def seen(environ, start_response):
    counts = [totals["requests"], len(tokens), len(by_token), len(set(tokens))]
    counts += [heard.count(f"request_{it}") for it in ("started", "finished", "exception")]
    return answer(start_response, " ".join(map(str, counts)))


application = by_path(globals())
