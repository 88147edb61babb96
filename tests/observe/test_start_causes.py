"""The cause of a failed start, in the log of each virtual host with each request that is refused.

Page, JSON and the command `status` have the same sentence.
"""

import concurrent.futures
import os
import re
import shutil
import signal
import subprocess

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until
from harness.pythons import has_manager

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
ASGI = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        await receive()
"""
ASGI_EXCEPTION = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        raise ConnectionError("no database")
"""
HOSTS = ("one", "two")
# What processes and Apache's parent log: judged here are the logs of the virtual hosts.
OWN_LINES = [
    "exited with status",
    "was killed by signal",
    "ended with exit status",
    "python-home",
    "python_home",
    "the Python home",
    "cannot change to the directory",
    "cannot run ",
    "longer than startup-timeout",
    "within startup-timeout",
    "no configuration",
    "no database",
    "error while loading shared libraries",
    "^Traceback|^ +File|^ +raise|^ +await|^ +\\^|^ +sys",
    "WSGI0024|WSGI0036|WSGI0109|WSGI0225|WSGI0026",
    "serves no request",
]


def conf(options="", app=APP, *, more="", files=(), directive="WSGIScriptAlias", module=""):
    """A group `broken` that two virtual hosts use, each of which has a log of its own."""
    hosts = "".join(
        f"""
        <VirtualHost *:${{PORT}}>
            ServerName {host}.test
            ErrorLog ${{ROOT}}/{host}_log
            {directive} /app ${{ROOT}}/app.py process-group=broken application-group=%{{GLOBAL}}
            <Location /wsgi-status>
                SetHandler wsgi-status
            </Location>
        </VirtualHost>
        """
        for host in HOSTS
    )
    text = f"""
    {module}
    WSGIRestrictEmbedded On
    WSGIDaemonProcess broken threads=1 {options}
    {more}
    {hosts}
    """
    files = (("app.py", app), ("out/README", "the application writes here"), *files)
    return Conf(text, files=files, timeout=60, threads=8, load_wsgi=not module)


@pytest.fixture
def start(private):
    def start(*arguments, prepare=lambda server: None, **options):
        def prepared(server):
            (server.root / "out").chmod(0o777)
            prepare(server)

        server = private(conf(*arguments, **options), prepared)
        server.log.allow(*OWN_LINES)
        return server

    return start


def errors(server, host):
    """The lines of a virtual host's log that say of an error."""
    lines = (server.root / f"{host}_log").read_text(errors="replace").splitlines()
    return [line for line in lines if re.search(r" \[\w+:(error|crit|alert|emerg)\] ", line)]


def refused(server, cause, code="WSGI0117"):
    """Each of three requests to each virtual host is a 503, and one line there says why."""
    for host in HOSTS:
        before = len(errors(server, host))
        for _ in range(3):
            assert server.get("/app", host=f"{host}.test").status == 503
        lines = errors(server, host)[before:]
        assert len(lines) == 3, lines
        for line in lines:
            assert re.search(rf"{code}: .*'broken' .*: .*{cause}.* \[SF\]$", line), line
            assert "lines before" not in line
    shown(server, cause)


def shown(server, cause):
    """The status page has the cause, too."""
    page = server.get("/wsgi-status?json", host="one.test").json()
    (group,) = (it for it in page["groups"] if it["name"] == "broken")
    assert re.search(cause, group["start_block"]), group["start_block"]
    html = server.get("/wsgi-status", host="one.test").text
    assert re.search(
        cause, html.replace("&#39;", "'").replace("&#x27;", "'").replace("&quot;", '"')
    )


def serves_again(server):
    there = lambda: server.get("/app", host="one.test").status == 200  # noqa: E731
    wait_until(there, "the group to serve", timeout=40)


def without_access(server):
    folder = server.root / "home"
    folder.mkdir()
    folder.chmod(0o700)


def foreign(server):
    (server.root / "home").mkdir()
    server.write("home/pyvenv.cfg", "home = /usr/bin\nversion = 3.98.1\n")


HOME = "python-home=${ROOT}/home"
IS_NO_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="a user may enter its own directories")


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (lambda server: None, "/home', which cannot be looked at: No such file"),
        pytest.param(without_access, "/home', which .* cannot read: .* 0700", marks=IS_NO_ROOT),
        (lambda server: (server.root / "home").mkdir(), "no pyvenv.cfg"),
        (foreign, "needs the .* for Python 3.98, which is not installed"),
    ],
    ids=["missing", "closed", "empty", "of another version"],
)
def test_virtual_environment_that_cannot_be_used_is_the_cause_with_each_request(
    start, prepare, cause
):
    server = start(HOME, prepare=prepare)
    server.log.allow("3.98")
    refused(server, cause)


@pytest.mark.parametrize("processes", ["2", "0-1"])
@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (lambda server: None, "cannot change to the directory .*/home'?: No such file"),
        pytest.param(
            without_access,
            "cannot change to the directory .*/home'?: Permission denied",
            marks=IS_NO_ROOT,
        ),
    ],
    ids=["missing", "closed"],
)
def test_home_that_cannot_be_entered_is_the_cause_with_each_request(
    start, prepare, cause, processes
):
    server = start(f"home=${{ROOT}}/home processes={processes}", prepare=prepare)
    refused(server, cause)
    shutil.rmtree(server.root / "home", ignore_errors=True)
    (server.root / "home").mkdir()
    serves_again(server)


def settings(env):
    return ("home/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")


@pytest.mark.parametrize("is_empty", [False, True], ids=["gone", "emptied"])
def test_python_home_that_breaks_while_the_group_runs_is_the_cause_with_each_request(
    start, asks, env, is_empty
):
    server = start(HOME, files=(settings(env),))
    worker = int(server.get("/app", host="one.test").text)
    shutil.rmtree(server.root / "home")
    cause = "the Python home '.*/home' cannot be looked at: No such file"
    if is_empty:
        (server.root / "home").mkdir()
        cause = "the Python home '.*/home' is neither a virtual environment"
    os.kill(worker, signal.SIGKILL)
    blocked = lambda: server.get("/app", host="one.test").status == 503  # noqa: E731
    wait_until(blocked, "the refusal", timeout=30)
    refused(server, f"WSGI0036: .*{cause}")
    (group,) = asks(server, "status")["groups"]
    assert re.search(cause, group["start_block"])
    assert re.search(cause, group["problem"])
    server.write(*settings(env))
    serves_again(server)


@pytest.mark.parametrize("size", [0, 8_000_000], ids=["GET", "POST"])
def test_request_that_no_worker_has_read_is_refused_once_no_worker_is_to_be_expected(
    start, env, size
):
    """It is sent while the records still show the worker that has been killed."""
    if not has_manager(env):
        pytest.skip("this module has no manager beside it")
    server = start(HOME, files=(settings(env),))
    worker = int(server.get("/app", host="one.test").text)
    shutil.rmtree(server.root / "home")
    manager = daemons.manager(server)
    daemons.freeze(manager)
    try:
        os.kill(worker, signal.SIGKILL)
        # Other threads of a process that is killed have its sockets for longer than the first.
        wait_until(lambda: daemons.connections(server) == 0, "the end of the worker")
        method, body = ("POST", bytes(size)) if size else ("GET", None)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.request, method, "/app", host="one.test", body=body)
            wait_until(lambda: daemons.connections(server) == 1, "the request", timeout=20)
            os.kill(manager, signal.SIGCONT)
            assert answer.result().status == 503, errors(server, "one")
    finally:
        os.kill(manager, signal.SIGCONT)
    (line,) = errors(server, "one")
    assert re.search(r"WSGI0117: .*: the Python home .*No such file.* \[SF\]$", line), line


@pytest.fixture
def stub(servers):
    """stub(path) makes a program there that needs a library of Python that is missing."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    folder = servers.base / "stub"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "library.c").write_text("int stub(void) { return 0; }\n")
    (folder / "program.c").write_text("int stub(void); int main(void) { return stub(); }\n")
    name = "libpython3.98.so.1.0"
    shared = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "library.c"]
    for words in (shared, ["-o", "program", "program.c", f"./{name}"]):
        subprocess.run([compiler, *words], cwd=folder, check=True)

    def stub(path):
        path.unlink(missing_ok=True)
        shutil.copy(folder / "program", path)
        path.chmod(0o755)

    return stub


def test_python_without_its_library_is_the_cause_with_each_request(start, env, stub):
    if not has_manager(env):
        pytest.skip("this module has no manager beside it")

    def prepare(server):
        venv = server.root / "home"
        python = f"/usr/bin/python{env.python}"
        subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
        stub(venv / "bin/python")
        subprocess.run(["chmod", "-R", "a+rX", venv], check=True)

    server = start(HOME, prepare=prepare)
    refused(server, "libpython3.98.so.1.0: cannot open shared object file")


@pytest.fixture
def modules(env, servers):
    """modules(linked) is a copy of the module with these programs or none beside it."""
    folder = servers.base / "causes-modules"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(env.module, folder)
    program = folder / f"wsgi-daemon-{env.python}"
    shutil.copy(env.module.parent / program.name, program)
    yield program
    shutil.rmtree(folder, ignore_errors=True)


def load(program):
    return f"LoadModule wsgi_module {program.parent}/mod_wsgi_rs.so"


def test_program_without_its_library_is_the_cause_with_each_request(start, modules, stub):
    stub(modules)
    server = start(module=load(modules))
    refused(server, "libpython3.98.so.1.0: cannot open shared object file")


def test_program_that_cannot_be_run_is_the_cause_with_each_request(start, modules):
    modules.write_bytes(b"")
    modules.chmod(0o755)
    server = start(module=load(modules))
    refused(server, "wsgi-daemon-.*: Exec format error")


@pytest.mark.parametrize("app", [ASGI, ASGI_EXCEPTION], ids=["message", "exception"])
def test_lifespan_that_fails_is_the_cause_with_each_request(start, app):
    server = start("asgi-lifespan=on", app, directive="ASGIScriptAlias")
    refused(
        server, r"WSGI0225: \[script .*app.py\] the ASGI application has not started: .*no database"
    )


def imports(app, **options):
    more = "WSGIImportScript ${ROOT}/import.py process-group=broken application-group=%{GLOBAL}\n"
    return {"more": more, "files": (("import.py", app),), **options}


def test_application_that_ends_its_process_is_the_cause_with_each_request(start):
    ends = "import os, sys\nprint('no configuration', file=sys.stderr, flush=True)\nos._exit(3)\n"
    server = start("processes=2", **imports(ends))
    refused(server, r"worker \d+ exited with status 3 before its first request: no configuration")
    server.write("import.py", "")
    serves_again(server)


def test_start_beyond_startup_timeout_is_the_cause_with_each_request(start):
    server = start("startup-timeout=1", **imports("import time\ntime.sleep(100)\n"))
    refused(server, r"not .*ready within startup-timeout \(1 s\)")


def test_control_characters_of_an_application_do_not_reach_page_or_command(start, asks):
    ends = (
        "import os, sys\n"
        "print('no \\x1b[31mred <b>\\x7f configuration', file=sys.stderr, flush=True)\n"
        "os._exit(3)\n"
    )
    server = start("", **imports(ends))
    server.log.allow("configuration")
    wait_until(lambda: server.get("/app", host="one.test").status == 503, "the refusal")
    (group,) = asks(server, "status")["groups"]
    for text in (
        server.get("/wsgi-status?json", host="one.test").json()["groups"][0]["start_block"],
        group["start_block"],
    ):
        assert "red <b>" in text
        assert not re.search(r"[\x00-\x1f\x7f]", text)
    page = server.get("/wsgi-status", host="one.test").text
    assert "red &lt;b&gt;" in page
    assert "\x1b" not in page


def test_workers_have_no_way_to_the_cause(start):
    """Its memory is the manager's alone: a worker has no descriptor and no mapping of it."""
    server = start("processes=1")
    assert server.get("/app", host="one.test").status == 200
    manager, [worker] = daemons.manager(server), daemons.workers(server)

    def files(pid):
        """Memory files that a process has mapped, by inode."""
        with open(f"/proc/{pid}/maps") as maps:
            return {line.split()[4] for line in maps if "/memfd:mod_wsgi_rs" in line}

    def opened(pid):
        names = os.listdir(f"/proc/{pid}/fd")
        paths = [f"/proc/{pid}/fd/{name}" for name in names]
        memory = [path for path in paths if "/memfd:mod_wsgi_rs" in os.readlink(path)]
        return {str(os.stat(path).st_ino) for path in memory}

    # Scoreboard alone; the manager also maps the cause and what Apache counts.
    assert len(files(worker) | opened(worker)) <= 1
    assert len(files(manager)) == 4
