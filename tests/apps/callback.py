"""C code that calls back into Python by way of PyGILState_Ensure, as many extensions do."""

import atexit
import ctypes
import sys

from by_path import answer, by_path

CALLBACK = ctypes.CFUNCTYPE(None)
# As CFUNCTYPE, but for a caller that keeps the interpreter's lock.
HELD = ctypes.PYFUNCTYPE(None)


def group():
    return sys.modules["mod_wsgi"].application_group


def called_back(environ, start_response):
    seen = []
    c = CALLBACK(lambda: seen.append(group()))
    c()
    ctypes.cast(c, HELD)()
    return answer(start_response, " ".join(seen))


def at_exit(environ, start_response):
    path = environ["QUERY_STRING"]

    def note():
        with open(path, "a") as file:
            print("called back in", group(), file=file)

    c = CALLBACK(note)
    atexit.register(lambda: ctypes.cast(c, HELD)())
    return answer(start_response, "registered")


application = by_path(globals())
