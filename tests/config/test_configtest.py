"""What `apachectl configtest` accepts and refuses, and how it says so."""

import os
import re
import struct

import pytest
from harness.conf import Conf

FLAGS = [
    "WSGIPassAuthorization",
    "WSGIScriptReloading",
    "WSGIErrorOverride",
    "WSGIChunkedRequest",
    "WSGIEnableSendfile",
]
GLOBAL_FLAGS = [
    "WSGIVerboseDebugging",
    "WSGIDontWriteBytecode",
    "WSGIDestroyInterpreter",
    "WSGICaseSensitivity",
    "WSGIRestrictEmbedded",
    "WSGIRestrictStdin",
    "WSGIRestrictStdout",
    "WSGIRestrictSignal",
]
# With a value that stands for itself.
GLOBAL_VALUES = {
    "WSGIPythonHome": "/usr",
    "WSGIPythonPath": "/usr/share",
    "WSGIPythonOptimize": "1",
    "WSGIPythonWarnings": "ignore",
    "WSGIPythonHashSeed": "7",
    "WSGIPythonEggs": "/tmp",
    "WSGISwitchInterval": "0.01",
}
SCOPED_VALUES = {"WSGIApplicationGroup": "name", "WSGICallableObject": "name"}
ALIASES = {
    "WSGIScriptAlias": "/a ${APPS}/environ.py",
    "WSGIScriptAliasMatch": "^/a(/.*)? ${APPS}/environ.py",
}
SERVER_ONLY = GLOBAL_VALUES | dict.fromkeys(GLOBAL_FLAGS, "On")
EVERYWHERE = SCOPED_VALUES | dict.fromkeys(FLAGS, "On") | {"WSGIMapHEADToGET": "Auto"}


@pytest.fixture
def refused(configtest):
    """refused(text) is what httpd prints as it refuses a configuration."""

    def refused(text):
        accepted, printed = configtest(Conf(text))
        assert not accepted, printed
        return printed

    return refused


@pytest.fixture
def accepted(configtest):
    """accepted(text) is what httpd prints as it accepts a configuration."""

    def accepted(text):
        accepted, printed = configtest(Conf(text))
        assert accepted, printed
        return printed

    return accepted


def in_vhost(line):
    return f"<VirtualHost *>\n{line}\n</VirtualHost>"


def in_directory(line):
    return f"<Directory /srv>\n{line}\n</Directory>"


# --- contexts -------------------------------------------------------------------------------------


def test_every_directive_is_accepted_in_its_contexts(accepted):
    everywhere = "\n".join(f"{name} {value}" for name, value in EVERYWHERE.items())
    server = "\n".join(f"{name} {value}" for name, value in (SERVER_ONLY | ALIASES).items())
    vhost = "\n".join(f"{name} {value}" for name, value in ALIASES.items())
    printed = accepted(
        "\n".join(
            [
                server.replace("WSGIPythonHome /usr\n", ""),
                everywhere,
                in_vhost(f"{vhost}\n{everywhere}\n{in_directory(everywhere)}"),
                in_directory(everywhere),
                f"<Location /x>\n{everywhere}\n</Location>",
                f"<Files x>\n{everywhere}\n</Files>",
                f'<If "true">\n{everywhere}\n</If>',
            ]
        )
    )
    assert printed.strip().endswith("Syntax OK")
    assert ":warn]" not in printed


@pytest.mark.parametrize(("name", "value"), SERVER_ONLY.items())
@pytest.mark.parametrize("section", [in_vhost, in_directory])
def test_a_process_wide_directive_is_refused_in_sections(refused, section, name, value):
    printed = refused(section(f"{name} {value}"))
    assert f"{name} cannot occur within" in printed or f"{name} not allowed" in printed


@pytest.mark.parametrize(("name", "value"), ALIASES.items())
def test_a_script_alias_is_refused_in_a_directory(refused, name, value):
    printed = refused(in_directory(f"{name} {value}"))
    assert f"{name} cannot occur within" in printed or f"{name} not allowed" in printed


def test_a_comment_and_a_blank_line_change_nothing(accepted):
    accepted("# WSGIPythonHome /nowhere\n\nWSGIScriptReloading Off\n")


@pytest.mark.parametrize("name", [*SERVER_ONLY, *EVERYWHERE])
@pytest.mark.parametrize("arguments", ["", "one two"])
def test_a_directive_of_one_argument_says_so(refused, name, arguments):
    assert f"{name} takes one argument" in refused(f"{name} {arguments}")


def test_ifmodule_knows_the_module_by_both_names(accepted):
    accepted("<IfModule !wsgi_module>\nNonsense\n</IfModule>")
    accepted("<IfModule !mod_wsgi.c>\nNonsense\n</IfModule>")


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FLAGS, *GLOBAL_FLAGS])
def test_a_flag_is_on_or_off(refused, name):
    for value in ("Yes", "1", "Onn", "Auto"):
        assert f"{name} must be one of: Off | On" in refused(f"{name} {value}")


@pytest.mark.parametrize("value", ["on", "ON", "oFF"])
def test_a_flag_is_not_case_sensitive(accepted, value):
    accepted("\n".join(f"{name} {value}" for name in [*FLAGS, *GLOBAL_FLAGS]))


def test_wsgimapheadtoget_may_be_auto(refused, accepted):
    for value in ("On", "Off", "Auto", "aUTO"):
        accepted(f"WSGIMapHEADToGET {value}")
    assert "WSGIMapHEADToGET must be one of: Off | On | Auto" in refused("WSGIMapHEADToGET Yes")


@pytest.mark.parametrize("value", ["x", "-1", "4294967296", "1.5", "0x10", "12abc"])
def test_a_bad_hash_seed_is_refused(refused, value):
    printed = refused(f"WSGIPythonHashSeed {value}")
    assert "WSGIPythonHashSeed must be" in printed
    assert "4294967295" in printed


@pytest.mark.parametrize("value", ["random", "0", "4294967295"])
def test_a_good_hash_seed_is_accepted(accepted, value):
    accepted(f"WSGIPythonHashSeed {value}")


@pytest.mark.parametrize("value", ["0", "-1", "x", "0.1s"])
def test_a_bad_switch_interval_is_refused(refused, value):
    assert "WSGISwitchInterval must be a positive number" in refused(f"WSGISwitchInterval {value}")


NO_OPTION = "nvalid option to WSGI script alias definition|has no option|name=value"
ALIAS_ERRORS = [
    ("WSGIScriptAlias", "requires at least two arguments"),
    ("WSGIScriptAlias /a", "requires at least two arguments"),
    ("WSGIScriptAliasMatch ^/a", "requires at least two arguments"),
    ("WSGIScriptAlias /a /b.py nonsense", NO_OPTION),
    ("WSGIScriptAlias /a /b.py unknown=1", NO_OPTION),
    ("WSGIScriptAlias /a /b.py Application-Group=x", NO_OPTION),
    ("WSGIScriptAlias /a /b.py application-group =x", NO_OPTION),
    ("WSGIScriptAlias /a /b.py application-group=", "application group"),
    ("WSGIScriptAlias /a /b.py process-group=", "process group"),
    ("WSGIScriptAlias /a /b.py callable-object=", "callable object"),
    ("WSGIScriptAlias /a /b.py pass-authorization=", "authorization"),
    ("WSGIScriptAlias /a /b.py pass-authorization=Yes", "authorization"),
    ("WSGIScriptAliasMatch ^/(a /b.py", "could not be compiled"),
]


@pytest.mark.parametrize(("line", "words"), ALIAS_ERRORS)
def test_a_bad_script_alias_is_refused(refused, line, words):
    printed = refused(line)
    assert re.search(words, printed)
    assert "httpd.conf" in printed


def test_options_may_be_quoted(accepted):
    accepted("""WSGIScriptAlias /a "/b c.py" application-group="a b" callable-object='x'""")


# --- WSGIPythonHome -------------------------------------------------------------------------------


@pytest.mark.embedded_only("a daemon's python-home picks its program instead")
@pytest.mark.differs(
    "python-home-checked", "mod_wsgi starts its children into a crash loop instead"
)
@pytest.mark.parametrize(
    ("path", "files", "words"),
    [
        ("/nowhere/at/all", {}, "not exist|No such file"),
        ("{root}/file", {"file": ""}, "not a directory|no directory"),
        ("{root}/old", {"old/pyvenv.cfg": "home = /usr/bin\nversion = 3.9.1\n"}, "3.9"),
    ],
)
def test_a_python_home_that_cannot_work_is_refused(servers, mpm, mode, path, files, words):
    conf = Conf("WSGIPythonHome " + path.replace("{root}", "${ROOT}"), files=tuple(files.items()))
    accepted, printed = servers.make(conf, mpm, mode).configtest()
    assert not accepted
    assert "WSGIPythonHome" in printed
    assert any(word in printed for word in words.split("|"))
    assert "Traceback" not in printed


@pytest.mark.differs(
    "python-home-checked", "mod_wsgi starts its children into a crash loop instead"
)
def test_a_python_home_apaches_user_cannot_read_is_refused(servers, env, mpm, mode):
    if env.user is None:
        pytest.skip("Apache's user is the user of the tests")
    server = servers.make(Conf("WSGIPythonHome ${ROOT}/closed"), mpm, mode)
    server.write("closed/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    (server.root / "closed").chmod(0o700)
    accepted, printed = server.configtest()
    assert not accepted
    assert "WSGIPythonHome" in printed
    assert re.search(f"{env.user.pw_name}|cannot|may not", printed)


def access_list(user):
    """What `setfacl -m u:USER:rx` writes for a directory of mode 0700."""
    undefined = 0xFFFFFFFF
    entries = [
        (1, 7, undefined),
        (2, 5, user),
        (4, 0, undefined),
        (16, 5, undefined),
        (32, 0, undefined),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.ours_only("python-home is not looked at")
@pytest.mark.parametrize("option", ["WSGIPythonHome ", "WSGIDaemonProcess other python-home="])
def test_a_python_home_may_be_open_to_the_user_by_an_access_list(servers, env, mpm, option):
    if env.user is None:
        pytest.skip("Apache's user is the user of the tests")
    server = servers.make(Conf(option + "${ROOT}/closed/venv"), mpm, "embedded")
    server.write("closed/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    closed = server.root / "closed"
    closed.chmod(0o700)
    assert "cannot read" in server.configtest()[1]
    try:
        os.setxattr(closed, "system.posix_acl_access", access_list(env.user.pw_uid))
    except OSError as why:
        pytest.skip(f"no access lists here: {why}")
    accepted, printed = server.configtest()
    assert accepted
    assert "cannot read" not in printed


@pytest.mark.ours_only("python-home is not looked at")
def test_a_python_home_may_be_open_by_supplementary_groups(servers, env, mpm):
    if env.user is None:
        pytest.skip("Apache's user is the user of the tests")
    line = "WSGIDaemonProcess other supplementary-groups=#54321 python-home=${ROOT}/closed/venv"
    server = servers.make(Conf(line), mpm, "embedded")
    server.write("closed/venv/pyvenv.cfg", f"home = /usr/bin\nversion = {env.python}.0\n")
    closed = server.root / "closed"
    closed.chmod(0o750)
    assert "cannot read" in server.configtest()[1]
    os.chown(closed, 0, 54321)
    accepted, printed = server.configtest()
    assert accepted
    assert "cannot read" not in printed


INSTALLED = """
import installed
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [installed.TEXT]
"""


@pytest.mark.embedded_only("WSGIPythonHome is for Apache's own processes")
def test_a_base_python_that_apaches_user_cannot_read_is_a_warning_where_python_starts(private, env):
    """As a Python of pyenv in a home directory, for packages that are readable."""
    if env.user is None:
        pytest.skip("Apache's user is the user of the tests")
    text = """
    WSGIPythonHome ${ROOT}/venv
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias / ${ROOT}/app.py
    """
    packages = f"venv/lib/python{env.python}/site-packages"
    files = (("app.py", INSTALLED), (f"{packages}/installed.py", "TEXT = b'from the venv'\n"))

    def prepare(server):
        base = server.root / "home/python/bin"
        base.mkdir(parents=True)
        server.write("venv/pyvenv.cfg", f"home = {base}\nversion = {env.python}.0\n")
        (server.root / "home").chmod(0o700)

    server = private(Conf(text, files=files), prepare)
    if not env.oracle:
        base = "a Python that lies in '.*/home/python/bin'"
        warning = rf"wsgi:warn.*{base}.*{env.user.pw_name} cannot read"
        assert re.search(warning, server.printed()), server.printed()
    assert server.get("/").text == "from the venv"


# --- what other versions of mod_wsgi knew ---------------------------------------------------------


@pytest.mark.differs("directives-of-4", "mod_wsgi 6 refuses to start over them")
@pytest.mark.parametrize(
    "line",
    [
        "WSGILazyInitialization On",
        "WSGINewRelicConfigFile /etc/newrelic.ini",
        "WSGINewRelicEnvironment production",
        "WSGIPy3kWarningFlag On",
    ],
)
def test_a_directive_of_mod_wsgi_4_is_accepted_with_a_warning(accepted, line):
    printed = accepted(line)
    assert line.split()[0] in printed
    assert "warn" in printed
