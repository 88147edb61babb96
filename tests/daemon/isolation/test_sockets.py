"""What another process of Apache's user can do at the sockets of a group: nothing."""

import os
import pwd
import subprocess
import sys

import pytest
from harness.hostile import conf

pytestmark = pytest.mark.ours_only("our own wire")

__all__ = ["conf"]

# Takes the place of a socket, and answers whatever comes.
HIJACKER = r"""
import os, socket, struct, sys
path = sys.argv[1]
os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen()
print("listens", flush=True)
def record(kind, content):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content
while True:
    connection, _ = listener.accept()
    got = connection.recv(65536)
    if got:
        print("heard", flush=True)
        connection.sendall(record(6, b"Status: 200 OK\r\n\r\nhijacked") + record(3, bytes(8)))
"""


def test_the_socket_of_another_group_is_not_talked_to(start):
    extra = """
    WSGIDaemonProcess other threads=1
    WSGIScriptAlias /other ${ROOT}/app.py process-group=other application-group=%{GLOBAL}
    """
    server = start(extra=extra)
    # No connection is made yet that could be kept.
    one, other = server.root.rglob("*.sock")
    aside = one.with_name("aside")

    def swap():
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    swap()
    for path, name in (("/app", "site"), ("/other", "other")):
        assert server.get(path).status == 503
        server.log.expect(f"WSGI0117: .* '{name}': .*: the socket there was made by another name")
    swap()
    for path in ("/app", "/other"):
        assert server.get(path).status == 200
    # Nothing was sent to a worker of the other group, which would have refused the secret.
    assert not server.log.find("without the group's secret")


def test_a_socket_in_place_of_a_workers_is_not_talked_to(start):
    if os.geteuid() != 0:
        pytest.skip("only root starts groups of other users")
    server = start("threads=1 user=games")
    # No connection is made yet that could be kept.
    (path,) = server.root.rglob("*.sock")
    owner = path.stat().st_uid
    # As WSGISocketPrefix in a directory of Apache's user.
    os.chown(path.parent, owner, -1)
    os.chmod(path.parent, 0o755)
    command = [sys.executable, "-c", HIJACKER, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, user=owner, group=owner)
    try:
        assert process.stdout.readline() == "listens\n"
        assert server.get("/app").status == 503
    finally:
        process.kill()
        heard = process.communicate()[0]
    assert heard == ""
    user = pwd.getpwuid(owner).pw_name
    server.log.expect(f"WSGI0117: .*: {user} listens there, not this server")
