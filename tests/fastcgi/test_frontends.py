"""wsgi-daemon behind nginx and behind mod_proxy_fcgi.

Tests in tests/wsgi marked `frontends` run behind both too, under the modes `nginx` and
`mod_proxy_fcgi`. The others there ask what the module alone decides (its directives, its log, its
error pages) or what front ends do with malformed requests.
"""

import os

import pytest
from harness.conf import Conf

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

FILES = Conf("WSGIScriptAlias / ${APPS}/files.py")


@pytest.mark.parametrize("name", ["nginx", "mod_proxy_fcgi"])
def test_file_arrives_whole_although_no_descriptor_can_be_passed(
    front_ends, tmp_path_factory, name
):
    file = tmp_path_factory.mktemp("files") / "content"
    file.write_bytes(os.urandom(3_000_000))
    client = front_ends.client(name, FILES)
    assert client.get(f"/whole?{file}").body == file.read_bytes()
