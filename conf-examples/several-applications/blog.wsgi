"""One of several applications of a host."""


def application(environ, start_response):
    body = f"blog {environ['SCRIPT_NAME']} {environ['PATH_INFO']}\n".encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain; charset=iso-8859-1")])
    return [body]
