"""The other Pythons of this machine, and what is built for them."""

import functools
import os
import re
import subprocess
from pathlib import Path

from .env import REPO

OLDEST = (3, 10)
# Where people put what they built themselves: one Python a folder.
FOLDERS = [Path.home() / ".pyenv/versions", Path("/opt/python")]
ABOUT = """
import os, sys, sysconfig as s
of = s.get_config_var
print(*sys.version_info[:2], "t" if of("Py_GIL_DISABLED") else "", of("Py_ENABLE_SHARED") or 0)
print(os.path.join(of("LIBDIR") or "-", of("INSTSONAME") or "-"))
print(os.path.realpath(sys.executable))
"""


def candidates():
    """Programs that may be one: those that PYTHONS names, those on PATH, those in FOLDERS."""
    for named in filter(None, os.environ.get("PYTHONS", "").split(":")):
        yield from [Path(named)] if Path(named).is_file() else Path(named).glob("bin/python3")
    for folder in [*os.get_exec_path(), "/usr/bin", "/usr/local/bin"]:
        for path in sorted(Path(folder).glob("python3.*")):
            if re.fullmatch(r"python3\.\d+t?", path.name):
                yield path
    for folder in FOLDERS:
        yield from sorted(folder.glob("*/bin/python3"))


@functools.cache
def pythons():
    """{version: program} of those with a shared library, such as 3.13 or, free-threaded, 3.13t,
    and [why not] for those left out.
    """
    found, left_out = {}, []
    for program in dict.fromkeys(candidates()):
        done = subprocess.run([program, "-c", ABOUT], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            left_out.append(f"{program}: does not run")
            continue
        about, library, executable = done.stdout.splitlines()
        major, minor, kind, shared = about.split(" ")
        if (int(major), int(minor)) < OLDEST:
            left_out.append(f"{program}: older than 3.10")
        elif shared != "1" or not Path(library).exists():
            left_out.append(f"{program}: no shared library")
        else:
            found.setdefault(f"{major}.{minor}{kind}", Path(executable))
    return found, left_out


def by_age(versions):
    """The oldest first."""
    return sorted(versions, key=lambda version: int(version.rstrip("t").split(".")[1]))


def build(package, target, *options, python, version=""):
    """One package, built for a Python; the next time cargo finds nothing to do."""
    told = {"PYO3_PYTHON": str(python), "CARGO_TERM_COLOR": "never"}
    if version == "3.13t":
        # As scripts/with-python does, which says why.
        told["UNSAFE_PYO3_SKIP_VERSION_CHECK"] = "1"
    command = ["cargo", "build", "--locked", "-p", package, "--target-dir", target]
    done = subprocess.run(
        [*command, *options],
        cwd=REPO,
        env=os.environ | told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Path(target) / ("release" if "--release" in options else "debug")
