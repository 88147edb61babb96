"""What setup-server and the commands about the module write and print."""

import os
import re
import subprocess

import pytest
from harness.env import REPO

pytestmark = pytest.mark.ours_only("runs ours")


def httpd_conf(folder):
    return (folder / "httpd.conf").read_text()


def test_module_location_prints_the_module(run, env):
    assert run("module-location").stdout == f"{env.module.resolve()}\n"


def test_module_config_prints_lines_that_load_the_module(run, env, site):
    assert run("module-config").stdout == f'LoadModule wsgi_module "{env.module.resolve()}"\n'
    (site / ".venv").mkdir()
    (site / ".venv/pyvenv.cfg").write_text("")
    assert f'WSGIPythonHome "{site / ".venv"}"' in run("module-config").stdout


def test_install_module_copies_the_module_and_its_programs(run, env, tmp_path):
    folder = tmp_path / "modules"
    folder.mkdir()
    lines = run("install-module", "--modules-directory", folder).stdout
    assert f'LoadModule wsgi_module "{folder}/mod_wsgi_rs.so"' in lines
    names = {path.name for path in folder.iterdir()}
    assert {"mod_wsgi_rs.so", "wsgi-daemon-manager"} <= names
    assert (folder / "mod_wsgi_rs.so").read_bytes() == env.module.read_bytes()


def test_setup_server_writes_a_server_that_apachectl_checks_starts_and_stops(
    run, start, site, short
):
    root = short / "root"
    said = run("setup-server", "--server-root", root, "--port", "8000", "--host", "127.0.0.1")
    assert "application: app:app, found by app.py" in said.stdout
    assert 'entry-point = "app:app"' in said.stdout
    names = {path.name for path in root.iterdir()}
    assert {"httpd.conf", "apachectl", "envvars", "application.wsgi"} <= names
    assert "mod_wsgi_rs-root.service" in names
    checked = subprocess.run([root / "apachectl", "configtest"], capture_output=True, text=True)
    assert "Syntax OK" in checked.stderr
    status = subprocess.run([root / "apachectl", "status"], capture_output=True, text=True)
    assert (status.returncode, status.stdout) == (3, "not running\n")


@pytest.mark.parametrize(
    ("callable_object", "is_generated"),
    [("", False), (":create_app()", False), (":create_app('x')", True), (":made.app", True)],
)
def test_factory_of_a_script_is_named_by_the_directive(
    run, site, short, callable_object, is_generated
):
    (site / "factory.py").write_text("def create_app(name=''):\n    return None\n")
    root = short / "root"
    run("setup-server", f"factory.py{callable_object}", "--server-root", root)
    assert (root / "application.wsgi").exists() == is_generated
    script = root / "application.wsgi" if is_generated else site / "factory.py"
    named = "application" if is_generated else "create_app()"
    text = httpd_conf(root)
    assert re.search(rf'^WSGIScriptAlias "/" "{re.escape(str(script))}"', text, re.M), text
    assert f'callable-object="{named}"' in text


# Options, and what they must leave in the configuration. All pass httpd -t.
OPTIONS = {
    "daemon mode": ([], ["request-timeout=60", "queue-timeout=45", "WSGIRestrictEmbedded On"]),
    "processes": (["--processes", "3"], ["processes=3", "MaxRequestWorkers 32"]),
    "range": (["--processes", "1-3"], ["processes=1-3"]),
    "embedded mode": (
        ["--embedded-mode"],
        ['process-group="%{GLOBAL}"', "WSGIPythonPath", "WSGIScriptReloading Off"],
    ),
    "server name": (
        ["--server-name", "www.example.com", "--server-alias", "a.example"],
        ['ServerName "www.example.com"', 'ServerAlias "a.example"', 'ServerName "example.com"'],
    ),
    "document root": (["--document-root", "."], ["RewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} -f"]),
    "alias": (["--url-alias", "/static/", "."], ['Alias "/static/" ']),
    "proxies": (
        ["--proxy-mount-point", "/api", "http://127.0.0.1:9", "--trust-proxy", "10.0.0.0/8"],
        ['ProxyPass "/api/" "http://127.0.0.1:9/"', 'WSGITrustedProxies "10.0.0.0/8"'],
    ),
    "PROXY protocol": (
        ["--proxy-protocol", "--trust-proxy", "10.0.0.0/8", "--trust-proxy", "fd00::/8"],
        [
            "RemoteIPProxyProtocol On",
            "RemoteIPProxyProtocolExceptions 0.0.0.0/5 8.0.0.0/7 11.0.0.0/8",
        ],
    ),
    "PROXY protocol of all peers": (
        ["--proxy-protocol", "--trust-proxy", "0.0.0.0/0", "--trust-proxy", "::/0"],
        ["RemoteIPProxyProtocol On\n\n"],
    ),
    "logs": (
        ["--access-log", "--access-log-format", "combined", "--rotate-logs"],
        ["Referer", "access_log.%Y", " 5M"],
    ),
    "compression": (["--compress-responses"], ["DEFLATE"]),
    "no keep-alive": (["--keep-alive-timeout", "0"], ["KeepAlive Off"]),
    "timeouts": (
        ["--body-timeout", "0", "--header-max-timeout", "0"],
        ["RequestReadTimeout header=15,MinRate=500\n"],
    ),
    "mount point": (["--mount-point", "/app"], ['WSGIScriptAlias "/app"']),
    "variables": (["--setenv", "A", "one two", "--passenv", "B"], ['SetEnv "A" "one two"']),
    "status": (["--server-status", "--health-url", "/healthz"], ["server-status", "health.txt"]),
    "access": (["--host-access-script", "app.py"], ["WSGIAccessScript"]),
    "authentication": (
        ["--auth-user-script", "app.py", "--auth-group-script", "app.py"],
        ["AuthBasicProvider wsgi", 'Require wsgi-group "wsgi"'],
    ),
    "errors": (["--error-document", "404", "/no.html"], ['ErrorDocument "404" "/no.html"']),
    "python": (
        ["--python-path", "lib", "--switch-interval", "0.01", "--python-warnings", "ignore"],
        ["WSGISwitchInterval 0.01", "WSGIPythonWarnings"],
    ),
    "service": (["--service-script", "x", "app.py"], ['WSGIDaemonProcess "service:x"']),
    "worker": (["--server-mpm", "worker"], ["mpm_worker"]),
    "prefork": (["--server-mpm", "prefork", "--with-cgi"], ["mpm_prefork", "cgi_module"]),
    "http2": (["--http2"], ["Protocols h2 h2c"]),
    "handler": (["--add-handler", ".x", "app.py"], ["WSGIHandlerScript"]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_become_a_configuration_that_httpd_accepts(run, site, short, name):
    options, parts = OPTIONS[name]
    root = short / "root"
    run("setup-server", "--server-root", root, *options)
    conf = httpd_conf(root)
    assert [part for part in parts if part not in conf] == []
    checked = subprocess.run([root / "apachectl", "configtest"], capture_output=True, text=True)
    assert checked.stderr.strip().endswith("Syntax OK"), checked.stderr


REFUSED = {
    "--enable-gdb": "attach one to a process",
    "--debug-mode": "use --debug",
    "--enable-telemetry": "--telemetry-service unix:PATH",
    "--https-only": "--https-only needs --https-port",
    "--slow-requests=1": "needs --telemetry-service",
    "--processes=0": "not a number of processes",
    "--auth-group-script=x": "needs --auth-user-script",
    "--user=no_such_user": "no such user",
    "--python-home=/no/such": "no such folder",
    "--port=x": "invalid value",
    "nothing.py": "there is no such file",
    "app:1": "is no callable",
}


@pytest.mark.parametrize("option", REFUSED)
def test_option_that_means_nothing_is_refused_with_a_sentence(run, short, option):
    done = run("setup-server", "--server-root", short / "root", option, check=False)
    assert done.returncode == 2
    assert REFUSED[option] in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4
    assert not (short / "root/httpd.conf").exists()


def test_options_come_from_arguments_then_variables_then_files(run, site, short):
    root = short / "root"

    def port(*arguments, **variables):
        run("setup-server", "--server-root", root, *arguments, **variables)
        return re.search(r"^Listen (\d+)", httpd_conf(root), re.M).group(1)

    assert port() == "8000"
    (site / "pyproject.toml").write_text("[tool.mod_wsgi_rs]\nport = 8001\nthreads = 7\n")
    assert port() == "8001"
    assert "threads=7" in httpd_conf(root)
    (site / "variables").write_text("PORT=8002\nexport GREETING='hello world'\n")
    assert port("--env-file", "variables") == "8002"
    assert "export GREETING='hello world'" in (root / "variables").read_text()
    assert port("--env-file", "variables", PORT="8003") == "8003"
    assert port(PORT="8003", MOD_WSGI_RS_PORT="8004") == "8004"
    assert port("--port", "8005", PORT="8003", MOD_WSGI_RS_PORT="8004") == "8005"
    (site / "pyproject.toml").write_text("[tool.mod_wsgi_rs]\nprot = 8001\n")
    done = run("setup-server", "--server-root", root, check=False)
    assert "tool.mod_wsgi_rs.prot is no option" in done.stderr
    (site / "pyproject.toml").unlink()
    done = run("setup-server", "--server-root", root, check=False, PORT="many")
    assert "the variable PORT: 'many' is no value for --port" in done.stderr


def test_variables_that_were_kept_are_not_overwritten(run, short):
    root = short / "root"
    run("setup-server", "--server-root", root)
    (root / "envvars").write_text("export KEPT=1\n")
    run("setup-server", "--server-root", root)
    assert (root / "envvars").read_text() == "export KEPT=1\n"


def test_every_option_of_mod_wsgi_express_is_known(run):
    reference = (REPO / "tests/command/mod_wsgi_express_options.txt").read_text().split()
    assert len(reference) > 150
    unknown = []
    for name in reference:
        done = run("setup-server", f"{name}=", "--help", check=False)
        if "unexpected argument" in done.stderr:
            unknown.append(name)
    assert unknown == []


def test_folder_that_the_user_cannot_enter_is_told(run, site):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user serves as itself")
    assert "may not enter" not in run("setup-server", "--server-root", site / "root").stderr
    site.chmod(0o700)
    told = run("setup-server", "--server-root", site.parent / "root").stderr
    assert f"may not enter {site}, so that the application" in told


def test_root_that_is_another_users_is_not_used(run, short):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    taken = short / "mod_wsgi_rs-localhost:8000:0"
    taken.mkdir()
    os.chown(taken, 65534, 65534)
    done = run("setup-server", check=False, TMPDIR=str(short))
    assert done.returncode == 2
    assert "is another user's" in done.stderr
