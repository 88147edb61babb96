"""The contract of tests/apps/asgi_frameworks: who is to keep it, and who does not keep a part."""

FRAMEWORKS = ["starlette", "fastapi", "quart", "django", "litestar", "blacksheep", "channels"]
# Django alone has no WebSockets; Channels gives it some.
WITH_WEBSOCKETS = [name for name in FRAMEWORKS if name != "django"]
CONF = """
WSGIRestrictEmbedded On
WSGIDaemonProcess {name} python-path={packages} shutdown-timeout=60
ASGIScriptAlias /{name} ${{APPS}}/asgi_frameworks/{name}_app.py process-group={name}
"""
UVICORN = ("uvicorn", "gunicorn, uvicorn's worker")
GUNICORN = ("gunicorn, its own worker",)
# Of a test: the servers that do not pass it, the frameworks that it shows with, and why, as in
# docs/asgi.md.
DIFFERENT = {
    "test_client_that_vanishes_is_1006": (
        UVICORN,
        # Quart tells an application nothing of it.
        [name for name in WITH_WEBSOCKETS if name != "quart"],
        "the application is told 1005",
    ),
    "test_exception_closes_with_a_code_of_an_error": (
        UVICORN,
        # The others close by themselves.
        ["starlette", "fastapi", "channels"],
        "the connection ends without a close frame",
    ),
    "test_close_without_a_code_is_1005": (
        GUNICORN,
        WITH_WEBSOCKETS,
        "the answer to a close without a code has 1000",
    ),
    "test_denied_handshake_is_the_response_of_the_application": (
        GUNICORN,
        WITH_WEBSOCKETS,
        "it has no `websocket.http.response`",
    ),
    "test_exception_of_a_view_is_a_500_with_its_traceback": (
        GUNICORN,
        ["starlette", "fastapi"],
        "an exception behind a complete response is not logged",
    ),
}


def difference(server, test, framework):
    """Why a server does not pass a test with a framework; None where it is to pass."""
    servers, frameworks, reason = DIFFERENT.get(test, ((), (), None))
    return reason if server in servers and framework in frameworks else None
