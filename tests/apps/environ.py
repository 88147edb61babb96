"""Answers with the environ it was given, as JSON: the values, and the names of their types."""

import json
from wsgiref.validate import validator


def plain(value):
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def application(environ, start_response):
    seen = {
        "values": {key: plain(value) for key, value in environ.items()},
        "types": {key: type(value).__name__ for key, value in environ.items()},
        "environ_type": type(environ).__name__,
    }
    body = json.dumps(seen).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


validated = validator(application)
