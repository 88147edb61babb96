"""When a child of Apache starts Python: at once where a line names its script, else when needed."""

import ast
import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import READY, wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi starts Python in each child")

# Says in which process it runs, and what Python has made of that process.
APP = r"""
import atexit, locale, os, signal, subprocess, sys, threading, time
from pathlib import Path

LOADED_IN = []

def signals(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return line.split()[1]

def application(environ, start_response):
    LOADED_IN.append(threading.get_ident())
    time.sleep(0.05)
    asked = environ["QUERY_STRING"]
    if asked.startswith("note="):
        atexit.register(Path(asked[5:]).write_text, "ended")
    report = {
        "pid": os.getpid(),
        "group": environ["mod_wsgi.process_group"],
        "main thread": threading.main_thread().ident,
        "requests": len(LOADED_IN),
        "state": {
            "locale": [locale.setlocale(getattr(locale, name)) for name in ("LC_CTYPE", "LC_TIME")],
            "LC_CTYPE": os.environ.get("LC_CTYPE"),
            "utf8 mode": sys.flags.utf8_mode,
            "encodings": [sys.getfilesystemencoding(), locale.getpreferredencoding()],
            "cwd": os.getcwd(),
            "path": sys.path,
            "handlers": [str(signal.getsignal(number)) for number in range(1, 32)],
            "ignored": signals("SigIgn"),
            "blocked in programs": subprocess.check_output(["grep", "SigBlk", "/proc/self/status"]),
            "is main interpreter": not environ["mod_wsgi.application_group"],
            "threads of Python": [type(thread).__name__ for thread in threading.enumerate()][:1],
        },
    }
    body = repr(report).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
HTACCESS = """
Options +ExecCGI
AddHandler wsgi-script .wsgi
"""
FILES = (
    ("app.py", APP),
    ("by-htaccess/app.wsgi", APP),
    ("by-htaccess/.htaccess", HTACCESS),
    ("out/README", "applications write here"),
)
HTACCESS_FOLDER = """
<Directory ${ROOT}/by-htaccess>
    AllowOverride All
    WSGIApplicationGroup %{GLOBAL}
</Directory>
Alias /by-htaccess ${ROOT}/by-htaccess
"""
GROUPS = f"""
{HTACCESS_FOLDER}
WSGIDaemonProcess site threads=2
WSGIScriptAlias /daemon ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
"""
LATE = "/by-htaccess/app.wsgi"
NAMED = """
WSGIScriptAlias /embedded ${ROOT}/app.py process-group=%{GLOBAL} application-group=%{GLOBAL}
"""


def conf(extra="", **more):
    more = {"threads": 8, "timeout": 30} | more
    return Conf(GROUPS + extra, files=FILES, modules=("alias", "env", "setenvif", "mime"), **more)


def ask(server, path):
    answer = server.get(path)
    assert answer.status == 200, answer.text
    return ast.literal_eval(answer.text)


def child(server):
    """Apache's only child."""
    (pid,) = wait_until(lambda: daemons.httpd_children(server), "a child")
    return pid


def threads_of_python(pid):
    """The threads that start Python in a process that has threads which serve."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # Other threads may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text() == "wsgi-python\n":
                found.append(task.name)
    return found


def private_memory(pid):
    """What the process alone has written to, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such line")


@pytest.mark.all_mpms
@pytest.mark.differs("python-when-needed", "mod_wsgi starts Python in each child")
def test_children_are_small_where_all_scripts_are_in_process_groups(private):
    sizes = {}
    for name, extra in [("off", "WSGIRestrictEmbedded On"), ("late", ""), ("named", NAMED)]:
        server = private(conf(extra))
        assert ask(server, "/daemon")["group"] == "site"
        sizes[name] = private_memory(child(server))
        server.stop()
    assert sizes["late"] < sizes["off"] * 1.05 + 256 * 1024, sizes
    assert sizes["named"] > sizes["late"] + (1 << 20), sizes


@pytest.mark.all_mpms
def test_python_starts_with_the_first_request_that_needs_python_and_ends_with_the_child(
    private, mpm
):
    server = private(conf())
    (server.root / "out").chmod(0o777)
    note = server.root / "out/note"
    assert ask(server, "/daemon")["group"] == "site"
    pid = child(server)
    small = private_memory(pid)
    assert threads_of_python(pid) == []
    first = ask(server, f"{LATE}?note={note}")
    assert (first["pid"], first["group"], first["requests"]) == (pid, "", 1)
    assert ask(server, LATE)["requests"] == 2
    assert private_memory(pid) > small + (1 << 20)
    # prefork's child has no other thread than the one that also ends it.
    assert len(threads_of_python(pid)) == (0 if mpm == "prefork" else 1)
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for(READY, count=2)
    wait_until(lambda: not daemons.is_alive(pid), "the old child to leave")
    assert note.read_text() == "ended"
    other = ask(server, LATE)
    assert other["pid"] != pid
    assert other["requests"] == 1
    note.unlink()
    ask(server, f"{LATE}?note={note}")
    server.stop()
    assert note.read_text() == "ended"


def test_simultaneous_first_requests_start_python_once(private):
    server = private(conf())
    pid = child(server)
    together = threading.Barrier(8)

    def first(_):
        together.wait()
        return ask(server, LATE)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(first, range(8)))
    assert {answer["pid"] for answer in answers} == {pid}
    assert len({answer["main thread"] for answer in answers}) == 1
    assert max(answer["requests"] for answer in answers) == 8
    assert len(threads_of_python(pid)) == 1
    assert len(server.log.find("Loading WSGI script .*by-htaccess")) == 1


def test_a_group_that_a_request_chooses_may_be_embedded_mode(private):
    extra = """
    SetEnvIf Request_URI ^/chosen/daemon GROUP=site
    SetEnvIf Request_URI ^/chosen/embedded GROUP=%{GLOBAL}
    WSGIScriptAlias /chosen ${ROOT}/app.py process-group=%{ENV:GROUP} application-group=%{GLOBAL}
    """
    server = private(conf(extra))
    assert ask(server, "/chosen/daemon")["group"] == "site"
    assert threads_of_python(child(server)) == []
    assert ask(server, "/chosen/embedded")["group"] == ""
    assert len(threads_of_python(child(server))) == 1


@pytest.mark.parametrize(
    "extra",
    [
        NAMED,
        "WSGIScriptAlias /embedded ${ROOT}/app.py",
        "WSGIImportScript ${ROOT}/app.py process-group=%{GLOBAL} application-group=x",
        "<Location /nowhere>\nWSGIAccessScript ${ROOT}/app.py\n</Location>",
    ],
)
def test_python_starts_with_the_child_where_the_configuration_names_a_script(private, extra):
    server = private(conf(extra))
    answer = ask(server, LATE)
    # The main thread has started it.
    assert threads_of_python(answer["pid"]) == []
    assert answer["main thread"] is not None


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LANG": "C"},
        {"LANG": "C", "LC_ALL": "C"},
        {"LANG": "C", "PYTHONCOERCECLOCALE": "0"},
        {"LANG": "C", "PYTHONUTF8": "0"},
        {"LANG": "xx_XX.nowhere"},
    ],
    ids=str,
)
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_a_late_start_finds_and_leaves_the_process_as_an_early_one(private, mpm, variables):
    environment = tuple(variables.items())
    early = private(conf(NAMED, environment=environment))
    late = private(conf(environment=environment))
    states = [ask(early, "/embedded")["state"], ask(late, LATE)["state"]]
    for state in states:
        # Its server's directory.
        state["path"] = [path for path in state["path"] if os.sep in path]
    assert states[0] == states[1]


@pytest.mark.all_mpms
@pytest.mark.parametrize("extra", [NAMED, ""], ids=["early", "late"])
def test_a_start_that_fails_is_not_tried_again(private, extra):
    """CPython cannot be started a second time in a process."""
    files = (*FILES, ("start/sitecustomize.py", "import sys\ndel sys.path\n"))
    environment = (("PYTHONPATH", "${ROOT}/start"),)
    broken = Conf(
        HTACCESS_FOLDER + extra, files=files, modules=("alias", "mime"), environment=environment
    )
    server = private(broken)
    assert [server.get(LATE).status for _ in range(3)] == [500] * 3
    assert len(server.log.expect("WSGI0036: ")) == 1
    server.log.expect("WSGI0188: ", "WSGI0210: ")
    server.log.allow("AttributeError", "usercustomize")
