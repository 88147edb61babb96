"""httpd and the daemon programs under valgrind, and what its reports say of the project's code.

`UNDER_VALGRIND=folder` has every server started so; each process writes a report of its own.
"""

import itertools
import os
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

FOLDER = os.environ.get("UNDER_VALGRIND")
# How much longer everything takes.
SLOWER = 30 if FOLDER else 1

OURS = ("mod_wsgi_rs.so", "wsgi-daemon", "wsgi_host")
# Where Python runs on its own account between the project's code and the fault (its start and end,
# an import, bytecode), the fault is Python's own.
PYTHON_RUNS = (
    "_PyEval_EvalFrameDefault",
    "_PyAST_Compile",
    "Py_InitializeFromConfig",
    "Py_NewInterpreter",
    "Py_EndInterpreter",
    "Py_FinalizeEx",
    "PyGC_Collect",
)
# Errors that are none, each with its reason.
KNOWN = {
    # rustix passes five of six arguments; without a signal mask the kernel does not read the last.
    "Syscall param epoll_pwait(sigsetsize) contains uninitialised byte(s)",
}
OPTIONS = (
    "--quiet --vgdb=no --trace-children=yes --num-callers=40 --error-limit=no "
    "--trace-children-skip=*/sh,*/ab,*/openssl"
)
# CPython's own allocator reads memory that it has freed, on purpose.
ENVIRONMENT = {"PYTHONMALLOC": "malloc"}


STARTS = itertools.count()
ERROR = re.compile(r"<error>.*?</error>", re.DOTALL)


def command():
    """What stands before the command of a program that is to run under valgrind."""
    # The kernel uses numbers of processes again, and another user cannot write to the report.
    start = f"{os.getpid()}-{next(STARTS)}"
    return ["valgrind", *OPTIONS.split(), "--xml=yes", f"--xml-file={FOLDER}/{start}-%p.xml"]


def frames(stack):
    """The functions of a stack, innermost first, and whether it is the project's."""
    names, ours, decided = [], False, False
    for frame in stack.iter("frame"):
        function = frame.findtext("fn") or frame.findtext("ip") or "?"
        if not decided and any(name in (frame.findtext("obj") or "") for name in OURS):
            ours = decided = True
        decided |= function in PYTHON_RUNS
        where = frame.findtext("file")
        names.append(f"{function} ({where}:{frame.findtext('line')})" if where else function)
    return names, ours


def judge(folder):
    """(errors of the project's code as texts with their counts, number of others, processes)."""
    ours, others, processes = Counter(), 0, Counter()
    for report in sorted(Path(folder).glob("*.xml")):
        text = report.read_text("utf-8", "replace")
        names = [
            name
            for name in ("wsgi-daemon-manager", "wsgi-daemon", "wsgi_host", "httpd")
            if name in text
        ]
        processes[names[0] if names else "apache2" if "apache2" in text else "other"] += 1
        # A process that was killed has left half of an error at the end.
        for found in ERROR.findall(text):
            # What a process still holds at its end; leaks have server/test_memory.py.
            if "<kind>Leak_" in found:
                continue
            # There are a million; most have no frame of the project's files.
            if not any(name in found for name in OURS):
                others += 1
                continue
            error = ElementTree.fromstring(found)
            # Where it happened, and where the memory came from or went.
            stacks = [frames(stack) for stack in error.iter("stack")]
            if not any(mine for _, mine in stacks):
                others += 1
                continue
            what = error.findtext("what") or error.findtext("xwhat/text") or "?"
            if what in KNOWN:
                continue
            lines = [f"{error.findtext('kind') or '?'}: {what}"]
            for names, _ in stacks:
                lines += [f"    {name}" for name in names[:25]] + [""]
            ours["\n".join(lines)] += 1
    return ours, others, processes
