"""The first pages of Django's and Flask's documentation, word by word, with this command."""

import os
import re
import subprocess

import pytest
from harness.command import clean_environment

pytestmark = pytest.mark.ours_only("runs ours")


@pytest.fixture
def shell(activated):
    """shell(line, cwd): runs a line of a tutorial."""

    def shell(line, cwd, **variables):
        subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=cwd,
            env=clean_environment(**activated, **variables),
            check=True,
            capture_output=True,
            timeout=120,
        )

    return shell


def test_first_parts_of_the_tutorial_of_django(start, shell, activated, short):
    """https://docs.djangoproject.com/en/5.2/intro/tutorial01/, and the admin of part 2."""
    # django-admin is a script of the package that pip would have written.
    admin = "python -m django"
    shell("mkdir djangotutorial", short)
    shell(f"{admin} startproject mysite djangotutorial", short)
    site = short / "djangotutorial"
    server = start("--reload", cwd=site, **activated)
    server.wait_for(rf"admin: http://127\.0\.0\.1:{server.port}/admin/")
    assert "application: mysite.wsgi:application, found by manage.py" in server.text()
    assert "The install worked successfully! Congratulations!" in server.get()[1]

    shell("python manage.py startapp polls", site)
    (site / "polls/views.py").write_text(
        "from django.http import HttpResponse\n\n\n"
        "def index(request):\n"
        '    return HttpResponse("Hello, world. You\'re at the polls index.")\n'
    )
    (site / "polls/urls.py").write_text(
        "from django.urls import path\n\nfrom . import views\n\n"
        'urlpatterns = [\n    path("", views.index, name="index"),\n]\n'
    )
    (site / "mysite/urls.py").write_text(
        "from django.contrib import admin\n"
        "from django.urls import include, path\n\n"
        "urlpatterns = [\n"
        '    path("polls/", include("polls.urls")),\n'
        '    path("admin/", admin.site.urls),\n]\n'
    )
    server.wait_for_page("Hello, world. You're at the polls index.", "/polls/")

    # Part 2: the database, and the admin. Its style sheet is served without collectstatic.
    os.chmod(site, 0o777)
    shell("python manage.py migrate", site)
    if os.geteuid() == 0:
        # Root has made it, and the application is another user.
        (site / "db.sqlite3").chmod(0o666)
    shell(
        "python manage.py createsuperuser --noinput",
        site,
        DJANGO_SUPERUSER_USERNAME="admin",
        DJANGO_SUPERUSER_EMAIL="admin@example.com",
        DJANGO_SUPERUSER_PASSWORD="a long password",
    )
    status, page = server.get("/admin/login/")
    assert (status, "Django administration" in page) == (200, True)
    style = re.search(r'href="(/static/admin/css/base\.css)"', page).group(1)
    assert server.get(style)[0] == 200

    view = site / "polls/views.py"
    view.write_text(view.read_text().replace("Hello, world.", "Good evening."))
    server.wait_for_page("Good evening. You're at the polls index.", "/polls/")


def test_quickstart_of_flask(start, activated, short):
    """https://flask.palletsprojects.com/en/stable/quickstart/: an application, its debug mode."""
    folder = short / "project"
    folder.mkdir()
    hello = folder / "hello.py"
    hello.write_text(
        "from flask import Flask\n\n"
        "app = Flask(__name__)\n\n"
        '@app.route("/")\n'
        "def hello_world():\n"
        '    return "<p>Hello, World!</p>"\n'
    )
    server = start("hello.py", cwd=folder, **activated)
    assert server.get() == (200, "<p>Hello, World!</p>")
    server = start("hello:app", "--debug", cwd=folder, **activated)
    assert "<p>Hello, World!</p>" in server.get()[1]
    hello.write_text(hello.read_text().replace("Hello, World!", "Index Page"))
    server.wait_for_page("Index Page")


FACTORY = """from flask import Flask


def create_app():
    app = Flask(__name__)

    @app.route("/")
    def hello():
        return "Hello from a factory"

    return app
"""


def test_deployment_page_of_flask(start, activated, short, ordinary_user):
    """https://flask.palletsprojects.com/en/stable/deploying/mod_wsgi/"""
    folder = short / "hello-app"
    (folder / "hello").mkdir(parents=True)
    (folder / "hello/__init__.py").write_text(FACTORY)
    (folder / "wsgi.py").write_text("from hello import create_app\n\napplication = create_app()\n")
    server = start("wsgi.py", "--processes", "4", cwd=folder, **activated)
    assert server.get() == (200, "Hello from a factory")
    # The page's own way for a factory needs no file.
    server = start("hello:create_app()", "--processes", "2", cwd=folder, **activated)
    assert server.get() == (200, "Hello from a factory")
    if ordinary_user is None:
        return
    # "Binding externally": as root, for a user and a group, by the full path of the file. The port
    # is not 80, which the machine may use.
    user = ordinary_user.pw_name
    server = start(
        *(folder / "wsgi.py", "--user", user, "--group", user, "--processes", "4"),
        cwd=folder,
        **activated,
    )
    assert server.get() == (200, "Hello from a factory")
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in server.processes()}
    assert ordinary_user.pw_uid in owners
