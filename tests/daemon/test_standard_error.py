"""Descriptors 1 and 2 of a daemon process, and files that grow too large."""

import pytest
from harness.conf import Conf

APP = r"""
import errno, os, resource, tempfile
def cut():
    os.ftruncate(2, os.fstat(2).st_size)
def write():
    os.write(2, b"to descriptor 2\n")
def grow():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    with tempfile.TemporaryFile() as file:
        for _ in range(2):
            os.write(file.fileno(), b"x" * 1000)
def application(environ, start_response):
    result = "done"
    try:
        globals()[environ["PATH_INFO"][1:]]()
    except OSError as why:
        result = errno.errorcode[why.errno]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    start_response("200 OK", [("Content-Length", str(len(result)))])
    return [result.encode()]
"""
CONF = Conf(
    """
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=1
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
    """,
    files=(("app.py", APP),),
)


@pytest.mark.differs("daemon-log-pipe", "descriptor 2 of mod_wsgi's daemons is Apache's log")
def test_the_log_cannot_be_truncated(private):
    assert private(CONF).get("/cut").text == "EINVAL"


def test_a_line_written_to_descriptor_2_is_logged(private):
    server = private(CONF)
    assert server.get("/write").text == "done"
    server.log.expect("to descriptor 2$")


def test_a_file_beyond_its_limit_is_an_oserror(private):
    """As in any Python program, which ignores SIGXFSZ."""
    assert private(CONF).get("/grow").text == "EFBIG"
