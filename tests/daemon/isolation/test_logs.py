"""The server's error log: no process of a group has it, and each line names its source."""

import contextlib
import os
import re
import signal
import time

import pytest
from harness import daemons
from harness.client import Client
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi's daemons have the log itself")

# /exec runs its body, in a thread when the query says so: then it is outside of the request.
APP = r"""
import atexit, os, sys, threading
def run(text):
    names = dict(globals())
    exec(text, names)
    return str(names.get("result", os.getpid()))
def application(environ, start_response):
    result = str(os.getpid())
    if environ["PATH_INFO"] == "/exec":
        text = environ["wsgi.input"].read().decode()
        if environ["QUERY_STRING"] == "thread":
            threading.Thread(target=run, args=[text]).start()
        else:
            result = run(text)
    start_response("200 OK", [("Content-Length", str(len(result)))])
    return [result.encode()]
"""


def conf(options="", extra="", files=(), root="", **more):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2 {options}
    {extra}
    WSGIScriptAlias / {root}${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP), *files), **more)


def run(server, text, where=""):
    answer = server.post(f"/exec{where}", text.encode())
    assert answer.status == 200, answer.text
    return answer.text


def raw_lines(server, pattern):
    """The lines as they are in the file."""
    return [line for line in server.log.text().splitlines() if re.search(pattern, line)]


def outputs(pid):
    """What descriptors 1 and 2 are, and the files among all descriptors."""
    links = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    files = {target for target in links.values() if target.startswith("/")}
    return links[1], links[2], files


# With preload=On the template is one more.
@pytest.mark.parametrize(
    ("options", "root", "count"),
    [
        ("processes=2", "", 2),
        ("processes=2 preload=On", "", 3),
        # The manager has the program of its workers, which are copies of it.
        ("chroot=/proc/self/root", "/proc/self/root", 1),
    ],
)
def test_no_process_of_a_group_has_the_log_or_the_output_of_the_server(
    start_warm, options, root, count
):
    if root and os.geteuid() != 0:
        pytest.skip("only root may change the root directory")
    server = start_warm(options, root=root)
    workers = daemons.settled(server, count)
    pids = [daemons.manager(server), *workers]
    assert len(set(pids)) == len(workers) + 1
    own = [os.readlink(f"/proc/{server.process.pid}/fd/{number}") for number in (1, 2)]
    # A worker has the output of its template until the first lines that it runs have replaced it.
    wait_until(lambda: len({outputs(pid)[1] for pid in pids}) == len(pids), "an output for each")
    seen = set()
    for pid in pids:
        stdout, stderr, files = outputs(pid)
        assert stdout == stderr
        assert stderr.startswith("pipe:")
        assert not files & {str(server.log.path), *own} - {"/dev/null"}, files
        seen.add(stderr)
    # No process of the group writes where another one does.
    assert len(seen) == len(pids), seen
    held = {outputs(server.process.pid)[1], *own}
    assert not seen & held


def test_a_tenant_can_neither_cut_the_log_nor_forge_its_lines(start_warm):
    extra = """
    WSGIDaemonProcess other threads=1
    WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
    """
    server = start_warm(extra=extra)
    assert server.post("/other/exec", b"os.write(2, b'line of the other\\n')").status == 200
    server.log.expect("^line of the other$")
    before = server.log.path.stat().st_size
    pid = int(
        run(
            server,
            r"""
import fcntl
for attack in [
    lambda: os.ftruncate(2, 0),
    lambda: os.ftruncate(1, 0),
    lambda: os.lseek(2, 0, 0),
    lambda: os.pwrite(2, b"forged", 0),
    lambda: os.posix_fallocate(2, 0, 1 << 20),
]:
    try:
        attack()
    except OSError:
        continue
    raise AssertionError("the descriptor is that of a file")
fcntl.fcntl(2, fcntl.F_SETFL, 0)
os.write(2, b"\x1b[31mred\x1b[0m [Sun Nov 29 00:00:00 2026] [core:emerg] [pid 1] forged\n")
os.write(2, b"\x1e0daemon 'other' [pid 1] record\n\x1ex\x1e\x1e5\rreturn\n")
os.write(2, b"daemon 'other' [pid 1] plain\n")
""",
        )
    )
    server.log.expect("forged$", "record$", "return$", "plain$", "^x$")
    assert server.log.path.stat().st_size > before
    assert raw_lines(server, "line of the other")
    for line in raw_lines(server, r"forged$|record$|return$|plain$"):
        begin = r"\[[^]]*\] \[wsgi:(error|crit|notice)\] \[pid \d+\] \d+ "
        assert re.match(rf"{begin}daemon 'site' \[pid {pid}\] ", line), line
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line), line


def test_descriptor_2_is_one_that_programs_and_libraries_can_write_to(start_warm):
    server = start_warm()
    pid = int(
        run(
            server,
            r"""
import ctypes, faulthandler, subprocess
os.write(2, b"by os.write\n")
os.write(1, b"to standard output\n")
with open("/dev/stderr", "w") as stream:
    print("by its name", file=stream)
subprocess.run(["sh", "-c", "echo by a program; echo of an error >&2"])
ctypes.CDLL(None).dprintf(2, b"by C\n")
faulthandler.enable(2)
faulthandler.dump_traceback(2)
os.write(2, b"unfinished")
""",
        )
    )
    texts = ["by os.write", "to standard output", "by its name", "by a program", "of an error"]
    texts += ["by C", "unfinished"]
    server.log.expect(*(f"^{text}$" for text in texts), "^(Current t|T)hread 0x")
    server.log.allow("^  File ", "^  <no Python frame>$")
    for line in raw_lines(server, "^.*(by os.write|unfinished)$"):
        assert f"daemon 'site' [pid {pid}] " in line
        assert "[wsgi:error]" in line


PRINTING = (
    APP
    + r"""
print("printed at import")
atexit.register(lambda: os.write(2, b"the last line\n"))
"""
)
HOST = r"""
    ErrorLogFormat "module=%-m level=%l text=%M"
    Listen 127.0.0.1:${PORT2}
    <VirtualHost 127.0.0.1:${PORT2}>
        ServerName host.example
        ErrorLog "LOG"
        LogLevel warn
        WSGIDaemonProcess ofhost threads=1
        WSGIScriptAlias / ${ROOT}/printing.py process-group=ofhost application-group=%{GLOBAL}
        WSGIImportScript ${ROOT}/printing.py process-group=ofhost application-group=%{GLOBAL}
    </VirtualHost>
"""


@pytest.mark.parametrize("log", ["${ROOT}/host_log", "|$/bin/cat >>${ROOT}/host_log"])
def test_lines_outside_of_requests_are_in_the_log_of_the_virtual_host_to_the_last(start, log):
    server = start(extra=HOST.replace("LOG", log), files=(("printing.py", PRINTING),))
    path = server.root / "host_log"

    def lines():
        return path.read_text().splitlines() if path.exists() else []

    def has(text):
        return any(line.endswith(text) for line in lines())

    # Also those of the start, before Apache had children.
    wait_until(lambda: has("printed at import"), "the line of the import")
    # A worker that still starts is killed.
    host = Client(server.port2)
    wait_until(lambda: daemons.serves(host), "an answer", timeout=30)
    server.stop(signal.SIGTERM)
    wait_until(lambda: has("the last line"), "the last line")
    for line in lines():
        # LogLevel: no lines about starts and stops.
        assert re.match(r"module=wsgi level=error text=daemon 'ofhost' \[pid \d+\] ", line), line
    # It is not in the format of the harness.
    server.log.allow("^module=")


def test_each_of_many_lines_at_once_is_written_or_counted(start_warm):
    server = start_warm()
    begun = time.monotonic()
    run(server, "os.write(2, b''.join(b'line %d\\n' % n for n in range(60_000)))")
    # A process that writes too much does not have to wait for the disk of the server.
    assert time.monotonic() - begun < 10
    lost = r"^(?:daemon 'site' )?(\d+) log lines lost: "
    written = r"^line \d+$"

    def counted():
        counts = [int(re.search(lost, line.text)[1]) for line in server.log.find(lost)]
        return len(server.log.find(written)) + sum(counts)

    wait_until(lambda: counted() >= 60_000, "60000 lines, written or counted")
    seconds = time.monotonic() - begun
    server.log.expect(lost)
    server.log.allow(written, lost)
    assert counted() == 60_000
    # 10,000 at once, and 1000 a second.
    assert 10_000 <= len(server.log.find(written)) <= 10_000 + 1000 * (seconds + 1)
    run(server, "os.write(2, b'and another one\\n')")
    server.log.expect("^and another one$")


def test_a_manager_that_does_not_read_does_not_stop_its_workers(start_warm):
    server = start_warm()
    manager = daemons.manager(server)
    daemons.freeze(manager)
    try:
        text = "for n in range(5000): print('n%d' % n, 'x' * 50)"
        assert run(server, text, "?thread")
        # The thread neither holds Python's lock nor waits for each line.
        assert server.get("/").status == 200
    finally:
        os.kill(manager, signal.SIGCONT)
    server.log.expect(r"^n4999 |\d+ log lines lost: the manager process did not take them")
    server.log.allow(r"^n\d+ x")


def test_the_process_that_writes_the_log_is_started_again(start_warm):
    server = start_warm()
    (first,) = wait_until(server.log_writers, "the process")
    if os.geteuid() == 0:
        # It has given root up.
        assert daemons.status_of(first)["Uid"].split()[0] != "0"
    # Its parent starts one at once only if the one before has lived for a second.
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 1.1, "a second")
    os.kill(first, signal.SIGKILL)
    run(server, "os.write(2, b'while there is none\\n')")
    wait_until(lambda: server.log_writers() not in ([], [first]), "another one", timeout=30)
    server.log.expect("^while there is none$")
    server.log.expect(f"the process {first} that writes the log of daemon processes was killed by")
    for _ in range(3):
        daemons.restart(server, 1)
    wait_until(lambda: len(server.log_writers()) == 1, "the old ones to leave")
    run(server, "os.write(2, b'after restarts\\n')")
    server.log.expect("^after restarts$")


def test_the_process_that_writes_the_log_ends_after_a_parent_that_was_killed(start):
    server = start()
    (writer,) = wait_until(server.log_writers, "the process")
    server.kill()
    wait_until(lambda: not daemons.is_alive(writer), "the process to end", timeout=30)
    server.log.expect("parent process has exited; stopping")
