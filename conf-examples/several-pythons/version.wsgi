"""Returns which Python runs it."""

import sys


def application(environ, start_response):
    lines = [
        f"version: {sys.version.split()[0]}",
        f"environment: {sys.prefix}",
        f"process group: {environ['mod_wsgi.process_group']}",
    ]
    body = ("\n".join(lines) + "\n").encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body]
