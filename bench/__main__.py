"""`make bench`: measure, print, write docs/performance.md. QUICK=1: hello, 64 MB, the ratios."""

import argparse
import dataclasses
import os
import resource
import signal
import sys

from bench import alone, cases, document, instructions, machine, tables, targets
from bench.progress import Progress
from bench.results import Results
from bench.rounds import Running
from bench.servers import CONTENDERS
from bench.servers.contender import Shape
from bench.servers.site import Site

QUICK_CASES = ("hello-1", "hello-16", "hello-64", "stream", "file", "upload")


QUICK_TARGETS = [*targets.HELLO, *targets.TRANSFER]
ALONE_ROUNDS = 3
# Servers are laid out for so many connections at most.
# CROWDED gives 2 x 16 threads.
CROWDED = 12
LAYOUTS = (16, 64, 256)
EVERY = [
    *(*cases.LOADS, *cases.TRANSFERS, *cases.TAILS, *cases.RESTARTS, *cases.SLOW),
    *(*cases.ASGI_LOADS, *cases.ASGI_TRANSFERS, *cases.SOCKETS, *cases.IDLE_SOCKETS),
    cases.COUNTING,
]


INTERFACES = {case.name: case.interface for case in EVERY}


def shape_of(case):
    """How servers are laid out for a case."""
    if shape := getattr(case, "shape", None):
        return shape
    if getattr(case, "crowded", False):
        return Shape(connections=CROWDED)
    connections = getattr(case, "connections", 0)
    return Shape(connections=next(size for size in LAYOUTS if size >= connections))


def arguments():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument(
        "--cases",
        default=os.environ.get("CASES"),
        help="only these, commas between them; nothing is written",
    )
    parser.add_argument(
        "--contenders", default=os.environ.get("CONTENDERS"), help="only these; nothing is written"
    )
    parser.add_argument("--rounds", type=int, help="another number of rounds")
    return parser.parse_args()


def chosen(given):
    """The cases of this run."""
    every = {case.name: case for case in EVERY}
    names = given.cases.split(",") if given.cases else QUICK_CASES if given.quick else list(every)
    found = [every[name] for name in names if name in every]
    if given.rounds or given.quick:
        found = [dataclasses.replace(case, rounds=given.rounds or 3) for case in found]
    if given.quick:
        # All contenders say hello; the rest is for the targets.
        found = [
            case if case.name == "hello-16" else dataclasses.replace(case, only=asked(case.name))
            for case in found
        ]
    return found


def asked(case):
    """The contenders that a target asks for in a case, and the floor to compare with."""
    about = [t for t in QUICK_TARGETS if t.case == case]
    names = {name for target in about for name in (target.contender, target.reference)}
    return frozenset(names | {"null", targets.OURS_E, targets.OURS_D})


def measure(plan, alone_names, rounds, contenders, results):
    steps = sum(case.rounds * case.has(each) for case in plan for each in contenders)
    # What is measured alone are applications of WSGI.
    lonely = [each for each in contenders if each.interface == "wsgi" and not each.cases]
    counted = [case for case in plan if isinstance(case, cases.Instructions)]
    plan = [case for case in plan if case not in counted]
    progress = Progress(steps + len(lonely) * len(alone_names) * rounds)
    try:
        for shape in dict.fromkeys(map(shape_of, plan)):
            here = [case for case in plan if shape_of(case) == shape]
            asked = [each for each in contenders if any(case.has(each) for case in here)]
            with Running(asked, shape, results, progress) as running:
                for case in here:
                    running.measure(case)
        alone.measure(lonely, alone_names, rounds, results, progress)
        for case in counted:
            instructions.measure(case, contenders, results, progress)
    finally:
        progress.end()


def show(results, contenders, wanted):
    for case in tables.FIGURES:
        if any(case in known for known in (results.samples, results.faults, results.absent)):
            interface = INTERFACES.get(case, "wsgi")
            here = [each for each in contenders if each.interface == interface]
            print(*tables.of_case(results, case, here), sep="\n")
    for interface in ("wsgi", "asgi"):
        rows = tables.ratios(results, contenders, interface)
        if rows[1:]:
            print(f"Ratios, {interface.upper()}", *tables.columns(rows), "", sep="\n")
    print(*(f"{what}: {text}" for what, text in results.facts.items()), "", sep="\n")
    print(*tables.of_targets(results, wanted), sep="\n")


def main():
    # A signal that ends the run must not leave servers behind.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    # Each WebSocket is an open file of a server, and of its clients.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    given = arguments()
    partial = given.cases or given.contenders
    site = Site()
    try:
        contenders = [kind(site) for kind in CONTENDERS]
        if given.contenders:
            names = given.contenders.split(",")
            contenders = [each for each in contenders if each.name in names]
        plan = chosen(given)
        names = [] if given.quick else alone.NAMES
        if given.cases:
            names = [name for name in alone.NAMES if name in given.cases.split(",")]
        results = Results(machine.facts(site))
        measure(plan, names, given.rounds or ALONE_ROUNDS, contenders, results)
    finally:
        site.remove()
    if not partial and not given.quick:
        document.write(results, contenders)
    wanted = QUICK_TARGETS if given.quick else targets.ALL
    if given.cases:
        wanted = [target for target in targets.ALL if target.case in given.cases.split(",")]
    show(results, contenders, wanted)


if __name__ == "__main__":
    main()
