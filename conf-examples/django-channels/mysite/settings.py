"""The few settings that a page and a chat need. A real project has those of `django-admin startproject`."""

SECRET_KEY = "only for an example: make your own, and keep it out of the repository"
DEBUG = False
ALLOWED_HOSTS = ["chat.example.com", "localhost", "127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
ASGI_APPLICATION = "mysite.asgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
# Messages of one process. With more processes, each of which has some of the WebSockets, a channel layer that they share:
# pip install channels_redis, and {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [...]}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
