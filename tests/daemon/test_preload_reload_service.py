"""preload=On, reload=On, service scripts, chroot= and deadlock-timeout."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

APP = """
import os
MEMORY = bytearray(os.urandom(1 << 20)) * 32
VERSION = "one"
PID = os.getpid()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {PID} {VERSION} {environ['mod_wsgi.application_group']}".encode()]
"""


def conf(text, app=APP, files=(), **more):
    return Conf(text, files=(("app.py", app), *files), children=2, threads=8, **more)


def script(server):
    return Path(server.root) / "app.py"


def rewrite(server, old, new):
    """A deploy: the file changes, and its time of modification with it."""
    path = script(server)
    text = path.read_text().replace(old, new)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o644)
    os.replace(beside, path)


def processes(server):
    """Workers and template: whatever the manager has started."""
    return daemons.workers(server)


def private_memory(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = (line.split() for line in text.splitlines() if line.startswith("Private"))
    return sum(int(words[1]) for words in lines) * 1024


PRELOAD = """
WSGIRestrictEmbedded On
WSGIDaemonProcess site processes=3 threads=2 preload=On graceful-timeout=5
WSGIProcessGroup site
WSGIScriptAlias / ${ROOT}/app.py
"""


def test_preloaded_workers_share_the_modules_imported_before_fork(start):
    server = start(PRELOAD)
    pid, importer, _, _ = server.get("/").text.split()
    assert pid != importer, "the application was imported by the worker itself"
    wait_until(lambda: len(processes(server)) == 4, "three workers and their template")
    # The application holds 32 MB, which no worker has for itself.
    assert private_memory(int(pid)) < 20 << 20
    # One import for all of them, before any request.
    server.log.expect("Loading WSGI script")


def test_an_application_in_a_virtual_host_is_alone_in_its_group_and_preloaded(start):
    server = start("""
WSGIRestrictEmbedded On
<VirtualHost *>
    WSGIDaemonProcess site preload=On
    WSGIProcessGroup site
    WSGIScriptAlias / ${ROOT}/app.py
</VirtualHost>
""")
    # A worker loads scripts for this virtual host alone, and says so.
    server.log.allow("WSGI0152: .*belongs to another virtual host")
    pid, importer, *_ = server.get("/").text.split()
    assert pid != importer


def test_a_touched_script_is_preloaded_anew_before_workers_are_replaced(start):
    server = start(PRELOAD)
    server.get("/")

    def deploy():
        rewrite(server, '"one"', '"two"')
        wait_until(lambda: server.get("/").text.split()[2] == "two", "the new code")

    assert daemons.under_load(server, deploy) == []
    pid, importer, *_ = server.get("/").text.split()
    assert pid != importer


def test_a_deploy_that_cannot_be_imported_leaves_the_old_template_in_place(start):
    server = start(PRELOAD)
    server.get("/")
    rewrite(server, "VERSION = ", "raise RuntimeError('broken')\nVERSION = ")
    server.get("/")
    server.log.expect("go on with the code they have")
    server.log.allow_traceback("RuntimeError: broken")
    # A worker that is killed now is forked from what worked.
    for pid in daemons.workers(server):
        with contextlib.suppress(ProcessLookupError):
            if str(pid) == server.get("/").text.split()[0]:
                os.kill(pid, signal.SIGKILL)
                break
    server.log.expect(r"worker \d+ was killed by signal 9")
    for _ in range(10):
        assert server.get("/").text.split()[2] == "one"


def test_killing_the_template_costs_no_request(start):
    server = start(PRELOAD)
    importer = int(server.get("/").text.split()[1])
    wait_until(lambda: len(processes(server)) == 4, "three workers and their template")

    def kill():
        os.kill(importer, signal.SIGKILL)
        server.log.expect(r"template \d+ \(preload\) was killed by signal 9")
        wait_until(lambda: len(processes(server)) == 4, "a new template")

    assert daemons.under_load(server, kill) == []


def test_threads_started_by_an_import_are_warned_about(start):
    app = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    server = start(PRELOAD, app + APP)
    assert server.get("/").status == 200
    server.log.expect("importing has started 1 threads, which workers will not have")


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
    # Until the file has been seen once it cannot have changed.
    wait_until(lambda: touched(part) and server.get("/").text.split()[2] == "two", "the new code")
    server.log.expect("part.py has changed; workers are to be replaced")


def touched(part):
    part.write_text('VERSION = "two"\n')
    later = time.time() + 2
    os.utime(part, (later, later))
    return True


SERVICE = """
import os, time, signal
def note(text):
    with open(os.path.join(os.path.dirname(__file__), "notes", "service"), "a") as file:
        file.write(text + "\\n")
note(f"start {os.getpid()} {os.getuid()}")
try:
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


@pytest.mark.parametrize("text", ["pass", "raise RuntimeError", "import os; os._exit(3)"])
def test_a_service_script_that_ends_at_once_is_started_again_ever_more_slowly(start, text):
    server = start(SERVICES, files=(("service.py", text + "\n"),))
    server.log.allow(
        "WSGI0", "RuntimeError", "Traceback", "File ", "raise ", "exited with status 3"
    )
    server.log.wait_for("Running service script", count=3)
    third = time.monotonic()
    server.log.wait_for("Running service script", count=7)
    # The pauses are 0, 0, 0.1, 0.2, 0.4 and 0.8 s.
    assert time.monotonic() - third > 1.3
    server.log.expect(r"worker \d+ exited .*; the next one is started in 0\.[78] s")
    # Other groups go on.
    assert server.get("/").status == 200


@pytest.fixture
def jail(tmp_path, env):
    if os.geteuid() != 0:
        pytest.skip("only root can chroot")
    home = Path(sysconfig.get_path("stdlib"))
    python = f"python{env.python}"
    stdlib = Path("/usr/lib") / python
    if not stdlib.exists():
        pytest.skip(f"{home}: the module's Python is not in /usr/lib")
    root = tmp_path / "jail"
    (root / "usr/lib").mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
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


DEADLOCK = """
import ctypes, os
def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        # A C function that keeps Python's lock.
        ctypes.PyDLL(None).pause()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.mark.needs_lock("is about the lock")
def test_deadlock_timeout_replaces_the_worker(start):
    server = start(
        """
WSGIRestrictEmbedded On
WSGIDaemonProcess site threads=3 deadlock-timeout=1
WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
""",
        DEADLOCK,
    )
    before = server.get("/").text
    response = server.request("POST", "/hold", body=b"x")
    assert response.status == 502
    server.log.expect(r"gets Python's lock, and has not for 1 s .*it serves POST /hold")
    server.log.allow("WSGI0146", "exited with status 1")
    assert server.get("/").text != before


GATED = """
import os, time
from site_code import VERSION
TEMPLATE = 2 if os.path.exists(__file__ + ".second") else 1
print("template", TEMPLATE, "has", VERSION)
while not os.path.exists(f"{__file__}.go{TEMPLATE}"):
    time.sleep(0.02)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""


def test_restart_during_template_start_does_not_delay_requests(start):
    server = start(
        PRELOAD.replace("preload=On", "preload=On python-path=${ROOT}/lib"),
        GATED,
        files=(("lib/site_code.py", "VERSION = 'one'\n"),),
    )
    server.log.expect("template 1 has one")
    server.log.allow("template 2 has (one|two)$")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.get, "/")
        server.process.send_signal(signal.SIGUSR1)
        server.log.wait_for(READY, count=2)
        server.write("lib/site_code.py", "VERSION = 'two'  # and longer\n")
        server.write("app.py.second", "")
        server.write("app.py.go1", "")
        assert answer.result(timeout=8).text == "one"
    server.write("app.py.go2", "")
    wait_until(lambda: server.get("/").text == "two", "the newer code")
