"""The other Pythons of this machine, and what is built for them."""

import functools
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

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
print(int(any("libpython" in line for line in open("/proc/self/maps"))))
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


class Python(NamedTuple):
    """One that runs on this machine."""

    version: str  # 3.13 or, free-threaded, 3.13t
    program: Path
    has_library: bool  # a shared one, whether the program uses it or not
    is_whole: bool  # the program does without it


@functools.cache
def every_python():
    """All that are new enough, and [why not] for those left out."""
    found, left_out = [], []
    for program in dict.fromkeys(candidates()):
        done = subprocess.run([program, "-c", ABOUT], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            left_out.append(f"{program}: does not run")
            continue
        about, library, executable, mapped = done.stdout.splitlines()
        major, minor, kind, shared = about.split(" ")
        if (int(major), int(minor)) < OLDEST:
            left_out.append(f"{program}: older than 3.10")
            continue
        has_library = shared == "1" and Path(library).exists()
        version = f"{major}.{minor}{kind}"
        found.append(Python(version, Path(executable), has_library, mapped == "0"))
    return found, left_out


@functools.cache
def pythons():
    """{version: program} of those with a shared library, and [why not] for those left out."""
    found, left_out = {}, list(every_python()[1])
    for python in every_python()[0]:
        if python.has_library:
            found.setdefault(python.version, python.program)
        else:
            left_out.append(f"{python.program}: no shared library")
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


def build_extension(python, version):
    """The extension module for a Python of any kind."""
    target = REPO / "target/pythons" / version / "extension"
    options = ["--features", "extension"]
    folder = build("wsgi-extension", target, *options, python=python, version=version)
    return folder / "libwsgi_host.so"


def extension_name(version):
    """What Python calls the extension for this version."""
    return f"wsgi_host.cpython-{version.replace('.', '')}-{os.uname().machine}-linux-gnu.so"


def has_manager(env):
    """Whether the module under test has the manager beside it, which extensions need."""
    return (Path(env.module).parent / "wsgi-daemon-manager").exists()


def place_module(env, folder, extensions, linked=()):
    """Makes a folder of the module and its manager, with {version: extension} beside them and the
    programs linked to a Python of the versions `linked`. The path of the module.
    """
    release = Path(env.module).parent
    folder.mkdir()
    folder.chmod(0o755)
    names = [Path(env.module).name, "wsgi-daemon-manager"]
    for name in [*names, *(f"wsgi-daemon-{version}" for version in linked)]:
        shutil.copy2(release / name, folder / name)
    for version, extension in extensions.items():
        shutil.copy2(extension, folder / extension_name(version))
    return folder / names[0]


def link_whole(prefix, version):
    """Gives a copy of an installation the program that pyenv makes by default: one that does
    without the shared library. Whether it could be done.
    """
    (config,) = [*prefix.glob(f"lib/python{version}/config-*"), None][:1]
    if config is None or not (config / f"libpython{version}.a").exists():
        return False
    names = "('LIBS', 'SYSLIBS', 'MODLIBS')"
    asked = f"import sysconfig; print(*map(sysconfig.get_config_var, {names}))"
    program = prefix / f"bin/python{version}"
    told = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")}
    libraries = subprocess.check_output([program, "-c", asked], text=True, env=told)
    made = prefix / "bin/whole"
    command = ["cc", "-o", made, "-Wl,--export-dynamic", config / "python.o"]
    command += [config / f"libpython{version}.a", *shlex.split(libraries)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return False
    made.replace(program)
    return True
