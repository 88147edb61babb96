"""Takes its time, dies, and leaves traces: what tests of faults ask for."""

import ctypes
import os
import time
from urllib.parse import parse_qs

VERSION = 1


def meets(note, count, seconds):
    """Whether `count` requests have noted their beginning within the time; none leaves before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with open(note) as file:
            if len(file.readlines()) >= count:
                return True
        time.sleep(0.01)
    return False


def application(environ, start_response):
    path = environ["PATH_INFO"]
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if "note" in asked:
        # One line for each time the application was really called.
        with open(asked["note"], "a") as file:
            file.write(f"{os.getpid()}\n")
    if "read" in asked:
        environ["wsgi.input"].read(int(asked["read"]))
    if path == "/sleep":
        time.sleep(float(asked.get("for", "0.005")))
    if path == "/spin":
        until = time.process_time() + float(asked["for"])
        while time.process_time() < until:
            sum(range(1000))
    if path == "/signal":
        os.kill(os.getpid(), int(asked["number"]))
        time.sleep(float(asked.get("for", "0")))
    if path == "/crash":
        ctypes.string_at(0)
    if path == "/exit":
        os._exit(3)
    if path == "/grow":
        globals().setdefault("ballast", []).append(bytearray(os.urandom(1) * int(asked["by"])))
    if path == "/raise":
        raise RuntimeError("on purpose")
    if path == "/meet":
        # Of requests of any number of workers, each with the same file for its note.
        how = "met" if meets(asked["note"], int(asked["count"]), float(asked["for"])) else "alone"
        body = f"{os.getpid()} {how}".encode()
    elif path == "/big":
        body = b"x" * int(asked["size"])
    elif path == "/eval":
        body = repr(eval(asked["what"])).encode()
    else:
        body = f"{os.getpid()} {VERSION}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
