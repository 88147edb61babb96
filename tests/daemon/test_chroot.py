"""chroot=: applications and paths inside of another root directory."""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import TESTS

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = (TESTS / "apps/version.py").read_text()


def conf(text, app=APP, files=(), **more):
    return Conf(text, files=(("app.py", app), *files), children=2, threads=8, **more)


@pytest.fixture
def jail(servers, env):
    if os.geteuid() != 0:
        pytest.skip("only root can chroot")
    home = Path(sysconfig.get_path("stdlib"))
    python = f"python{env.python}"
    stdlib = Path("/usr/lib") / python
    if not stdlib.exists():
        pytest.skip(f"{home}: the module's Python is not in /usr/lib")
    # Not below the folder of pytest, which every new pytest takes from other users again.
    place = Path(tempfile.mkdtemp(dir=servers.base))
    place.chmod(0o755)
    root = place / "jail"
    (root / "usr/lib").mkdir(parents=True)
    ignore = shutil.ignore_patterns("test", "__pycache__", "idlelib", "tkinter", "config-*")
    shutil.copytree(stdlib, root / "usr/lib" / python, ignore=ignore, symlinks=True)
    # Extension modules find their libraries by the loader's usual paths.
    needed = set()
    for extension in (root / "usr/lib" / python / "lib-dynload").glob("*.so"):
        text = subprocess.run(["ldd", extension], capture_output=True, text=True).stdout
        needed |= {word for word in text.split() if word.startswith("/")}
    for library in needed:
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    return root


def test_chroot_is_the_root_of_the_application(start, jail):
    (jail / "srv").mkdir()
    (jail / "srv/app.py").write_text("""
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = " ".join(sorted(os.listdir("/")))
    return [f"{environ['SCRIPT_FILENAME']}|{environ['DOCUMENT_ROOT']}|{names}".encode()]
""")
    server = start(f"""
WSGIRestrictEmbedded On
WSGIDaemonProcess jail chroot={jail} home=/srv
WSGIScriptAlias /outside ${{ROOT}}/app.py process-group=jail
WSGIScriptAlias / {jail}/srv/app.py process-group=jail
DocumentRoot {jail}/srv
<Directory {jail}>
    Require all granted
</Directory>
""")
    response = server.get("/")
    assert response.status == 200
    name, documents, listed = response.text.split("|")
    assert (name, documents) == ("/srv/app.py", "/srv")
    assert set(listed.split()) == set(os.listdir(jail))
    assert server.get("/outside").status == 500
    server.log.expect("WSGI0081: .*outside of the chroot")
    for pid in (daemons.manager(server), *daemons.workers(server)):
        assert os.readlink(f"/proc/{pid}/root") == str(jail)


def test_chroot_may_be_the_root_directory(start):
    if os.geteuid() != 0:
        pytest.skip("only root can chroot")
    server = start("""
WSGIRestrictEmbedded On
WSGIDaemonProcess all chroot=/
WSGIScriptAlias / ${ROOT}/app.py process-group=all
""")
    assert server.get("/").status == 200
