"""A server with many process groups, as a hoster has it."""

from pathlib import Path

import pytest
from harness.conf import Conf
from harness.httpd import ConfigError

pytestmark = pytest.mark.ours_only("our own processes")

APP = """
import resource

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [("%s %d" % (environ["mod_wsgi.process_group"], limit[0])).encode()]
"""
# Started when they are asked, so that there are not as many processes.
GROUP = """
WSGIDaemonProcess group{0} processes=0-3 threads=1
WSGIScriptAlias /{0} ${{ROOT}}/app.py process-group=group{0} application-group=%{{GLOBAL}}
"""
GROUPS = 60
# More than httpd itself needs, less than so many sockets.
FEW = 200


def conf():
    text = "".join(GROUP.format(number) for number in range(GROUPS))
    text += "WSGIScriptAlias /embedded ${ROOT}/app.py application-group=%{GLOBAL}\n"
    return Conf(text, files=(("app.py", APP),))


def with_descriptors(hard):
    """Lets a server have FEW descriptors, and raise that itself to `hard`."""

    def prepare(server):
        command = server._command
        limits = f'ulimit -Sn {FEW} && ulimit -Hn {hard} && exec "$@"'
        server._command = lambda *arguments: ["sh", "-c", limits, "sh", *command(*arguments)]

    return prepare


def soft_limit(pid):
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    raise AssertionError(f"no limit of {pid}")


def test_the_sockets_of_many_groups_need_no_higher_limit_of_files(start):
    """What applications see is the limit that Apache was started with."""
    server = start(prepare=with_descriptors(10 * FEW))
    for number in (0, GROUPS // 2, GROUPS - 1):
        assert server.get(f"/{number}").text == f"group{number} {FEW}"
    assert server.get("/embedded").text == f" {FEW}"
    assert {soft_limit(pid) for pid in server.children()} == {FEW}


def test_hard_limit_is_named_in_the_log(start):
    with pytest.raises(ConfigError, match=r"WSGI0013: .*Too many open files.*\(ulimit -n: two for"):
        start(prepare=with_descriptors(FEW))
