"""mod_wsgi_rs status, ps, reload, drain and recycle, at the sockets of a real server."""

import contextlib
import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from harness import command, daemons
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such commands")

APP = r"""
import os, time
HERE = os.path.dirname(__file__)
VERSION = "one"
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/wait"):
        with open(os.path.join(HERE, "out", "begun"), "a") as file:
            file.write("x")
        while not os.path.exists(os.path.join(HERE, "out", "finish")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode() + b" " + str(os.getpid()).encode()]
"""


def conf(groups="WSGIDaemonProcess site processes=2 threads=2", aliases="", **more):
    text = f"""
    {groups}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {aliases}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(text, files=files, **({"timeout": 60} | more))


@contextlib.contextmanager
def short_folder():
    """A folder for all users, whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="w", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def only_group(answer):
    [group] = answer["groups"]
    return group


def admin_sockets(server):
    return sorted(server.root.rglob("*.admin"))


def put(server, text):
    """Other code of the application."""
    new = server.root / "app.new"
    new.write_text(text)
    new.chmod(0o644)
    os.replace(new, server.root / "app.py")


def ready(asks, server, count):
    def is_ready():
        group = only_group(asks(server, "status", "site"))
        return group if group["workers_ready"] == count else None

    return wait_until(is_ready, f"{count} workers", timeout=30)


def exits(asks, server):
    """How many workers have ended, by reason."""
    found = only_group(asks(server, "status", "site"))["exits"]
    return {reason: count for reason, count in found.items() if count}


def test_status_and_ps_tell_of_groups_and_workers(start, run, asks):
    server = start()
    group = ready(asks, server, 2)
    assert (group["name"], group["condition"], group["severity"]) == ("site", "ready", "ok")
    assert group["manager"]["pid"] == daemons.manager(server)
    assert group["server_pid"] == server.process.pid
    assert group["manager"]["generation"] == 1
    assert group["processes"] == {"least": 2, "most": 2}
    pids = sorted(worker["pid"] for worker in group["workers"])
    assert pids == sorted(daemons.workers(server))
    assert all(worker["resident_bytes"] > 1_000_000 for worker in group["workers"])
    wait_until(lambda: any(it["served"] for it in ready(asks, server, 2)["workers"]), "the count")
    workers = asks(server, "ps", "site")["workers"]
    assert sorted(worker["pid"] for worker in workers) == pids
    assert {worker["group"] for worker in workers} == {"site"}
    done = run(server, "status")
    assert done.stdout.startswith("WSGI OK: 1 of 1 process groups well\n")
    assert "2/2" in done.stdout
    text = run(server, "ps").stdout
    assert all(str(pid) in text for pid in pids)


def test_commands_work_while_every_worker_is_stuck(start, run, asks):
    server = start("WSGIDaemonProcess site processes=1 threads=1 shutdown-timeout=30")
    with server.socket() as sock:
        sock.sendall(head("/app/wait?secret=x"))
        wait_until((server.root / "out/begun").exists, "the request")
        group = only_group(asks(server, "status"))
        assert group["requests_active"] == 1
        [worker] = group["workers"]
        # A query may hold what is not for a terminal.
        assert [request["line"] for request in worker["requests"]] == ["GET /app/wait"]
        assert "GET /app/wait" in run(server, "ps").stdout
        answer = asks(server, "reload", "site")
        assert answer["replaced"][0]["old_pid"] == worker["pid"]
        (server.root / "out/finish").touch()
        assert b"200 OK" in sock.recv(1000)


def test_reload_answers_when_all_workers_have_new_code(start, run, asks):
    server = start("WSGIDaemonProcess site processes=3 threads=2")
    ready(asks, server, 3)
    old = set(daemons.workers(server))
    put(server, APP.replace('"one"', '"two"'))
    done = run(server, "reload", "site")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("process group 'site' is reloaded\n")
    seen = {server.get("/app").text.split()[0] for _ in range(12)}
    assert seen == {"two"}
    daemons.settled(server, 3, without=old)
    server.log.expect("command reload of uid")


def test_reload_loses_no_request(start, asks):
    server = start("WSGIDaemonProcess site processes=2 threads=2")
    ready(asks, server, 2)
    failed, end = [], threading.Event()

    def browse():
        while not end.is_set():
            answer = server.get("/app")
            if answer.status != 200:
                failed.append(answer.status)

    threads = [threading.Thread(target=browse) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert asks(server, "reload", "site")["done"]
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_reload_of_code_that_does_not_load_names_the_cause_and_keeps_the_old_code(start, run, asks):
    server = start()
    ready(asks, server, 2)
    put(server, "raise RuntimeError('on purpose')\n")
    server.log.allow(
        "on purpose", "Traceback", r"^ ", "could not load", "WSGI0109", "WSGI0174", r"^\[script"
    )
    done = run(server, "reload", "site")
    assert done.returncode == 1
    assert "is not reloaded: " in done.stderr
    assert "go on with their code" in done.stderr
    assert {server.get("/app").text.split()[0] for _ in range(8)} == {"one"}
    answer = asks(server, "reload", "site", status=1)
    assert answer["workers_ready"] == 2
    failed = r"worker \d+ could not load its scripts: "
    assert re.fullmatch(failed + "RuntimeError: on purpose", answer["error"])
    server.log.allow("no database", "exited with status 7", "invalid syntax", "WSGI0105")
    put(server, "def broken(:\n")
    assert ": SyntaxError: invalid syntax" in asks(server, "reload", "site", status=1)["error"]
    put(server, "import os\nos.write(2, b'no database\\n')\nos._exit(7)\n")
    error = asks(server, "reload", "site", status=1)["error"]
    assert re.search(r"exited with status 7 before its first request: no database$", error), error
    put(server, APP.replace('"one"', '"two"'))
    assert asks(server, "reload", "site")["done"]
    assert {server.get("/app").text.split()[0] for _ in range(8)} == {"two"}


def test_recycle_replaces_one_worker(start, run, asks):
    server = start()
    ready(asks, server, 2)
    one, other = sorted(daemons.workers(server))
    answer = asks(server, "recycle", str(one))
    [replaced] = answer["replaced"]
    assert replaced["old_pid"] == one
    pids = {worker["pid"] for worker in asks(server, "ps")["workers"]} - {one}
    assert pids == {other, replaced["pid"]}
    wait_until(lambda: exits(asks, server) == {"recycle_command": 1}, "the exit")
    assert asks(server, "reload", "site")["done"]
    of_both = {"recycle_command": 1, "reload_command": 2}
    wait_until(lambda: exits(asks, server) == of_both, "the exits")
    assert asks(server, "drain", "site")["done"]
    assert exits(asks, server) == of_both | {"drain_command": 2}
    assert asks(server, "reload", "site")["done"]
    done = run(server, "recycle", str(os.getpid()))
    assert done.returncode == 1
    assert "is no worker of a process group" in done.stderr


def test_drained_group_refuses_requests_until_a_reload(start, run, asks):
    server = start("WSGIDaemonProcess site processes=1 threads=2 shutdown-timeout=30")
    server.log.allow("WSGI0117", "WSGI0084", "drain")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/app/wait")))
    thread.start()
    wait_until((server.root / "out/begun").exists, "the request")
    drained = []
    drain = threading.Thread(target=lambda: drained.append(run(server, "drain", "site")))
    drain.start()
    wait_until(
        lambda: only_group(asks(server, "status"))["condition"] == "draining",
        "the drain",
    )
    # What has begun is finished.
    (server.root / "out/finish").touch()
    thread.join()
    drain.join()
    assert answers[0].status == 200
    assert drained[0].returncode == 0, drained[0].stderr
    assert server.get("/app").status == 503
    server.log.expect("WSGI0117: .*it was drained")
    group = only_group(asks(server, "status", status=1))
    assert (group["condition"], group["severity"]) == ("drained", "warning")
    assert asks(server, "reload", "site")["done"]
    assert server.get("/app").status == 200
    assert only_group(asks(server, "status"))["condition"] == "ready"


def test_drained_group_serves_again_after_a_restart_of_apache(start, asks):
    server = start("WSGIDaemonProcess site processes=1 threads=2")
    assert asks(server, "drain", "site")["done"]
    server.log.allow("WSGI0117")
    server.send_signal(signal.SIGUSR1)
    wait_until(lambda: server.get("/app").status == 200, "the group to serve", timeout=30)


def test_drained_group_ends_with_apache(start, asks):
    server = start("WSGIDaemonProcess site processes=1 threads=2")
    assert asks(server, "drain", "site")["done"]
    manager = daemons.manager(server)
    server.kill()
    wait_until(lambda: not daemons.is_alive(manager), "the end of the manager", timeout=30)
    server.log.allow("AH00")


def test_socket_of_a_group_outlives_restarts_and_is_with_the_new_manager(start, asks):
    server = start()
    [path] = admin_sockets(server)
    before = only_group(asks(server, "status"))["manager"]
    server.send_signal(signal.SIGUSR1)
    server.log.wait_for("resuming normal operations", count=2, timeout=30)
    assert admin_sockets(server) == [path]
    assert only_group(asks(server, "status"))["manager"]["pid"] == before["pid"]
    # Other options: another manager.
    file = server.root / "httpd.conf"
    file.write_text(file.read_text().replace("processes=2 threads=2", "processes=1 threads=3"))
    server.send_signal(signal.SIGUSR1)
    server.log.wait_for("resuming normal operations", count=3, timeout=30)

    def is_new():
        group = only_group(asks(server, "status", "site"))
        return group["manager"]["pid"] != before["pid"] and group

    group = wait_until(is_new, "the new manager", timeout=30)
    assert group["manager"]["generation"] > before["generation"]
    assert group["processes"] == {"least": 1, "most": 1}
    assert admin_sockets(server) == [path]
    server.stop()
    assert admin_sockets(server) == []


def test_exit_statuses_are_those_of_monitoring_plugins(start, run, asks, tmp_path):
    server = start("WSGIDaemonProcess site processes=1 threads=1")
    ready(asks, server, 1)
    assert run(server, "status").returncode == 0
    manager = daemons.manager(server)
    daemons.freeze(manager)
    try:
        done = run(server, "status", "--timeout", "1")
    finally:
        os.kill(manager, signal.SIGCONT)
    assert done.returncode == 2
    assert "WSGI CRITICAL: 0 of 1" in done.stdout
    assert "has not answered within 1 s" in done.stdout
    done = run(server, "status", "other")
    assert done.returncode == 3
    assert done.stdout.startswith("WSGI UNKNOWN: there is no process group 'other'; there are: ")
    assert run(server, "status", folder=tmp_path).returncode == 3
    assert run(server, "reload", "other").returncode == 1


def test_group_whose_workers_do_not_start_is_critical_and_mended_by_a_reload(start, run, asks):
    server = start("WSGIDaemonProcess site processes=1 threads=1")
    group = ready(asks, server, 1)
    server.log.allow("exited with status 3", "could not load", "killed by signal 9", "WSGI0117")
    put(server, "import os\nos._exit(3)\n")
    answer = asks(server, "reload", "site", status=1)
    assert "exited with status 3" in answer["error"]
    assert answer["workers_ready"] == 1
    os.kill(group["workers"][0]["pid"], signal.SIGKILL)

    def is_critical():
        done = run(server, "status")
        return done.returncode == 2 and "exited with status 3" in done.stdout

    wait_until(is_critical, "the failed starts", timeout=30)
    answer = asks(server, "reload", "site", status=1)
    assert "exited with status 3" in answer["error"]
    assert answer["workers_ready"] == 0
    put(server, APP.replace('"one"', '"two"'))
    assert asks(server, "reload", "site")["done"]
    assert server.get("/app").text.startswith("two ")


def test_name_of_a_group_that_is_no_file_name_is_found(start, asks):
    name = "a b/c.d%é"
    server = start(
        f'WSGIDaemonProcess site threads=1\nWSGIDaemonProcess "{name}" threads=1',
    )
    names = {group["name"] for group in asks(server, "status")["groups"]}
    assert names == {"site", name}


def test_group_with_a_long_name_is_found_by_that(start, run, asks):
    # Of the two only the end is different, and in the names of files there is neither.
    long = ["x" * 240, "x" * 239 + "\u00e9"]
    server = start("\n".join(f"WSGIDaemonProcess {it} threads=1" for it in ["site", *long]))
    assert {group["name"] for group in asks(server, "status")["groups"]} == {"site", *long}
    assert not any("xxx" in path.name for path in admin_sockets(server))
    for name in long:
        assert asks(server, "reload", name, status=0)["group"] == name
        # The worker that was replaced is a line as well until it has gone.
        wait_until(
            lambda name=name: run(server, "ps", name).stdout.count(name) == 1,
            "one worker of the group",
            timeout=30,
        )
    assert run(server, "reload", "x" * 200).returncode == 1


def test_group_without_a_socket_for_commands_serves(start, asks):
    # The names of workers' sockets have room, and that of this group's has not.
    name = "x" * 60
    groups = f"WSGISocketPrefix {'p' * 40}\nWSGIDaemonProcess site threads=1"
    server = start(f"{groups}\nWSGIDaemonProcess {name} threads=1")
    assert [group["name"] for group in asks(server, "status")["groups"]] == ["site"]
    [line] = server.log.find("takes no commands")
    assert line.level == "info"
    assert "cannot make the socket" in line.text


def test_folder_whose_path_is_too_long_for_sockets_has_one_for_commands(start, asks):
    # Of 107 bytes the names of workers' sockets take fewer than that of this group's.
    name = "y" * 60
    server = start(f"WSGIDaemonProcess site threads=1\nWSGIDaemonProcess {name} threads=1")
    assert {group["name"] for group in asks(server, "status")["groups"]} == {"site", name}


def test_groups_of_one_name_of_two_servers_are_told_apart(start, run, asks):
    with short_folder() as folder:
        groups = f"WSGISocketPrefix {folder}/w\nWSGIDaemonProcess site processes=1 threads=1"
        one, two = start(groups), start(groups)
        pids = {one.process.pid, two.process.pid}
        groups = asks(one, "status", "site", folder=folder)["groups"]
        assert {group["server_pid"] for group in groups} == pids
        done = run(one, "reload", "site", folder=folder)
        assert done.returncode == 2
        assert "several servers have a process group 'site'" in done.stderr
        assert all(str(pid) in done.stderr for pid in pids)
        old = daemons.workers(one), daemons.workers(two)
        server = str(two.process.pid)
        answer = asks(one, "reload", "site", "--server", server, folder=folder)
        assert answer["server_pid"] == two.process.pid
        assert [it["old_pid"] for it in answer["replaced"]] == old[1]
        assert daemons.workers(one) == old[0]
        one.stop()
        two.stop()


def test_configuration_is_asked_where_a_usual_folder_has_another_server(start, env, run):
    """The system's Apache is one whose program reads the configuration of this server."""
    server = start("WSGISocketPrefix ${ROOT}/w\nWSGIDaemonProcess site processes=1 threads=1")
    with short_folder() as folder:
        program = folder / "httpd"
        conf_file = server.root / "httpd.conf"
        program.write_text(f'#!/bin/sh\nexec {env.httpd} -d {server.root} -f {conf_file} "$@"\n')
        program.chmod(0o755)
        other = folder / "mod_wsgi_rs-other"
        other.mkdir()
        with pretended(other, b""):
            words = ["status", "--json", "--httpd-executable", program]
            options = {"cwd": "/", "module": env.module, "check": False, "TMPDIR": str(folder)}
            done = command.run_command(*words, **options)
    groups = json.loads(done.stdout)["groups"]
    of = {group["socket"].rpartition("/")[0]: group["name"] for group in groups}
    assert of[str(other)] == "evil"
    [path] = admin_sockets(server)
    assert of[str(path.parent)] == "site"


# --- what other users can do ----------------------------------------------------------------------


def needs_root():
    if os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")


def test_only_root_and_the_user_of_the_group_may_connect(start, run, asks):
    needs_root()
    server = start(
        "WSGIDaemonProcess site processes=1 threads=1 user=games\n"
        "WSGIDaemonProcess other processes=1 threads=1 user=news"
    )
    games = pwd.getpwnam("games")
    owners = {path.stat().st_uid for path in admin_sockets(server)}
    assert owners == {games.pw_uid, pwd.getpwnam("news").pw_uid}
    assert {stat.S_IMODE(path.stat().st_mode) for path in admin_sockets(server)} == {0o600}
    for folder in [server.root, *server.root.parents]:
        # The tests' own folder may be root's.
        if not folder.stat().st_mode & 0o005:
            pytest.skip(f"{folder} is closed to other users")
    assert only_group(asks(server, "status", "site", user=games))["uid"] == games.pw_uid
    done = run(server, "status", "other", user=games)
    assert done.returncode == 3
    assert "only root and the group's user may ask it" in done.stdout
    done = run(server, "drain", "other", user=games)
    assert done.returncode == 1
    # No request has waited for that group to start.
    wait_until(
        lambda: only_group(asks(server, "status", "other"))["condition"] == "ready",
        "the other group, which was not drained",
        timeout=30,
    )


# Listens under the name of the socket of a group, and says what comes.
PRETENDER = r"""
import os, socket, sys
path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen()
print("listens", flush=True)
connection, _ = listener.accept()
got = connection.recv(1000)
print("heard", got, flush=True)
"""


def test_socket_that_another_user_has_made_hears_nothing_of_root(start, run):
    needs_root()
    server = start()
    games = pwd.getpwnam("games")
    folder = server.root / "out"
    path = folder / "wsgi.1.0.site.admin"
    process = subprocess.Popen(
        [sys.executable, "-c", PRETENDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        user=games.pw_uid,
        group=games.pw_gid,
    )
    try:
        assert process.stdout.readline() == "listens\n"
        done = run(server, "status", folder=folder)
        assert done.returncode == 3
        assert "is not trusted" in done.stdout
        assert run(server, "reload", "site", folder=folder).returncode == 1
    finally:
        process.kill()
        heard = process.communicate()[0]
    assert "GET" not in heard
    assert "POST" not in heard


def test_socket_by_another_name_or_behind_a_link_is_not_talked_to(start, run, asks):
    server = start()
    [path] = admin_sockets(server)
    folder = server.root / "out"
    link = folder / "wsgi.1.0.site.admin"
    link.symlink_to(path)
    assert "is not trusted" in run(server, "status", folder=folder).stdout
    link.unlink()
    os.link(path, link)
    assert "it was made by another name" in run(server, "status", folder=folder).stdout
    assert only_group(asks(server, "status"))["condition"] == "ready"


@contextlib.contextmanager
def pretended(folder, answer):
    """A socket of this user that answers what it likes; `None`: nothing."""
    path = folder / "wsgi.1.0.evil.admin"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)

        def serve():
            kept = []
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    connection.recv(1000)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
    path.unlink()


def test_thousands_of_names_of_a_socket_cost_a_command_little_time(run):
    with short_folder() as place, contextlib.ExitStack() as stack:

        def name(number):
            return str(place / f"x.1.{number}.~{number:016x}.admin")

        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(name(0))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            # Until as many wait as may: then connect(2) waits before it tells who listens.
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(name(0))
        for number in range(1, 4000):
            os.link(name(0), name(number))
        body = json.dumps({"condition": "ready", "workers_ready": 1}).encode()
        with pretended(place, b"HTTP/1.1 200 OK\r\n\r\n" + body):
            begun = time.monotonic()
            done = run(None, "status", "--json", "--timeout", "1", folder=place)
            assert time.monotonic() - begun < 20
            groups = {group["name"]: group for group in json.loads(done.stdout)["groups"]}
            assert len(groups) == 4001
            assert groups["evil"]["severity"] == "ok"
            assert "takes no connection" in groups["~" + "0" * 16]["problem"]
            # Of a group with a name no other one is asked for its name.
            done = run(None, "status", "evil", folder=place)
            assert (done.returncode, "~0" in done.stdout) == (0, False)


def test_answer_of_a_group_cannot_command_the_terminal(run):
    with short_folder() as place:
        evil = "\x1b]0;x\x07\x9b2J\u202e"
        worker = {
            "pid": 7,
            "slot": 0,
            "state": evil,
            "last_exit": evil,
            "requests": [{"line": evil}],
        }
        status = {"condition": evil, "workers": [worker], "start_block": evil, evil: evil}
        body = json.dumps(status).encode()
        raw = json.dumps(status, ensure_ascii=False).encode()
        for text in (body, raw):
            answer = b"HTTP/1.1 200 OK\r\n\r\n" + text
            with pretended(place, answer):
                for words in (["status"], ["ps"], ["status", "--json"], ["ps", "--json"]):
                    done = run(None, *words, folder=place)
                    printed = done.stdout + done.stderr
                    assert printed
                    bad = [it for it in printed if ord(it) < 32 and it != "\n"]
                    assert bad == []
                    assert not set(printed) & set("\x7f\x9b\u202e")
        answer = b"HTTP/1.1 409 Conflict\r\n\r\n" + json.dumps({"error": evil}).encode()
        with pretended(place, answer):
            done = run(None, "reload", "evil", folder=place)
            assert done.returncode == 1
            assert "\x1b" not in done.stderr
            assert "\x9b" not in done.stderr


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 200 OK\r\n\r\n[1]", b"\xff" * 100])
def test_group_that_answers_nothing_or_nonsense_is_critical_in_time(run, answer):
    with short_folder() as place, pretended(place, answer):
        done = run(None, "status", "--timeout", "1", folder=place)
        assert done.returncode == 2
        assert "WSGI CRITICAL: 0 of 1" in done.stdout
