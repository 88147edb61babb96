"""start-server in production: a page, the end, exit statuses, an ordinary user, process 1."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from harness import command, namespaces
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("runs ours")


def test_server_serves_and_ends_by_sigterm_with_nothing_left(start, site, short):
    server = start(TMPDIR=str(short))
    assert server.get() == (200, "<html><body>one</body></html>")
    assert len(server.processes()) > 2
    processes = server.processes()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [pid for pid in processes if os.path.exists(f"/proc/{pid}")] == []
    assert list(short.glob("mod_wsgi_rs-*")) == []


def test_variables_of_an_env_file_refer_to_others(start, site):
    (site / "variables").write_text(
        "HOST=db.example\nURL=postgres://${USER_OF_DB:-site}@$HOST/site\nRAW='$HOST'\n"
        'QUOTED="${FROM_SHELL}/x"\n'
    )
    (site / "app.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [' '.join(os.environ[it] for it in ('URL', 'RAW', 'QUOTED')).encode()]\n"
    )
    server = start("--env-file", "variables", FROM_SHELL="set")
    assert server.get()[1] == "postgres://site@db.example/site $HOST set/x"


def test_ordinary_user_serves_on_an_unprivileged_port(start, ordinary_user, short):
    if ordinary_user is None:
        pytest.skip("the other tests run as an ordinary user already")
    os.chown(short, ordinary_user.pw_uid, ordinary_user.pw_gid)
    server = start(user=ordinary_user, TMPDIR=str(short), HOME="/")
    assert server.get()[0] == 200
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in server.processes()}
    assert owners == {ordinary_user.pw_uid}


def test_port_that_is_taken_ends_the_command_with_its_own_status(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(port=port, ready=False)
        assert server.wait() == 3
        assert f"port {port} is taken by process {os.getpid()} (" in server.text()


def test_slow_request_is_finished_after_sigterm(start, site):
    (site / "app.py").write_text(
        "import time, pathlib\n"
        "def app(environ, start_response):\n"
        "    pathlib.Path(__file__).with_name('begun').touch()\n"
        "    while not pathlib.Path(__file__).with_name('finish').exists(): time.sleep(0.01)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'finished']\n"
    )
    site.chmod(0o777)
    server = start()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get()))
    thread.start()
    wait_until(lambda: (site / "begun").exists(), "the request")
    server.signal(signal.SIGTERM)
    server.wait_for("stopping")
    (site / "finish").touch()
    thread.join(30)
    assert answers == [(200, "finished")]
    assert server.wait() == 0


def test_server_that_is_killed_leaves_no_process(start, short):
    server = start(TMPDIR=str(short))
    processes = server.processes()
    server.signal(signal.SIGKILL)
    server.process.wait()
    gone = lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes)  # noqa: E731
    wait_until(gone, "the end of Apache")


def test_window_that_changes_its_size_does_not_stop_the_server(start):
    server = start()
    server.signal(signal.SIGWINCH)
    server.signal(signal.SIGHUP)
    server.wait_for("graceful restart")
    assert server.get()[0] == 200


def test_configuration_that_apache_refuses_is_told_with_status_1(start, site):
    (site / "more.conf").write_text("NoSuchDirective On\n")
    server = start("--include-file", "more.conf", ready=False)
    assert server.wait() == 1
    assert "NoSuchDirective" in server.text()
    assert "Apache does not start" in server.text()


def test_service_manager_is_told_that_the_server_is_ready(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        server = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert manager.recv(100) == b"READY=1"
        server.signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"


def test_lines_in_a_pipe_are_plain_or_json(start):
    server = start("--access-log", terminal=False)
    server.get("/path")
    server.wait_for(r"(?m)^\d\d:\d\d:\d\d 200 GET    /path ")
    assert "\x1b" not in server.text()
    server = start("--access-log", "--log-format", "json", terminal=False)
    server.get("/path")
    server.wait_for(r'(?m)^\{"time":"[^"]+","client":"127.0.0.1","method":"GET","url":"/path"')


def test_static_folder_is_served_without_python(start, site):
    (site / "public").mkdir()
    (site / "public/page.txt").write_text("a file")
    server = start("public")
    assert server.get("/page.txt") == (200, "a file")
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in server.processes()]
    assert "wsgi-daemon" not in " ".join(lines)


@pytest.mark.parametrize(
    "entry",
    ["app.py", "app:app", "app:make('two')", "factory.py", "factory:create_app()", "package.web"],
)
def test_every_form_of_entry_point_serves_its_application(start, site, entry):
    (site / "app.py").write_text(
        command.APP.replace("TEXT", "one") + "def make(text):\n    return app\n"
    )
    (site / "factory.py").write_text("def create_app():\n    from app import app\n    return app\n")
    (site / "package").mkdir()
    (site / "package/__init__.py").write_text("")
    (site / "package/web.py").write_text("from app import app as application\n")
    server = start(entry)
    assert server.get() == (200, "<html><body>one</body></html>")


def test_health_url_and_files_are_answered_without_the_application(start, site):
    (site / "files").mkdir()
    (site / "files/page.txt").write_text("a file")
    server = start("--health-url", "/healthz", "--document-root", "files")
    assert server.get("/healthz") == (200, "ok\n")
    assert server.get("/page.txt") == (200, "a file")
    assert server.get("/other.txt")[1] == "<html><body>one</body></html>"


def test_process_1_of_a_namespace_reaps_and_stops(site, env, short):
    if os.geteuid() != 0:
        pytest.skip("only root can make a namespace of processes")
    line = [
        *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
        *(command.COMMAND, "start-server", "--host", "127.0.0.1", "--port", "0"),
    ]
    tried = subprocess.run([*line[:5], "true"], capture_output=True)
    if tried.returncode:
        pytest.skip(f"no namespace can be made: {tried.stderr.decode()}")
    with socket.create_server(("127.0.0.1", 0)) as one:
        line[-1] = str(one.getsockname()[1])
    variables = {"MOD_WSGI_RS_MODULE": str(env.module), "TMPDIR": str(short)}
    process = subprocess.Popen(
        line,
        cwd=site,
        env=command.clean_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for text in process.stdout:
        if "serving on" in text:
            break
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    os.kill(int(Path(children).read_text().split()[0]), signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(30) == 0, rest
    assert list(short.glob("mod_wsgi_rs-*")) == []


@pytest.fixture
def small_disk(short):
    """A file system with room for a few files."""
    if why := namespaces.missing("mount"):
        pytest.skip(why)
    folder = short / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "disk", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield folder
    wait_until(
        lambda: subprocess.run(["umount", folder], capture_output=True).returncode == 0,
        "the end of all that uses the disk",
    )


def test_graceful_restart_that_a_full_disk_would_turn_into_the_end_is_refused(small_disk, start):
    server = start("--server-root", small_disk / "server")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    server.signal(signal.SIGUSR1)
    server.wait_for(r"no graceful restart: .*httpd\.pid.*No space left")
    assert server.get()[0] == 200
    assert sorted(it.name for it in (small_disk / "server").glob("httpd.pid*")) == ["httpd.pid"]
    filler.unlink()
    printed = len(server.text())
    server.signal(signal.SIGUSR1)
    server.wait_for("graceful restart", after=printed)
    wait_until(lambda: server.get()[0] == 200, "a page")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
