"""Instructions a request, by callgrind: a server of its own for each sample.

They are those of user space alone. What is compared must differ in nothing that the kernel does.
"""

import shutil

from bench import callgrind
from bench.rounds import FAULTS
from bench.servers import Unavailable
from bench.servers.contender import Shape

SHAPE = Shape(children=1, processes=1)


def measure(case, contenders, results, progress):
    """`case.rounds` samples of each contender, in turn."""
    contenders = [each for each in contenders if case.has(each)]
    for number in range(case.rounds):
        for contender in contenders:
            progress.step(case.title, f"round {number + 1} of {case.rounds}, {contender.title}")
            if not results.failed(case.name, contender.name):
                _one(case, contender, results, progress)


def _one(case, contender, results, progress):
    try:
        if not shutil.which("valgrind"):
            raise Unavailable("valgrind is not installed")
        counted = callgrind.count(contender, SHAPE, case.path)
    except Unavailable as why:
        results.lack(case.name, contender.name, why)
    except (*FAULTS, callgrind.NothingCounted) as error:
        results.fail(case.name, contender.name, error)
        progress.note(f"  {case.title}: {contender.title}: {error}")
    else:
        total = sum(sum(functions.values()) for functions in counted.values())
        results.add(case.name, contender.name, {"instructions": total})
