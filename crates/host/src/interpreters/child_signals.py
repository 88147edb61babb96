import functools
import os
import signal
import sys

import _posixsubprocess


def unblocked(start):
    """start, with no signal blocked in the calling thread meanwhile: a program inherits what is."""

    @functools.wraps(start)
    def starts(*arguments, **named):
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            return start(*arguments, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    return starts


_posixsubprocess.fork_exec = unblocked(_posixsubprocess.fork_exec)
for name in ("posix_spawn", "posix_spawnp", "system"):
    setattr(os, name, unblocked(getattr(os, name)))
# It may have been imported by a .pth file.
if "subprocess" in sys.modules:
    sys.modules["subprocess"]._fork_exec = _posixsubprocess.fork_exec
