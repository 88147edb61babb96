"""What a test in namespaces of its own needs."""

import os
import shutil
import subprocess


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
