"""Returns scheme and protocol of the request."""


def application(environ, start_response):
    body = f"{environ['wsgi.url_scheme']} by {environ['SERVER_PROTOCOL']}\n".encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [body]
