"""Takes its time in several ways."""

import threading
import time

from by_path import answer, by_path

released = threading.Event()


def wait_for_it():
    released.wait(8)


def blocked(environ, start_response):
    wait_for_it()
    return answer(start_response, "released")


def release(environ, start_response):
    released.set()
    return answer(start_response, "released")


def quick(environ, start_response):
    return answer(start_response, "quick")


def burn_the_cpu(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def busy(environ, start_response):
    burn_the_cpu(1)
    return answer(start_response, "burnt")


def streamed(environ, start_response):
    """Slow to yield, not to start."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    wait_for_it()
    yield b"second"


application = by_path(globals())
