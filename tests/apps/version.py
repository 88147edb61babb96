"""The process that answers, which process loaded the script, and in which version."""

import os

VERSION = "one"
PID = os.getpid()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {PID} {VERSION} {environ['mod_wsgi.application_group']}".encode()]
