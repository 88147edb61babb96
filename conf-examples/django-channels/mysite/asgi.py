"""Pages by Django, WebSockets by Channels."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

# Before the imports of the project, which need the settings.
pages = get_asgi_application()

from mysite.chat import Chat

# Only pages of ALLOWED_HOSTS may connect. For users of Django: AuthMiddlewareStack of channels.auth around URLRouter.
sockets = AllowedHostsOriginValidator(URLRouter([path("chat", Chat.as_asgi())]))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
