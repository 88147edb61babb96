"""Subscribes to everything, and tells what it heard."""

import contextlib
import json
import os
import sys
import threading
from urllib.parse import unquote

import mod_wsgi
from by_path import answer, by_path

heard = []
scope = {}


def plain(value):
    """What JSON can carry of a payload."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if key != "wsgi.input"}
    return getattr(value, "__name__", None) or type(value).__name__


@mod_wsgi.subscribe_events
def note(name, **payload):
    kept = dict(payload)
    kept.pop("request_environ", None)
    heard.append([name, plain(kept), plain(payload.get("request_environ", {}).get("PATH_INFO"))])
    if name == "request_started" and "mark" in payload["request_environ"]["QUERY_STRING"]:
        payload["request_data"]["mark"] = "from the start"
        payload["request_environ"]["marked"] = "yes"
    if name in scope.get("print", ()):
        print(f"event {name} {json.dumps(plain(kept), default=repr)}", file=sys.stderr)
    raised = scope.pop(name, None)
    if raised:
        raise raised


def told(environ, start_response):
    """Events so far, of other requests than this kind."""
    wanted = unquote(environ["QUERY_STRING"])
    mine = {
        payload["request_id"]
        for name, payload, path in heard
        if name == "request_started" and path == wanted
    }
    events = [
        [name, payload]
        for name, payload, _ in heard
        if payload.get("request_id") in mine or not wanted
    ]
    return answer(start_response, json.dumps(events, default=repr), "application/json")


def simple(environ, start_response):
    return answer(start_response, f"{environ.get('marked')} {mod_wsgi.request_data()}")


def reads(environ, start_response):
    body = environ["wsgi.input"]
    length = len(body.read(3)) + len(body.readline()) + len(body.read())
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-Header", "value")])
    yield b"x" * length
    yield b"more"


def raises(environ, start_response):
    raise ValueError("raised for the event")


def raises_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"some"
    raise ValueError("raised for the event")


def twice(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise ValueError("wrong")
    except ValueError:
        start_response("500 Wrong", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"twice"]


def bad_header(environ, start_response):
    with contextlib.suppress(ValueError):
        start_response("200 OK", [("Bad Name", "x")])
    return answer(start_response, "fine")


def silent(environ, start_response):
    return []


def timed_out(environ, start_response):
    raise mod_wsgi.RequestTimeout


def timed_out_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"some"
    raise mod_wsgi.RequestTimeout


def replace(environ, start_response):
    """The next request is answered by another application, and a later callback hears of it."""

    def other(environ, start_response):
        return answer(start_response, "the other application")

    def swap(name, **payload):
        if name == "request_started" and payload["request_environ"]["PATH_INFO"] == "/simple":
            return {"application_object": other, "extra": 7}

    def late(name, **payload):
        if name == "request_started" and "extra" in payload:
            heard.append(["extra", {"extra": payload["extra"]}, None])

    mod_wsgi.event_callbacks.extend([swap, late])
    return answer(start_response, "replaced")


def restore(environ, start_response):
    del mod_wsgi.event_callbacks[1:]
    return answer(start_response, "restored")


def break_callback(environ, start_response):
    name, _, kind = unquote(environ["QUERY_STRING"]).partition("=")
    scope[name] = {"ValueError": ValueError("callback"), "SystemExit": SystemExit(1)}[kind]
    return answer(start_response, "armed")


def say(environ, start_response):
    """Print these events to the log from now on."""
    scope["print"] = unquote(environ["QUERY_STRING"]).split(",")
    return answer(start_response, str(os.getpid()))


def on_shutdown(environ, start_response):
    @mod_wsgi.subscribe_shutdown
    def stopping(name, **payload):
        print(f"shutdown {name} {json.dumps(payload)}", file=sys.stderr)

    return answer(start_response, str(os.getpid()))


def on_signal(environ, start_response):
    @mod_wsgi.subscribe_signals
    def signalled(name, **payload):
        print(f"signal {name} {json.dumps(payload)}", file=sys.stderr)

    return answer(start_response, str(os.getpid()))


def in_thread(environ, start_response):
    """request_data() in a thread without a request."""
    said = []

    def ask():
        try:
            said.append(repr(mod_wsgi.request_data()))
        except RuntimeError as error:
            said.append(f"RuntimeError: {error}")

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return answer(start_response, said[0])


application = by_path(globals())
