"""A file system that does not answer. Knows nothing of servers."""

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .httpd import die_with_parent

# It answers what it takes to open its one file. Each READ waits, and so does the FLUSH of close(2)
# if the program that closes has the name of the second argument, or there is none.
PROGRAM = r"""
import os, struct, sys
device, closes = int(sys.argv[1]), sys.argv[2]
ATTR = struct.pack("<QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 1, 0, 0, 0, 0, 0)
SIZES = 1 << 20, 2048
FILE = struct.pack("<QQQQQQIIIIIIIIII", 2, *SIZES, 0, 0, 0, 0, 0, 0, 0o100644, 1, 0, 0, 0, 0, 0)
def answer(unique, body=b"", error=0):
    os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
def waits(pid):
    try:
        return not closes or os.path.basename(os.readlink(f"/proc/{pid}/exe")) == closes
    except OSError:
        return False
while True:
    request = os.read(device, 1 << 17)
    length, opcode, unique, node, user, group, pid = struct.unpack_from("<IIQQIII", request)
    if opcode == 26:  # INIT
        answer(unique, struct.pack("<IIIIHHI", 7, 19, 65536, 0, 1, 1, 65536))
    elif opcode == 1:  # LOOKUP
        answer(unique, struct.pack("<QQQQII", 2, 0, 60, 60, 0, 0) + FILE)
    elif opcode == 3:  # GETATTR
        answer(unique, struct.pack("<QII", 60, 0, 0) + (ATTR if node == 1 else FILE))
    elif opcode == 14:  # OPEN; FOPEN_DIRECT_IO: to open a file waits for no page that is being read
        answer(unique, struct.pack("<QII", 1, 1, 0))
    elif opcode == 25 and not waits(pid):  # FLUSH
        answer(unique)
    elif opcode in (2, 15, 25, 36, 42):
        pass  # READ and FLUSH wait; FORGET, INTERRUPT and BATCH_FORGET have no answer
    else:
        answer(unique, error=-38)
"""


class HangingFiles:
    """A mounted file system of one file, reads of which wait until `abort`."""

    def __init__(self, mounted, process):
        self.file = mounted / "file"
        self._process = process

    def abort(self):
        """All that waits fails, and so does what comes later: the last device is closed."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def hanging_files(closes=""):
    """A file system whose reads wait; closing waits in a program of the name `closes`, or in any.
    The test is skipped where there can be none.
    """
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("FUSE takes root and /dev/fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = Path(tempfile.mkdtemp(prefix="mod_wsgi_rs-tests-fuse-"))
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"hostile", bytes(mounted), b"fuse", 0, options.encode()) != 0:
        os.close(device)
        mounted.rmdir()
        pytest.skip(f"mount: {os.strerror(ctypes.get_errno())}")
    with contextlib.ExitStack() as stack:
        stack.callback(mounted.rmdir)
        stack.callback(libc.umount2, bytes(mounted), 2)
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(device), closes],
                pass_fds=[device],
                preexec_fn=die_with_parent,
            )
        finally:
            os.close(device)
        files = HangingFiles(mounted, process)
        stack.callback(files.abort)
        yield files
