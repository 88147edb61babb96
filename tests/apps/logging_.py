"""Writes to wsgi.errors, sys.stdout and sys.stderr in every way."""

import logging
import sys
import threading
import traceback
import warnings
from urllib.parse import unquote

from by_path import answer, by_path

kept = []
barrier = threading.Barrier(2)

print("while loading", file=sys.stderr)


def stream_of(environ):
    name = environ["PATH_INFO"].rpartition("/")[2]
    return {"errors": environ["wsgi.errors"], "stdout": sys.stdout, "stderr": sys.stderr}[name]


def write(environ, start_response):
    """/write/<stream>?<text expression>"""
    stream_of(environ).write(eval(unquote(environ["QUERY_STRING"])))
    return answer(start_response, "written")


def partial(environ, start_response):
    """A line in pieces, then half a line that only the request's end can complete."""
    stream = stream_of(environ)
    for piece in ("a line ", "in three ", "pieces\n", "half a line"):
        stream.write(piece)
    return answer(start_response, "written")


def threads(environ, start_response):
    """Threads that print at the same time; print writes a line in pieces."""

    def work(name):
        for number in range(200):
            print("thread", name, "line", number, "end")

    workers = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answer(start_response, "written")


def flushed(environ, start_response):
    """Half a line, flushed, and the rest of it."""
    stream = environ["wsgi.errors"]
    stream.write("first half")
    stream.flush()
    stream.write("second half\n")
    return answer(start_response, "written")


def writelines(environ, start_response):
    environ["wsgi.errors"].writelines(["one\n", "two\n"])
    environ["wsgi.errors"].buffer.write(b"bytes\n")
    environ["wsgi.errors"].buffer.writelines([b"more ", b"bytes\n"])
    return answer(start_response, "written")


def attributes(environ, start_response):
    lines = []
    for stream in (environ["wsgi.errors"], environ["wsgi.errors"].buffer, sys.stdout, sys.stderr):
        try:
            stream.fileno()
            fileno = "a number"
        except OSError:
            fileno = "OSError"
        lines.append(
            f"{type(stream).__name__} {stream.name} {stream.encoding} {stream.errors} "
            f"{stream.closed} {stream.isatty()} {stream.readable()} {stream.seekable()} "
            f"{stream.writable()} {fileno}"
        )
    return answer(start_response, "\n".join(lines))


def by_logging(environ, start_response):
    logging.getLogger("app").warning("through the logging module")
    warnings.warn("through the warnings module", stacklevel=1)
    try:
        raise ValueError("printed by the application")
    except ValueError:
        traceback.print_exc(file=environ["wsgi.errors"])
    return answer(start_response, "logged")


def from_thread(environ, start_response):
    """A thread without a request of its own."""
    thread = threading.Thread(target=print, args=("from a thread",), kwargs={"file": sys.stderr})
    thread.start()
    thread.join()
    return answer(start_response, "logged")


def interleaved(environ, start_response):
    """Two requests at once, each writing half a line before the other completes its own."""
    who = environ["QUERY_STRING"]
    sys.stderr.write(f"{who} begins, ")
    barrier.wait(10)
    sys.stderr.write(f"{who} ends\n")
    return answer(start_response, "logged")


def while_iterating(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    print("in the first piece", file=sys.stderr)
    yield b"one"
    print("in the second piece", file=environ["wsgi.errors"])
    yield b"two"


def keep(environ, start_response):
    kept[:] = [environ["wsgi.errors"]]
    return answer(start_response, "kept")


def use_kept(environ, start_response):
    (stream,) = kept
    said = []
    for call in (lambda: stream.write("late\n"), lambda: stream.writelines(["late\n"])):
        try:
            call()
            said.append("accepted")
        except RuntimeError as error:
            said.append(f"RuntimeError {error}")
    return answer(start_response, "\n".join(said))


application = by_path(globals())
