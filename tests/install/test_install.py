"""`make install` and `make uninstall`: which files come, which go, and which are left alone."""

import os
import re
import shutil
import subprocess
import zlib

import pytest
from harness.env import REPO

pytestmark = [
    pytest.mark.ours_only("installs ours"),
    pytest.mark.skipif(not shutil.which("make"), reason="make is missing"),
]


@pytest.fixture
def run(env, tmp_path):
    """run("install") does it into tmp_path/root; with `apxs`, as that apxs says."""
    module = REPO / "target/release/mod_wsgi_rs.so"
    if not module.exists():
        pytest.skip(f"{module} is not built")

    def run(target, apxs=env.apxs, root=tmp_path / "root"):
        done = subprocess.run(
            ["make", "--no-print-directory", target, f"DESTDIR={root}"],
            cwd=REPO,
            env=os.environ | {"APXS": str(apxs), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def stub(tmp_path):
    """stub(libexec, sysconf) is an apxs that answers with these."""

    def stub(libexec, sysconf, bindir=""):
        path = tmp_path / "apxs"
        path.write_text(
            f'#!/bin/sh\ncase $2 in\nLIBEXECDIR) echo "{libexec}";;\n'
            f'SYSCONFDIR) echo "{sysconf}";;\nBINDIR) echo "{bindir}";;\nesac\n'
        )
        path.chmod(0o755)
        return path

    return stub


def files(root):
    """Every file below `root`, except the daemon programs and .debug/, which go with the module."""
    found = [path for path in root.rglob("*") if path.is_file()]
    programs = [path for path in found if path.name.startswith(("wsgi-daemon-", "wsgi_host."))]
    separate = [path for path in found if path.parent.name == ".debug"]
    for module in (path for path in found if path.name == "mod_wsgi_rs.so"):
        assert any(program.parent == module.parent for program in programs)
    return sorted(str(path.relative_to(root)) for path in found if path not in programs + separate)


def test_on_debian_a2enmod_finds_the_module(run, stub, tmp_path):
    sysconf = tmp_path / "etc/apache2"
    (sysconf / "mods-available").mkdir(parents=True)
    apxs = stub("/usr/lib/apache2/modules", sysconf)
    said = run("install", apxs)
    root = tmp_path / "root"
    below = str(sysconf).lstrip("/")
    assert files(root) == sorted(
        [
            f"{below}/mods-available/wsgi_rs.conf",
            f"{below}/mods-available/wsgi_rs.load",
            "usr/lib/apache2/modules/mod_wsgi_rs.so",
        ]
    )
    assert "a2enmod wsgi_rs" in said
    load = (root / below / "mods-available/wsgi_rs.load").read_text()
    assert load.endswith("\nLoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi_rs.so\n")
    assert "\n# Conflicts: wsgi\n" in load
    run("uninstall", apxs)
    assert files(root) == []


def test_on_fedora_the_module_is_loaded_at_the_next_restart(run, stub, tmp_path):
    etc = tmp_path / "etc/httpd"
    (etc / "conf.modules.d").mkdir(parents=True)
    (etc / "conf").mkdir()
    apxs = stub("/usr/lib64/httpd/modules", etc / "conf")
    run("install", apxs)
    root = tmp_path / "root"
    conf = root / str(etc / "conf.modules.d/10-wsgi_rs.conf").lstrip("/")
    assert conf.read_text() == (
        "<IfModule !wsgi_module>\n"
        "    LoadModule wsgi_module /usr/lib64/httpd/modules/mod_wsgi_rs.so\n"
        "</IfModule>\n"
    )
    assert len(files(root)) == 2
    run("uninstall", apxs)
    assert files(root) == []


def test_installed_command_finds_the_installed_module(run, stub, tmp_path):
    if not (REPO / "target/release/mod_wsgi_rs").exists():
        pytest.skip("the command is not built")
    apxs = stub("/opt/lib/mod_wsgi_rs", tmp_path / "nowhere", "/opt/bin")
    run("install", apxs)
    command = tmp_path / "root/opt/bin/mod_wsgi_rs"
    said = subprocess.check_output([command, "module-location"], text=True)
    assert said == f"{tmp_path}/root/opt/lib/mod_wsgi_rs/mod_wsgi_rs.so\n"
    run("uninstall", apxs)
    assert files(tmp_path / "root") == []


def test_elsewhere_the_line_to_add_is_said(run, stub, tmp_path):
    said = run("install", stub("/opt/httpd/modules", tmp_path / "nowhere"))
    assert "LoadModule wsgi_module /opt/httpd/modules/mod_wsgi_rs.so" in said
    assert files(tmp_path / "root") == ["opt/httpd/modules/mod_wsgi_rs.so"]


def test_a_changed_configuration_outlives_both(run, stub, tmp_path):
    sysconf = tmp_path / "etc/apache2"
    (sysconf / "mods-available").mkdir(parents=True)
    apxs = stub("/usr/lib/apache2/modules", sysconf)
    run("install", apxs)
    conf = tmp_path / "root" / str(sysconf).lstrip("/") / "mods-available/wsgi_rs.conf"
    mine = conf.read_text() + "WSGIPythonHome /srv/venv\n"
    conf.write_text(mine)
    assert "left alone" in run("install", apxs)
    assert conf.read_text() == mine
    assert "left alone" in run("uninstall", apxs)
    assert conf.read_text() == mine
    assert files(tmp_path / "root") == [str(conf.relative_to(tmp_path / "root"))]


THEIRS = "LoadModule wsgi_module {}/mod_wsgi.so\n"
OURS = "LoadModule wsgi_module {}/mod_wsgi_rs.so\n"


@pytest.fixture
def debian(stub, tmp_path):
    """(apxs, mods-available, mods-enabled, modules) of a Debian, and its a2dismod."""
    sysconf, modules = tmp_path / "etc/apache2", tmp_path / "modules"
    available, enabled = sysconf / "mods-available", sysconf / "mods-enabled"
    for folder in (available, enabled, modules):
        folder.mkdir(parents=True)
    a2dismod = tmp_path / "a2dismod"
    a2dismod.write_text(f"#!/bin/sh\nfor last; do :; done\nrm {enabled}/$last.load\n")
    a2dismod.chmod(0o755)
    return stub(modules, sysconf), available, enabled, modules


def enable(available, enabled, name):
    (enabled / f"{name}.load").symlink_to(f"../mods-available/{name}.load")


def package(debian):
    """The files of Debian's own package, which is enabled."""
    _, available, enabled, modules = debian
    (available / "wsgi.load").write_text(THEIRS.format(modules))
    (available / "wsgi.conf").write_text("# theirs\n")
    (modules / "mod_wsgi.so").touch()
    enable(available, enabled, "wsgi")


def test_the_files_of_debians_package_are_left_alone(run, debian):
    package(debian)
    apxs, available, enabled, modules = debian
    for target in ("install", "install", "uninstall", "uninstall"):
        said = run(target, apxs, "")
        assert (enabled / "wsgi.load").read_text() == THEIRS.format(modules)
        assert (available / "wsgi.conf").read_text() == "# theirs\n"
        assert target == "uninstall" or "a2dismod wsgi && a2enmod wsgi_rs" in said
    assert sorted(path.name for path in available.iterdir()) == ["wsgi.conf", "wsgi.load"]


def test_installed_module_survives_a_purge_of_debians_package(run, debian):
    package(debian)
    apxs, available, enabled, modules = debian
    run("install", apxs, "")
    enable(available, enabled, "wsgi_rs")
    # What the scripts of that package do at its removal, and at its purge.
    (enabled / "wsgi.load").unlink()
    for name in ("wsgi.load", "wsgi.conf"):
        (available / name).unlink()
    (modules / "mod_wsgi.so").unlink()
    assert "mod_wsgi_rs.so" in (enabled / "wsgi_rs.load").read_text()
    run("uninstall", apxs, "")
    assert list(available.iterdir()) == []
    assert list(enabled.iterdir()) == []


def former(debian, *, kept):
    """What earlier versions of `make install` left: wsgi.load is ours, theirs is beside it."""
    _, available, enabled, modules = debian
    (available / "wsgi.load").write_text(OURS.format(modules))
    shutil.copy(REPO / "scripts/wsgi_rs.conf", available / "wsgi.conf")
    if kept:
        (available / "wsgi.load.before-mod_wsgi_rs").write_text(THEIRS.format(modules))
    enable(available, enabled, "wsgi")


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_file_of_debians_package_comes_back_while_its_module_is_there(run, debian, target):
    former(debian, kept=True)
    apxs, available, enabled, modules = debian
    (modules / "mod_wsgi.so").touch()
    assert "put back" in run(target, apxs, "")
    assert (enabled / "wsgi.load").read_text() == THEIRS.format(modules)
    assert not (available / "wsgi.load.before-mod_wsgi_rs").exists()


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_file_whose_module_is_gone_does_not_come_back(run, debian, target, kept):
    former(debian, kept=kept)
    apxs, available, enabled, _ = debian
    run(target, apxs, "")
    assert [path.name for path in available.iterdir() if path.name.startswith("wsgi.")] == []
    assert list(enabled.iterdir()) == []


def test_uninstall_disables_the_module(run, debian):
    apxs, available, enabled, _ = debian
    run("install", apxs, "")
    enable(available, enabled, "wsgi_rs")
    assert "stop Apache and start it" in run("install", apxs, "")
    assert "disabled: wsgi_rs" in run("uninstall", apxs, "")
    assert list(enabled.iterdir()) == []
    assert list(available.iterdir()) == []


@pytest.mark.skipif(not shutil.which("a2enmod"), reason="needs Debian's a2enmod")
def test_a2enmod_refuses_mod_wsgi_rs_beside_mod_wsgi(run, debian, tmp_path):
    package(debian)
    apxs, available, enabled, _ = debian
    run("install", apxs, "")

    def a2enmod(command, name):
        # The tool reads the place of its folders from the environment.
        folders = {"APACHE_CONFDIR": str(available.parent), "APACHE_STATE_DIRECTORY": str(tmp_path)}
        return subprocess.run(
            [command, name],
            env=os.environ | folders | {"APACHE_ENVVARS": "/dev/null"},
            capture_output=True,
            text=True,
            check=False,
        )

    refused = a2enmod("a2enmod", "wsgi_rs")
    assert refused.returncode != 0
    assert "Module wsgi is enabled - cannot proceed due to conflicts" in refused.stderr
    assert a2enmod("a2dismod", "wsgi").returncode == 0
    assert a2enmod("a2enmod", "wsgi_rs").returncode == 0
    assert sorted(path.name for path in enabled.iterdir()) == ["wsgi_rs.conf", "wsgi_rs.load"]


@pytest.mark.skipif(not shutil.which("objcopy"), reason="needs binutils")
def test_debug_information_is_kept_apart_and_found(run, env, tmp_path):
    run("install")
    modules = tmp_path / "root" / str(env.modules_dir).lstrip("/")
    sections = ["readelf", "--sections", "--wide"]
    extensions = [*modules.glob("wsgi_host.cpython-*.so")]
    for installed in (modules / "mod_wsgi_rs.so", *modules.glob("wsgi-daemon-*"), *extensions):
        separate = modules / ".debug" / f"{installed.name}.debug"
        stripped = subprocess.check_output([*sections, installed], text=True)
        assert ".debug_line" not in stripped
        assert ".symtab" not in stripped
        assert ".debug_line" in subprocess.check_output([*sections, separate], text=True)
        assert installed.stat().st_size < 3_000_000
        # A debugger compares the checksum of the file with the one in the link.
        links = subprocess.run(
            ["readelf", "--debug-dump=links", installed], capture_output=True, text=True, check=True
        )
        assert f"Separate debug info file: {separate.name}" in links.stdout
        recorded = re.search(r"CRC value: 0x([0-9a-f]+)", links.stdout).group(1)
        assert int(recorded, 16) == zlib.crc32(separate.read_bytes())


def test_on_fedora_another_mod_wsgi_that_is_loaded_first_is_named(run, stub, tmp_path):
    etc = tmp_path / "etc/httpd"
    (etc / "conf").mkdir(parents=True)
    other = etc / "conf.modules.d/10-wsgi-python3.conf"
    other.parent.mkdir()
    other.write_text(
        "<IfModule !wsgi_module>\n"
        "    LoadModule wsgi_module modules/mod_wsgi_python3.so\n"
        "</IfModule>\n"
    )
    assert f"remove {other}" in run("install", stub(tmp_path / "modules", etc / "conf"), "")


def test_installed_files_work_in_this_apache(run, env, tmp_path):
    run("install")
    module = tmp_path / "root" / str(env.modules_dir).lstrip("/") / "mod_wsgi_rs.so"
    assert module.stat().st_mode & 0o777 == 0o644
    mpm = env.load_module("mpm_event") + env.load_module("authz_core")
    (tmp_path / "httpd.conf").write_text(
        f"{mpm}LoadModule wsgi_module {module}\nServerName localhost\n"
        f"ErrorLog {tmp_path}/error_log\nListen 127.0.0.1:80\n"
    )
    done = subprocess.run(
        [env.httpd, "-t", "-f", tmp_path / "httpd.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Syntax OK" in done.stderr, done.stderr
