"""Settings that come from the environment of the process; nothing here differs between servers."""

import os
from pathlib import Path

NAME = os.environ["MYSITE_NAME"]
SECRET_KEY = Path(os.environ["MYSITE_SECRET_KEY_FILE"]).read_text().strip()
DEBUG = os.environ.get("MYSITE_DEBUG", "off") == "on"
ALLOWED_HOSTS = os.environ["MYSITE_HOSTS"].split(",")
ROOT_URLCONF = "mysite.urls"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
USE_TZ = True
