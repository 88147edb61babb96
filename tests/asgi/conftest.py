"""Servers with one process group that serves the application of apps/asgi_app.py."""

import pytest
from harness.asgi import conf


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
