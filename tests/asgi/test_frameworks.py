"""Applications of real frameworks, each written to one contract, mounted at the root and below."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
CONF = """
WSGIRestrictEmbedded On
WSGIDaemonProcess {name} python-path={packages}
ASGIScriptAlias /{name} ${{APPS}}/asgi_frameworks/{name}_app.py process-group={name}
"""


@pytest.fixture(
    params=["starlette", "fastapi", "quart", "django", "litestar", "blacksheep", "channels"]
)
def framework(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def server(serve, packages, framework):
    text = CONF.format(name=framework, packages=packages)
    return serve(Conf(text, threads=16))


def test_path_leads_to_a_view(server, framework):
    assert server.get(f"/{framework}/hello/world").text == "hello world"


def test_view_knows_the_request(server, framework):
    answer = server.get(f"/{framework}/facts?x=1&y=%C3%BC", headers={"Cookie": "a=0"})
    assert answer.json() == {
        "path": f"/{framework}/facts",
        "root_path": f"/{framework}",
        "query": {"x": "1", "y": "ü"},
        "started": "yes",
        "cookie": "0",
        "host": "localhost",
    }
    cookies = [cookie.split(";")[0] for cookie in answer.header_values("Set-Cookie")]
    assert cookies == ["a=1", "b=2"]


@pytest.mark.parametrize("chunked", [False, True])
def test_upload_comes_back(server, framework, chunked):
    body = bytes(range(256)) * 8000
    answer = server.post(f"/{framework}/echo", [body] if chunked else body, chunked=chunked)
    assert answer.body == body


def test_stream_is_complete(server, framework):
    text = server.get(f"/{framework}/stream").text
    assert text == "".join(f"line {number}\n" for number in range(100))


def test_view_that_blocks_has_a_thread(server, framework):
    assert server.get(f"/{framework}/blocking").text == "from a thread"


def test_background_task_is_run(server, framework):
    assert server.get(f"/{framework}/background").text == "later"
    wait_until(lambda: "done" in server.get(f"/{framework}/done").json(), "the task")


def test_exception_of_a_view_is_a_500_with_its_traceback(server, framework):
    assert server.get(f"/{framework}/fails").status == 500
    server.log.wait_for("ValueError: on purpose")
    server.log.allow_traceback("ValueError: on purpose")
    server.log.allow("WSGI0174|Exception on request|Exception in ASGI|Internal Server Error")
    server.log.allow("Unhandled exception - ", "Uncaught exception")


def test_page_that_is_not_there_is_a_404_of_the_framework(server, framework):
    assert server.get(f"/{framework}/nothing").status == 404
    server.log.allow("Not Found")
