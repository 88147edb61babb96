"""A worker that does what it likes: its application runs what a request brings."""

import contextlib
import os

from .conf import Conf

# Code of an application: the connections that its worker has accepted, with their descriptors.
CONNECTIONS = """
def connections():
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        local = str(found.getsockname())
        if found.family == socket.AF_UNIX and not accepts and local.endswith(".sock"):
            yield name, found
        else:
            found.close()
"""

# The same: the socket at which its worker accepts.
LISTENER = """
def listener():
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if found.family == socket.AF_UNIX and accepts:
            return found
        found.close()
"""

# /exec runs its body. connection() is what its request came on (threads=1), record() makes one.
# Apache may have other connections to the worker: they are idle, and the worker waits for them
# (EPOLLIN), but not for the one in use.
APP = rf"""
import os, select, signal, socket, struct, threading, time
def record(kind, content=b""):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content
{CONNECTIONS}
def waited_for():
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            lines = open("/proc/self/fdinfo/" + name).read().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[0] == "tfd:" and int(words[3], 16) & select.EPOLLIN:
                yield words[1]
def connection(idle=False):
    idle_ones = set(waited_for())
    for name, found in connections():
        if (name in idle_ones) == idle:
            return found
        found.close()
HEAD = b"Status: 200 OK\r\nContent-Type: text/plain\r\n"
END = record(3, bytes(8))
def file(offset, length):
    return record(ord("F"), struct.pack("!QQ", offset, length))
def application(environ, start_response):
    result = str(os.getpid())
    if environ["PATH_INFO"] == "/exec":
        names = dict(globals())
        exec(environ["wsgi.input"].read().decode(), names)
        result = str(names.get("result", result))
    if environ["PATH_INFO"] == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        path = os.path.join(os.path.dirname(__file__), "large")
        return environ["wsgi.file_wrapper"](open(path, "rb"))
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(result)))]
    if environ["PATH_INFO"] == "/long":
        headers.append(("X-Long", "x" * 2_000_000))
    start_response("200 OK", headers)
    return [result.encode()]
"""

# What /file answers.
LARGE = "a large file\n" * 100_000


def conf(options="threads=1", extra="", **more):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {extra}
    """
    files = (("app.py", APP), ("htdocs/x.txt", "static"), ("large", LARGE), ("out/empty", ""))
    return Conf(text, files=files, children=1, start=1, **more)


EXITED = r"worker \d+ exited with status 0 while serving POST /app/exec"


def run(server, code, **options):
    """What came of it; None where the client got no whole answer."""
    with contextlib.suppress(OSError, Exception):
        return server.post("/app/exec", code.encode(), **options)
    return None


def is_up(server):
    """Apache itself answers, and so does the worker after that."""
    return server.get("/x.txt").body == b"static" and server.get("/app").status == 200


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def leave_descriptors(client, pid, count, path="/app"):
    """From now on the process can open that many descriptors; `client` is a kept connection."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(taken) + count + 1) if number not in taken]
    # Only a process of the same user may do it everywhere.
    code = f"""
import resource
_, hard = resource.prlimit({pid}, resource.RLIMIT_NOFILE)
resource.prlimit({pid}, resource.RLIMIT_NOFILE, ({free[count]}, hard))
"""
    client.request("POST", f"{path}/exec", body=code)
    assert client.getresponse().read().isdigit()
