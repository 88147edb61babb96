"""Instructions a request by valgrind's callgrind: user space alone, but the same at every run and
on every machine, also where no processor counter can be read.

The same server is asked a few requests and then many; what the second run has more is what so many
requests take.
"""

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

FEW, MANY = 200, 1200
# A process under valgrind needs its time to end, and writes its counts only then.
STOP_TIMEOUT = 60
WEB_SERVERS = {"apache2", "httpd", "nginx"}
OPTIONS = ("--tool=callgrind", "--trace-children=yes", "--trace-children-skip=/bin/*", "-q")


class NothingCounted(Exception):
    """valgrind wrote no counts; the text says what the server printed."""


def count(contender, shape, path):
    """{part of the server: {function: instructions a request}}."""
    few, many = (_run(contender, shape, path, requests) for requests in (FEW, MANY))
    return {
        part: {
            function: (total - few.get(part, {}).get(function, 0)) / (MANY - FEW)
            for function, total in functions.items()
        }
        for part, functions in many.items()
    }


def _run(contender, shape, path, requests):
    """{part: {function: instructions of a whole life}}."""
    with tempfile.TemporaryDirectory(prefix="mod_wsgi_rs-callgrind-") as folder:
        # Processes that are no longer root write there, too.
        Path(folder).chmod(0o1777)
        valgrind = (shutil.which("valgrind"), *OPTIONS, f"--callgrind-out-file={folder}/%p")
        server = contender.server(shape)
        server.programs = [
            dataclasses.replace(program, argv=(*valgrind, *program.argv))
            for program in server.programs
        ]
        server.stop_timeout = STOP_TIMEOUT
        server.start(path)
        try:
            server.ask_again(path, requests)
        finally:
            server.stop()
        found = {}
        for file in sorted(Path(folder).iterdir()):
            if part := _part(file):
                found.setdefault(part, Counter()).update(_functions(file))
        if not found:
            raise NothingCounted(server.printed())
        return found


def _part(file):
    """Which part of a server wrote a file; None for a process that was killed: it wrote nothing."""
    with file.open(errors="replace") as text:
        for line in text:
            if line.startswith("cmd: "):
                name = Path(line.split()[1]).name
                return "web server" if name in WEB_SERVERS else "daemon"
    return None


def _functions(file):
    """{"function  (file)": instructions} of one process."""
    command = ["callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=no", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return read(done.stdout)


def read(printed):
    """The same from what callgrind_annotate prints."""
    found = Counter()
    for line in printed.splitlines():
        match = re.fullmatch(r" *([\d,]+)  (\S.*)", line)
        if not match or "PROGRAM TOTALS" in line:
            continue
        name, _, where = match[2].rpartition(" [")
        # Before the function there is its source file.
        name = (name or match[2]).split(":", 1)[-1]
        where = where.rstrip("]").rpartition("/")[2]
        found[f"{name[:100]}  ({where})"] += int(match[1].replace(",", ""))
    return found
