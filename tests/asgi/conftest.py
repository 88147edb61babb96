"""Servers with one process group that serves the application of apps/asgi_app.py, and servers of
the applications of frameworks.
"""

import pytest
from harness import asgi_servers
from harness.asgi import conf
from harness.asgi_contract import CONF, difference
from harness.conf import Conf


@pytest.fixture
def server(serve):
    """A server that tests share."""
    return serve(conf())


@pytest.fixture
def start(private):
    """start(options, more) is a running server of the test's own."""

    def start(*arguments, prepare=lambda server: None, **others):
        return private(conf(*arguments, **others), prepare)

    return start


@pytest.fixture(scope="module")
def framework(request):
    """Of a test of the contract: the name of a framework, by `parametrize`."""
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module")
def kept():
    kept = asgi_servers.Kept()
    yield kept
    kept.close()


@pytest.fixture(params=["ours", *asgi_servers.SERVERS], scope="module")
def server_name(request):
    return request.param


@pytest.fixture
def contract(request, framework, server_name, kept, servers, serve, packages):
    """A server of the framework's application; `mount` is the path that leads to it."""
    if reason := difference(server_name, request.node.originalname, framework):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    if server_name == "ours":
        text = CONF.format(name=framework, packages=packages)
        server = serve(Conf(text, threads=16, timeout=60))
        server.mount = f"/{framework}"
        return server
    if lacking := asgi_servers.missing(server_name):
        pytest.skip(f"not installed (tests/requirements.txt): {', '.join(lacking)}")
    folder = servers.apps / "asgi_frameworks"
    return kept.get(server_name, folder, f"{framework}_app:application")
