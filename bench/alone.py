"""What is measured with one server up and no other: start, memory, many process groups.

Memory that several processes share counts in parts, so no other contender may be there to share it.
"""

import time

from bench import cases, load
from bench.rounds import FAULTS
from bench.servers import Unavailable
from bench.servers.contender import Shape

SETTLE_SECONDS = 1
LOAD_SECONDS = 2
CONNECTIONS = 16
# A group of mod_wsgi takes 6 MB, and the machine has other things to do.
NEEDED_MB_A_GROUP = 20

DJANGO = {
    name: Shape(
        processes=4, script="django_app.py", preload=preload, warm_up="/django" if warm else None
    )
    for (preload, warm), name in cases.DJANGO_MEMORY.items()
}
GROUPS = {name: Shape(groups=count) for count, name in cases.GROUPS.items()}
NAMES = [cases.MEMORY, *DJANGO, *GROUPS]


def measure(contenders, names, rounds, results, progress):
    """`rounds` samples of each of the named cases."""
    for name in names:
        shape = DJANGO.get(name) or GROUPS.get(name) or Shape()
        path = "/django" if name in DJANGO else "/g0/hello" if shape.groups else "/hello"
        sample = _groups if shape.groups else _memory
        for number in range(rounds):
            for contender in contenders:
                text = f"round {number + 1} of {rounds}, {contender.title}"
                progress.step(cases.TITLES[name], text)
                _one(name, shape, path, sample, contender, results, progress)


def _one(name, shape, path, sample, contender, results, progress):
    if path in contender.lacks:
        results.lack(name, contender.name, contender.lacks[path])
        return
    if results.failed(name, contender.name):
        return
    try:
        if shape.warm_up and not contender.warms_up:
            raise Unavailable("not available, has no warm-up")
        _require_memory(shape)
        server = contender.server(shape)
        first = server.start(path)
        try:
            taken = sample(server, shape, path, first)
        finally:
            server.stop()
    except Unavailable as why:
        results.lack(name, contender.name, why)
        return
    except (*FAULTS, load.LoadFailed) as error:
        results.fail(name, contender.name, error)
        progress.note(f"  {cases.TITLES[name]}: {contender.title}: {error}")
        return
    results.add(name, contender.name, taken)
    if name == cases.MEMORY:
        results.add(cases.START, contender.name, {"first_ms": first * 1000})


def _memory(server, shape, path, first):
    time.sleep(SETTLE_SECONDS)
    idle = server.pss_megabytes()
    load.run(server.url(path), CONNECTIONS, LOAD_SECONDS)
    return {"idle_mb": idle, "loaded_mb": server.pss_megabytes()}


def _groups(server, shape, path, first):
    began, slowest = time.monotonic(), 0
    for number in range(shape.groups):
        asked = time.monotonic()
        server.check(f"/g{number}/hello")
        slowest = max(slowest, time.monotonic() - asked)
    every = first + time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    idle = server.pss_megabytes()
    before = server.cpu_seconds()
    counted = load.run(server.url(path), 1, LOAD_SECONDS)
    return {
        "all_ms": every * 1000,
        "slowest_first_ms": slowest * 1000,
        "idle_mb": idle,
        "p50_ms": counted["p50"] / 1000,
        "cpu_us": (server.cpu_seconds() - before) / counted["requests"] * 1e6,
    }


def _require_memory(shape):
    with open("/proc/meminfo") as file:
        facts = dict(line.split(":", 1) for line in file)
    free = int(facts["MemAvailable"].split()[0]) / 1024
    if free < 512 + shape.groups * NEEDED_MB_A_GROUP:
        raise Unavailable(f"{free:.0f} MB of free memory are not enough")
