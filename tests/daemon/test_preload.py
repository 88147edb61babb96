"""preload=On: a template loads the scripts once, and workers are forked from it."""

import concurrent.futures
import os
import signal
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.env import TESTS
from harness.httpd import READY, wait_until

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.embedded_only("each test names its own process group"),
]

# Memory that no worker shall have for itself.
APP = (TESTS / "apps/version.py").read_text() + "MEMORY = bytearray(os.urandom(1 << 20)) * 32\n"


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
    server.log.expect("keeping the current workers and their code")
    server.log.allow_traceback("RuntimeError: broken")
    # In the place of a worker that is killed now, another one is forked from what worked.
    os.kill(int(server.get("/").text.split()[0]), signal.SIGKILL)
    server.log.expect(r"worker \d+ was killed by signal 9")
    for _ in range(10):
        assert server.get("/").text.split()[2] == "one"


def test_killing_the_template_costs_no_request(start):
    server = start(PRELOAD)
    importer = int(server.get("/").text.split()[1])
    wait_until(lambda: len(processes(server)) == 4, "three workers and their template")
    # The manager may be asking it for a worker; it asks the next one.
    server.log.allow("cannot start a worker: (unexpected end of file|Broken pipe)")

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


SLOW_IMPORT = """
import time
time.sleep(2)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"imported"]
"""


def cpu_seconds(pid):
    """The processor time that a process has used, in seconds."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_manager_sleeps_while_a_request_waits_for_the_first_template(start):
    server = start(PRELOAD, SLOW_IMPORT)
    # It comes while the script is being imported, and waits at the socket of a slot.
    assert server.get("/").text == "imported"
    assert cpu_seconds(daemons.manager(server)) < 0.3
