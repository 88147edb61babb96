"""wsgi-daemon behind nginx and behind mod_proxy_fcgi: what the WSGI tests ask of our own module.

The tests are those of tests/wsgi. Left out is what the module alone decides (its
directives, its log, its error pages) and what front ends do with malformed requests.
"""

import contextlib
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import frontends

from tests.fastcgi import test_standalone as by_hand

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")
# From which file, about which application, which tests.
TAKEN = {
    ("test_environ", "environ"): """
        a_request_without_a_body_has_neither
        content_type_and_length_have_no_http_prefix
        every_method_reaches_the_application
        header_values_are_bytes_as_latin_1
        headers_become_http_variables
        path_info_is_the_decoded_bytes_as_latin_1
        the_proxy_header_is_dropped
        the_wsgi_keys_have_the_types_pep_3333_asks_for
    """,
    ("test_request_body", "body"): """
        a_body_arrives_whole
        a_large_body_streams_through_in_pieces
        an_absent_body_reads_as_empty
        an_input_kept_after_its_request_raises_instead_of_reading
        an_unread_body_does_not_disturb_the_next_request
        long_lines_survive_the_growth_of_the_buffer
        pipelined_requests_keep_their_own_bodies
        reading_takes_positional_arguments_only
        the_validator_finds_nothing_wrong_with_our_input
        the_ways_of_reading_share_what_is_left
    """,
    ("test_response", "response"): """
        status_204_and_304_have_no_body
        a_body_is_its_pieces_in_order
        a_body_short_of_content_length_is_visible
        a_body_that_must_not_be_is_dropped
        a_status_without_a_reason_is_accepted
        any_iterable_that_starts_in_time_will_do
        bytes_beyond_content_length_are_dropped
        each_piece_leaves_before_the_next_is_asked_for
        head_answers_as_get_does_without_the_body
        head_keeps_the_applications_content_length
        headers_go_out_with_an_empty_body
        the_status_line_is_the_applications
    """,
    ("test_headers", "headers"): """
        a_nul_in_a_value_never_splits_a_header
        after_output_a_call_with_exc_info_raises_that_exception
        after_output_a_second_call_is_refused
        before_output_a_second_call_replaces_the_first
        before_output_a_second_call_with_exc_info_replaces_the_first
        exc_info_may_be_none_or_a_tuple_while_nothing_is_out
        header_values_leave_as_latin_1_bytes
        headers_reach_the_client_as_they_are
        lists_strings_and_their_subclasses_are_accepted
        many_headers_all_arrive
        repeated_headers_stay_apart_and_in_order
        start_response_refuses
        start_response_returns_write
        start_response_takes_positional_arguments_only
        the_content_type_is_the_applications
        write_takes_bytes_only
    """,
}
APPS = dict(TAKEN.keys())
for (file, _), names in TAKEN.items():
    for name in names.split():
        globals()[f"test_{name}"] = getattr(
            importlib.import_module(f"tests.wsgi.{file}"), f"test_{name}"
        )

SCRIPT = """
import sys
sys.path.insert(0, {apps!r})
import {name} as module

def application(environ, start_response):
    mount, path = "", environ["PATH_INFO"]
    for known in {mounts!r}:
        if path.startswith(known + "/"):
            mount, path = known, path[len(known):]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mount, path
    return getattr(module, "validated" if mount == "/validated" else "application")(
        environ, start_response
    )
"""
MOUNTS = {"environ": ["/validated", "/app", "/get"]}


@pytest.fixture(scope="module", params=["nginx", "mod_proxy_fcgi"])
def front(request, servers):
    """front(name) is a client of a front end of the application tests/apps/<name>.py."""
    if request.param == "nginx" and not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    if request.param != "nginx" and not servers.env.has_module("proxy_fcgi"):
        pytest.skip("this Apache has no mod_proxy_fcgi")
    made = {}
    with contextlib.ExitStack() as stack:

        def front(name):
            if name not in made:
                root = Path(tempfile.mkdtemp(prefix="wsgi-front-"))
                stack.callback(shutil.rmtree, root)
                root.chmod(0o755)
                daemon = by_hand.Daemon(root)
                stack.callback(daemon.stop)
                mounts = MOUNTS.get(name, ["/validated"])
                daemon.script.write_text(
                    SCRIPT.format(apps=str(servers.apps), name=name, mounts=mounts)
                )
                daemon.start("--threads", "4", "--socket-mode", "666")
                if request.param == "nginx":
                    client = frontends.nginx(root, daemon.socket)
                else:
                    client = frontends.proxy_fcgi(servers, daemon.socket)
                made[name] = stack.enter_context(client)
            return made[name]

        yield front


# What is the front end's own doing, whatever stands behind it.
NOT_OURS = {
    "nginx": {"many_headers_all_arrive": "drops headers without a value"},
    "mod_proxy_fcgi": {
        "repeated_headers_stay_apart_and_in_order": "joins them by commas",
        "a_body_short_of_content_length_is_visible": "drops Content-Length",
        "bytes_beyond_content_length_are_dropped": "drops Content-Length",
        "head_keeps_the_applications_content_length": "drops Content-Length",
        "head_answers_as_get_does_without_the_body": "drops Content-Length",
    },
}


class Unwatched:
    """The log of a front end: what it says there is its own affair."""

    def allow(self, *_):
        pass

    expect = allow


@pytest.fixture
def server(front, request):
    name = request.node.originalname.removeprefix("test_")
    for why in [NOT_OURS[which].get(name) for which in NOT_OURS if which in request.node.name]:
        if why:
            pytest.skip(f"the front end {why}")
    client = front(APPS[request.function.__module__.removeprefix("tests.wsgi.")])
    client.log, client.mode = Unwatched(), "daemon"
    return client


@pytest.fixture
def environ(server):
    def environ(path, **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.get(path, headers=names).json()["values"]

    return environ


@pytest.fixture
def call(server):
    return lambda arguments: server.get(f"/call?{quote(arguments)}")


def test_a_file_arrives_whole_although_no_descriptor_can_be_passed(front, tmp_path_factory):
    file = tmp_path_factory.mktemp("files") / "content"
    file.write_bytes(os.urandom(3_000_000))
    assert front("files").get(f"/whole?{file}").body == file.read_bytes()
