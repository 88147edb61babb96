"""The views of the Django project."""

from django.conf import settings
from django.contrib import admin
from django.core.files.storage import default_storage
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path


def home(request):
    return HttpResponse(
        f"Hello from Django at {request.path}, mounted at {request.META['SCRIPT_NAME']}"
    )


def form(request):
    """A form that CSRF protects, with text and a file."""
    if request.method == "POST":
        uploaded = request.FILES.get("file")
        if uploaded:
            default_storage.delete(uploaded.name)
            default_storage.save(uploaded.name, uploaded)
        return JsonResponse(
            {"text": request.POST["text"], "size": uploaded.size if uploaded else 0}
        )
    return JsonResponse({"token": get_token(request)})


def download(request, name):
    return FileResponse(default_storage.open(name), as_attachment=True, filename=name)


def stream(request):
    return StreamingHttpResponse((f"line {n}\n" for n in range(1000)), content_type="text/plain")


def fail(request):
    raise ValueError("from a Django view")


urlpatterns = [
    path("", home),
    path("admin/", admin.site.urls),
    path("form", form),
    path("download/<str:name>", download),
    path("stream", stream),
    path("fail", fail),
]
assert settings.configured
