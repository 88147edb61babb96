"""The memory that processes keep after large uploads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
    pytest.mark.ours_only("the processes are found by their names"),
]

APP = """
def application(environ, start_response):
    read = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(read).encode()]
"""
MEGABYTE = 1_000_000
UPLOAD = b"x" * 3 * MEGABYTE


def conf(group="site"):
    text = f"""
    WSGIDaemonProcess site threads=12
    WSGIScriptAlias / ${{ROOT}}/app.py process-group={group} application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP),), threads=16)


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


# Each in bodies of twelve uploads. Apache's own memory is spread over one arena for each thread.
@pytest.mark.parametrize(("group", "most"), [("site", 1), ("%{GLOBAL}", 2)])
def test_process_keeps_little_after_twelve_uploads_at_once(private, record_property, group, most):
    server = private(conf(group))
    server.get("/")
    if group == "site":
        (process,) = daemons.workers(server)
    else:
        (process,) = daemons.httpd_children(server)
    before = resident(process)
    with ThreadPoolExecutor(12) as threads:
        for _ in range(4):
            answers = threads.map(lambda _: server.post("/", UPLOAD).text, range(12))
            assert set(answers) == {str(len(UPLOAD))}
    kept = resident(process) - before
    record_property("memory", f"{kept / MEGABYTE:.1f} MB are kept of {before / MEGABYTE:.1f} MB")
    # A body is not copied: where it was, 2.8 of twelve were kept in Apache's child.
    assert kept < most * 12 * len(UPLOAD)
