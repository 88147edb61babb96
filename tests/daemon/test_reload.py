"""reload=On: a changed module replaces the workers, as a changed script does."""

import os
import time
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


def test_a_changed_module_replaces_the_workers_where_reload_is_on(start):
    app = (
        "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\nimport part\n"
        + APP.replace("VERSION = ", "VERSION = part.VERSION or ")
    )
    server = start(
        """
WSGIRestrictEmbedded On
WSGIDaemonProcess site processes=2 threads=2 reload=On
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
""",
        app,
        (("part.py", 'VERSION = "one"\n'),),
    )
    assert server.get("/").text.split()[2] == "one"
    part = Path(server.root) / "part.py"
    # Until the file has been seen once it cannot have changed; and a replacement that still starts
    # would give way to another one at the next change.
    changed = "part.py has changed; workers are to be replaced"
    wait_until(lambda: touched(part) and server.log.find(changed), "the change to be seen")
    wait_until(lambda: server.get("/").text.split()[2] == "two", "the new code", timeout=30)


RELOADING = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site processes=2 threads=2 reload=On
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
"""
IMPORTING = "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\nimport part\n"


def test_each_of_several_changes_in_a_row_is_served(start, record_property):
    """Each is made as soon as the one before is served: while the replacement still starts."""
    app = IMPORTING + APP.replace("VERSION = ", "VERSION = part.VERSION or ")
    server = start(RELOADING, app, (("part.py", 'VERSION = "v0"\n'),))
    took, saved = [], time.monotonic()
    for number in range(6):
        wait_until(
            lambda now=f"v{number}": server.get("/").text.split()[2] == now, f"version {number}"
        )
        took.append(time.monotonic() - saved)
        new = server.write("part.new", f'VERSION = "v{number + 1}"\n')
        saved = time.monotonic()
        new.replace(server.root / "part.py")
    wait_until(lambda: server.get("/").text.split()[2] == "v6", "the last version")
    record_property("reload", " ".join(f"{seconds:.2f} s" for seconds in took[1:]))
    # A second, and what a busy machine adds.
    assert min(took[1:]) < 1 + 2


def test_a_script_of_the_same_time_and_size_replaces_the_workers(start):
    server = start(
        RELOADING.replace("reload=On", ""), APP.replace("VERSION = ", "VERSION = 'v1' or ")
    )
    path = server.root / "app.py"
    assert server.get("/").text.split()[2] == "v1"
    found = path.stat()
    new = server.write("app.new", path.read_text().replace("'v1'", "'v2'"))
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))
    new.replace(path)
    assert path.stat().st_mtime_ns == found.st_mtime_ns
    wait_until(lambda: server.get("/").text.split()[2] == "v2", "the new code")


def test_a_module_of_the_same_time_and_size_is_not_taken_from_its_bytecode(start):
    """CPython takes bytecode for that of any source with the same second and size."""
    app = IMPORTING + APP.replace("VERSION = ", "VERSION = part.VERSION or ")
    server = start(
        RELOADING,
        app,
        (("part.py", 'VERSION = "v0"\n'),),
        prepare=lambda server: server.root.chmod(0o777),
    )
    assert server.get("/").text.split()[2] == "v0"
    part = server.root / "part.py"
    # The application's own user may write it.
    wait_until(lambda: [*server.root.glob("__pycache__/part.*.pyc")], "the bytecode")
    found = part.stat()
    new = server.write("part.new", 'VERSION = "v1"\n')
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))
    new.replace(part)
    wait_until(lambda: server.get("/").text.split()[2] == "v1", "the new code")


def touched(part):
    """Puts the new file in the place of the old one, at once: half of it would be loaded too."""
    new = part.with_suffix(".new")
    new.write_text('VERSION = "two"\n')
    later = time.time() + 2
    os.utime(new, (later, later))
    new.chmod(0o644)
    new.replace(part)
    return True
