"""Holds the interpreter's lock for a while, in one call that never gives it back."""

import sys
import time

from by_path import answer, by_path


def one_second():
    """How far to count for about so long on this machine."""
    start = time.perf_counter()
    sum(range(1_000_000))
    return int(1_000_000 / (time.perf_counter() - start))


def hold(environ, start_response):
    count = range(one_second())
    print("holding the lock", file=sys.stderr)
    sys.stderr.flush()
    # All in C: no bytecode runs that could let another thread have its turn.
    return answer(start_response, f"counted {sum(count) > 0}")


def quick(environ, start_response):
    return answer(start_response, "quick")


application = by_path(globals())
