"""What the settings of a Django project say to the command mod_wsgi_rs. It starts nothing."""

import os
import sys
from importlib import import_module

from django.conf import settings


def application():
    """`module:callable` of WSGI_APPLICATION, else Django's own."""
    named = getattr(settings, "WSGI_APPLICATION", None)
    if not named:
        return "django.core.wsgi:get_wsgi_application()"
    module, _, name = named.rpartition(".")
    return f"{module}:{name}"


def directory():
    """BASE_DIR, else the directory that has the package of the settings."""
    base = getattr(settings, "BASE_DIR", None)
    if base:
        return os.path.abspath(base)
    top = settings.SETTINGS_MODULE.partition(".")[0]
    return os.path.dirname(os.path.dirname(os.path.abspath(import_module(top).__file__)))


def options(pythonpath=None):
    """How the command finds the project, and the Python that runs this."""
    found = ["--application-type", "module", "--working-directory", directory()]
    # That of the distribution is the one that a server takes without being told.
    if sys.prefix != "/usr":
        found += ["--python-home", sys.prefix]
    places = [pythonpath] if pythonpath else []
    if os.path.basename(sys.argv[0]) == "manage.py":
        places.append(os.path.dirname(os.path.abspath(sys.argv[0])))
    for place in places:
        found += ["--python-path", os.path.abspath(place)]
    return found


def collected_static_files():
    """The options that serve STATIC_ROOT at STATIC_URL, where the application does not."""
    url, root = settings.STATIC_URL, settings.STATIC_ROOT
    by_application = any("whitenoise" in name.lower() for name in settings.MIDDLEWARE)
    if by_application or not root or not url or not url.startswith("/"):
        return []
    return ["--url-alias", url, os.path.abspath(root)]
