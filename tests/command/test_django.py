"""The Django application mod_wsgi_rs.server, runserver_apache and runmodwsgi, in a new project."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import command
from harness.env import REPO

pytestmark = pytest.mark.ours_only("the command is ours")
pytest.importorskip("django")

SETTINGS = """
INSTALLED_APPS += ["mod_wsgi_rs.server", "pages"]
ALLOWED_HOSTS = ["*"]
STATIC_ROOT = BASE_DIR / "collected"
"""
VIEWS = """
import os, sys
from django.conf import settings
from django.http import HttpResponse
def page(request):
    found = [sys.prefix, os.getcwd(), settings.SETTINGS_MODULE, os.environ.get("TOLD", "")]
    found.append(request.META.get("OF_REQUEST", ""))
    return HttpResponse("<body>one " + " ".join(found) + "</body>")
"""
URLS = """
from django.urls import path
from pages import views
urlpatterns = [path("", views.page)]
"""


@pytest.fixture
def project(short):
    """A project of `django-admin startproject` with an application of its own."""
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")
    folder = short / "project"
    folder.mkdir()
    start = [sys.executable, "-m", "django", "startproject", "mysite", folder]
    subprocess.run(start, check=True, env=command.clean_environment())
    with (folder / "mysite/settings.py").open("a") as file:
        file.write(SETTINGS)
    (folder / "mysite/urls.py").write_text(URLS)
    pages = folder / "pages"
    (pages / "static").mkdir(parents=True)
    (pages / "__init__.py").touch()
    (pages / "views.py").write_text(VIEWS)
    (pages / "static/site.css").write_text("a {}")
    return folder


@pytest.fixture
def variables(env):
    """By which the package and the command of the source tree are found."""
    if not env.readable_by_children(Path(sys.prefix) / "bin"):
        pytest.skip("Apache's user cannot read the virtual environment of the tests")
    folders = [str(Path(command.COMMAND).parent), os.environ["PATH"]]
    return {"PATH": ":".join(folders), "PYTHONPATH": str(REPO / "python")}


@pytest.fixture
def manage(project, variables, start):
    """manage("runserver_apache", "--noreload"): manage.py, in a terminal, until it serves."""

    def manage(subcommand, *arguments, listen=("127.0.0.1:{port}",), cwd=project, **keywords):
        words = (sys.executable, project / "manage.py", subcommand)
        keywords = variables | keywords
        return start(*arguments, command=words, listen=listen, cwd=cwd, **keywords)

    return manage


@pytest.fixture
def refused(project, variables):
    """refused("runserver_apache", "x"): what is printed where it does not start."""

    def refused(*arguments):
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=project,
            env=command.clean_environment(**variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return done.stderr

    return refused


OPTIONS = ("--host", "127.0.0.1", "--port", "{port}")


def test_runserver_apache_serves_a_new_project_and_its_edits(manage, project):
    server = manage("runserver_apache")
    assert "Performing system checks" in server.text()
    assert "unapplied migration" in server.text()
    status, page = server.get()
    assert status == 200
    assert f"one {sys.prefix} {project} mysite.settings" in page
    assert "/__mod_wsgi_rs__/" in page
    # Nothing has been collected.
    assert server.get("/static/site.css") == (200, "a {}")
    assert server.get("/static/admin/css/base.css")[0] == 200
    views = project / "pages/views.py"
    views.write_text("no python")
    # Django's own page cannot show an error in what the URLconf imports.
    server.wait_for_page("mysite.wsgi:application cannot be loaded")
    assert "SyntaxError: invalid syntax" in server.get()[1]
    views.write_text(VIEWS.replace("one", "two"))
    server.wait_for_page("two")
    server.press_ctrl_c()
    assert server.wait() == 0


def test_runserver_apache_starts_while_the_project_has_an_error(manage, project):
    (project / "mysite/urls.py").write_text("no python")
    server = manage("runserver_apache")
    assert "SyntaxError" in server.text()
    status, page = server.get()
    assert (status, "SyntaxError: invalid syntax" in page) == (500, True)
    (project / "mysite/urls.py").write_text(URLS)
    server.wait_for_page("one")


def test_runserver_apache_without_reload_serves_static_files(manage):
    server = manage("runserver_apache", "--noreload")
    assert server.get("/static/site.css") == (200, "a {}")
    assert server.get("/static/no.css")[0] == 404
    # The script that refreshes the browser.
    assert "/__mod_wsgi_rs__/" not in server.get()[1]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("reload", [(), ("--noreload",)])
def test_runserver_apache_leaves_static_files_to_the_project_with_nostatic(manage, reload):
    server = manage("runserver_apache", "--nostatic", *reload)
    assert server.get("/static/site.css")[0] == 404
    assert server.get()[0] == 200


def test_runserver_apache_serves_static_files_without_debug_with_insecure(manage, project):
    with (project / "mysite/settings.py").open("a") as file:
        file.write("DEBUG = False\n")
    assert manage("runserver_apache").get("/static/site.css")[0] == 404
    assert manage("runserver_apache", "--insecure").get("/static/site.css") == (200, "a {}")


def test_runserver_apache_takes_settings_and_a_port_from_any_directory(manage, project, short):
    other = "from mysite.settings import *\nWSGI_APPLICATION = None\n"
    (project / "mysite/other.py").write_text(other)
    server = manage(
        "runserver_apache", "--settings", "mysite.other", listen=("{port}",), cwd=short, TOLD="yes"
    )
    assert f"{project} mysite.other yes" in server.get()[1]


def test_runserver_apache_refuses_the_same_as_runserver(refused, project):
    for written in ("x", "127.0.0.1", "a_b:1"):
        text = f'"{written}" is not a valid port number or address:port pair.'
        assert text in refused("runserver_apache", written)
    assert '"127.0.0.1" is not a valid IPv6' in refused("runserver_apache", "-6", "127.0.0.1:1")
    assert "unrecognized arguments: --host" in refused("runserver_apache", "--host=a")
    (project / "mysite/urls.py").write_text("no python")
    assert "SyntaxError" in refused("runserver_apache", "--noreload")


def test_runmodwsgi_serves_with_options_of_the_command(manage, project):
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput"]
    told = command.clean_environment(PYTHONPATH=str(REPO / "python"))
    subprocess.run(collect, cwd=project, check=True, env=told, capture_output=True)
    told = ("--setenv", "OF_REQUEST", "yes", "--processes", "2", "--health-url", "/healthz")
    server = manage("runmodwsgi", *told, listen=OPTIONS, cwd=project.parent)
    assert f"one {sys.prefix} {project} mysite.settings  yes" in server.get()[1]
    # Apache itself serves what was collected.
    assert server.get("/static/site.css") == (200, "a {}")
    assert server.get("/healthz") == (200, "ok\n")
    # manage.py has become the server: there is no other Python than those of the group.
    assert Path(f"/proc/{server.process.pid}/comm").read_text() == "mod_wsgi_rs\n"
    server.press_ctrl_c()
    assert server.wait() == 0


def test_runmodwsgi_leaves_static_files_to_whitenoise(manage, project):
    (project / "collected").mkdir()
    (project / "collected/site.css").write_text("a {}")
    (project / "whitenoise_stub.py").write_text(
        "def middleware(get_response):\n    return get_response\n"
    )
    with (project / "mysite/settings.py").open("a") as file:
        file.write('MIDDLEWARE += ["whitenoise_stub.middleware"]\n')
    server = manage("runmodwsgi", listen=OPTIONS)
    assert server.get("/static/site.css")[0] == 404


def test_runmodwsgi_of_django_admin_finds_the_project_by_pythonpath(start, project, variables):
    words = (sys.executable, "-m", "django", "runmodwsgi", "--settings", "mysite.settings")
    told = ("--pythonpath", str(project), "--callable-object", "application")
    server = start(*told, command=words, listen=OPTIONS, cwd=project.parent, **variables)
    assert "mysite.settings" in server.get()[1]


def test_runmodwsgi_prints_the_options_of_the_command(project, variables, refused):
    done = subprocess.run(
        [sys.executable, "manage.py", "runmodwsgi", "--help"],
        cwd=project,
        env=command.clean_environment(**variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.search(r"--settings .*--max-clients", done.stdout, re.S)
    assert "unexpected argument '--no-such'" in refused("runmodwsgi", "--no-such")
