"""`make install` and `make uninstall`: which files come, which go, and which are left alone."""

import os
import shutil
import subprocess

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

    def stub(libexec, sysconf):
        path = tmp_path / "apxs"
        path.write_text(
            f'#!/bin/sh\ncase $2 in\nLIBEXECDIR) echo "{libexec}";;\n'
            f'SYSCONFDIR) echo "{sysconf}";;\nesac\n'
        )
        path.chmod(0o755)
        return path

    return stub


def files(root):
    """Every file below `root`, but for the daemon programs, which stand beside the module."""
    found = [path for path in root.rglob("*") if path.is_file()]
    programs = [path for path in found if path.name.startswith("wsgi-daemon-")]
    for module in (path for path in found if path.name == "mod_wsgi_rs.so"):
        assert any(program.parent == module.parent for program in programs)
    return sorted(str(path.relative_to(root)) for path in found if path not in programs)


def test_on_debian_a2enmod_finds_the_module(run, stub, tmp_path):
    sysconf = tmp_path / "etc/apache2"
    (sysconf / "mods-available").mkdir(parents=True)
    apxs = stub("/usr/lib/apache2/modules", sysconf)
    said = run("install", apxs)
    root = tmp_path / "root"
    below = str(sysconf).lstrip("/")
    assert files(root) == sorted(
        [
            f"{below}/mods-available/wsgi.conf",
            f"{below}/mods-available/wsgi.load",
            "usr/lib/apache2/modules/mod_wsgi_rs.so",
        ]
    )
    assert "a2enmod wsgi" in said
    load = (root / below / "mods-available/wsgi.load").read_text()
    assert load == "LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi_rs.so\n"
    run("uninstall", apxs)
    assert files(root) == []


def test_on_fedora_the_module_is_loaded_at_the_next_restart(run, stub, tmp_path):
    etc = tmp_path / "etc/httpd"
    (etc / "conf.modules.d").mkdir(parents=True)
    (etc / "conf").mkdir()
    apxs = stub("/usr/lib64/httpd/modules", etc / "conf")
    run("install", apxs)
    root = tmp_path / "root"
    conf = root / str(etc / "conf.modules.d/10-wsgi.conf").lstrip("/")
    assert conf.read_text() == (
        "<IfModule !wsgi_module>\n"
        "    LoadModule wsgi_module /usr/lib64/httpd/modules/mod_wsgi_rs.so\n"
        "</IfModule>\n"
    )
    assert len(files(root)) == 2
    run("uninstall", apxs)
    assert files(root) == []


def test_elsewhere_the_line_to_add_is_said(run, stub, tmp_path):
    said = run("install", stub("/opt/httpd/modules", tmp_path / "nowhere"))
    assert "LoadModule wsgi_module /opt/httpd/modules/mod_wsgi_rs.so" in said
    assert files(tmp_path / "root") == ["opt/httpd/modules/mod_wsgi_rs.so"]


def test_a_changed_configuration_outlives_both(run, stub, tmp_path):
    sysconf = tmp_path / "etc/apache2"
    (sysconf / "mods-available").mkdir(parents=True)
    apxs = stub("/usr/lib/apache2/modules", sysconf)
    run("install", apxs)
    conf = tmp_path / "root" / str(sysconf).lstrip("/") / "mods-available/wsgi.conf"
    mine = conf.read_text() + "WSGIPythonHome /srv/venv\n"
    conf.write_text(mine)
    assert "left alone" in run("install", apxs)
    assert conf.read_text() == mine
    assert "left alone" in run("uninstall", apxs)
    assert conf.read_text() == mine
    assert files(tmp_path / "root") == [str(conf.relative_to(tmp_path / "root"))]


def test_a_file_of_another_package_is_not_removed(run, stub, tmp_path):
    sysconf = tmp_path / "etc/apache2"
    (sysconf / "mods-available").mkdir(parents=True)
    load = tmp_path / "root" / str(sysconf).lstrip("/") / "mods-available/wsgi.load"
    load.parent.mkdir(parents=True)
    load.write_text("LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so\n")
    run("uninstall", stub("/usr/lib/apache2/modules", sysconf))
    assert load.exists()


THEIRS = "LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so\n"


@pytest.fixture
def debian(stub, tmp_path):
    """(apxs, mods-available, mods-enabled) of a Debian without DESTDIR, where wsgi is enabled."""
    sysconf = tmp_path / "etc/apache2"
    available, enabled = sysconf / "mods-available", sysconf / "mods-enabled"
    available.mkdir(parents=True)
    enabled.mkdir()
    (available / "wsgi.load").write_text(THEIRS)
    (enabled / "wsgi.load").symlink_to("../mods-available/wsgi.load")
    a2dismod = tmp_path / "a2dismod"
    a2dismod.write_text(f"#!/bin/sh\nrm {enabled}/wsgi.load\n")
    a2dismod.chmod(0o755)
    return stub(tmp_path / "modules", sysconf), available, enabled


def test_a_mod_wsgi_that_was_there_before_comes_back(run, debian):
    apxs, available, enabled = debian
    for _ in range(2):
        run("install", apxs, "")
        assert "mod_wsgi_rs.so" in (enabled / "wsgi.load").read_text()
    assert "put back" in run("uninstall", apxs, "")
    assert (enabled / "wsgi.load").read_text() == THEIRS
    assert [path.name for path in available.iterdir()] == ["wsgi.load"]


def test_a_mod_wsgi_of_another_package_stays_enabled(run, debian):
    apxs, _, enabled = debian
    run("uninstall", apxs, "")
    assert (enabled / "wsgi.load").read_text() == THEIRS


def test_our_own_is_disabled_when_it_goes(run, debian):
    apxs, available, enabled = debian
    (available / "wsgi.load").unlink()
    run("install", apxs, "")
    run("uninstall", apxs, "")
    assert list(enabled.iterdir()) == []


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


def test_this_apache_takes_what_was_installed(run, env, tmp_path):
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
