"""Groups that cannot start: what clients and the log are told, how soon, and that others go on."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    if environ["REQUEST_METHOD"] == "POST":
        with open(os.path.join(os.path.dirname(__file__), "out/seen"), "a") as seen:
            print(environ["PATH_INFO"], file=seen)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
WAIT = """
import os, time
while not os.path.exists(__file__ + ".go"):
    time.sleep(0.05)
"""
# What is long enough to tell a clear answer from one that a time limit gives.
SOON = 8


def conf(options="", text="", *, files=(), module=""):
    """A group `broken` with these options and a group `whole`."""
    groups = f"""
    {module}
    WSGIRestrictEmbedded On
    WSGIDaemonProcess broken {options}
    WSGIDaemonProcess whole
    {text}
    WSGIScriptAlias /whole ${{ROOT}}/app.py process-group=whole application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=broken application-group=%{{GLOBAL}}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"), *files)
    return Conf(groups, files=files, timeout=60, load_wsgi=not module, threads=8)


def refused_soon(server, cause):
    """A 503, also when it is known already, and the line of each request names the cause."""
    for ask in (lambda: server.get("/"), lambda: server.post("/", b"x"), lambda: server.get("/")):
        began = time.monotonic()
        assert ask().status == 503
        assert time.monotonic() - began < SOON
    line = rf"^WSGI0117: daemon process 'broken' does not start: .*{cause}.* \[SF\]$"
    assert len(server.log.expect(line, count=3)) == 3
    server.log.allow(cause)
    assert server.get("/whole").status == 200


def serves_again(server):
    wait_until(lambda: daemons.serves(server), "the group to serve", timeout=30)


@pytest.mark.parametrize("processes", ["1", "0-1", "1-3"])
def test_unstartable_manager_is_a_503_and_starts_once_possible(start, processes):
    server = start(f"home=${{ROOT}}/home processes={processes} threads=1")
    server.log.allow("manager .* ended with exit status 1")
    refused_soon(server, "cannot change to the directory .*/home")
    (server.root / "home").mkdir()
    serves_again(server)
    if processes == "1-3":
        # Nothing is left of it: those beyond the least number are called upon, too.
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(server.get, ["/slow"] * 3))
        assert len({answer.text for answer in answers}) == 3


def test_the_pauses_of_a_manager_that_cannot_start_grow_and_stay_long(start):
    server = start("home=${ROOT}/home")
    server.log.expect("cannot change to the directory", "manager .* ended with exit status 1")
    ended = "manager .* ended with exit status 1"
    wait_until(lambda: len(server.log.find(ended)) >= 7, "seven attempts", timeout=50)
    began, before = time.monotonic(), len(server.log.find(ended))
    wait_until(lambda: len(server.log.find(ended)) > before, "another one", timeout=30)
    assert time.monotonic() - began > 5


@pytest.mark.parametrize("processes", ["1", "2", "0-1"])
def test_unstartable_workers_are_a_503_and_start_once_possible(start, processes):
    server = start(
        f"processes={processes}",
        "WSGIImportScript ${ROOT}/import.py process-group=broken application-group=%{GLOBAL}\n",
        files=(("import.py", "import os; os._exit(3)\n"),),
    )
    refused_soon(server, r"worker \d+ exited with status 3 before its first request")
    server.log.allow("exited with status 3")
    server.write("import.py", "")
    serves_again(server)


def test_refused_request_is_not_served_later(start):
    """It lies in the socket of a worker that starts after all."""
    server = start(
        "socket-timeout=2",
        "WSGIImportScript ${ROOT}/import.py process-group=broken application-group=%{GLOBAL}\n",
        files=(("import.py", WAIT),),
    )
    began = time.monotonic()
    assert server.post("/lost", b"x").status == 504
    assert time.monotonic() - began < 3.5
    server.log.expect("WSGI0145")
    server.write("import.py.go", "")
    serves_again(server)
    assert server.post("/done", b"x").status == 200
    assert daemons.notes(server, "seen") == ["/done"]


def test_a_request_that_waits_for_a_slow_start_is_served(start):
    server = start(
        "",
        "WSGIImportScript ${ROOT}/import.py process-group=broken application-group=%{GLOBAL}\n",
        files=(("import.py", "import time; time.sleep(3)\n"),),
    )
    answers = []
    body = os.urandom(1 << 20)
    asks = [lambda: server.get("/"), lambda: server.post("/", body)]
    threads = [
        threading.Thread(target=lambda ask=ask: answers.append(ask().status)) for ask in asks
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == [200, 200]


# --- what belongs to one customer ---------------------------------------------------------------


def restarts(server, signum):
    before = len(server.log.find(READY))
    server.send_signal(signum)
    server.log.wait_for(READY, count=before + 1)


def test_a_python_home_that_is_gone_harms_its_group_only(start, env):
    server = start("python-home=${ROOT}/home/venv")
    server.log.allow("python-home names '.*/home/venv'")
    assert "/home/venv', which cannot be looked at" in server.printed()
    assert server.printed().count("other process groups are not affected") >= 1
    for _ in range(3):
        assert server.get("/").status == 503
    cause = "WSGI0117: daemon process 'broken' is not started: .*/home/venv', which cannot be"
    assert len(server.log.expect(cause, count=3)) == 3
    for signum in (signal.SIGUSR1, signal.SIGHUP):
        restarts(server, signum)
        wait_until(lambda: daemons.serves(server, "/whole"), "the other group", timeout=5)
    server.write("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    serves_again(server)


def test_a_virtual_environment_without_its_settings_is_not_started(start, env):
    """As an installation, whose library has no module: CPython writes a page about its paths."""
    files = ((f"home/venv/lib/python{env.python}/site-packages/module.py", ""),)
    server = start("python-home=${ROOT}/home/venv", files=files)
    server.log.allow("python-home names '.*/home/venv'")
    assert "other process groups are not affected" in server.printed()
    assert server.get("/").status == 503
    server.log.expect("WSGI0117: daemon process 'broken' is not started: .*no pyvenv.cfg")
    assert server.get("/whole").status == 200
    server.write("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    serves_again(server)


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGHUP])
def test_missing_python_home_does_not_stop_a_restart(start, env, signum):
    cfg = ("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    server = start("python-home=${ROOT}/home/venv", files=(cfg,))
    assert server.get("/").status == 200
    shutil.rmtree(server.root / "home")
    worker = server.get("/").text
    restarts(server, signum)
    server.log.expect("python-home names '.*/home/venv', which cannot be looked at")
    server.log.allow("daemon process group 'broken' goes on as it was")
    assert server.get("/").text == worker
    wait_until(lambda: daemons.serves(server, "/whole"), "the other group", timeout=5)


@pytest.mark.parametrize("left", [None, ".", "lib/python{}/site-packages"])
def test_a_python_home_that_breaks_while_the_group_runs_is_the_cause_in_the_log(start, env, left):
    cfg = ("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    server = start("python-home=${ROOT}/home/venv", files=(cfg,))
    worker = int(server.get("/").text)
    # What a virtual environment goes through that is made anew.
    shutil.rmtree(server.root / "home/venv")
    why = "cannot be looked at: No such file"
    if left:
        (server.root / "home/venv" / left.format(env.python)).mkdir(parents=True)
        why = "is neither a virtual environment .no pyvenv.cfg. nor the prefix of a Python"
    os.kill(worker, signal.SIGKILL)
    server.log.allow("exited|killed by signal 9")
    # Without what CPython itself writes about its paths.
    server.log.expect(f"the Python home '.*/home/venv' {why}")
    wait_until(lambda: server.get("/").status == 503, "the refusal", timeout=20)
    server.log.expect(f"WSGI0117: .* does not start: .*the Python home '.*/home/venv' {why}")
    server.write("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    serves_again(server)


def test_missing_warm_up_script_does_not_stop_a_restart(start):
    text = """
    WSGIDaemonProcess own warm-up=/own
    WSGIScriptAlias /own ${ROOT}/own/app.py process-group=own application-group=%{GLOBAL}
    """
    server = start(text=text, files=(("own/app.py", APP),))
    (server.root / "own/app.py").unlink()
    server.log.allow("WSGI0105|warm-up: GET /own: |could not load its scripts")
    restarts(server, signal.SIGUSR1)
    wait_until(lambda: daemons.serves(server, "/whole"), "the other group", timeout=5)


# --- the program ---------------------------------------------------------------------------------


@pytest.fixture
def modules(env, servers):
    """A copy of the module and the daemon programs beside it, which may be broken."""
    folder = servers.base / "modules"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in [env.module, *env.module.parent.glob("wsgi-daemon-[0-9]*")]:
        shutil.copy(path, folder)
    return folder


def programs(modules):
    return list(modules.glob("wsgi-daemon-*"))


def load(modules):
    return f"LoadModule wsgi_module {modules}/mod_wsgi_rs.so"


def test_a_program_that_cannot_be_run_is_no_program(start, modules):
    for program in programs(modules):
        program.chmod(0o644)
    with pytest.raises(Exception, match=r"not installed beside the module \(installed: "):
        start(module=load(modules))


def test_unrunnable_program_is_named_in_the_log(start, modules):
    for program in programs(modules):
        program.write_bytes(b"")
        program.chmod(0o755)
    server = start(module=load(modules))
    began = time.monotonic()
    assert server.get("/").status == 503
    assert time.monotonic() - began < SOON
    server.log.expect(
        r"WSGI0024: cannot start .* group 'broken': .*/wsgi-daemon-.*: Exec format error",
        "WSGI0117: daemon process 'broken' is not started: its manager cannot be started: "
        ".*/wsgi-daemon-.*: Exec format error",
    )
    server.log.allow("WSGI0024")


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGHUP])
def test_missing_programs_do_not_stop_a_restart(start, modules, signum):
    """An upgrade that has only come half way."""
    server = start(module=load(modules))
    worker = server.get("/").text
    for program in programs(modules):
        program.unlink()
    restarts(server, signum)
    server.log.expect("needs the extension for Python .*, which is not installed beside the module")
    wait_until(lambda: server.get("/").text != worker, "another worker")
    assert server.get("/whole").status == 200


def test_missing_wsgipythonhome_does_not_stop_a_restart(start, env):
    cfg = ("home/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    server = start(text="WSGIPythonHome ${ROOT}/home/venv\n", files=(cfg,))
    assert server.get("/").status == 200
    shutil.rmtree(server.root / "home")
    cause = "cannot start Python: the Python home '.*/home/venv' cannot be looked at: No such file"
    server.log.allow(cause, "WSGI0036|exited with status 1|could not load its scripts")
    restarts(server, signal.SIGUSR1)
    server.log.expect("WSGIPythonHome names '.*/home/venv', which cannot be looked at")
    assert server.get("/").status == 200
