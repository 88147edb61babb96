"""How a server with access or authentication scripts is asked."""

from urllib.parse import quote

import pytest
from harness.client import basic


@pytest.fixture
def get(server):
    """get(path, answer, user:password) is a response; Basic credentials are sent at once.

    `server` is the fixture of the test file.
    """

    def get(path, answer=None, credentials=None, **headers):
        if answer is not None:
            headers["X-Answer"] = answer
        if credentials is not None:
            headers["Authorization"] = basic(credentials)
        return server.get(f"{path}/?{quote('1')}", headers=headers)

    return get
