"""A small Django site: one view, one template with a loop."""

import os

from django.conf import settings

HERE = os.path.dirname(os.path.abspath(__file__))
if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="for measuring only",
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [os.path.join(HERE, "templates")],
            }
        ],
        USE_I18N=False,
    )

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402

ROWS = [{"name": f"row {number}", "price": number * 1.5} for number in range(20)]


def view(request):
    return render(request, "page.html", {"title": "Prices & rows", "rows": ROWS})


urlpatterns = [path("django", view), path("hello", view)]
application = get_wsgi_application()
