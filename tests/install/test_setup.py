"""scripts/setup installs what is missing and nothing else; scripts/with-python finds the Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import namespaces
from harness.env import REPO

pytestmark = pytest.mark.ours_only("our own scripts")

WANTED = re.search(r'^rust-version = "(.+)"', (REPO / "Cargo.toml").read_text(), re.M).group(1)
SETUP = (REPO / "scripts/setup").read_text()
MANAGERS = ("apt-get", "dnf", "sudo")


class Machine:
    """A PATH of the test's own: /usr/bin, with stand-ins for what installs; they note calls."""

    def __init__(self, folder):
        self.folder, self.calls = folder, folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for program in Path("/usr/bin").iterdir():
            if program.name not in ("cargo", "rustc", *MANAGERS):
                (self.bin / program.name).symlink_to(program)
        self.program("cargo", "echo cargo 1.99.0")
        self.program("rustc", "echo rustc 1.99.0 '(0123456 2099-01-01)'")
        for manager in MANAGERS[:2]:
            self.program(manager, f'echo {manager} "$@" >>{self.calls}')
        self.program("sudo", f'echo sudo >>{self.calls}; exec "$@"')

    def program(self, name, text):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def without(self, name):
        (self.bin / name).unlink()

    def run(self, *command, before=(), **variables):
        # Debian's PATH for ordinary users: no /usr/sbin in it.
        return subprocess.run(
            [*before, *command],
            cwd=REPO,
            env={"PATH": str(self.bin), "HOME": str(self.folder), "LANG": "C.UTF-8"} | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def setup(self, *arguments, **more):
        return self.run(REPO / "scripts/setup", *arguments, **more)

    def called(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def as_root(call):
    """The calls that install as root, or by sudo for another user."""
    return [call] if os.geteuid() == 0 else ["sudo", call]


def test_setup_calls_no_package_manager_where_all_packages_exist(machine):
    done = machine.setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.called() == []


def test_setup_installs_missing_packages(machine):
    machine.without("curl")
    done = machine.setup()
    assert (done.returncode, done.stdout) == (0, "installing curl\n")
    assert machine.called() == [
        *as_root("apt-get update"),
        *as_root("apt-get install -y --no-install-recommends curl"),
    ]


def test_a_failed_installation_names_the_missing_packages(machine):
    machine.without("curl")
    machine.program("apt-get", "exit 100")
    done = machine.setup()
    assert done.returncode == 1
    assert "packages are missing: curl; install them as root" in done.stderr


def test_debians_package_that_starts_a_public_server_is_not_installed():
    text = (REPO / "scripts/setup").read_text()
    assert re.findall(r"need apache2 (\S+)", text) == ["apache2-bin"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
def test_a_machine_without_python_gets_all_python_packages_at_once(machine, tmp_path):
    # No file that can be executed, for this one process.
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    for python in machine.bin.glob("python3*"):
        python.unlink()
    hidden = f"mount --bind {nothing} $(readlink -f /usr/bin/python3)"
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here")
    before = ("unshare", "--mount", "sh", "-c", f'{hidden} && exec "$@"', "sh")
    done = machine.setup(before=before)
    assert done.stdout == "installing python3-dev python3-venv\n", done.stderr
    done = machine.run("make", "--dry-run", "build", before=before)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
def test_setup_ci_installs_programs_of_single_tests_and_starts_no_server(machine, tmp_path):
    if why := namespaces.missing("mount"):
        pytest.skip(why)
    sbin = tmp_path / "sbin"
    sbin.mkdir()
    (sbin / "apache2").symlink_to("/bin/true")
    for name in ("groff", "promtool", "strace"):
        (machine.bin / name).unlink(missing_ok=True)
    permitted = "$(/usr/sbin/policy-rc.d 2>&1; echo $?)"
    machine.program(
        "apt-get",
        f'echo apt-get "$@" {permitted} >>{machine.calls}\n'
        'case " $* " in *" strace "*) exit 100 ;; esac',
    )
    before = ("unshare", "--mount", "sh", "-c", f'mount --bind {sbin} /usr/sbin && exec "$@"', "sh")
    done = machine.setup("ci", before=before)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "not installed; the tests that use them are skipped: strace\n"
    first, *calls = machine.called()
    assert first == "apt-get update 101"
    installed = [call.removeprefix("apt-get install -y --no-install-recommends ") for call in calls]
    assert {"groff-base 101", "prometheus 101", "strace 101"} <= set(installed), calls
    # What forbids Debian's packages to start a server is there for this time only.
    assert [file.name for file in sbin.iterdir()] == ["apache2"]


def wanted():
    """(program, package of Debian, that of Fedora) of each line `want` of scripts/setup."""
    lines = re.findall(r"\bwant (\S+) (\S+) ([\w-]+)$", SETUP.replace("; fi\n", "\n"), re.M)
    assert len(lines) > 15
    return lines


def test_documented_packages_of_single_tests_are_those_of_setup_ci():
    page = (REPO / "docs/testing.md").read_text()
    section = page.partition("\n## What single tests use\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*`) \| (\S+) \| (\S*) *\| \S.* \|$", section, re.M)
    documented = [
        (program, debian, fedora or "-")
        for programs, debian, fedora in rows
        for program in re.findall(r"`([^`]+)`", programs)
    ]
    assert sorted(documented) == sorted(wanted())


def test_setup_installs_each_program_that_a_test_is_skipped_without():
    used = set()
    for file in (REPO / "tests").rglob("*.py"):
        if file.name.startswith(("test_", "conftest")):
            text = file.read_text()
            used |= set(re.findall(r"shutil\.which\(\"([\w-]+)\"\)", text))
            for programs in re.findall(r"\bmissing\(((?:\"[\w-]+\"(?:, )?)+)\)", text):
                used |= set(re.findall(r"[\w-]+", programs))
    needed = re.findall(r"\bneed ([\w-]+) ", SETUP)
    # Rust is the developer's choice, and without make there is no set-up.
    known = {*needed, *(program for program, _, _ in wanted()), "cc", "cargo", "make"}
    assert len(used) > 15
    assert sorted(used - known) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("rustc 1.63.0", f"Rust 1.63.0 is too old: mod_wsgi_rs needs {WANTED} or newer"),
        ("rustc 1.9.0", "Rust 1.9.0 is too old"),
        (f"rustc {WANTED}.0", ""),
        ("rustc 2.0.0-nightly (0123456 2099-01-01)", ""),
    ],
)
def test_a_compiler_that_is_too_old_is_reported_in_one_sentence(machine, version, said):
    machine.program("rustc", f"echo '{version}'")
    machine.without("curl")
    done = machine.setup()
    assert said in done.stderr
    assert (done.returncode != 0) == bool(said)
    # Before anything is installed for it.
    assert bool(machine.called()) != bool(said)
    assert done.stderr.count("\n") == bool(said)


def test_without_cargo_rustup_is_named(machine):
    machine.without("cargo")
    done = machine.setup()
    assert done.returncode == 1
    assert f"needs Rust {WANTED} or newer, but there is no cargo" in done.stderr
    assert "https://rustup.rs/" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
@pytest.mark.parametrize(
    ("release", "named"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "--no-install-recommends ca-certificates cargo-web"),
        ('ID=debian\nVERSION_ID="13"\n', "; see https://rustup.rs/"),
    ],
)
def test_package_of_debian_12_that_has_cargo_is_named_there(machine, tmp_path, release, named):
    if why := namespaces.missing("mount"):
        pytest.skip(why)
    machine.without("cargo")
    file = tmp_path / "os-release"
    file.write_text(release)
    change = f'mount --bind {file} "$(readlink -f /etc/os-release)" && exec "$@"'
    done = machine.setup(before=("unshare", "--mount", "sh", "-c", change, "sh"))
    assert done.returncode == 1
    assert named in done.stderr
    assert machine.called() == []


def test_make_check_names_the_required_components(machine):
    machine.program("cargo", 'case $1 in clippy) exit 101 ;; esac; echo "$@"')
    done = machine.setup("check")
    assert done.returncode == 1
    assert "rustup component add rustfmt clippy" in done.stderr


def test_the_build_of_cargo_deny_is_announced(machine, tmp_path):
    """It takes minutes."""
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "scripts/deny", tree / "scripts")
    machine.program("cargo", f'echo cargo "$@" >>{machine.calls}')
    done = machine.run(tree / "scripts/deny")
    assert (done.returncode, done.stderr) == (0, "")
    assert "building cargo-deny into target/tools, once" in done.stdout
    # Not into the user's own ~/.cargo/bin.
    assert "--root target/tools cargo-deny" in machine.called()[0]


# --- with-python ----------------------------------------------------------------------------------


def with_python(python, machine, script="env"):
    done = machine.run(REPO / "scripts/with-python", python, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


VERSION = "{}.{}".format(*sys.version_info)


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python in /usr/bin")
def test_the_distributions_python_comes_first(machine):
    machine.program("python3", "exit 1")
    found = with_python("", machine)
    assert (found["PYTHON"], found["PYO3_PYTHON"]) == ("/usr/bin/python3", "/usr/bin/python3")


def test_a_python_that_is_named_is_found_in_path(machine):
    machine.program("python3.99", f'exec {sys.executable} "$@"')
    found = with_python("python3.99", machine)
    assert found["PYO3_PYTHON"] == str(machine.bin / "python3.99")
    assert re.fullmatch(rf"{re.escape(VERSION)}t?", found["PYTHON_VERSION"])


def test_a_python_that_does_not_exist_is_reported_in_one_sentence(machine):
    check = (REPO / "scripts/with-python", "python9.9", REPO / "scripts/check-python")
    done = machine.run(*check)
    assert done.returncode == 1
    assert "no such Python: 'python9.9'" in done.stderr
    assert "PYO3_PYTHON" not in with_python("python9.9", machine)


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_make_help_names_the_variables_of_make_run(machine):
    done = machine.run("make", "help")
    assert (done.returncode, done.stderr) == (0, "")
    for variable in ("EXAMPLE=", "APP=", "PORT=", "PYTHON="):
        assert variable in done.stdout
