"""The memory that a daemon process keeps after large uploads."""

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


def conf():
    text = """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=12
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """
    return Conf(text, files=(("app.py", APP),), threads=16)


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_process_keeps_little_after_twelve_uploads_at_once(private, record_property):
    server = private(conf())
    server.get("/")
    (worker,) = daemons.workers(server)
    before = resident(worker)
    with ThreadPoolExecutor(12) as threads:
        for _ in range(4):
            answers = threads.map(lambda _: server.post("/", UPLOAD).text, range(12))
            assert set(answers) == {str(len(UPLOAD))}
    kept = resident(worker) - before
    record_property("memory", f"{kept / MEGABYTE:.1f} MB are kept of {before / MEGABYTE:.1f} MB")
    # Less than the bodies themselves have taken.
    assert kept < 12 * len(UPLOAD)
