"""The scope of the same request under uvicorn, which most applications are written with."""

import pytest
from harness.asgi import conf
from harness.asgi_servers import Beside
from harness.env import TESTS

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
# Another address, and what a server may choose: uvicorn announces HTTP 2.3.
OWN = {"asgi", "client", "server", "extensions", "state"}


@pytest.fixture(scope="module")
def uvicorn():
    """A client of uvicorn with the application of apps/asgi_app.py."""
    pytest.importorskip("uvicorn")
    client = Beside("uvicorn", TESTS / "apps", "asgi_app:application")
    yield client
    client.stop()


def scope(client, method, path, body, fields):
    answer = client.request(method, path, body=body, headers=fields).json()
    headers = sorted((name["bytes"], value["bytes"]) for name, value in answer.pop("headers"))
    return {name: value for name, value in answer.items() if name not in OWN}, headers


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("GET", "/scope", None, {}),
        ("GET", "/scope/a%20b/%C3%BC/%ff?q=%20&x=1", None, {"X-Some": "1", "Cookie": "a=1; b=2"}),
        ("POST", "/scope?", b"body", {"Content-Type": "text/plain"}),
        ("DELETE", "/scope/x;y=1", None, {"Accept": "*/*", "User-Agent": "test/1"}),
    ],
)
def test_scope_is_that_of_uvicorn(serve, uvicorn, method, path, body, fields):
    server = serve(conf())
    request = (method, path, body, fields)
    assert scope(server, *request) == scope(uvicorn, *request)
