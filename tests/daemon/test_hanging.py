"""What the log says of a request for which a daemon process is given up."""

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
    pytest.mark.needs_lock("the stack of a thread that goes on meanwhile is not shown"),
    pytest.mark.differs(
        "hanging-request", "mod_wsgi writes the stacks of all threads, at level info"
    ),
]

APP = """
import time

def wait_for_the_database():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        wait_for_the_database()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"""


def conf(options):
    text = f"""
    WSGIRestrictEmbedded On
    <VirtualHost 127.0.0.1:${{PORT}}>
        ServerName site
        ErrorLog ${{ROOT}}/site_error_log
        WSGIDaemonProcess site request-timeout=1 graceful-timeout=1 shutdown-timeout=1 {options}
        WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    </VirtualHost>
    """
    return Conf(text, files=(("app.py", APP),))


@pytest.mark.parametrize("options", ["threads=1", "threads=1 interrupt-timeout=1"])
def test_stack_of_a_hanging_request_is_in_the_log_of_its_virtual_host(private, options):
    server = private(conf(options))
    assert server.get("/").body == b"served"
    assert server.get("/hang").status == 504
    log = server.root / "site_error_log"

    def errors():
        lines = log.read_text().splitlines()
        return "\n".join(line for line in lines if "[wsgi:error]" in line)

    wait_until(lambda: ", in wait_for_the_database" in errors(), "the stack")
    assert "hanging request GET /hang has taken" in errors()
    assert ", in application" in errors()
    assert errors().count("hanging request") == 1
    # The worker after it serves.
    assert server.get("/").body == b"served"
