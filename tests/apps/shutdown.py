"""Leaves traces in files, so that a test can see what happened after the last response."""

import atexit
import os
import threading
import time

import mod_wsgi
from by_path import answer, by_path


def note(path, text):
    with open(path, "a") as file:
        file.write(f"{text}\n")


def at_exit(environ, start_response):
    """?<file> gets a line when the interpreter ends."""
    atexit.register(note, environ["QUERY_STRING"], "atexit ran")
    return answer(start_response, str(os.getpid()))


def thread(environ, start_response):
    """A thread that is no daemon, and needs a while to end once <file>.stop exists."""

    def work(path):
        deadline = time.monotonic() + 8
        while not os.path.exists(path + ".stop") and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        note(path, "thread ended")

    # Without the word it would be a daemon: Apache's threads are to threading.
    threading.Thread(target=work, args=(environ["QUERY_STRING"],), daemon=False).start()
    return answer(start_response, str(os.getpid()))


def daemon_thread(environ, start_response):
    """Must not delay the end of the process."""
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return answer(start_response, str(os.getpid()))


def busy_thread(environ, start_response):
    """A daemon thread that always wants the GIL."""

    def spin():
        while True:
            sum(range(1000))

    threading.Thread(target=spin, daemon=True).start()
    return answer(start_response, str(os.getpid()))


def later_busy_thread(environ, start_response):
    """The same once ?<file> exists. Until then the lock is free for other interpreters."""

    def spin(path):
        while not os.path.exists(path):
            time.sleep(0.01)
        while True:
            sum(range(1000))

    threading.Thread(target=spin, args=(environ["QUERY_STRING"],), daemon=True).start()
    return answer(start_response, str(os.getpid()))


def gate(environ, start_response):
    """Answers in two halves; the second comes once ?<file> exists."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first half,"
    deadline = time.monotonic() + 10
    while not os.path.exists(environ["QUERY_STRING"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    yield b"second half"


def told(name, **event):
    print("told of", name)


def computing(environ, start_response):
    """Answers, wants to hear of the end, and never gives Python's lock up of its own accord."""
    mod_wsgi.subscribe_shutdown(told)
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        sum(range(1000))


def sending(environ, start_response):
    """Wants to hear of the end, and has always something to send."""
    mod_wsgi.subscribe_shutdown(told)
    start_response("200 OK", [("Content-Type", "text/plain")])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        yield b"begun"


def pid(environ, start_response):
    return answer(start_response, str(os.getpid()))


application = by_path(globals())
