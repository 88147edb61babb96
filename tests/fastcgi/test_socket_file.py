"""The socket file of a daemon that root starts for another user, in a directory of that user's."""

import os
import pwd
import stat
import subprocess
import sys

import pytest
from harness import daemons
from harness.httpd import die_with_parent, wait_until
from harness.standalone import PROGRAM

pytestmark = [
    pytest.mark.ours_only("mod_wsgi has no such program"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

# An account that every Debian and Fedora has.
USER = pwd.getpwnam("games")
# Puts a link in the place of the socket as soon as that is there, then the socket in its place.
RACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
folder, user = sys.argv[1], int(sys.argv[2])
os.setgid(user), os.setuid(user)
os.chdir(folder)
print("ready", flush=True)
exchange = (-100, b"site.sock", -100, b"link", 2)
while True:
    libc.renameat2(*exchange)
"""


def test_socket_belongs_to_the_user_with_its_mode(daemon):
    daemon.root.chmod(0o755)
    umask = os.umask(0o077)
    try:
        daemon.start("--user", USER.pw_name, "--socket-mode", "666")
    finally:
        os.umask(umask)
    found = daemon.socket.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o666, USER.pw_uid)
    assert daemon.get("/stream").body == b"0,1,2,"


def test_no_file_of_root_is_given_away_by_a_link_in_the_place_of_the_socket(daemon):
    daemon.root.chmod(0o755)
    (daemon.root / "log").touch()
    folder = daemon.root / "run"
    folder.mkdir()
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    secret = daemon.root / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    racer = subprocess.Popen(
        [sys.executable, "-c", RACER, folder, str(USER.pw_uid)],
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    command = [PROGRAM, "--listen", f"unix:{folder}/site.sock", "--application", daemon.script]
    command += ["--user", USER.pw_name, "--socket-mode", "666"]
    try:
        assert racer.stdout.readline() == b"ready\n"
        for _ in range(25):
            for name in os.listdir(folder):
                (folder / name).unlink(missing_ok=True)
            (folder / "link").symlink_to(secret)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
            try:
                wait_until(
                    lambda process=process: (
                        process.poll() is not None or daemons.workers_of(process.pid)
                    ),
                    "a worker, or the end",
                )
            finally:
                process.kill()
                process.wait()
            found = secret.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 0)
    finally:
        racer.kill()
        racer.wait()
