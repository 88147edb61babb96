"""Evaluates the query string inside the server, so that a test can look at its interpreter."""

import json
import os  # noqa: F401
import signal  # noqa: F401
import sys
import threading
import warnings  # noqa: F401
from urllib.parse import unquote

from by_path import answer

local = threading.local()
kept = {}


def in_main_interpreter():
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    current, main = interpreters.get_current(), interpreters.get_main()
    # Since 3.13 each is a tuple: the id, and whose it is.
    return (current[0] if isinstance(current, tuple) else int(current)) == (
        main[0] if isinstance(main, tuple) else int(main)
    )


def application(environ, start_response):
    names = dict(globals(), environ=environ)
    try:
        value = eval(unquote(environ["QUERY_STRING"]), names)
    except Exception as error:
        value = f"{type(error).__name__}: {error}"
    return answer(start_response, json.dumps(value, default=repr), "application/json")


# An import of one's own, to tell interpreters and reloads apart.
loaded_in = sys.modules.setdefault("loaded_by_ask", type(sys)("loaded_by_ask"))
loaded_in.count = getattr(loaded_in, "count", 0) + 1
