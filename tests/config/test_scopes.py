"""Which of several directives holds for a request: server, virtual host, directory, .htaccess."""

import pytest
from harness.client import ask
from harness.conf import Conf

# Four scopes, each written in the one around it; a request's Host and path choose how deep it goes.
SCOPES = """
    WSGIPythonPath ${APPS}
    AccessFileName .htaccess
    Alias /dir ${ROOT}/dir
    <Directory ${ROOT}/dir>
        AllowOverride None
        AllowOverride FileInfo
        Options +ExecCGI
        SetHandler wsgi-script
    </Directory>
"""

ASK = "from ask import *\nfrom ask import application\nother = application\n"


def scoped(directive, server="", vhost="", directory="", htaccess=""):
    """A configuration with the directive given a value in some scopes."""

    def line(value):
        return f"{directive} {value}\n" if value else ""

    text = f"""{SCOPES}{line(server)}
    <Directory ${{ROOT}}/dir/deep>
        {line(directory)}
    </Directory>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        {line(vhost)}
    </VirtualHost>
    """
    files = [("dir/app.wsgi", ASK), ("dir/deep/app.wsgi", ASK), ("dir/deep/er/app.wsgi", ASK)]
    if htaccess:
        files.append(("dir/deep/er/.htaccess", line(htaccess)))
    return Conf(text, ("alias", "setenvif"), files=tuple(files))


SERVER = ("localhost", "/dir/app.wsgi")
VHOST = ("virtual.example", "/dir/app.wsgi")
DIRECTORY = ("virtual.example", "/dir/deep/app.wsgi")
HTACCESS = ("virtual.example", "/dir/deep/er/app.wsgi")

GROUP = "environ['mod_wsgi.application_group']"
CALLABLE = "environ['mod_wsgi.callable_object']"
AUTHORIZATION = "environ.get('HTTP_AUTHORIZATION', '-')"


def seen(server, expression, scope, **headers):
    host, path = scope
    return ask(server, expression, path, host=host, headers=headers)


def test_the_innermost_application_group_holds(serve):
    server = serve(scoped("WSGIApplicationGroup", "server", "vhost", "directory"))
    assert seen(server, GROUP, SERVER) == "server"
    assert seen(server, GROUP, VHOST) == "vhost"
    assert seen(server, GROUP, DIRECTORY) == seen(server, GROUP, HTACCESS) == "directory"


def test_unset_values_come_from_the_enclosing_scope(serve):
    server = serve(scoped("WSGIApplicationGroup", server="server"))
    for scope in (SERVER, VHOST, DIRECTORY, HTACCESS):
        assert seen(server, GROUP, scope) == "server"


def test_the_global_group_is_a_value_and_not_unset(serve):
    server = serve(scoped("WSGIApplicationGroup", "server", "%{GLOBAL}", "directory"))
    assert seen(server, GROUP, VHOST) == ""
    assert seen(server, GROUP, DIRECTORY) == "directory"


def test_the_innermost_callable_holds_down_to_htaccess(serve):
    names = ("application", "other", "application", "other")
    server = serve(scoped("WSGICallableObject", *names))
    for scope, name in zip((SERVER, VHOST, DIRECTORY, HTACCESS), names, strict=True):
        assert seen(server, CALLABLE, scope) == name


@pytest.mark.parametrize("values", [("On", "Off", "On", "Off"), ("Off", "On", "", "Off")])
def test_a_flag_is_overridden_down_to_htaccess(serve, values):
    server = serve(scoped("WSGIPassAuthorization", *values))
    inherited = [values[0], values[1], values[2] or values[1], values[3]]
    for scope, value in zip((SERVER, VHOST, DIRECTORY, HTACCESS), inherited, strict=True):
        credentials = seen(server, AUTHORIZATION, scope, Authorization="Basic dTpw")
        assert credentials == ("Basic dTpw" if value == "On" else "-")


# Each directive that .htaccess may hold under AllowOverride FileInfo, with a request it changes.
HTACCESS_EFFECTS = {
    "WSGIPassAuthorization": ("On", "HTTP_AUTHORIZATION"),
    "WSGICallableObject": ("other", None),
    "WSGIChunkedRequest": ("On", None),
    "WSGIMapHEADToGET": ("On", None),
    "WSGIScriptReloading": ("Off", None),
    "WSGIErrorOverride": ("On", None),
    "WSGIEnableSendfile": ("On", None),
}


@pytest.mark.parametrize("name", HTACCESS_EFFECTS)
def test_htaccess_accepts_the_directive(serve, name):
    value, _ = HTACCESS_EFFECTS[name]
    server = serve(scoped(name, htaccess=value))
    assert seen(server, "1", HTACCESS) == 1


@pytest.mark.parametrize(
    "line", ["WSGIApplicationGroup x", "WSGIPythonPath /x", "WSGIScriptAlias /x /y"]
)
def test_htaccess_refuses_the_directive(serve, line):
    name, _, value = line.partition(" ")
    server = serve(scoped(name, htaccess=value))
    assert server.get(HTACCESS[1], host=HTACCESS[0]).status == 500
    server.log.expect(rf"\.htaccess: {name} not allowed here")


def test_htaccess_needs_the_fileinfo_class(serve):
    conf = scoped("WSGIPassAuthorization", htaccess="On")
    conf = Conf(conf.text.replace("AllowOverride FileInfo", ""), conf.modules, files=conf.files)
    server = serve(Conf(conf.text.replace("None", "Limit"), conf.modules, files=conf.files))
    assert server.get(HTACCESS[1], host=HTACCESS[0]).status == 500
    server.log.expect(r"\.htaccess: WSGIPassAuthorization not allowed here")


def test_bad_value_in_htaccess_is_a_500_with_a_logged_reason(serve):
    server = serve(scoped("WSGIPassAuthorization", htaccess="Perhaps"))
    assert server.get(HTACCESS[1], host=HTACCESS[0]).status == 500
    server.log.expect(r"\.htaccess: WSGIPassAuthorization must be one of: Off \| On")


def test_chunked_requests_follow_their_scope(serve):
    server = serve(scoped("WSGIChunkedRequest", "Off", "On", "Off", "On"))
    for scope, status in zip(
        (SERVER, VHOST, DIRECTORY, HTACCESS), (411, 200, 411, 200), strict=True
    ):
        host, path = scope
        response = server.post(f"{path}?1", iter([b"x"]), host=host, chunked=True)
        assert response.status == status
    server.log.expect("WSGI0139: ", count=2)


def test_the_last_of_equals_holds(serve):
    server = serve(scoped("WSGIApplicationGroup", server="first\nWSGIApplicationGroup second"))
    assert seen(server, GROUP, SERVER) == "second"


# --- script aliases -------------------------------------------------------------------------------

ALIASES = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /one/longer ${ROOT}/first.wsgi
    WSGIScriptAlias /one ${ROOT}/second.wsgi
    WSGIScriptAlias /one/too-late ${ROOT}/first.wsgi
    WSGIScriptAlias /slash/ ${ROOT}/tree/
    WSGIScriptAlias /tree ${ROOT}/tree
    WSGIScriptAliasMatch ^/match/([a-z]+)/(.*) ${ROOT}/tree/$1.wsgi
    WSGIScriptAliasMatch ^/CASE ${ROOT}/first.wsgi
    WSGIScriptAlias /options ${ROOT}/first.wsgi application-group=alias \\
        callable-object=other pass-authorization=On
    WSGIScriptAlias /off ${ROOT}/first.wsgi pass-authorization=Off
    WSGIScriptAlias "/with space" "${ROOT}/with space.wsgi"
    WSGIScriptAlias /virtual ${ROOT}/first.wsgi
    <Location />
        WSGIApplicationGroup location
        WSGICallableObject application
    </Location>
    <Location /off>
        WSGIPassAuthorization On
    </Location>
    <Location /options>
        WSGIPassAuthorization Off
    </Location>
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName virtual.example
        WSGIScriptAlias /virtual ${ROOT}/second.wsgi
    </VirtualHost>
    """,
    files=tuple(
        (name, ASK)
        for name in (
            "first.wsgi",
            "second.wsgi",
            "with space.wsgi",
            "tree/app.wsgi",
            "tree/sub/app.wsgi",
        )
    ),
)

WHERE = "[environ['SCRIPT_FILENAME'].partition('server-')[2].partition('/')[2]" + (
    ", environ['SCRIPT_NAME'], environ['PATH_INFO']]"
)


@pytest.fixture
def aliases(serve):
    return serve(ALIASES)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/one", ["second.wsgi", "/one", "/"]),
        ("/one/x", ["second.wsgi", "/one", "/x/"]),
        ("/one/longer/x", ["first.wsgi", "/one/longer", "/x/"]),
        ("/one/too-late", ["second.wsgi", "/one", "/too-late/"]),
        ("/one//longer", ["first.wsgi", "/one/longer", "/"]),
        ("/slash/app.wsgi/x", ["tree/app.wsgi", "/slash/app.wsgi", "/x/"]),
        ("/tree/app.wsgi/x/y", ["tree/app.wsgi", "/tree/app.wsgi", "/x/y/"]),
        ("/tree/sub/app.wsgi", ["tree/sub/app.wsgi", "/tree/sub/app.wsgi", "/"]),
        ("/with%20space/x", ["with space.wsgi", "/with space", "/x/"]),
    ],
)
def test_an_alias_maps_a_path_to_a_script(aliases, path, where):
    assert ask(aliases, WHERE, path) == where


def test_a_matching_alias_puts_its_groups_into_the_target(aliases):
    assert ask(aliases, WHERE, "/match/app/rest")[0] == "tree/app.wsgi"
    assert aliases.get("/match/nothing/rest").status == 404
    aliases.log.expect("WSGI0135: ")


@pytest.mark.parametrize("path", ["/ones", "/onelonger", "/optionsx", "/case", "/ONE"])
def test_an_alias_ends_at_the_border_of_a_path_component(aliases, path):
    assert aliases.get(path).status == 404


def test_a_virtual_hosts_alias_comes_before_the_servers(aliases):
    assert ask(aliases, WHERE, "/virtual", host="virtual.example")[0] == "second.wsgi"
    assert ask(aliases, WHERE, "/virtual")[0] == "first.wsgi"


def test_the_servers_aliases_hold_in_virtual_hosts(aliases):
    assert ask(aliases, WHERE, "/one", host="virtual.example")[0] == "second.wsgi"


def test_an_aliass_own_options_win_over_its_location(aliases):
    assert ask(aliases, GROUP, "/options") == "alias"
    assert ask(aliases, CALLABLE, "/options") == "other"
    assert ask(aliases, GROUP, "/one") == "location"
    credentials = {"Authorization": "Basic dTpw"}
    assert ask(aliases, AUTHORIZATION, "/options", headers=credentials) == "Basic dTpw"
    assert ask(aliases, AUTHORIZATION, "/off", headers=credentials) == "-"


def test_an_alias_needs_no_execcgi(aliases):
    assert ask(aliases, "environ['mod_wsgi.request_handler']", "/one") == "wsgi-script"


@pytest.mark.embedded_only("which processes load it is daemon mode's own question")
@pytest.mark.parametrize(
    ("groups", "loaded"),
    [
        ("process-group=%{GLOBAL} application-group=%{GLOBAL}", True),
        ("process-group=%{GLOBAL} application-group=name", True),
        ("application-group=%{GLOBAL}", False),
        ("process-group=%{GLOBAL} application-group=%{SERVER}", False),
    ],
)
def test_an_alias_that_names_both_groups_is_loaded_at_start(serve, groups, loaded):
    text = f"WSGIScriptAlias /never/asked ${{APPS}}/environ.py {groups}\n"
    server = serve(Conf(text + "WSGIScriptAlias / ${APPS}/environ.py"), private=True)
    # An answer to another path says that the child has started.
    assert server.get("/").status == 200
    loads = server.log.find(r"oading WSGI script .*/environ\.py")
    assert len(loads) == (2 if loaded else 1)


@pytest.mark.parametrize(
    ("options", "path", "status"),
    [
        ("FollowSymLinks", "/link/x", 200),
        ("SymLinksIfOwnerMatch", "/link/x", 200),
        ("None", "/link/x", 403),
        ("None", "/plain/x", 200),
        ("FollowSymLinks", "/guarded/x", 403),
        ("FollowSymLinks", "/hidden/x", 403),
    ],
)
def test_apaches_rules_for_files_hold_for_an_aliass_script(serve, options, path, status):
    server = serve(
        Conf(
            f"""
            WSGIPythonPath ${{APPS}}
            WSGIScriptAlias /link ${{ROOT}}/scripts/link.wsgi
            WSGIScriptAlias /plain ${{ROOT}}/scripts/plain.wsgi
            WSGIScriptAlias /guarded ${{ROOT}}/scripts/guarded.wsgi
            WSGIScriptAlias /hidden ${{ROOT}}/scripts/hidden/app.wsgi
            <Directory ${{ROOT}}/scripts>
                Options {options}
                <Files guarded.wsgi>
                    Require all denied
                </Files>
            </Directory>
            <Directory ${{ROOT}}/scripts/hidden>
                Require all denied
            </Directory>
            """,
            files=tuple(
                (f"scripts/{name}.wsgi", "from environ import application\n")
                for name in ("plain", "guarded", "hidden/app")
            ),
        ),
        private=True,
    )
    (server.root / "scripts/link.wsgi").symlink_to("plain.wsgi")
    assert server.get(path).status == status
    if status == 403:
        server.log.expect(r"AH00037|AH01630")
