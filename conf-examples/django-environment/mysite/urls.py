"""One page, which shows what the settings are and where a variable of SetEnv is."""

import os

from django.conf import settings
from django.http import HttpResponse
from django.urls import path


def index(request):
    def found(where):
        return "yes" if "MYSITE_BANNER" in where else "no"

    return HttpResponse(
        f"site={settings.NAME} debug={settings.DEBUG}\n"
        f"banner: environ {found(request.META)}, os.environ {found(os.environ)}\n",
        content_type="text/plain",
    )


urlpatterns = [path("", index)]
