"""Applications of ASGI under each Python of this machine, which loads the extension: one server for
each, which serves all of the applications below.
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness import asgi_observed, command, daemons
from harness.asgi import APP, WEBSOCKET_APP
from harness.client import head, read_all, read_until, reset
from harness.conf import Conf
from harness.httpd import wait_until
from harness.pythons import build_extension, every_python, extension_name, has_manager, place_module
from harness.status import functions, group
from harness.websocket import closing, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
    pytest.mark.slow,
    pytest.mark.begins_first,
]

LOCKED = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t"]
# Free-threaded ones, which run without their lock.
WITHOUT_LOCK = ["3.13t", "3.14t"]
CASES = [(version, True) for version in LOCKED] + [(version, False) for version in WITHOUT_LOCK]
THREADS = """

import threading


async def do_python(scope, receive, send):
    facts = {"version": sys.version, "locked": getattr(sys, "_is_gil_enabled", lambda: True)()}
    await reply(send, json.dumps(facts))


async def do_threads(scope, receive, send):
    # Four functions that wait for one another, and one of sync_to_async.
    from asgiref.sync import async_to_sync, sync_to_async

    value.set("of the request")
    barrier = threading.Barrier(4, timeout=60)

    def meet():
        barrier.wait()
        return threading.get_ident(), value.get()

    met = await asyncio.gather(*(asyncio.to_thread(meet) for _ in range(4)))

    async def back():
        return threading.get_ident()

    def block():
        before = value.get()
        value.set("of the function")
        return before, threading.get_ident(), async_to_sync(back)()

    before, thread, of_loop = await sync_to_async(block)()
    own = threading.get_ident()
    facts = {
        "threads": len({own, *(thread for thread, _ in met)}),
        "values": [name for _, name in met],
        "before": before,
        "after": value.get(),
        "is elsewhere": thread != own,
        "is back": of_loop == own,
    }
    await reply(send, json.dumps(facts))


async def do_tasks(scope, receive, send):
    await asyncio.create_task(do_wait(scope, receive, send), name="helper")
"""
AUTO = {
    "asgi": """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})
""",
    "wsgi": """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]
""",
}
FILES = (
    ("app.py", APP + THREADS),
    ("sockets.py", WEBSOCKET_APP),
    *((f"auto_{name}.py", text) for name, text in AUTO.items()),
)
TEXT = """
LoadModule wsgi_module "{module}"
WSGIRestrictEmbedded On
WSGIDaemonProcess site graceful-timeout=1 eviction-timeout=2 websocket-ping-interval=0 {options}
WSGIDaemonProcess auto_asgi {options}
WSGIDaemonProcess auto_wsgi {options}
WSGIScriptAlias /auto_asgi ${{ROOT}}/auto_asgi.py interface=auto process-group=auto_asgi
WSGIScriptAlias /auto_wsgi ${{ROOT}}/auto_wsgi.py interface=auto process-group=auto_wsgi
ASGIScriptAlias /sockets ${{ROOT}}/sockets.py process-group=site
ASGIScriptAlias / ${{ROOT}}/app.py process-group=site
<Location /wsgi-status>
    SetHandler wsgi-status
</Location>
{more}
"""


# Other tests of `make test` need extensions for these as well; to build one more takes a minute.
USUAL = ["3.12", "3.13t"]


def of_version(version):
    """The Python of this version, or a skip that says why there is none."""
    if version not in USUAL and not os.environ.get("EVERY_PYTHON"):
        pytest.skip("a locked and a free-threaded Python are tried; EVERY_PYTHON=1 tries all")
    found, left_out = every_python()
    for python in found:
        if python.version == version:
            return python
    why = [line for line in left_out if f"/{version}" in line or f"python{version}:" in line]
    pytest.skip("; ".join(why) or f"there is no Python {version} on this machine")


@pytest.fixture(scope="session")
def asgiref(servers):
    """A folder with asgiref and no other package: uvloop, above all, is not there."""
    source = Path(pytest.importorskip("asgiref").__file__).parent
    folder = servers.base / "asgiref-alone"
    shutil.copytree(source, folder / "asgiref", ignore=shutil.ignore_patterns("__pycache__"))
    # Which asgiref needs before Python 3.11.
    shutil.copy2(pytest.importorskip("typing_extensions").__file__, folder)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def deployment(env, servers, installation, asgiref):
    """deployment(version) is (the module with the extension beside it, options of groups)."""
    made = {}

    def make(version):
        python = of_version(version)
        built = Path(env.module).parent / extension_name(version)
        if not has_manager(env):
            pytest.skip("this module has no manager beside it")
        if not built.exists() and not shutil.which("cargo"):
            pytest.skip("cargo is missing")
        program, options, told = python.program, "", {}
        if not env.readable_by_children(program.parent):
            program = installation(version)
            # The copy looks for its library at the place of the original.
            told = {"LD_LIBRARY_PATH": str(program.parents[1] / "lib")}
            options = f"environment=LD_LIBRARY_PATH={told['LD_LIBRARY_PATH']}"
        home = servers.base / f"asgi-{version}"
        command = [program, "-m", "venv", "--without-pip", home]
        subprocess.run(command, check=True, env=os.environ | told)
        subprocess.run(["chmod", "-R", "a+rX", home], check=True)
        if not built.exists():
            built = build_extension(python.program, version)
        module = place_module(env, servers.base / f"asgi-modules-{version}", {version: built})
        return module, f"python-home={home} python-path={asgiref} {options}"

    def deployment(version):
        if version not in made:
            made[version] = make(version)
        return made[version]

    return deployment


@pytest.fixture(
    params=CASES,
    ids=[version if locked else f"{version}-without-lock" for version, locked in CASES],
    scope="module",
)
def case(request):
    return request.param


def ready(server):
    # A free-threaded Python takes long to start on a busy machine.
    wait_until(lambda: daemons.serves(server, "/python"), "the application", timeout=90)
    return server


@pytest.fixture
def server(serve, deployment, case):
    """The server of a Python, which tests share."""
    version, locked = case
    module, options = deployment(version)
    more = "" if locked else "WSGIFreeThreading On"
    text = TEXT.format(module=module, options=options, more=more)
    return ready(serve(Conf(text, files=FILES, load_wsgi=False, threads=16, timeout=120)))


def test_application_is_served_by_this_python(server, case):
    version, locked = case
    facts = server.get("/python").json()
    assert facts["version"].startswith(version.rstrip("t") + ".")
    assert facts["locked"] is locked
    answer = server.post("/echo?q=1", b"hello")
    assert (answer.status, answer.body) == (200, b"hello")


def test_loop_is_that_of_the_standard_library_without_uvloop(server):
    assert server.get("/process").json()["loop"] == "asyncio"


def test_pieces_are_streamed_both_ways_and_large_ones_are_complete(server):
    with server.socket() as sock:
        fields = ["Transfer-Encoding: chunked", "Connection: close"]
        sock.sendall(head("/duplex", *fields, method="POST"))
        for piece in (b"first", b"second"):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            read_until(sock, piece)
        sock.sendall(b"0\r\n\r\n")
        assert read_all(sock).endswith(b"0\r\n\r\n")
    answer = server.get("/large?5000000")
    assert (answer.status, len(answer.body), answer.truncated) == (200, 5_000_000, False)


def test_requests_have_copies_of_the_state_of_the_lifespan(server):
    facts = server.get("/process").json()
    assert facts["starts"] == [facts["pid"]]
    first, second = (server.get(f"/context?{name}").json() for name in ("one", "two"))
    assert [it[:2] for it in (first, second)] == [[None, "one"], [None, "two"]]
    assert [it[2]["own"] for it in (first, second)] == [1, 1]
    assert second[2]["shared"]["count"] == first[2]["shared"]["count"] + 1


def test_functions_that_block_run_in_threads_with_the_context_of_the_request(server):
    assert server.get("/threads").json() == {
        "threads": 5,
        "values": ["of the request"] * 4,
        "before": "of the request",
        "after": "of the function",
        "is elsewhere": True,
        "is back": True,
    }


def test_messages_of_a_websocket_come_back(server):
    with websocket(server.port, "/sockets/echo") as ws:
        ws.send_text("ü")
        assert ws.receive() == "ü"
        for size in (0, 1, 300_000):
            ws.send_bytes(b"x" * size)
            assert ws.receive() == b"x" * size
        assert ws.close(1000, "done") == (1000, "done")


def test_tasks_have_their_places_and_requests(env, server):
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")
    server.get("/open")

    def stack_on_the_page():
        [worker] = group(server)["workers"]
        found = [functions(it["stack"]) for it in worker["requests"] if it["stack"]]
        return found and found[0][-3:] == ["do_wait", "do_tasks", "application"]

    def tasks():
        words = ["stacks", "site", "--json", "--runtime-dir", server.root]
        answer = command.run_command(*words, cwd="/", module=env.module)
        [worker] = json.loads(answer.stdout)["workers"]
        found = {task["name"]: task for task in worker["tasks"]}
        return "helper" in found and list(found.values())

    with server.socket() as sock:
        sock.sendall(head("/tasks", "Connection: close"))
        wait_until(lambda: server.get("/events").json() == ["waits"], "the request", timeout=30)
        own, helper, *_ = wait_until(tasks, "the tasks", timeout=30)
        assert functions(own) == ["do_tasks", "application"]
        assert functions(helper)[-1] == "do_wait"
        assert {it["request"]["line"] for it in (own, helper)} == {"GET /tasks"}
        wait_until(stack_on_the_page, "the stack", timeout=30)
        assert server.get("/open").text == "opened"
        assert read_all(sock).endswith(b"opened")


@pytest.mark.parametrize("interface", AUTO)
def test_interface_is_that_of_the_callable(server, interface):
    assert server.get(f"/auto_{interface}").text == interface


def test_task_of_a_client_that_has_left_is_cancelled(server):
    with server.socket() as sock:
        sock.sendall(head("/cancelled"))
        read_until(sock, b"first")
        assert server.get("/events").json() == []
        reset(sock)
    wait_until(lambda: server.get("/events").json() == ["cancelled"], "the end", timeout=30)


@pytest.fixture
def talking(server):
    """The server, whose applications say that they are told of the end."""
    server.log.allow("shutdown of")
    note = server.root / "app.py.talks"
    note.write_text("")
    yield server
    note.unlink()


def test_graceful_restart_closes_websockets_with_1012_and_ends_the_lifespan(talking):
    with websocket(talking.port, "/sockets/pid") as ws:
        old = int(ws.receive())
        assert talking.get("/process").json()["pid"] == old
        talking.send_signal(signal.SIGUSR1)
        ws.sock.settimeout(60)
        assert ws.await_close()[0] == 1012
        ws.send(closing(1012))
        assert ws.at_end()
    wait_until(lambda: not daemons.is_alive(old), "the old worker to end", timeout=30)
    talking.log.wait_for(f"shutdown of {old}")
    facts = ready(talking).get("/process").json()
    assert facts["pid"] != old
    assert facts["starts"] == [facts["pid"]]
    with websocket(talking.port, "/sockets/pid") as ws:
        assert int(ws.receive()) == facts["pid"]


@pytest.mark.parametrize("version", WITHOUT_LOCK)
def test_requests_are_observed_by_a_python_without_its_lock(private, deployment, version):
    module, options = deployment(version)
    before = f'LoadModule wsgi_module "{module}"\nWSGIFreeThreading On\n'
    server = private(asgi_observed.conf(options, before, load_wsgi=False))
    asgi_observed.check(server, is_locked=False)
