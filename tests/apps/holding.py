"""Holds the interpreter's lock for a while, in one call that never gives it back."""

import gc
import sys
import time

from by_path import answer, by_path

# Without a lock a collection would wait for the thread that holds it, and all others with it.
gc.disable()


def numbers(seconds):
    """So many that counting them takes about so long on this machine."""
    start = time.perf_counter()
    sum(range(1_000_000))
    return range(int(1_000_000 * seconds / (time.perf_counter() - start)))


many = numbers(seconds=2)


def hold(environ, start_response):
    print("holding the lock", file=sys.stderr)
    sys.stderr.flush()
    start = time.monotonic()
    # All in C: no bytecode runs that could let another thread have its turn.
    sum(many)
    return answer(start_response, str(time.monotonic() - start))


def span(environ, start_response):
    """The same, and when it was."""
    print("holding the lock", file=sys.stderr)
    sys.stderr.flush()
    start = time.monotonic()
    sum(many)
    return answer(start_response, f"{start} {time.monotonic()}")


def now(environ, start_response):
    return answer(start_response, str(time.monotonic()))


def quick(environ, start_response):
    return answer(start_response, "quick")


application = by_path(globals())
