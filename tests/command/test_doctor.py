"""doctor: what it says about a configuration that is broken or slow, and with which exit status."""

import json
import os
import shutil
import socket
import subprocess

import pytest
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("runs ours")

SETTINGS = "DEBUG = {}\nSECRET_KEY = 'x'\n"
WSGI = (
    "import os\n"
    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
    "def application(environ, start_response): pass\n"
)


@pytest.fixture
def configured(env, short, site):
    """configured(text): the httpd.conf of a sound server, with these lines at its end."""

    def configured(text="", modules=("reqtimeout",), mpm="event", limit=4):
        loads = [f"mpm_{mpm}", "authz_core", *modules]
        lines = [env.load_module(name).rstrip() for name in loads]
        lines += [f'LoadModule wsgi_module "{env.module}"'] if "wsgi_module" not in text else []
        lines += [
            f'ServerRoot "{short}"',
            f'DefaultRuntimeDir "{short}"',
            f'PidFile "{short}/httpd.pid"',
            f'ErrorLog "{short}/error_log"',
            "ServerName localhost",
            "Listen 127.0.0.1:8099",
        ]
        if mpm != "prefork":
            lines += [f"ServerLimit {limit}", "ThreadsPerChild 10", "MaxRequestWorkers 20"]
        if env.user:
            lines += [f"User #{env.user.pw_uid}", f"Group #{env.user.pw_gid}"]
        path = short / "httpd.conf"
        path.write_text("\n".join(lines) + f"\n{text}\n")
        return path

    return configured


@pytest.fixture
def doctor(run, env):
    """doctor(config): (exit status, findings by check, what could not be seen)."""

    def doctor(*arguments):
        done = run("doctor", "--json", "--httpd-executable", env.httpd, *arguments, check=False)
        found = json.loads(done.stdout)
        by_check = {}
        for finding in found["findings"]:
            by_check.setdefault(finding["check"], []).append(finding["sentence"])
        return done.returncode, by_check, found["unseen"]

    return doctor


def test_sound_server_has_no_findings_and_exits_with_0(configured, run, env, site):
    conf = configured(
        f"WSGIDaemonProcess site\nWSGIScriptAlias / {site}/app.py process-group=site "
        "callable-object=app"
    )
    done = run("doctor", "--config", conf, "--httpd-executable", env.httpd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, last = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert first.startswith("Apache 2.4.")
    assert first.endswith(f" with {conf}")
    assert last == "nothing wrong was found"


@pytest.mark.parametrize(
    ("text", "options", "check", "part", "status"),
    [
        ("Timeot 5", {}, "configuration", "httpd refuses the configuration: AH00526", 2),
        (
            "WSGIDaemonProcess site python-home=/nowhere",
            {},
            "configuration",
            "python-home names '/nowhere', which cannot be looked at",
            2,
        ),
        ("", {"mpm": "prefork"}, "mpm", "the MPM is prefork", 1),
        ("", {"modules": ()}, "modules", "mod_reqtimeout is not loaded", 1),
        ("Protocols h2 http/1.1", {}, "modules", "mod_http2 is not loaded", 1),
        ("", {"limit": 3}, "server-limit", "set ServerLimit 4", 1),
        (
            "WSGIScriptAlias / /nowhere/app.wsgi",
            {},
            "permissions",
            "does not exist: there is no /nowhere",
            2,
        ),
        (
            "WSGIDaemonProcess site\nWSGISocketPrefix /nowhere/wsgi",
            {},
            "sockets",
            "the folder of the sockets, /nowhere, does not exist",
            2,
        ),
    ],
)
def test_broken_or_slow_configuration_is_told(
    configured, doctor, text, options, check, part, status
):
    code, found, _ = doctor("--config", configured(text, **options))
    assert any(part in sentence for sentence in found[check]), found
    assert code == status, found


def test_module_that_is_not_loaded_is_told(configured, doctor, env):
    conf = configured()
    conf.write_text(conf.read_text().replace(f'LoadModule wsgi_module "{env.module}"', ""))
    code, found, _ = doctor("--config", conf)
    assert found["wsgi-module"][0].startswith("no LoadModule line loads the module")
    assert code == 2


def test_second_module_of_that_name_is_told(configured, doctor, env):
    code, found, _ = doctor("--config", configured("LoadModule wsgi_module /nowhere/mod_wsgi.so"))
    # The first line is of the configuration's own: without it the file would have to exist.
    assert code == 2
    conf = configured()
    conf.write_text(conf.read_text() + "LoadModule wsgi_module /nowhere/mod_wsgi.so\n")
    code, found, _ = doctor("--config", conf)
    assert "two LoadModule lines load a wsgi_module" in found["wsgi-module"][0]
    assert code == 1


def test_folder_that_the_user_of_the_group_may_not_enter_is_told(configured, doctor, env, short):
    closed = short / "closed"
    closed.mkdir()
    (closed / "app.wsgi").write_text("")
    closed.chmod(0o700)
    if env.user is None:
        pytest.skip("needs root to have another user than the owner")
    conf = configured(
        f"WSGIDaemonProcess site\nWSGIScriptAlias / {closed}/app.wsgi process-group=site"
    )
    code, found, _ = doctor("--config", conf)
    assert f"{closed} may not be entered; chmod o+x {closed}" in found["permissions"][0]
    assert f"user {env.user.pw_name} cannot get to the script" in found["permissions"][0]
    assert code == 2


def test_fifo_in_place_of_a_file_of_the_site_keeps_no_command_waiting(
    configured, doctor, run, short
):
    (short / "mysite").mkdir()
    (short / "home/bin").mkdir(parents=True)
    files = [short / "mysite/wsgi.py", short / "mysite/settings.py", short / "home/pyvenv.cfg"]
    for file in files:
        os.mkfifo(file)
    script = f"WSGIScriptAlias / {files[0]} process-group=site"
    conf = configured(f"WSGIDaemonProcess site python-home={short}/home\n{script}")
    _, found, unseen = doctor("--config", conf)
    sentence = f"whether {files[0]} has Django with DEBUG on"
    assert sentence in [it["sentence"] for it in unseen]
    assert "pyvenv.cfg cannot be read: it is not a regular file" in found["configuration"][0]
    files[0].unlink()
    files[0].write_text(WSGI)
    assert "django-debug" not in doctor("--config", conf)[1]
    project = short / "project"
    project.mkdir()
    os.mkfifo(project / "pyproject.toml")
    done = run("module-location", cwd=project, check=False)
    assert done.returncode == 2
    assert f"{project}/pyproject.toml: it is not a regular file" in done.stderr


def test_debug_of_django_is_told(configured, doctor, short):
    (short / "mysite").mkdir()
    (short / "mysite/wsgi.py").write_text(WSGI)
    settings = short / "mysite/settings.py"
    conf = configured(f"WSGIScriptAlias / {short}/mysite/wsgi.py")
    settings.write_text(SETTINGS.format("True"))
    code, found, _ = doctor("--config", conf)
    assert f"{settings} has DEBUG = True" in found["django-debug"][0]
    assert code == 1
    settings.write_text(SETTINGS.format("False"))
    assert doctor("--config", conf)[:2] == (0, {})


def test_persistent_connections_of_django_under_asgi_are_told(configured, doctor, short):
    (short / "mysite").mkdir()
    asgi = WSGI.replace("(environ, start_response)", "(scope, receive, send)")
    (short / "mysite/asgi.py").write_text(asgi)
    settings = short / "mysite/settings.py"
    text = SETTINGS.format("False") + "DATABASES = {'default': {'CONN_MAX_AGE': %s}}\n"
    script = f"{short}/mysite/asgi.py process-group=site"
    conf = configured(f"WSGIDaemonProcess site\nASGIScriptAlias / {script}")
    settings.write_text(text % 60)
    code, found, _ = doctor("--config", conf)
    assert f"{settings} sets CONN_MAX_AGE" in found["django-connections"][0]
    assert code == 1
    settings.write_text(text % 0)
    assert doctor("--config", conf)[:2] == (0, {})
    # A thread of WSGI serves one request after the other, and has one connection.
    settings.write_text(text % 60)
    conf = configured(f"WSGIDaemonProcess site\nWSGIScriptAlias / {script}")
    assert doctor("--config", conf)[:2] == (0, {})


def test_apache_that_carries_fewer_websockets_over_tls_than_were_chosen_is_told(
    configured, doctor, env, site
):
    if not env.has_module("ssl"):
        pytest.skip("needs mod_ssl")
    group = (
        f"ASGIScriptAlias / {site}/app.py process-group=site callable-object=app\n"
        "MaxSpareThreads 15\nWSGIDaemonProcess site websocket-limit="
    )
    # Nothing listens there: httpd needs no certificate for this.
    tls = "\n<VirtualHost 127.0.0.1:1>\nSSLEngine on\n</VirtualHost>"

    def said(text):
        conf = configured(group + text, modules=("reqtimeout", "ssl"))
        return doctor("--config", conf)[1].get("websocket-limit", [])

    # Two children with ten threads and the factor 2.
    first, second = said("600" + tls)
    assert "allow 600 WebSockets (websocket-limit), and over TLS Apache carries 10 of them" in first
    assert "set AsyncRequestWorkerFactor 120, and have it open 1456 files" in first
    assert second.endswith("set MaxSpareThreads 20")
    assert [it for it in said("10" + tls) if "MaxSpareThreads" not in it] == []
    assert said("600") == []


def test_running_apache_with_fewer_open_files_than_websockets_is_told(
    configured, doctor, env, site
):
    conf = configured(
        f"WSGIDaemonProcess site websocket-limit=1000\n"
        f"ASGIScriptAlias / {site}/app.py process-group=site callable-object=app"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf.write_text(conf.read_text().replace("127.0.0.1:8099", f"127.0.0.1:{port}"))
    part = "how many files the processes of Apache may have open"
    _, found, unseen = doctor("--config", conf)
    assert "websocket-limit" not in found
    assert any(part in it["sentence"] for it in unseen)
    pid_file = conf.parent / "httpd.pid"
    for soft, is_told in ((700, True), (1331, False)):
        httpd = f"ulimit -Sn {soft} && exec {env.httpd} -f {conf} -DFOREGROUND"
        server = subprocess.Popen(["sh", "-c", httpd])
        try:
            wait_until(lambda: pid_file.exists() and pid_file.read_text(), "Apache", timeout=30)
            _, found, unseen = doctor("--config", conf)
        finally:
            server.terminate()
            server.wait(30)
        assert not any(part in it["sentence"] for it in unseen)
        sentences = found.get("websocket-limit", [])
        assert len(sentences) == is_told, sentences
        if is_told:
            assert sentences[0].startswith("a process of Apache may have 700 files open")
            assert "or LimitNOFILE of the service, to 1331 (" in sentences[0]


def test_offer_of_websockets_over_http_2_is_told(configured, doctor, env, site):
    if not env.has_module("http2"):
        pytest.skip("needs mod_http2")
    conf = configured(
        f"WSGIDaemonProcess site\nASGIScriptAlias / {site}/app.py process-group=site "
        "callable-object=app\nProtocols h2 http/1.1\nH2WebSockets on",
        modules=("reqtimeout", "http2"),
    )
    code, found, _ = doctor("--config", conf)
    if "Invalid command 'H2WebSockets'" in str(found):
        pytest.skip("this mod_http2 has no H2WebSockets")
    assert code == 1
    assert found["configuration"][0].startswith("H2WebSockets On has browsers open WebSockets")


def test_version_of_another_module_is_told(configured, doctor, env, short):
    # As a package of another release would have it.
    module = short / "mod_wsgi_rs.so"
    shutil.copy(env.module, module)
    data = module.read_bytes()
    at = data.index(b"mod_wsgi_rs/0.")
    module.write_bytes(data[: at + 12] + b"9" + data[at + 13 :])
    conf = configured()
    conf.write_text(conf.read_text().replace(str(env.module), str(module)))
    code, found, _ = doctor("--config", conf)
    assert f"{module} is version 9." in found["versions"][0]
    assert code == 1


def test_server_of_setup_server_is_sound(run, doctor, short, env):
    root = short / "server"
    run("setup-server", "--server-root", root, "--port", "8099", "--host", "127.0.0.1")
    code, found, _ = doctor("--server-root", root)
    assert (code, found) == (0, {})
    (root / "httpd.conf").write_text((root / "httpd.conf").read_text() + "Timeot 5\n")
    assert doctor("--server-root", root)[0] == 2


def test_facts_that_an_ordinary_user_cannot_see_are_listed(
    configured, run, env, short, ordinary_user
):
    if ordinary_user is None:
        pytest.skip("needs root to have files that another user may not see")
    closed = short / "closed"
    closed.mkdir()
    (closed / "app.wsgi").write_text("")
    closed.chmod(0o700)
    other = next(uid for uid in (1, 2) if uid != env.user.pw_uid)
    conf = configured(
        f"WSGIDaemonProcess site user=#{other} group=#{other}\n"
        f"WSGIScriptAlias / {closed}/app.wsgi process-group=site"
    )
    os.chown(closed, other, other)
    arguments = ("--config", conf, "--httpd-executable", env.httpd)
    done = run("doctor", "--json", *arguments, check=False, user=ordinary_user)
    found = json.loads(done.stdout)
    assert any(str(closed) in unseen["sentence"] for unseen in found["unseen"]), done.stdout
    text = run("doctor", *arguments, check=False, user=ordinary_user).stdout
    assert "\nnot seen: " in text


def test_httpd_that_is_missing_is_a_wrong_option(run):
    done = run("doctor", "--httpd-executable", "/nowhere/httpd", check=False)
    assert done.returncode == 2
    assert "no such program" in done.stderr


def test_system_apache_is_asked_by_the_control_script(run):
    if not shutil.which("apache2ctl"):
        pytest.skip("apache2ctl is Debian's")
    said = subprocess.run(["apache2ctl", "-V"], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip("the system's configuration is not to be read")
    done = run("doctor", check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    assert " with the system's configuration" in done.stdout
