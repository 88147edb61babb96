"""`make profile`: instructions a request, which the load of the machine hardly moves.

`perf stat` counts user and kernel instructions of Apache and of the daemon apart, at one connection
and at sixteen. FUNCTIONS=1 lists the functions that they are spent in.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import cpu, functions, load, tables
from bench.servers import CONTENDERS
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
        # It says nothing when it has attached; its own counters of the time before are not ours.
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


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--contenders", default=os.environ.get("CONTENDERS") or DEFAULT)
    parser.add_argument("--path", default="/hello")
    parser.add_argument(
        "--functions", action="store_true", default=bool(os.environ.get("FUNCTIONS"))
    )
    given = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("perf is missing: install linux-perf (Debian) or perf (Fedora)")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    site = Site()
    try:
        names = given.contenders.split(",")
        contenders = [kind(site) for kind in CONTENDERS if kind.name in names]
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
