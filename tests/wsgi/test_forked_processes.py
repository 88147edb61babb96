"""Processes that an application forks from the thread that serves a request."""

import pytest
from harness.conf import Conf

FORKING = """
import logging, multiprocessing, threading
def work():
    logging.getLogger().warning("from the new process")
def application(environ, start_response):
    threading.current_thread()
    logging.getLogger("app").warning("before the fork")
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(20)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(process.exitcode).encode()]
"""


@pytest.mark.all_mpms
@pytest.mark.differs("forked-threads", "the new process ends with status 1", always=False)
def test_a_process_of_multiprocessing_ends_well_in_a_request_that_has_logged(serve):
    text = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/app.py\n"
    server = serve(Conf(text, files=(("app.py", FORKING),)), private=True)
    server.log.allow("before the fork$", "from the new process$", "DeprecationWarning|^  ")
    assert [server.get("/").text for _ in range(3)] == ["0", "0", "0"]
