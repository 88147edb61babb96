"""A server with one process group that serves an application of ASGI."""

from .conf import Conf
from .env import TESTS

CONF = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site {options}
ASGIScriptAlias /mounted ${{ROOT}}/app.py process-group=site
ASGIScriptAlias / ${{ROOT}}/app.py process-group=site
{more}
"""
# The application of which each path does one thing with the messages.
APP = (TESTS / "apps/asgi_app.py").read_text()
# Another, of which each path does one thing with a WebSocket.
WEBSOCKET_APP = (TESTS / "apps/websocket_app.py").read_text()


def conf(options="", more="", app=APP, files=(), **others):
    text = CONF.format(options=options, more=more)
    return Conf(text, files=(("app.py", app), *files), **{"threads": 16, **others})
