"""Corners of PEP 3333 and of Python's surroundings that applications come to seldom."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

CONF = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${ROOT}/app.py
"""
PLAIN = 'H = [("Content-Type", "text/plain")]\n'


def start(serve, app, text=CONF, **more):
    files = more.pop("files", ())
    return serve(Conf(text, files=(("app.py", PLAIN + app), *files), **more), private=True)


EXC_INFO = """
import os, sys
def application(environ, start_response):
    if environ["PATH_INFO"] == "/pid":
        start_response("200 OK", H)
        return [str(os.getpid()).encode()]
    start_response("200 OK", H)(b"begun ")
    info = {"/none": sys.exc_info(), "/int": (int, 5, None), "/numbers": (1, 2, 3)}
    try:
        start_response("500 Oops", H, info[environ["PATH_INFO"]])
    except BaseException as error:
        return [repr(error).encode()]
    return []
"""


@pytest.mark.ours_only("mod_wsgi crashes where there is no exception")
@pytest.mark.parametrize("path", ["/none", "/int", "/numbers"])
def test_exc_info_without_an_exception_does_not_kill_the_process(serve, path):
    server = start(serve, EXC_INFO)
    before = server.get("/pid").text
    for _ in range(5):
        server.get(path)
    assert server.get("/pid").text == before


RECURSION = """
import os
def sort(n):
    return sorted([n + 1], key=sort)
def application(environ, start_response):
    start_response("200 OK", H)
    try:
        sort(0)
    except RecursionError:
        return [str(os.getpid()).encode()]
"""


def test_a_recursion_without_end_is_a_recursionerror(serve):
    server = start(serve, RECURSION)
    assert server.get("/").json() == server.get("/").json()


STACK = """
import ctypes, resource
def application(environ, start_response):
    libc, attributes, size = ctypes.CDLL(None), ctypes.create_string_buffer(64), ctypes.c_size_t()
    libc.pthread_self.restype = ctypes.c_void_p
    libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
    libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    start_response("200 OK", H)
    return [b"%d %d" % (size.value, resource.getrlimit(resource.RLIMIT_STACK)[0])]
"""


def test_the_stack_of_a_thread_is_the_systems(serve):
    size, system = map(int, start(serve, STACK).get("/").text.split())
    assert size == system


FORKED = """
import os, socket
def application(environ, start_response):
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            # Such as connections to a database.
            pairs = [socket.socketpair() for _ in range(20)]
            print("the child says hello")
            for end in (end for pair in pairs for end in pair):
                end.setblocking(False)
                try:
                    os.write(there, end.recv(1000))
                except BlockingIOError:
                    pass
        finally:
            os._exit(0)
    os.close(there)
    os.waitpid(child, 0)
    start_response("200 OK", H)
    with open(here, "rb") as pipe:
        return [pipe.read()]
"""


def test_output_of_a_forked_process_stays_out_of_its_sockets(serve):
    server = start(serve, FORKED)
    server.log.allow("the child says hello")
    assert server.get("/").body == b""


FORKED_LOG = """
import multiprocessing
def fail():
    print("the child says hello")
    raise ValueError("the child fails")
def application(environ, start_response):
    process = multiprocessing.get_context("fork").Process(target=fail)
    process.start()
    process.join()
    start_response("200 OK", H)
    return [b"ok"]
"""


def test_output_of_a_forked_process_is_logged(serve):
    server = start(serve, FORKED_LOG)
    assert server.get("/").text == "ok"
    server.log.expect("the child says hello", "ValueError: the child fails")
    server.log.allow(r"\] Process ForkProcess-1:$")
    server.log.allow_traceback("ValueError: the child fails")


EMPTY_FIRST = """
def application(environ, start_response):
    yield b""
    start_response("200 OK", H)
    yield b"late"
"""


def test_an_empty_piece_may_come_before_start_response(serve):
    server = start(serve, EMPTY_FIRST)
    assert server.get("/").text == "late"


LATE_READ = """
class Answer:
    def __init__(self, environ):
        self.environ = environ
    def __iter__(self):
        yield b"ok"
    def close(self):
        if self.environ["PATH_INFO"] == "/close":
            print("read", len(self.environ["wsgi.input"].read()))
def application(environ, start_response):
    if environ["PATH_INFO"] == "/close":
        start_response("200 OK", H)
        return Answer(environ)
    return after(environ, start_response)
def after(environ, start_response):
    start_response("200 OK", [*H, ("Content-Length", "2")])
    yield b"ok"
    print("read", len(environ["wsgi.input"].read()))
"""


@pytest.mark.parametrize("path", ["/close", "/after"])
@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_body_can_be_read_until_close_returns(serve, path, size):
    server = start(serve, LATE_READ)
    assert server.post(path, b"x" * size).text == "ok"
    server.log.expect(f"read {size}$")


SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", H)
    return [b"%s"]
"""
SHARED = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /other ${ROOT}/other.py
WSGIScriptAlias / ${ROOT}/app.py
"""


def test_a_script_is_reloaded_although_another_one_cannot_be(serve):
    other = PLAIN + "open(__file__ + '.needed').close()\n" + SCRIPT % "other"
    server = start(
        serve, SCRIPT % "old", SHARED, files=(("other.py", other), ("other.py.needed", ""))
    )
    server.log.allow("WSGI|Traceback|File|open|FileNotFound|^ +|could not load")
    assert (server.get("/").text, server.get("/other").text) == ("old", "other")
    (server.root / "other.py.needed").unlink()
    server.write("app.py", PLAIN + SCRIPT % "new")
    wait_until(lambda: server.get("/").text == "new", "the new code")


LENGTH = """
def application(environ, start_response):
    start_response("200 OK", [*H, ("Content-Length", " 2")])
    return [b"ok"]
"""


def test_a_content_length_may_begin_with_a_space(serve):
    server = start(serve, LENGTH)
    server.log.allow("WSGI0174|Traceback|ValueError")
    assert server.get("/").text == "ok"


RECORD = """
import logging, mod_wsgi
def application(environ, start_response):
    record = logging.LogRecord("name", logging.ERROR, None, None, "from nowhere", None, None)
    mod_wsgi.LogHandler().handle(record)
    start_response("200 OK", H)
    return [b"ok"]
"""


def test_a_record_without_a_place_is_logged(serve):
    server = start(serve, RECORD)
    server.get("/")
    server.log.expect(r"\] from nowhere$")
