"""What `make wheel` has built: what it needs of the machine it is installed on, and that it serves.
`make test-wheel` uses it in a Debian without a compiler.
"""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from harness.command import Started, clean_environment
from harness.env import REPO
from harness.httpd import free_ports, ports_locked

pytestmark = [
    pytest.mark.ours_only("a wheel of ours"),
    pytest.mark.skipif(not shutil.which("readelf"), reason="binutils are missing"),
]

# What Ubuntu 22.04 has: httpd 2.4.52 and APR 1.7.0, by `nm -D --defined-only`.
OF_APACHE = Path(__file__).with_name("apache-2.4.52-symbols.txt")
# What each of its files may be linked to: glibc, and the library that unwinds stacks.
LIBRARIES = re.compile(r"(libc|libm|libdl|libpthread|librt|libgcc_s|ld-linux-[^.]+)\.so\.\d+")
PROGRAMS = {"mod_wsgi_rs", "wsgi-daemon-manager"}


@pytest.fixture(scope="session")
def wheel():
    found = [*(REPO / "target/wheels").glob("*.whl")]
    if not found:
        pytest.skip("there is no wheel: make wheel")
    (wheel,) = found
    return wheel


@pytest.fixture(scope="session")
def content(wheel, tmp_path_factory):
    """The programs and libraries in it, as files."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {path.name: path for path in files if path.read_bytes()[:4] == b"\x7fELF"}
    extension = {name for name in found if name.startswith("wsgi_host.cpython-")}
    assert set(found) == PROGRAMS | extension | {"mod_wsgi_rs.so"}
    assert len(extension) == 1
    return found


def lines_of(*command, **keywords):
    return subprocess.check_output(command, text=True, **keywords).splitlines()


def undefined(path):
    """The symbols that a file expects of others, without their versions."""
    lines = lines_of("nm", "-D", "--undefined-only", path)
    return {line.split()[-1].partition("@")[0] for line in lines}


def of_apache(path):
    return {name for name in undefined(path) if re.match(r"(ap|apr|apu|unixd)_", name)}


def test_built_module_needs_no_newer_apache_than_2_4_52(env):
    known = set(OF_APACHE.read_text().split())
    used = of_apache(env.module)
    assert len(used) > 50
    assert used - known == set()


def test_everything_built_needs_no_newer_glibc_than_2_34(env):
    """Ubuntu 22.04 has 2.35. The builder's own decides: Debian 12 has 2.36."""
    folder = env.module.parent
    programs = [folder / name for name in (*PROGRAMS, f"wsgi-daemon-{env.python}")]
    built = [env.module, *programs, *folder.glob("wsgi_host.cpython-*.so")]
    if os.confstr("CS_GNU_LIBC_VERSION").split()[1] not in ("2.34", "2.35", "2.36"):
        pytest.skip("a newer glibc has newer versions of some symbols")
    for path in filter(Path.exists, built):
        text = "\n".join(lines_of("readelf", "-V", path))
        versions = {tuple(map(int, it)) for it in re.findall(r"GLIBC_(\d+)\.(\d+)", text)}
        assert versions, path
        assert max(versions) <= (2, 34), path


def test_module_of_the_wheel_needs_apache_2_4_52_and_no_python(content):
    module = content["mod_wsgi_rs.so"]
    known = set(OF_APACHE.read_text().split())
    assert of_apache(module) - known == set()
    assert not [name for name in undefined(module) if name.startswith(("Py", "_Py"))]


def test_extension_of_the_wheel_gets_python_from_its_program(content):
    (extension,) = (path for name, path in content.items() if name.startswith("wsgi_host"))
    assert [name for name in undefined(extension) if name.startswith("Py")]
    assert of_apache(extension) == set()


def test_programs_and_libraries_of_the_wheel_are_linked_to_glibc_alone(content):
    for name, path in content.items():
        text = lines_of("readelf", "-d", path)
        needed = {found[1] for line in text if (found := re.search(r"NEEDED.*\[(.*)\]", line))}
        assert [library for library in needed if not LIBRARIES.fullmatch(library)] == [], name
        assert not [line for line in text if "RPATH" in line or "RUNPATH" in line], name


def test_programs_and_libraries_of_the_wheel_need_the_glibc_of_its_tag(wheel, content):
    major, minor = re.search(r"-manylinux_(\d+)_(\d+)_", wheel.name).groups()
    for name, path in content.items():
        text = "\n".join(lines_of("readelf", "-V", path))
        versions = {tuple(map(int, it)) for it in re.findall(r"GLIBC_(\d+)\.(\d+)", text)}
        assert versions, name
        assert max(versions) <= (int(major), int(minor)), name


def test_wheel_names_no_directory_of_its_builder(wheel):
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    places = {str(REPO), str(cargo), str(Path.home() / ".pyenv"), str(REPO / "target")}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            text = archive.read(name)
            assert [place for place in places if place.encode() in text] == [], name


def test_programs_of_the_wheel_may_be_run(wheel):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if Path(entry.filename).name in PROGRAMS:
                assert stat.S_IMODE(entry.external_attr >> 16) == 0o755, entry.filename
        assert not [name for name in archive.namelist() if name.endswith(("Cargo.toml", ".rs"))]


@pytest.fixture
def environment(wheel):
    """A virtual environment with the wheel in it, in a folder for every user."""
    digits = re.search(r"-cp3(\d+)-cp", wheel.name)
    python = digits and shutil.which(f"/usr/bin/python3.{digits[1]}")
    if not python:
        pytest.skip(f"there is no Python in /usr/bin for {wheel.name}")
    folder = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    folder.chmod(0o755)
    try:
        venv = folder / "venv"
        subprocess.run([python, "-m", "venv", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
        subprocess.run([*pip, wheel], check=True)
        yield venv
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_command_of_the_wheel_serves_from_its_environment(env, environment):
    command = environment / "bin/mod_wsgi_rs"
    (packages,) = environment.glob("lib/python3.*/site-packages")
    # Without an environment of the tests, which would stand above the command's own.
    told = {"cwd": environment.parent, "env": clean_environment()}
    location = lines_of(command, "module-location", **told)
    assert location == [str(packages / "mod_wsgi_rs/modules/mod_wsgi_rs.so")]
    config = (environment / "bin/python", "-m", "mod_wsgi_rs", "module-config")
    (load, home) = lines_of(*config, **told)
    assert load == f'LoadModule wsgi_module "{location[0]}"'
    assert home == f'WSGIPythonHome "{environment}"'
    site = environment.parent / "site"
    site.mkdir()
    (site / "app.py").write_text(
        "import sys\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [f'{sys.prefix} {sys.executable}'.encode()]\n"
    )
    with ports_locked():
        (port,) = free_ports(1)
        start = (command, "start-server")
        server = Started("app.py", cwd=site, module=None, port=port, command=start)
    with contextlib.closing(server):
        server.wait_for("serving on ")
        assert server.get() == (200, f"{environment} {environment}/bin/python")
        server.press_ctrl_c()
        assert server.wait() == 0
