"""A wsgi-daemon of a test's own."""

import shutil
import tempfile
from pathlib import Path

import pytest
from harness.standalone import PROGRAM, Daemon


@pytest.fixture
def daemon():
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is missing: cargo build --release -p wsgi-daemon")
    root = Path(tempfile.mkdtemp(prefix="wsgi-daemon-"))
    daemon = Daemon(root)
    yield daemon
    daemon.stop()
    assert daemon.crashes() == []
    shutil.rmtree(root)
