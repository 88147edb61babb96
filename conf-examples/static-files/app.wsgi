"""A page that needs a style sheet."""

PAGE = b"""<!DOCTYPE html>
<title>Static files</title>
<link rel="stylesheet" href="/static/site.css">
<p>This page is Python's, its colours are Apache's.
"""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]
