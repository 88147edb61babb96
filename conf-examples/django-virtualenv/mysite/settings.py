"""The few settings that a page needs. A real project has those of `django-admin startproject`."""

from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "only for an example: make your own, and keep it out of the repository"
DEBUG = False
ALLOWED_HOSTS = ["django.example.com", "localhost", "127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
USE_TZ = True
