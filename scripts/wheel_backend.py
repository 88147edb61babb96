"""Builds the wheel for pip (PEP 517). maturin makes of crates/extension what this Python loads;
before that cargo builds what the same wheel has for Apache: the module without Python in it, the
manager of process groups and the command. It must never know where a wheel will be installed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import maturin
from maturin import get_requires_for_build_wheel

__all__ = ["build_wheel", "get_requires_for_build_wheel", "prepare_metadata_for_build_wheel"]

ROOT = Path(__file__).resolve().parent.parent
# Apart from what `make build` makes, whose flags differ.
TARGET = ROOT / "target/wheel"
# What tool.maturin.data of pyproject.toml names.
DATA = TARGET / "data"
MODULES = DATA / "platlib/mod_wsgi_rs/modules"


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    # maturin looks at all that it is told of.
    DATA.mkdir(parents=True, exist_ok=True)
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    os.environ.update(environment())
    shutil.rmtree(DATA, ignore_errors=True)
    # Runs of their own: cargo would unite the features of what it builds at once.
    cargo("-p", "mod_wsgi_rs", "--lib", "--no-default-features")
    place("libmod_wsgi_rs.so", MODULES / "mod_wsgi_rs.so", 0o644)
    cargo("-p", "wsgi-daemon", "--bin", "wsgi-daemon-manager", "--features", "extension")
    place("wsgi-daemon-manager", MODULES / "wsgi-daemon-manager", 0o755)
    cargo("-p", "wsgi-command")
    place("mod_wsgi_rs", DATA / "scripts/mod_wsgi_rs", 0o755)
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def environment():
    """What cargo gets beside the variables of the caller, also when maturin calls it."""
    flags = [os.environ.get("RUSTFLAGS", "")]
    # Messages of panics name source files: not those of the machine that built it.
    crates = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "registry/src"
    flags += [f"--remap-path-prefix={crates}=crates", f"--remap-path-prefix={ROOT}=."]
    variables = {
        "CARGO_TARGET_DIR": str(TARGET),
        "CARGO_PROFILE_RELEASE_STRIP": "symbols",
        "CARGO_PROFILE_RELEASE_DEBUG": "false",
        "RUSTFLAGS": " ".join(flags).strip(),
        "PYO3_PYTHON": sys.executable,
    }
    # PyO3 has dropped 3.13t, but its bindings still fit, as the tests with other Pythons show.
    if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info[:2] == (3, 13):
        variables["UNSAFE_PYO3_SKIP_VERSION_CHECK"] = "1"
    return variables


def cargo(*arguments):
    subprocess.run(["cargo", "build", "--release", "--locked", *arguments], cwd=ROOT, check=True)


def place(built, target, mode):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TARGET / "release" / built, target)
    target.chmod(mode)
