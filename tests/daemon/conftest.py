"""One fixture for servers of a test's own with process groups."""

import pytest
from harness import daemons
from harness.httpd import wait_until


@pytest.fixture
def start(request, private):
    """start(…) is a running server with the configuration that conf(…) of the test's file makes.

    `prepare(server)` is called before it starts.
    """

    def start(*arguments, prepare=lambda server: None, **options):
        def prepared(server):
            out = server.root / "out"
            if out.is_dir():
                # Applications write there, as another user.
                out.chmod(0o777)
            prepare(server)

        return private(request.module.conf(*arguments, **options), prepared)

    return start


@pytest.fixture
def start_warm(start):
    """start(…), a first request is answered, and all workers are there."""

    def start_warm(*arguments, **options):
        server = start(*arguments, **options)
        # The limits of a group's requests hold while its processes start as well.
        wait_until(lambda: daemons.serves(server), "an answer")
        daemons.await_all_workers(server)
        return server

    return start_warm
