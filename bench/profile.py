"""`make profile`: instructions a request, which the load of the machine hardly moves.

`perf stat` counts user and kernel instructions of Apache and of the daemon apart, at one connection
and at sixteen. Where it cannot, as on many virtual machines, valgrind's callgrind counts those in
user space; CALLGRIND=1 asks for that. FUNCTIONS=1 lists the functions that they are spent in.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import callgrind, cpu, functions, load, tables
from bench.functions import SHOWN
from bench.rounds import FAULTS
from bench.servers import CONTENDERS, Unavailable
from bench.servers.contender import Shape
from bench.servers.site import Site

DEFAULT = (
    "null,ours-embedded,mod_wsgi-embedded,ours-daemon,mod_wsgi-daemon,apache-uwsgi,nginx-uwsgi"
)
WARM_UP = 3000
REQUESTS = 5000
ONE_PROCESS = Shape(children=1, processes=1)


def name_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "gone"


def parts(server):
    """{part: pids}: the web server and the others; mod_wsgi's daemons are Apaches, too."""
    found = {}
    for pid in cpu.tree(server.roots):
        part = "web server" if name_of(pid) in {"apache2", "httpd", "nginx"} else "daemon"
        found.setdefault(part, []).append(pid)
    return found


class Counting:
    """`perf stat` for one part while a block runs."""

    EVENTS = "instructions:u,instructions:k,context-switches"

    def __init__(self, pids):
        self.command = ["perf", "stat", "-x,", "-e", self.EVENTS, "-p", ",".join(map(str, pids))]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        # perf does not report when it has attached to the processes.
        time.sleep(0.3)
        return self

    def __exit__(self, *error):
        self.process.send_signal(signal.SIGINT)
        _, printed = self.process.communicate(timeout=20)
        self.counts = [line.split(",")[0] for line in printed.splitlines() if "," in line]

    def per_request(self, requests):
        try:
            return [int(count) / requests for count in self.counts]
        except ValueError:
            sys.exit(f"perf may not count here: {self.counts}")


def count(server, path, connections):
    """{part: (user, kernel, switches) a request}."""
    server.ask_again(path, WARM_UP)
    load.run(server.url(path), 16, 1)
    with contextlib.ExitStack() as stack:
        counting = {
            part: stack.enter_context(Counting(pids)) for part, pids in parts(server).items()
        }
        if connections == 1:
            server.ask_again(path, REQUESTS)
            requests = REQUESTS
        else:
            requests = load.run(server.url(path), connections, 2)["requests"]
    return {part: perf.per_request(requests) for part, perf in counting.items()}


def table(contenders, path):
    head = ["user", "kernel", "switches"]
    rows = [
        ["instructions a request", "part", *head, *head],
        ["", "", "c=1", "", "", "c=16", "", ""],
    ]
    for contender in contenders:
        server = contender.server(ONE_PROCESS)
        server.start(path)
        try:
            one, many = (count(server, path, connections) for connections in (1, 16))
        finally:
            server.stop()
        for part in sorted(one, reverse=True):
            cells = [one[part], many.get(part, [0, 0, 0])]
            texts = [
                tables.number(value, 1 if place == 2 else 0)
                for values in cells
                for place, value in enumerate(values)
            ]
            rows.append([contender.title, part, *texts])
    yield from tables.columns(rows, right=2)


def by_function(contender, path):
    server = contender.server(ONE_PROCESS)
    server.start(path)
    try:
        server.ask_again(path, WARM_UP)
        for part, pids in sorted(parts(server).items(), reverse=True):
            for line in functions.lines(server, part, pids, path):
                print(line, flush=True)
    finally:
        server.stop()


def perf_counts():
    """Whether this machine lets perf count instructions."""
    if not shutil.which("perf"):
        return False
    command = ["perf", "stat", "-x,", "-e", "instructions:u", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode == 0 and re.search(r"^\d+,", done.stderr, re.M) is not None


def under_callgrind(contenders, path, functions):
    """The lines of the table, and of the functions if they are wanted."""
    rows = [["instructions a request", "part", "user"]]
    details = []
    for contender in contenders:
        try:
            counted = callgrind.count(contender, ONE_PROCESS, path)
        except (*FAULTS, Unavailable, callgrind.NothingCounted) as error:
            rows.append([contender.title, str(error)[:60], "-"])
            continue
        for part, spent in sorted(counted.items(), reverse=True):
            total = sum(spent.values())
            rows.append([contender.title, part, tables.number(total, 0)])
            details += ["", f"{contender.title}, {part}"]
            for where, number in sorted(spent.items(), key=lambda item: -item[1])[:SHOWN]:
                share = 100 * number / total
                details.append(f"  {tables.number(number, 0):>8} {share:5.1f} %  {where}")
    yield from tables.columns(rows, right=2)
    if functions:
        yield from details


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--contenders", default=os.environ.get("CONTENDERS") or DEFAULT)
    parser.add_argument("--path", default="/hello")
    parser.add_argument(
        "--functions", action="store_true", default=bool(os.environ.get("FUNCTIONS"))
    )
    parser.add_argument(
        "--callgrind",
        action="store_true",
        default=bool(os.environ.get("CALLGRIND")) or not perf_counts(),
    )
    given = parser.parse_args()
    if given.callgrind and not shutil.which("valgrind"):
        sys.exit("valgrind is missing: install valgrind")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    site = Site()
    try:
        names = given.contenders.split(",")
        contenders = [kind(site) for kind in CONTENDERS if kind.name in names]
        if given.callgrind:
            for line in under_callgrind(contenders, given.path, given.functions):
                print(line, flush=True)
            return
        for line in table(contenders, given.path):
            print(line)
        if given.functions:
            for contender in contenders:
                print(f"\n{contender.title}")
                by_function(contender, given.path)
    finally:
        site.remove()


if __name__ == "__main__":
    main()
