"""A few hundred requests of all kinds under valgrind: `make sanitize`.

One httpd process (prefork, -X) serves the applications of tests/apps in the main interpreter and in
a sub-interpreter, reloads a script, and stops. What valgrind finds counts when our module did it or
had the memory in question: where Python runs on its own account between our module and the fault
(its start and end, an import, bytecode), the fault is its own.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.client import head
from harness.conf import Conf
from harness.env import Env, Missing
from harness.httpd import Httpd, Servers, wait_until

OURS = "mod_wsgi_rs"
PYTHON_RUNS = (
    "_PyEval_EvalFrameDefault",
    "_PyAST_Compile",
    "Py_InitializeFromConfig",
    "Py_NewInterpreter",
    "Py_EndInterpreter",
    "Py_FinalizeEx",
    "PyGC_Collect",
)
CONF = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIChunkedRequest On
    WSGIScriptAlias /main/response ${APPS}/response.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/body ${APPS}/body.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/errors ${APPS}/errors.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/headers ${APPS}/headers.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/files ${APPS}/files.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/logging ${APPS}/logging_.py application-group=%{GLOBAL}
    WSGIScriptAlias /main/environ ${APPS}/environ.py application-group=%{GLOBAL}
    WSGIScriptAlias /sub/response ${APPS}/response.py application-group=sub
    WSGIScriptAlias /sub/body ${APPS}/body.py application-group=sub
    WSGIScriptAlias /sub/errors ${APPS}/errors.py application-group=sub
    WSGIScriptAlias /sub/headers ${APPS}/headers.py application-group=sub
    WSGIScriptAlias /sub/files ${APPS}/files.py application-group=sub
    WSGIScriptAlias /sub/logging ${APPS}/logging_.py application-group=sub
    WSGIScriptAlias /sub/environ ${APPS}/environ.py application-group=sub
    WSGIScriptAlias /sub/changing ${ROOT}/changing.py application-group=sub
    WSGIScriptAlias /sub/missing ${APPS}/missing.py application-group=sub
    WSGIScriptAlias /sub/nameless ${APPS}/environ.py application-group=sub callable-object=nobody
    """,
    files=(("files/small", "a small file\n" * 100), ("files/large", "x" * 300_000)),
    wsgi_level="wsgi:debug",
    timeout=60,
)
CHANGING = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"version %d"]
"""
GETS = [
    *(
        f"response/{name}"
        for name in [
            "hello",
            "pieces",
            "generator",
            "late_start",
            "empty",
            "nothing_but_empty",
            "writer",
            "writer_only",
            "status",
            "nobody",
            "closing",
            "closing_fails",
            "closing_refuses",
            "getitem",
            "keep",
            "use_kept",
            "big",
            "error_page",
        ]
    ),
    *(
        f"errors/{name}"
        for name in [
            "raises",
            "raises_started",
            "raises_first",
            "raises_later",
            "raises_later_with_length",
            "raises_after_write",
            "chained",
            "unicode",
            "many_lines",
            "unprintable",
            "recursion",
            "exits",
            "exits_later",
            "never_starts",
            "never_starts_nor_sends",
            "close_raises",
            "close_is_odd",
        ]
    ),
    *(
        f"headers/{name}"
        for name in ["call", "keyword", "returned", "twice", "many", "unauthorised"]
    ),
    *(
        f"files/{name}?{file}"
        for name in [
            "whole",
            "closing",
            "in_memory",
            "temporary",
            "after_write",
            "subclass",
            "wrapped",
        ]
        for file in ("small", "large")
    ),
    *(
        f"logging/{name}"
        for name in ["write", "partial", "flushed", "writelines", "by_logging", "keep"]
    ),
    "environ/a%20b/c?d=e",
]


class UnderValgrind(Httpd):
    """The server as one process that valgrind watches."""

    def _command(self, *arguments):
        program = [self.env.httpd, "-d", self.root, "-f", self.root / "httpd.conf", "-X"]
        report = self.root / "valgrind.xml"
        options = (
            "--leak-check=no --track-origins=yes --num-callers=60 --child-silent-after-fork=yes"
        )
        return ["valgrind", *options.split(), "--xml=yes", f"--xml-file={report}", *program]

    def _environment(self):
        # CPython's own allocator reads memory that it has freed, on purpose.
        return super()._environment() | {"PYTHONMALLOC": "malloc"}

    def _came_up(self):
        def up():
            if self.process.poll() is not None:
                return True
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/main/response/hello").status == 200
            return False

        wait_until(up, "httpd to come up under valgrind", 120)
        return self.running


def exercise(server):
    """Every kind of request, in both interpreters; counts the answers by status."""
    seen = Counter()

    def note(send):
        try:
            seen[send().status] += 1
        except (OSError, http.client.HTTPException):
            seen["cut off"] += 1

    def everything_in(group):
        for path in GETS:
            note(lambda path=path: server.get(f"{group}/{path}"))
        for path in ("response/hello", "response/generator", "files/whole?large"):
            note(lambda path=path: server.request("HEAD", f"{group}/{path}"))
        for name in ("echo", "length", "lines", "ignore", "steps", "keyword", "after_output"):
            for body in (b"", b"one line\nand more\n" * 3000):
                path = f"{group}/body/{name}"
                note(lambda path=path, body=body: server.post(path, body))
                note(lambda path=path, body=body: server.post(path, iter([body]), chunked=True))
        # A client that says less than it announced, one that leaves, and one that is confused.
        short = head(f"{group}/body/failing", "Content-Length: 100", method="POST") + b"x"
        server.raw(short, end=True)
        with server.socket() as sock:
            sock.sendall(head(f"{group}/response/endless"))
            sock.recv(1000)
        server.raw(head(f"{group}/environ", "no header at all"))
        server.raw(head(f"{group}/environ", b"X-Latin: \xe4\xf6\xfc", "Connection: close"))
        seen["raw"] += 4

    for _ in range(2):
        everything_in("/main")
        everything_in("/sub")
        for version in range(3):
            server.write("changing.py", CHANGING % version)
            note(lambda: server.get("/sub/changing"))
        server.write("changing.py", "this is no Python")
        note(lambda: server.get("/sub/changing"))
        note(lambda: server.get("/sub/missing"))
        note(lambda: server.get("/sub/nameless"))
    return seen


def frames(stack):
    """The functions of a stack, innermost first, and whether it is ours."""
    names, ours, decided = [], False, False
    for frame in stack.iter("frame"):
        function = frame.findtext("fn") or frame.findtext("ip") or "?"
        if not decided and OURS in (frame.findtext("obj") or ""):
            ours = decided = True
        decided |= function in PYTHON_RUNS
        where = frame.findtext("file")
        names.append(f"{function} ({where}:{frame.findtext('line')})" if where else function)
    return names, ours


def judge(report):
    """(our errors as texts, the number of the others)."""
    ours, others = [], 0
    for error in ElementTree.parse(report).getroot().iter("error"):
        kind = error.findtext("kind") or "?"
        # What a process still holds at its end; leaks have tests/server/test_memory.py.
        if kind.startswith("Leak_"):
            continue
        # Where it happened, and where the memory came from or went.
        stacks = [frames(stack) for stack in error.iter("stack")]
        if not any(mine for _, mine in stacks):
            others += 1
            continue
        text = [f"{kind}: {error.findtext('what') or error.findtext('xwhat/text') or '?'}"]
        for names, _ in stacks:
            text += [f"    {name}" for name in names[:25]] + [""]
        ours.append("\n".join(text))
    return ours, others


def install_valgrind():
    if shutil.which("valgrind"):
        return
    manager = next((m for m in ("apt-get", "dnf") if shutil.which(m)), None)
    if manager is None or os.geteuid() != 0:
        sys.exit("valgrind is missing: install the package valgrind")
    if manager == "apt-get":
        subprocess.run([manager, "update", "-q"], check=True)
    subprocess.run([manager, "install", "-y", "valgrind"], check=True)


def main():
    install_valgrind()
    try:
        env = Env()
    except Missing as missing:
        sys.exit(str(missing))
    if "prefork" not in env.mpms:
        sys.exit("this Apache has no mpm_prefork, which this check uses")
    servers = Servers(env)
    server = None
    try:
        root = Path(tempfile.mkdtemp(dir=servers.base))
        root.chmod(0o755)
        server = UnderValgrind(env, root, CONF, "prefork", "embedded", servers.apps)
        server.start()
        began = time.monotonic()
        seen = exercise(server)
        elapsed = time.monotonic() - began
        # The process is parent and child in one, and ends as a child does: with Python's end.
        server.process.terminate()
        server.process.wait(120)
        findings, others = judge(root / "valgrind.xml")
        ended = server.log.find("finalising Python")
    finally:
        if server is not None:
            server.stop()
        servers.close()
    for text in findings:
        print(text)
    answers = ", ".join(f"{count} x {what}" for what, count in sorted(seen.items(), key=str))
    print(f"{seen.total()} requests in {elapsed:.0f} s: {answers}")
    print(f"Python {env.python} was {'' if ended else 'NOT '}finalised")
    print(f"valgrind: {len(findings)} errors of ours, {others} of Python's and Apache's own")
    sys.exit(bool(findings) or not ended or not seen[200])


if __name__ == "__main__":
    main()
