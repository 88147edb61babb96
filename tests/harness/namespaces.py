"""What a test in namespaces of its own needs."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading

from .client import TIMEOUT

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
# Before a command: a network of its own, with nothing but a loopback interface.
OWN_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def missing(*programs):
    """Why namespaces and these programs cannot be used here, if they cannot."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    for program in ("unshare", *programs):
        if not shutil.which(program):
            return f"{program} is missing"
    probe = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "namespaces are not allowed here"
    return None


def connect_in(pid, port):
    """A socket that is connected to a loopback port in the network of another process."""
    made = []

    def connect():
        # A thread can be in another network than its process; its sockets stay there.
        with open(f"/proc/{pid}/ns/net") as network:
            if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                made.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            made.append(socket.create_connection(("127.0.0.1", port), TIMEOUT))
        except OSError as why:
            made.append(why)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def set_loopback(pid, state):
    """`up`, or `down`: from then on no packet comes, and no end is told of it."""
    command = ["nsenter", f"--target={pid}", "--net", "ip", "link", "set", "lo", state]
    subprocess.run(command, check=True, timeout=30)
