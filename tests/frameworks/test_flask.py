"""A Flask application: routing, sessions, uploads, ranges, streaming, errors."""

import pytest
from harness.conf import Conf

FLASK = """
    WSGIPythonPath ${{APPS}}:{packages}
    WSGIApplicationGroup {group}
    WSGIScriptAlias /mounted ${{APPS}}/flask_site.py
    WSGIScriptAlias /validated ${{APPS}}/flask_site.py callable-object=validated
    WSGIScriptAlias /other ${{APPS}}/environ.py application-group=other
    WSGIScriptAlias / ${{APPS}}/flask_site.py
"""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module", params=["%{GLOBAL}", "flask"])
def group(request):
    """The main interpreter, or a sub-interpreter as most installations have it."""
    return request.param


@pytest.fixture
def server(serve, packages, group):
    return serve(Conf(FLASK.format(packages=packages, group=group)))


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/mounted", "/validated"])
def test_templates_and_routes_work(server, mount):
    response = server.get(f"{mount}/")
    assert response.text == "<p>Grüße &amp; &lt;b&gt;</p>"
    assert response.header("Content-Type") == "text/html; charset=utf-8"
    name = server.get(f"{mount}/user/J%C3%BCrgen").json()
    assert name == {"name": "Jürgen", "url": f"{mount}/user/J%C3%BCrgen", "root": mount}


@pytest.mark.all_mpms
def test_a_session_survives_its_redirect(server):
    response = server.post("/login", b"name=Ada", headers=FORM)
    assert (response.status, response.header("Location")) == (302, "/whoami")
    cookie = response.header("Set-Cookie").partition(";")[0]
    assert server.get("/whoami", headers={"Cookie": cookie}).text == "Ada"
    assert server.get("/whoami").text == "anonymous"


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/validated"])
def test_a_file_goes_up_and_comes_back(server, mount):
    data = bytes(range(256)) * 3000
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    response = server.post(
        f"{mount}/upload",
        head + data + b"\r\n--B--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert response.body == data[::-1]


def test_json_goes_both_ways(server):
    headers = {"Content-Type": "application/json"}
    assert server.post("/json", b'{"number": 21}', headers=headers).json() == {"twice": 42}
    assert server.post("/json", b"{", headers=headers).status == 400


@pytest.mark.parametrize("mount", ["", "/validated"])
def test_a_file_is_sent_with_ranges_and_conditions(server, mount):
    source = (server.apps / "flask_site.py").read_bytes()
    whole = server.get(f"{mount}/source")
    assert whole.body == source
    assert server.get(f"{mount}/source", headers={"Range": "bytes=3-11"}).body == source[3:12]
    conditional = {"If-None-Match": whole.header("ETag")}
    fresh = server.get(f"{mount}/source", headers=conditional)
    assert (fresh.status, fresh.body) == (304, b"")


@pytest.mark.all_mpms
def test_a_stream_keeps_its_request_context(server):
    text = server.get("/stream?word=sch%C3%B6n").text
    assert text == "".join(f"{n} schön\n" for n in range(500))


def test_state_lives_as_long_as_the_process(server):
    first = int(server.get("/count").text)
    assert int(server.get("/count").text) == first + 1


def test_head_and_options_are_flasks_own(server):
    assert server.request("HEAD", "/user/x").body == b""
    assert "POST" in server.request("OPTIONS", "/json").header("Allow")


def test_errors_are_flasks_own_pages(server):
    response = server.get("/missing")
    assert (response.status, "nothing of the kind" in response.text) == (404, True)
    assert server.get("/fail").status == 500
    server.log.expect("Exception on /fail", "ValueError: from a Flask view")
    server.log.allow("Traceback ", r"\]  ")
