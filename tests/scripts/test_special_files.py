"""Files that are not regular, in the place of a script or a module: no process waits for them."""

import os
import socket

import pytest
from harness.conf import Conf

PLAIN = """
import sys, os
sys.path.insert(0, os.path.dirname(__file__) + "/modules")
def application(environ, start_response):
    name = environ["QUERY_STRING"]
    try:
        answer = __import__(name).TEXT if name else "plain"
    except ImportError as error:
        answer = type(error).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
"""
SPECIAL = Conf(
    """
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /plain ${ROOT}/plain.py
    WSGIScriptAlias /special ${ROOT}/special.py
    <Location /by-handler>
        SetHandler special
    </Location>
    WSGIHandlerScript special ${ROOT}/special.py
    """,
    files=(("plain.py", PLAIN), ("modules/cached.py", "TEXT = 'the source'\n")),
)


def make(kind, path):
    if kind == "fifo":
        os.mkfifo(path)
        path.chmod(0o666)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        path.chmod(0o666)


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
@pytest.mark.differs("special-files", "mod_wsgi's processes wait for a writer")
def test_a_script_that_is_no_regular_file_is_refused(serve, kind):
    server = serve(SPECIAL, private=True)
    make(kind, server.root / "special.py")
    assert server.get("/special").status == 403
    server.log.expect("WSGI0136: .*special.py", count=1)
    assert server.get("/by-handler").status == 403
    server.log.expect("WSGI0105: .*special.py.*not a regular file", count=1)
    assert server.get("/plain").text == "plain"


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
@pytest.mark.differs("special-files", "mod_wsgi's processes wait for a writer", always=False)
def test_a_module_that_is_no_regular_file_is_not_found(serve, kind):
    server = serve(SPECIAL, private=True)
    make(kind, server.root / "modules/special.py")
    assert server.get("/plain?special").text == "ModuleNotFoundError"
    assert server.get("/plain").text == "plain"


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
@pytest.mark.differs(
    "special-files", "mod_wsgi's processes wait for the writer of a FIFO", always=False
)
def test_bytecode_that_is_no_regular_file_is_ignored(serve, kind, env):
    server = serve(SPECIAL, private=True)
    folder = server.root / "modules/__pycache__"
    folder.mkdir()
    folder.chmod(0o755)
    make(kind, folder / f"cached.cpython-{env.python.replace('.', '')}.pyc")
    assert server.get("/plain?cached").text == "the source"
    assert server.get("/plain").text == "plain"
