"""Other processes on the machine, which have nothing to do with the servers.

They run for as long as a block, as the user that runs the benchmark.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from bench.servers.server import die_with_parent

COMPUTE = "while True: pass"
# As a compiler does: a process that takes memory, fills it, writes a file and ends, one after the
# other. It writes in small pieces, because a kernel without preemption lets no other process run
# before a large one is written.
FORK = """
import os, sys
path = os.path.join(sys.argv[1], "written")
while True:
    child = os.fork()
    if not child:
        content = memoryview(bytearray(os.urandom(4096)) * 1024)
        with open(path, "wb", buffering=0) as file:
            for start in range(0, len(content), 65536):
                file.write(content[start : start + 65536])
        os._exit(0)
    os.waitpid(child, 0)
    os.unlink(path)
"""


@dataclass(frozen=True)
class Neighbours:
    """So many processes that compute, and so many that fork others, which write 4 MB each."""

    computing: int = 0
    forking: int = 0

    @property
    def title(self):
        """What the name of a case says about them."""
        if self.computing:
            return f"{self.computing} computing neighbours"
        return "a neighbour that forks and writes" if self.forking else "quiet"


@contextlib.contextmanager
def running(neighbours):
    """Starts them; ends them with the block."""
    with contextlib.ExitStack() as stack:
        for _ in range(neighbours.computing):
            stack.enter_context(_process(COMPUTE))
        for _ in range(neighbours.forking):
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mod_wsgi_rs-bench-", ignore_cleanup_errors=True)
            )
            stack.enter_context(_process(FORK, folder))
        yield


@contextlib.contextmanager
def _process(code, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        preexec_fn=_begin,
    )
    try:
        yield
    finally:
        # With what it has forked.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _begin():
    # Not a session of its own, since Linux gives each of these the same share of the processors.
    os.setpgid(0, 0)
    die_with_parent()
