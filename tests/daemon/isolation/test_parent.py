"""What processes of a group leave behind, or put in the place of files, when Apache restarts."""

import concurrent.futures
import os
import signal
import time

import pytest
from harness import daemons
from harness import fastcgi_client as fastcgi
from harness.conf import Conf
from harness.hostile import LISTENER
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("our own processes")

# /helper leaves a process behind that answers on the worker's listening socket.
APP = (
    r"""
import os, socket, struct, time
"""
    + LISTENER
    + r"""
def record(kind, content=b""):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content
def answer(connection):
    connection.settimeout(1)
    try:
        request = connection.recv(65536)
        open(os.path.join(os.path.dirname(__file__), "out/request"), "wb").write(request)
        head = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nhelper"
        connection.sendall(record(6, head) + record(6) + record(3, bytes(8)))
    except OSError:
        pass
    connection.close()
def helper():
    if os.fork():
        return
    os.setsid()
    server = listener()
    server.setblocking(True)
    open(os.path.join(os.path.dirname(__file__), "out/helper"), "w").write(str(os.getpid()))
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            answer(server.accept()[0])
        except OSError:
            time.sleep(0.1)
    os._exit(0)
def application(environ, start_response):
    if environ["PATH_INFO"] == "/helper":
        helper()
    if environ["PATH_INFO"] == "/shutdown":
        listener().shutdown(int(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d" % (os.getpid(), os.geteuid())]
"""
)


def conf(options="", text="", **more):
    groups = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=1 {options}
    WSGIDaemonProcess whole
    {text}
    WSGIScriptAlias /whole ${{ROOT}}/app.py process-group=whole application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"))
    return Conf(groups, files=files, **more)


def reconfigure(server, before, after):
    path = server.root / "httpd.conf"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def restarts(server, signum=signal.SIGUSR1):
    before = len(server.log.find(READY))
    server.send_signal(signum)
    server.log.wait_for(READY, count=before + 1)


def sockets(server):
    return {path.name for path in server.root.rglob("*.sock")}


# --- who had the socket ---------------------------------------------------------------------------


def leave_helper(server):
    server.log.allow("WSGI0|did not answer|closed the connection")
    server.get("/helper")
    path = server.root / "out/helper"
    return int(wait_until(lambda: path.exists() and path.read_text(), "the helper"))


def answers_of_a_helper(server, count=60):
    """How many of so many requests the helper answered, after the old children have left."""
    return [server.get("/").text for _ in range(count)].count("helper")


# What is changed, as the option was and is to be.
IDENTITIES = {
    "user": ("user=games", "user=nobody"),
    "group": ("user=games group=games", "user=games group=nogroup"),
    "supplementary groups": ("user=games supplementary-groups=games", "user=games"),
    "rotation": ("", ""),
}


@pytest.mark.parametrize("change", IDENTITIES)
def test_process_left_behind_gets_no_request_of_its_successors(start, change):
    before, after = IDENTITIES[change]
    if before and os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    server = start(before, "" if before else "WSGISocketRotation On", children=2)
    assert server.get("/").status == 200
    old = sockets(server)
    helper = leave_helper(server)
    try:
        if before:
            reconfigure(server, f"threads=1 {before}", f"threads=1 {after}")
        children = daemons.httpd_children(server)
        restarts(server)
        wait_until(
            lambda: not set(children) & set(daemons.httpd_children(server)),
            "the old children to leave",
            timeout=30,
        )
        assert answers_of_a_helper(server) == 0
        # The parent keeps the old sockets only while old children may use them.
        wait_until(lambda: len(sockets(server)) == 2, "the old sockets to be closed", timeout=30)
        assert sockets(server) != old
    finally:
        os.kill(helper, signal.SIGKILL)


def replies(server, request):
    """The statuses with which the sockets of all groups answer the bytes of a request."""
    statuses = []
    for path in server.root.rglob("*.sock"):
        with fastcgi.connection(path) as connection:
            connection.send(request)
            statuses.append(connection.answer().status)
    return statuses


def test_secret_of_a_group_is_of_no_use_with_its_successors(start):
    server = start("", "WSGISocketRotation On")
    assert server.get("/").status == 200
    assert server.get("/whole").status == 200
    server.log.allow("rejected a request without the group's secret")
    helper = leave_helper(server)
    try:
        # Apache keeps connections to the worker, too few for as many requests at once.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            wait_until(
                lambda: "helper" in [answer.text for answer in pool.map(server.get, ["/"] * 4)],
                "a request for the helper",
                timeout=30,
            )
    finally:
        os.kill(helper, signal.SIGKILL)
    # As Apache has sent it.
    request = (server.root / "out/request").read_bytes()
    assert sorted(replies(server, request), key=str) == [200, None]
    children = daemons.httpd_children(server)
    restarts(server)
    wait_until(
        lambda: not set(children) & set(daemons.httpd_children(server)), "the old children to leave"
    )
    wait_until(lambda: len(sockets(server)) == 2, "the old sockets to be closed", timeout=30)
    assert server.get("/").status == 200
    assert server.get("/whole").status == 200
    assert replies(server, request) == [None, None]


@pytest.mark.parametrize("change", ["user", "rotation"])
def test_group_that_cannot_be_started_gets_new_sockets_too(start, change):
    """Else the old ones, and the secret, would be those of the new user once it can be started."""
    if change == "user" and os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    user = "user=games" if change == "user" else ""
    text = "" if change == "user" else "WSGISocketRotation On"
    server = start(f"python-home=${{ROOT}}/none {user}", text)
    server.log.allow("python-home names", "other process groups are not affected", "WSGI0117")
    assert server.get("/whole").status == 200
    assert server.get("/").status == 503
    old, children = sockets(server), daemons.httpd_children(server)
    if change == "user":
        reconfigure(server, "user=games", "user=nobody")
    restarts(server)
    wait_until(
        lambda: not set(children) & set(daemons.httpd_children(server)), "the old children to leave"
    )
    assert server.get("/").status == 503
    # That of the other group stays where only the user has changed.
    kept = change == "user"
    wait_until(
        lambda: len(sockets(server) & old) == kept, "the old sockets to be closed", timeout=30
    )
    assert len(sockets(server)) == 2


@pytest.mark.parametrize("text", ["", "WSGISocketRotation Off"])
def test_sockets_stay_where_nothing_has_changed(start, text):
    server = start(text=text)
    assert server.get("/").status == 200
    before = sockets(server)
    restarts(server)
    assert server.get("/").status == 200
    assert sockets(server) == before


def test_rotation_of_sockets_loses_no_request(start):
    server = start(text="WSGISocketRotation On", children=4)
    first = server.get("/").text
    lost = daemons.under_load(server, lambda: [restarts(server) for _ in range(3)])
    assert lost == []
    wait_until(lambda: server.get("/").text != first, "another worker")


# --- what a process does to its own socket --------------------------------------------------------


@pytest.mark.parametrize("how", [0, 2])
def test_socket_that_was_shut_down_heals_at_a_graceful_restart(start, how):
    server = start()
    server.log.allow("WSGI0|exited with|was killed by|accept")
    worker = int(server.get(f"/shutdown?{how}").text.split()[0])
    # Its connections are kept otherwise.
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: server.get("/").status == 503, "the socket to be closed")
    restarts(server)
    server.log.expect("its socket '.*' has been shut down; '.*' takes its place")
    wait_until(lambda: daemons.serves(server), "the group to serve")
    assert server.get("/whole").status == 200


# --- a manager that was killed again and again ----------------------------------------------------


def test_graceful_restart_ends_the_pause_of_a_manager(start):
    server = start()
    worker = server.get("/").text.split()[0]
    server.log.allow("its manager .* was killed by signal 9; it is started again", "WSGI0")

    def manager():
        with_worker = [
            pid for pid in daemons.managers(server) if worker in map(str, daemons.children(pid))
        ]
        return with_worker or daemons.managers(server)[:1]

    killed = "its manager .* was killed by signal 9"
    (pid,) = manager()
    others = set(daemons.managers(server)) - {pid}
    for count in range(1, 7):
        os.kill(pid, signal.SIGKILL)
        server.log.wait_for(killed, count=count)
        (pid,) = wait_until(lambda: set(daemons.managers(server)) - others, "another manager")
    # The next one begins after 6.4 s.
    began = time.monotonic()
    restarts(server)
    wait_until(lambda: daemons.serves(server), "the group to serve")
    assert time.monotonic() - began < 5


# --- what stands in the place of a script ---------------------------------------------------------


@pytest.mark.parametrize("group", ["application-group=%{GLOBAL}", ""])
@pytest.mark.parametrize("when", ["restart", "start"])
def test_directory_in_the_place_of_a_warm_up_script_ends_no_server(start, when, group):
    text = f"""
    WSGIDaemonProcess own warm-up=/own
    WSGIScriptAlias /own ${{ROOT}}/own/app.py process-group=own {group}
    """

    def replace(server):
        path = server.root / "own/app.py"
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)

    server = start(text=text, prepare=replace if when == "start" else server_has_script)
    server.log.allow("WSGI0|warm-up: GET /own: |could not load its scripts")
    if when == "restart":
        replace(server)
        restarts(server)
    wait_until(lambda: daemons.serves(server, "/whole"), "the other group", timeout=5)
    restarts(server, signal.SIGHUP)
    wait_until(lambda: daemons.serves(server, "/whole"), "the other group", timeout=5)


def server_has_script(server):
    server.write("own/app.py", APP)
