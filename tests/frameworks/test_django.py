"""A real Django project: admin, forms with CSRF, uploads, downloads, streaming, static files."""

import re
import subprocess
import sys
import urllib.parse

import pytest
from harness.conf import Conf

SITE = """
    WSGIPythonPath ${{APPS}}:{packages}
    WSGIApplicationGroup {group}
    Alias /static ${{APPS}}/../django/static
    WSGIScriptAlias /mounted ${{APPS}}/django_site/wsgi.py
    WSGIScriptAlias /validated ${{APPS}}/django_site/wsgi.py callable-object=validated
    WSGIScriptAlias /other ${{APPS}}/environ.py application-group=other
    WSGIScriptAlias / ${{APPS}}/django_site/wsgi.py
"""


@pytest.fixture(scope="session")
def site(servers, env):
    """The project's database and static files, where Apache's user can use them."""
    root = servers.base / "django"
    (root / "media").mkdir(parents=True)
    subprocess.run([sys.executable, servers.apps / "django_site/wsgi.py", root], check=True)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    return root


@pytest.fixture(scope="module", params=["%{GLOBAL}", "site"])
def group(request):
    """The main interpreter, or a sub-interpreter as most installations have it."""
    return request.param


@pytest.fixture
def server(serve, site, packages, group):
    text = SITE.format(packages=packages, group=group)
    return serve(Conf(text, ("alias", "mime")))


class Browser:
    """Keeps cookies, as a browser does."""

    def __init__(self, server):
        self.server = server
        self.cookies = {}

    def request(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        response = self.server.request(method, path, body=body, headers=headers)
        for cookie in response.header_values("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, fields):
        body = urllib.parse.urlencode(fields)
        return self.request("POST", path, body, Content_Type="application/x-www-form-urlencoded")


@pytest.fixture
def browser(server):
    return Browser(server)


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/mounted", "/validated"])
def test_the_project_answers(server, mount):
    expected = f"Hello from Django at {mount}/, mounted at {mount}"
    assert server.get(f"{mount}/").text == expected


@pytest.mark.all_mpms
def test_an_administrator_logs_in_and_adds_a_user(browser):
    assert browser.get("/admin/").status == 302
    page = browser.get("/admin/login/?next=/admin/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text).group(1)
    fields = {"username": "admin", "password": "secret", "next": "/admin/"}
    done = browser.post("/admin/login/?next=/admin/", fields | {"csrfmiddlewaretoken": token})
    assert (done.status, done.header("Location")) == (302, "/admin/")
    page = browser.get("/admin/")
    assert page.status == 200
    assert "Site administration" in page.text
    page = browser.get("/admin/auth/group/add/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text).group(1)
    name = f"readers {id(browser)} {browser.server.port}"
    done = browser.post("/admin/auth/group/add/", {"name": name, "csrfmiddlewaretoken": token})
    assert done.status == 302
    assert name in browser.get("/admin/auth/group/").text


def test_a_wrong_password_is_refused(browser):
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', browser.get("/admin/login/").text)
    fields = {"username": "admin", "password": "wrong", "csrfmiddlewaretoken": token.group(1)}
    assert "Please enter the correct username" in browser.post("/admin/login/", fields).text


def test_a_post_without_the_token_is_forbidden(browser, server):
    assert browser.post("/form", {"text": "x"}).status == 403
    server.log.expect("Forbidden")


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/validated"])
def test_a_form_with_a_file_goes_up_and_the_file_comes_down(browser, server, mount):
    token = browser.get(f"{mount}/form").json()["token"]
    data = bytes(range(256)) * 2000
    name = f"upload-{server.port}.bin"
    body = multipart({"text": "größer", "csrfmiddlewaretoken": token}, name, data)
    answer = browser.request(
        "POST", f"{mount}/form", body, Content_Type="multipart/form-data; boundary=BOUNDARY"
    )
    assert answer.json() == {"text": "größer", "size": len(data)}
    response = server.get(f"{mount}/download/{name}")
    assert response.body == data
    assert response.header("Content-Disposition") == f'attachment; filename="{name}"'


def multipart(fields, name, data):
    parts = [
        f'--BOUNDARY\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
        for k, v in fields.items()
    ]
    file = f'--BOUNDARY\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return b"".join([*parts, file.encode(), data, b"\r\n--BOUNDARY--\r\n"])


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/validated"])
def test_a_streaming_response_is_complete(server, mount):
    text = server.get(f"{mount}/stream").text
    assert text == "".join(f"line {n}\n" for n in range(1000))


def test_static_files_come_from_apache(server):
    response = server.get("/static/admin/css/base.css")
    assert response.status == 200
    assert response.header("Content-Type") == "text/css"


def test_failing_view_is_a_500_of_django_with_its_traceback_in_the_log(server):
    assert server.get("/fail").status == 500
    server.log.expect("Internal Server Error: /fail", "ValueError: from a Django view")
    server.log.allow("Traceback ", r"\]  ")


def test_an_unknown_page_is_djangos_own_404(server):
    assert server.get("/nowhere").status == 404
    server.log.expect("Not Found: /nowhere")
