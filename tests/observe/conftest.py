"""Servers of a test's own, and the command mod_wsgi_rs at their sockets."""

import json
from pathlib import Path

import pytest
from harness import command


@pytest.fixture
def start(request, private):
    """start(…) is a running server with the configuration that conf(…) of the test's file makes.

    It has answered a request of /app.
    """

    def start(*arguments, **options):
        # Applications write to this folder, as another user.
        def prepare(server):
            (server.root / "out").chmod(0o777)

        server = private(request.module.conf(*arguments, **options), prepare)
        assert server.get("/app").status == 200
        return server

    return start


@pytest.fixture
def run(env):
    """run(server, "status"): the command, its exit status and what it prints.

    `folder`: the folder of the sockets, if it is not that of this server.
    """
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")

    def run(server, *arguments, folder=None, **options):
        words = [*arguments, "--runtime-dir", folder or server.root]
        return command.run_command(*words, cwd="/", module=env.module, check=False, **options)

    return run


@pytest.fixture
def asks(run):
    """asks(server, "ps"): the object that the command prints.

    `status`: the exit status that it must have, if any will not do.
    """

    def asks(server, *arguments, status=None, **options):
        done = run(server, *arguments, "--json", **options)
        assert status in (None, done.returncode), done.stdout + done.stderr
        return json.loads(done.stdout)

    return asks
