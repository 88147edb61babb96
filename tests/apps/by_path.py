"""One application out of several functions: /name/more goes to the one called name."""

from wsgiref.validate import validator


def by_path(namespace):
    def application(environ, start_response):
        name, _, _ = environ["PATH_INFO"].lstrip("/").partition("/")
        return namespace[name](environ, start_response)

    # The same under the eyes of wsgiref.validate, for WSGIScriptAlias … callable-object=validated.
    namespace["validated"] = validator(application)
    return application


def answer(start_response, body, content_type="text/plain; charset=utf-8", status="200 OK"):
    """A complete response from a str or bytes."""
    body = body.encode() if isinstance(body, str) else body
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
