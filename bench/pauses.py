"""How often a processor of the machine pauses, with no server running.

A virtual machine is not always given its processors, and need not be told (steal time). A process
on each processor reads the clock without end, and what lies between two readings is a pause. Tails
at a low rate are made of them: a request that meets one is late, whatever serves it.
"""

import json
import os
import subprocess
import sys
import time

SECONDS = 5
# Above what an interrupt takes.
SHORTEST_MS = 0.3
PRIORITY = -20


def measure(seconds=SECONDS):
    """What the pauses of all processors were, as text."""
    command = [sys.executable, "-m", "bench.pauses", str(seconds)]
    watching = [
        subprocess.Popen([*command, str(cpu)], stdout=subprocess.PIPE, text=True)
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    pauses = [pause for each in watching for pause in json.loads(each.communicate()[0])]
    return describe(pauses, seconds * len(watching))


def describe(pauses, seconds):
    """The text about pauses, in milliseconds, within so many seconds of processors."""
    share = sum(pauses) / 10 / seconds
    return (
        f"{share:.1f} % of the time, {len(pauses) / seconds:.0f} a second above {SHORTEST_MS} ms,"
        f" the longest {max(pauses, default=0):.1f} ms"
    )


def watch(seconds, cpu):
    """The pauses of one processor, in milliseconds."""
    os.sched_setaffinity(0, {cpu})
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    found = []
    last = time.perf_counter()
    until = last + seconds
    while last < until:
        now = time.perf_counter()
        if (pause := (now - last) * 1000) > SHORTEST_MS:
            found.append(pause)
        last = now
    return found


if __name__ == "__main__":
    print(json.dumps(watch(float(sys.argv[1]), int(sys.argv[2]))))
