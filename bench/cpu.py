"""Processor time and memory of a tree of processes, from /proc."""

import contextlib
import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def _processes():
    """{pid: (parent's pid, ticks of the process and of the children it has waited for)}."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        # The name before the bracket may contain anything.
        fields = stat.rpartition(")")[2].split()
        found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def _tree(roots, processes):
    children = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    tree, waiting = set(), [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in tree:
            tree.add(pid)
            waiting += children.get(pid, [])
    return tree


def tree(roots):
    """The pids of processes and of all that descend from them."""
    return _tree(roots, _processes())


def seconds(roots):
    """Processor time of a tree, user and system. A process that died counts through its parent."""
    processes = _processes()
    return sum(processes[pid][1] for pid in _tree(roots, processes)) / TICK


def running(roots, program):
    """The pids of a tree that run a program, by its path."""
    found = set()
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{pid}/exe", program):
                found.add(pid)
    return found


def threads(pids):
    """The threads of processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/task"))
    return total


def pss_megabytes(roots):
    """Proportional set size of a tree: a page that several share counts in parts."""
    return memory_megabytes(tree(roots))


def memory_megabytes(pids):
    """Proportional set size of processes."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
