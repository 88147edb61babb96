"""A small application that returns where it runs."""

import sys


def application(environ, start_response):
    lines = [
        "Hello, world!",
        f"path: {environ['SCRIPT_NAME']}{environ['PATH_INFO']}",
        f"python: {sys.version.split()[0]}",
        f"process group: {environ['mod_wsgi.process_group'] or 'none, this is embedded mode'}",
        f"application group: {environ['mod_wsgi.application_group'] or '%{GLOBAL}'}",
    ]
    body = ("\n".join(lines) + "\n").encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body]
