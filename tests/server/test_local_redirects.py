"""`200 OK` with a path as Location, from a daemon: Apache answers with what stands there."""

from urllib.parse import quote

import pytest
from harness.conf import Conf

APP = """
from urllib.parse import unquote
def application(environ, start_response):
    path = environ["PATH_INFO"]
    location = path if path == "/loop" else unquote(environ["QUERY_STRING"])
    headers = [("Location", location), ("Set-Cookie", "a=1"), ("X-Own", "dropped")]
    start_response("201 Created" if path == "/created" else "200 OK", headers)
    if path == "/read":
        environ["wsgi.input"].read()
    yield b"not sent" * 10_000
    if path == "/raises":
        raise ValueError("after the location")
"""
REDIRECTED = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIChunkedRequest On
    WSGIScriptAlias /found ${APPS}/ask.py
    WSGIScriptAlias / ${ROOT}/app.wsgi
    Alias /files ${ROOT}/files
    <Files closed.txt>
        Require all denied
    </Files>
    """,
    ("alias",),
    files=(("app.wsgi", APP), ("files/open.txt", "a file"), ("files/closed.txt", "a secret")),
)
pytestmark = pytest.mark.parametrize("mode", ["daemon"], scope="session")


@pytest.fixture
def server(serve):
    return serve(REDIRECTED)


def test_response_is_the_resource_at_the_path(server):
    response = server.get("/x?/files/open.txt")
    assert (response.status, response.text) == (200, "a file")
    for name in ("Location", "Set-Cookie", "X-Own"):
        assert response.header(name) is None
    assert server.get("/x?/files/nowhere.txt").status == 404


def test_access_rules_of_the_path_apply(server):
    assert server.get("/x?/files/closed.txt").status == 403
    server.log.expect("AH01630")


@pytest.mark.parametrize("path", ["/read", "/unread"])
@pytest.mark.parametrize("chunked", [False, True])
def test_local_redirect_is_a_get_without_a_body(server, path, chunked):
    what = "environ['REQUEST_METHOD'] + environ['wsgi.input'].read().decode()"
    body = iter([b"x" * 200_000]) if chunked else b"x" * 200_000
    response = server.post(f"{path}?/found?{quote(quote(what))}", body, chunked=chunked)
    assert response.json() == "GET"


def test_a_path_that_leads_to_itself_is_an_error(server):
    assert server.get("/loop").status == 500
    server.log.expect("AH00124")
    assert server.get("/x?/files/open.txt").text == "a file"


@pytest.mark.parametrize(
    "target", ["/created?/files/open.txt", "/x?http://a.example/", "/x?open.txt"]
)
def test_any_other_status_or_location_is_a_header(server, target):
    response = server.get(target)
    assert response.status == (201 if "created" in target else 200)
    assert response.header("Location") == target.partition("?")[2]
    assert response.body == b"not sent" * 10_000


@pytest.mark.differs("truncation-daemon", "mod_wsgi takes the end of a daemon's answer for its end")
def test_an_application_that_breaks_off_its_answer_is_an_error(server):
    assert server.get("/raises?/files/open.txt").status == 500
    server.log.expect_traceback("WSGI0174", "ValueError: after the location")


def test_head_has_the_length_of_the_resource(server):
    response = server.request("HEAD", "/x?/files/open.txt")
    assert (response.status, response.header("Content-Length"), response.body) == (200, "6", b"")
