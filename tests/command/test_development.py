"""start-server --reload as a person uses it: edits, broken files, browsers, Ctrl-C, ports."""

import contextlib
import http.client
import os
import re
import signal
import threading
import time

import pytest
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("runs ours")

# What the issue asks for is a second. Other tests run at the same time; the time itself is printed.
AT_MOST = 20


def edit(site, old, new, name="app.py"):
    path = site / name
    path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def printed(record_property):
    return lambda what, seconds: record_property("load", f"{what}: {seconds * 1000:.0f} ms")


def test_saved_file_is_the_next_page(start, site, printed):
    server = start("--reload")
    server.wait_for("application loaded in")
    edit(site, "one", "two")
    took = server.wait_for_page("two")
    printed("edited page after the save", took)
    assert took < AT_MOST
    server.wait_for("app.py has changed")
    assert "INFO" not in server.text()


def test_import_that_fails_shows_its_traceback_and_recovers(start, site, printed):
    server = start("--reload")
    server.wait_for("application loaded in")
    edit(site, "def app", "import no_such_module\ndef app")
    broken = server.wait_for_page("ModuleNotFoundError: No module named &#x27;no_such_module&#x27;")
    server.wait_for("ModuleNotFoundError: No module named 'no_such_module'")
    status, page = server.get()
    assert status == 500
    assert "/__mod_wsgi_rs__/refresh.js" in page
    assert "importlib" not in page
    edit(site, "import no_such_module\n", "")
    recovered = server.wait_for_page("one")
    printed("traceback after the save", broken)
    printed("recovery after the save", recovered)
    assert max(broken, recovered) < AT_MOST


def test_save_that_takes_longer_than_startup_timeout_is_loaded_in_the_end(start, site):
    """A busy machine is enough for that. The terminal says that it is loaded once it is."""
    server = start("--reload", "--startup-timeout", "4")
    server.wait_for("application loaded in")
    go = site / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
    (site / "app.py").write_text(wait + (site / "app.py").read_text().replace("one", "two"))
    told = server.wait_for("what was saved is not loaded yet; the version before answers")
    server.wait_for("did not become ready within startup-timeout")
    server.wait_for_page("one")
    go.touch()
    server.wait_for_page("two")
    server.wait_for("application loaded in", after=told.end())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def app(:\n", "SyntaxError"),
        ("raise SystemExit('no configuration')\napp = 1\n", "SystemExit: no configuration"),
        ("other = 1\n", "AttributeError"),
    ],
)
def test_first_start_with_a_broken_file_serves_the_traceback(start, site, text, error):
    good = (site / "app.py").read_text()
    (site / "app.py").write_text(text)
    server = start("app:app", "--reload")
    server.wait_for_page(error)
    server.wait_for(error)
    (site / "app.py").write_text(good)
    server.wait_for_page("one")


def events(port):
    """The stream that a page listens to."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/__mod_wsgi_rs__/events")
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "text/event-stream"
    return connection, response


def next_version(response):
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return line


def test_browser_is_told_of_a_new_version_once_the_version_serves(start, site):
    server = start("--reload")
    server.wait_for("application loaded in")
    page = server.get()[1]
    assert "<script src='/__mod_wsgi_rs__/refresh.js'></script></body>" in page
    assert "EventSource" in server.get("/__mod_wsgi_rs__/refresh.js")[1]
    connection, response = events(server.port)
    with contextlib.closing(connection):
        first = next_version(response)
        edit(site, "one", "two")
        assert next_version(response) != first
        assert "two" in server.get()[1]
        (site / "site.css").write_text("a {}")
        next_version(response)
        # The application is not loaded anew for a style sheet.
        assert server.text().count("has changed") == 1


@pytest.mark.parametrize("status", ["201 Created", "404 Not Found", "500 Internal Server Error"])
def test_pages_of_every_status_refresh_themselves(start, site, status):
    edit(site, "200 OK", status)
    server = start("--reload")
    assert server.get() == (
        int(status[:3]),
        "<html><body>one<script src='/__mod_wsgi_rs__/refresh.js'></script></body></html>",
    )


def test_page_without_refresh_is_unchanged(start):
    server = start("--reload", "--no-browser-refresh")
    assert server.get()[1] == "<html><body>one</body></html>"


def test_open_streams_hold_up_neither_a_new_version_nor_the_end(start, site):
    (site / "app.py").write_text(
        "import time\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/event-stream')])\n"
        "    if environ['PATH_INFO'] == '/page':\n"
        "        return [b'one']\n"
        "    return iter(lambda: time.sleep(0.05) or b':', b'')\n"
    )
    server = start("--reload")
    server.wait_for("application loaded in")
    page, _ = events(server.port)
    stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    stream.request("GET", "/")
    stream.getresponse().read(1)
    edit(site, "b'one'", "b'two'")
    assert server.wait_for_page("two", "/page") < AT_MOST
    begun = time.monotonic()
    server.press_ctrl_c()
    assert server.wait() == 0
    assert time.monotonic() - begun < 12
    page.close()
    stream.close()


def test_ctrl_c_gives_requests_two_seconds_and_leaves_nothing(start, site, short):
    (site / "app.py").write_text(
        "import time, pathlib\n"
        "def app(environ, start_response):\n"
        "    pathlib.Path(__file__).with_name('begun').touch()\n"
        "    time.sleep(0.5)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'finished']\n"
    )
    site.chmod(0o777)
    server = start("--reload", "--no-browser-refresh", TMPDIR=str(short))
    server.wait_for("application loaded in")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get()))
    thread.start()
    wait_until(lambda: (site / "begun").exists(), "the request")
    processes = server.processes()
    server.press_ctrl_c()
    thread.join(30)
    assert server.wait() == 0
    assert answers == [(200, "finished")]
    assert [pid for pid in processes if os.path.exists(f"/proc/{pid}")] == []
    assert list(short.glob("mod_wsgi_rs-*")) == []


def test_second_ctrl_c_ends_the_server_now(start, site):
    (site / "app.py").write_text(
        "import time, pathlib\n"
        "def app(environ, start_response):\n"
        "    pathlib.Path(__file__).with_name('begun').touch()\n"
        "    time.sleep(60)\n"
    )
    site.chmod(0o777)
    server = start("--request-timeout", "0", "--graceful-timeout", "60")

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.get()

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: (site / "begun").exists(), "the request")
    processes = server.processes()
    server.signal(signal.SIGTERM)
    server.wait_for("stopping")
    begun = time.monotonic()
    server.press_ctrl_c()
    assert server.wait() == 0
    assert time.monotonic() - begun < 5 + AT_MOST
    assert [pid for pid in processes if os.path.exists(f"/proc/{pid}")] == []
    thread.join(30)


def test_second_server_takes_the_next_port_and_names_the_process_of_the_first(start):
    first = start("--reload")
    second = start("--reload", port=first.port, ready=False)
    found = second.wait_for(rf"port {first.port} is taken by process \d+ \(.*\); using (\d+)")
    second.wait_for("serving on ")
    assert second.get(port=int(found.group(1)))[0] == 200, second.text()
    third = start("--reload", "--strict-port", port=first.port, ready=False)
    assert third.wait() == 3


def test_new_folder_and_excluded_files_are_followed_and_left_alone(start, site):
    (site / "generated").mkdir()
    server = start("--reload", "--reload-exclude", "generated", "--reload-include", "*.yaml")
    server.wait_for("application loaded in")
    (site / "generated/x.py").write_text("")
    (site / "node_modules").mkdir()
    (site / "node_modules/x.py").write_text("")
    (site / "package").mkdir()
    (site / "package/views.py").write_text("")
    server.wait_for("package/views.py has changed")
    (site / "conf.yaml").write_text("")
    server.wait_for("conf.yaml has changed")
    assert "x.py has changed" not in server.text()


def test_files_that_gitignore_leaves_out_do_not_load_the_application_anew(start, site):
    (site / ".gitignore").write_text("generated/\n*_local.py\n.env\n")
    (site / "generated").mkdir()
    (site / "generated/.keep").write_text("")
    server = start("--reload", "--reload-include", "wanted_local.py")
    server.wait_for("application loaded in")
    (site / "generated/x.py").write_text("")
    (site / "settings_local.py").write_text("")
    (site / "wanted_local.py").write_text("")
    server.wait_for("wanted_local.py has changed")
    # Read by applications all the same.
    (site / ".env").write_text("A=1\n")
    server.wait_for(r"\.env has changed")
    assert "x.py has changed" not in server.text()
    assert "settings_local.py has changed" not in server.text()


def test_documentation_of_an_api_is_told_once(start, site):
    (site / "app.py").write_text(
        "class Api:\n"
        "    docs_url = '/docs'\n"
        "    def __call__(self, environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        "        return [b'one']\n"
        "app = Api()\n"
    )
    server = start("--reload", "--mount-point", "/api")
    server.wait_for(rf"docs: http://127\.0\.0\.1:{server.port}/api/docs")
    edit(site, "one", "two")
    assert server.wait_for_page("two", "/api") < AT_MOST
    server.wait_for("application loaded in", after=server.text().index("app.py has changed"))
    assert server.text().count("docs: http") == 1
    edit(site, "'/docs'", "'/reference'")
    server.wait_for(rf"docs: http://127\.0\.0\.1:{server.port}/api/reference")


def test_lines_of_requests_are_coloured_on_a_terminal_and_static_files_counted(start):
    server = start("--reload")
    server.get("/page")
    server.get("/a.css")
    server.get("/b.png")
    server.wait_for("\x1b\\[32m200\x1b\\[0m GET    /page ")
    # A pause between the two makes two lines of them.
    counts = re.compile(r"(\d+) static file")
    wait_until(lambda: sum(map(int, counts.findall(server.text()))) == 2, "the static files", 30)
    assert "/a.css" not in server.text()
    plain = start("--reload", "--verbose", terminal=False)
    plain.get("/a.css")
    plain.wait_for(r"(?m)^\d\d:\d\d:\d\d 200 GET    /a\.css ")


def test_django_project_is_found_and_its_static_files_are_served(start, site, env):
    pytest.importorskip("django")
    folder = site / "started"
    folder.mkdir()
    (folder / "mysite").mkdir()
    (folder / "manage.py").write_text(
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\n'
    )
    (folder / "mysite/__init__.py").write_text("")
    (folder / "mysite/wsgi.py").write_text(
        "import os\n"
        "from django.core.wsgi import get_wsgi_application\n"
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\n'
        "application = get_wsgi_application()\n"
    )
    (folder / "mysite/settings.py").write_text(
        "SECRET_KEY = 'x'\nDEBUG = True\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'mysite.urls'\n"
        "INSTALLED_APPS = ['django.contrib.staticfiles', 'mysite']\nSTATIC_URL = '/static/'\n"
        "WSGI_APPLICATION = 'mysite.wsgi.application'\n"
    )
    (folder / "mysite/urls.py").write_text(
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        "urlpatterns = [path('', lambda request: HttpResponse('<body>one</body>'))]\n"
    )
    (folder / "mysite/static").mkdir()
    (folder / "mysite/static/site.css").write_text("a {}")
    begun = time.monotonic()
    server = start("--reload", "--python-path", env.site_packages, cwd=folder)
    assert "application: mysite.wsgi:application, found by manage.py" in server.text()
    assert "one" in server.get()[1]
    assert time.monotonic() - begun < 2 * AT_MOST
    assert server.get("/static/site.css") == (200, "a {}")
    edit(folder, "one", "two", "mysite/urls.py")
    assert server.wait_for_page("two") < AT_MOST


def test_reload_is_refused_in_embedded_mode(run):
    done = run("setup-server", "--reload", "--embedded-mode", check=False)
    assert done.returncode == 2
    assert "--embedded-mode has none of" in done.stderr
