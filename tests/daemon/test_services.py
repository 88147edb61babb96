"""Process groups with threads=0: they run service scripts and serve no requests."""

from pathlib import Path

import pytest
from harness.conf import Conf
from harness.env import TESTS
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = (TESTS / "apps/version.py").read_text()


def conf(text, app=APP, files=(), **more):
    return Conf(text, files=(("app.py", app), *files), children=2, threads=8, **more)


SERVICE = """
import os, time, signal
def note(text):
    with open(os.path.join(os.path.dirname(__file__), "notes", "service"), "a") as file:
        file.write(text + "\\n")
try:
    note(f"start {os.getpid()} {os.getuid()}")
    while not os.path.exists(os.path.join(os.path.dirname(__file__), "end")):
        time.sleep(0.05)
finally:
    note("end")
"""
SERVICES = """
WSGIDaemonProcess service threads=0
WSGIImportScript ${ROOT}/service.py process-group=service application-group=%{GLOBAL}
WSGIScriptAlias /service ${ROOT}/app.py process-group=service
WSGIScriptAlias / ${ROOT}/app.py
"""


def notes(server):
    path = Path(server.root) / "notes" / "service"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_a_service_script_runs_is_started_again_and_leaves_by_systemexit(start, env):
    server = start(
        SERVICES,
        files=(("service.py", SERVICE), ("notes/empty", "")),
        prepare=lambda server: (server.root / "notes").chmod(0o777),
    )
    wait_until(lambda: [line for line in notes(server) if line.startswith("start")], "the service")
    first = notes(server)[0].split()[1]
    # It serves no requests, and says so at once.
    assert server.get("/service").status == 503
    server.log.expect("runs service scripts and serves no requests")
    assert server.get("/").status == 200
    (Path(server.root) / "end").write_text("")
    wait_until(lambda: "end" in notes(server), "its end")
    (Path(server.root) / "end").unlink()
    wait_until(
        lambda: [it for it in notes(server) if it.startswith("start") and first not in it],
        "its next start",
    )
    before = notes(server).count("end")
    server.stop()
    assert notes(server).count("end") > before, "finally: did not run"


NOTES_ITS_START = """
import time
with open(__file__.replace("service.py", "notes/service"), "a") as file:
    print(time.monotonic(), file=file)
"""


@pytest.mark.parametrize("text", ["pass", "raise RuntimeError", "import os; os._exit(3)"])
def test_a_service_script_that_ends_at_once_is_started_again_ever_more_slowly(start, text):
    server = start(
        SERVICES,
        files=(("service.py", f"{NOTES_ITS_START}{text}\n"), ("notes/empty", "")),
        prepare=lambda server: (server.root / "notes").chmod(0o777),
    )
    server.log.allow(
        "WSGI0", "RuntimeError", "Traceback", "File ", "raise ", "exited with status 3"
    )
    wait_until(lambda: len(notes(server)) >= 7, "seven starts", timeout=30)
    # The pauses are 0, 0, 0.1, 0.2, 0.4 and 0.8 s.
    starts = list(map(float, notes(server)))
    assert starts[6] - starts[2] > 1.3
    server.log.expect(r"worker \d+ exited .*; restarting in 0\.[78] s")
    # Other groups go on.
    assert server.get("/").status == 200
