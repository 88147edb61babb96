"""Lines that name a process group, and configtest: is there such a group, and is it used?"""

import pytest
from harness.conf import Conf

ALIAS = "WSGIScriptAlias / ${ROOT}/app.py"
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["mod_wsgi.process_group"].encode()]
"""
NAMING = [
    "WSGIProcessGroup NAME",
    "<Location /a>\nWSGIProcessGroup NAME\n</Location>",
    "<VirtualHost *>\nWSGIProcessGroup NAME\n</VirtualHost>",
    "WSGIScriptAlias /a ${ROOT}/app.py process-group=NAME",
    "WSGIScriptAliasMatch ^/a ${ROOT}/app.py process-group=NAME",
    "WSGIHandlerScript name ${ROOT}/app.py process-group=NAME",
]
# What the harness itself adds in daemon mode would be among the groups that a sentence lists.
pytestmark = pytest.mark.embedded_only("names its own process groups")


@pytest.fixture
def printed(configtest):
    """printed(text, accepted=…) is what configtest prints about a configuration."""

    def printed(text, accepted=True):
        success, printed = configtest(Conf(text, files=(("app.py", APP),)))
        assert success == accepted, printed
        return printed

    return printed


# --- is there such a group? -----------------------------------------------------------------------


@pytest.mark.differs("group-names-checked", "mod_wsgi answers the requests with 500")
@pytest.mark.parametrize("line", NAMING)
def test_a_group_that_is_not_defined_is_refused_with_those_that_are(printed, line):
    groups = "WSGIDaemonProcess example.com\nWSGIDaemonProcess other threads=1\n"
    text = printed(groups + line.replace("NAME", "exmaple.com"), accepted=False)
    assert (
        'names the process group "exmaple.com", which no WSGIDaemonProcess defines '
        '(did you mean "example.com"?); there are: "example.com", "other" (' in text
    )
    # Where the line stands.
    assert "httpd.conf:" in text
    # Defined behind the line that names it.
    printed(f"{line.replace('NAME', 'example.com')}\n{groups}")
    for request in ("%{GLOBAL}", "%{ENV:GROUP}", "%{HOST}", "%{SERVER}", "%{RESOURCE}"):
        printed(groups + line.replace("NAME", request))


@pytest.mark.differs("group-names-checked", "mod_wsgi answers the requests with 500")
def test_a_group_of_another_virtual_host_is_refused(printed):
    hosts = "<VirtualHost *>\nServerName one\nWSGIDaemonProcess site\n</VirtualHost>\n"
    user = "<VirtualHost *>\nServerName NAME\nWSGIProcessGroup site\n</VirtualHost>\n"
    printed(hosts + user.replace("NAME", "one"))
    text = printed(hosts + user.replace("NAME", "two"), accepted=False)
    assert 'names the process group "site", which is not for this virtual host' in text
    # The main server's line holds in the host that has the group, too.
    printed(f"WSGIProcessGroup site\n{hosts}")


def test_a_virtual_host_may_be_named_after_its_groups(serve):
    text = f"""
    <VirtualHost *>
        WSGIDaemonProcess site threads=1
        WSGIProcessGroup site
        {ALIAS}
        ServerName late
        WSGIScriptAlias /named ${{ROOT}}/app.py process-group=site application-group=a
    </VirtualHost>
    """
    server = serve(Conf(text, files=(("app.py", APP),)), private=True)
    for path in ("/", "/named"):
        assert server.get(path, host="late").text == "site"


# What certbot makes of a virtual host: another one with the same lines.
HOST = """
<VirtualHost 127.0.0.1:${PORT}>
    ServerName NAME
    ServerAlias ALIAS
    WSGIDaemonProcess site threads=2 OPTIONS
    WSGIScriptAlias / ${ROOT}/app.py process-group=site application-group=%{GLOBAL}
</VirtualHost>
"""
PID = APP.replace('environ["mod_wsgi.process_group"]', "str(__import__('os').getpid())")


def host(name="site", alias="alias", options=""):
    return HOST.replace("NAME", name).replace("ALIAS", alias).replace("OPTIONS", options)


@pytest.mark.differs("group-of-both-hosts", "mod_wsgi refuses the second line")
def test_a_group_that_two_virtual_hosts_of_one_name_define_alike_is_one_group(serve, printed):
    text = host(alias="plain") + host(alias="copied").replace("threads=2", 'threads="2"')
    printed(text)
    server = serve(Conf(text, files=(("app.py", PID),)), private=True)
    pids = {server.get("/", host=name).text for name in ("site", "plain", "copied")}
    assert len(pids) == 1


@pytest.mark.ours_only("hints of our own")
def test_another_group_of_the_same_name_is_refused_with_the_remedy(printed):
    remedy = "take another name, or move one line out of the virtual hosts and remove the other"
    for second, why in (
        (host(options="processes=2"), "with other options; give both lines the same options, "),
        (host("other"), "in a virtual host of another ServerName; "),
    ):
        text = printed(host() + second, accepted=False)
        assert f'WSGIDaemonProcess "site" duplicates a previous definition, {why}{remedy}' in text


@pytest.mark.differs("group-names-checked", "mod_wsgi says nothing")
@pytest.mark.parametrize(
    "line",
    [
        "WSGIRestrictProcess other NAME",
        "<Location />\nWSGIRestrictProcess NAME %{GLOBAL}\n</Location>",
        "<WSGIInterpreterOptions process-group=NAME>\n</WSGIInterpreterOptions>",
    ],
)
def test_a_line_about_a_group_that_is_not_defined_gives_a_warning(printed, line):
    groups = "WSGIDaemonProcess example.com\nWSGIDaemonProcess other threads=1\n"
    users = "".join(
        f"WSGIScriptAlias /{name} ${{ROOT}}/app.py process-group={name}\n"
        for name in ("example.com", "other")
    )
    text = printed(groups + users + line.replace("NAME", "exmaple.com"))
    assert (
        'names the process group "exmaple.com", which no WSGIDaemonProcess defines '
        '(did you mean "example.com"?); there are: "example.com", "other" (' in text
    )
    assert ":warn]" in text
    assert ":warn]" not in printed(groups + users + line.replace("NAME", "example.com"))


def test_a_restricted_group_is_found_whatever_its_case(printed):
    group = f"WSGIDaemonProcess Site\n{ALIAS} process-group=Site\n"
    assert ":warn]" not in printed(f"{group}WSGIRestrictProcess sITE")


# --- is it used? ----------------------------------------------------------------------------------


@pytest.mark.ours_only("hints of our own")
def test_a_group_that_nothing_uses_is_told_with_the_alias_that_could(printed):
    hint = "the process group 'site' serves no request: neither WSGIProcessGroup nor process-group="
    could = "and 'WSGIProcessGroup site' has it run there"
    text = printed(f"WSGIDaemonProcess site\n{ALIAS}")
    for part in (hint, could, "/app.py runs in Apache's own processes"):
        assert part in text
    # Which of the two is meant cannot be told.
    text = printed(f"WSGIDaemonProcess site\nWSGIDaemonProcess other\n{ALIAS}")
    assert hint in text
    assert could not in text
    # Meant for embedded mode.
    text = printed(f"WSGIDaemonProcess site\n{ALIAS} process-group=%{{GLOBAL}}")
    assert hint in text
    assert could not in text
    for used in (
        "WSGIProcessGroup site",
        f"<Location /a>\nWSGIProcessGroup site\n</Location>\n{ALIAS}",
        f"<Location /a>\nWSGIProcessGroup %{{ENV:GROUP}}\n</Location>\n{ALIAS}",
        f"{ALIAS} process-group=site",
        "WSGIImportScript ${ROOT}/app.py process-group=site application-group=a",
        "WSGIDispatchScript ${ROOT}/app.py",
    ):
        assert ":warn]" not in printed(f"WSGIDaemonProcess site\n{used}")


@pytest.mark.ours_only("hints of our own")
def test_an_alias_without_a_group_is_told_where_embedded_mode_is_off(printed):
    hint = "it names no process group, and WSGIRestrictEmbedded is On"
    off = "WSGIRestrictEmbedded On\nWSGIDaemonProcess site\n"
    other = "WSGIScriptAlias /other ${ROOT}/app.py process-group=site\n"
    assert hint in printed(f"{off}{other}{ALIAS}")
    assert hint not in printed(f"{off}{other}{ALIAS} process-group=site")
    assert hint not in printed(f"{off}WSGIProcessGroup site\n{ALIAS}")
    section = "<Location />\nWSGIProcessGroup site\n</Location>\n"
    assert hint not in printed(f"{off}{section}{ALIAS}")


@pytest.mark.differs("missing-python-path", "mod_wsgi says nothing")
@pytest.mark.parametrize(
    "line",
    [
        "WSGIPythonPath ${ROOT}/gone",
        "WSGIDaemonProcess site python-path=${ROOT}/gone",
        "WSGIDaemonProcess site home=${ROOT}/gone",
        "WSGIDaemonProcess site home=${ROOT}/gone python-path=${ROOT}",
    ],
)
def test_a_directory_that_does_not_exist_gives_a_warning(printed, line):
    use = f"{ALIAS}\nWSGIScriptAlias /b ${{ROOT}}/app.py process-group=site\n"
    group = "" if "site" in line else "WSGIDaemonProcess site\n"
    text = printed(f"{line}\n{group}{use}")
    assert ":warn]" in text
    assert "/gone', which does not exist" in text


@pytest.mark.ours_only("hints of our own")
def test_a_python_path_of_embedded_mode_beside_groups_only_is_told(printed):
    hint = "WSGIPythonPath has no effect in daemon mode"
    path = "WSGIPythonPath ${ROOT}\nWSGIDaemonProcess site\n"
    assert hint in printed(f"{path}WSGIProcessGroup site\n{ALIAS}")
    assert hint in printed(f"{path}{ALIAS} process-group=site")
    for used in (
        # In embedded mode, too.
        f"{ALIAS} process-group=site\nWSGIScriptAlias /b ${{ROOT}}/app.py",
        f"{ALIAS} process-group=site\n<Location /a>\nWSGIAccessScript /a.py\n</Location>",
        f"WSGIProcessGroup site\n{ALIAS}\n<Location /a>\nWSGIProcessGroup %{{GLOBAL}}\n</Location>",
    ):
        assert hint not in printed(path + used)
    both = path.replace("Process site", "Process site python-path=${ROOT}")
    assert hint not in printed(f"{both}WSGIProcessGroup site\n{ALIAS}")


# --- did you mean? --------------------------------------------------------------------------------


@pytest.mark.ours_only("hints of our own")
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("WSGIDaemonProcess site python-hom=/srv", "python-home"),
        ("WSGIDaemonProcess site thread=5", "threads"),
        ("WSGIScriptAlias / /srv/app.wsgi proces-group=site", "process-group"),
        ("WSGIMapHEADToGET Autto", "Auto"),
        ("WSGIDaemonProcess site reload=Onn", "On"),
        ("WSGIScriptAlias / /srv/app.wsgi pass-authorization=Of", "Off"),
        ("WSGIPythonHashSeed randm", "random"),
        ("WSGIProcessGroup %{GLOBL}", "%{GLOBAL}"),
        ("WSGIScriptAlias / /srv/app.wsgi process-group=%{Global}", "%{GLOBAL}"),
        ("WSGIAcceptMutex flok", "flock"),
        ("WSGITelemetryOptions CaptureUserAgents", "CaptureUserAgent"),
        ("<WSGIInterpreterOptions proces-group=a>\n</WSGIInterpreterOptions>", "process-group"),
        (
            "WSGIDaemonProcess site\n"
            "WSGIImportScript /srv/a.py process-group=sit application-group=a",
            "site",
        ),
    ],
)
def test_the_probable_meaning_is_suggested(printed, line, meant):
    assert f'(did you mean "{meant}"?)' in printed(line, accepted=False)


@pytest.mark.ours_only("hints of our own")
@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("WSGIApplicationGroup %{GLOBL}", "%{GLOBAL}"),
        ("WSGIScriptAlias / ${ROOT}/app.py application-group=%{Global}", "%{GLOBAL}"),
        ("WSGIHandlerScript name ${ROOT}/app.py application-group=%{SERVR}", "%{SERVER}"),
        (
            "WSGIImportScript ${ROOT}/app.py process-group=%{GLOBAL} application-group=%{GLOBL}",
            "%{GLOBAL}",
        ),
        (
            "<Location />\nWSGIAccessScript ${ROOT}/app.py application-group=%{HOTS}\n</Location>",
            "%{HOST}",
        ),
        (
            "<WSGIInterpreterOptions application-group=%{GLOBL}>\n</WSGIInterpreterOptions>",
            "%{GLOBAL}",
        ),
        ("WSGIDaemonProcess site environment=inherti\nWSGIProcessGroup site", "inherit"),
        ("WSGIDaemonProcess site environment=None\nWSGIProcessGroup site", "none"),
    ],
)
def test_the_probable_meaning_is_suggested_in_a_warning(printed, line, meant):
    text = printed(line)
    assert ":warn]" in text
    assert f'(did you mean "{meant}"?)' in text
    for right in ("%{GLOBAL}", "%{SERVER}", "%{HOST}", "%{RESOURCE}", "%{ENV:GROUP}"):
        assert "did you mean" not in printed(f"WSGIApplicationGroup {right}\n{ALIAS}")


@pytest.mark.ours_only("hints of our own")
@pytest.mark.parametrize(
    "line",
    [
        "WSGIImportScript ${ROOT}/app.py process-group=%{GLOBAL} application-group=%{SERVER}",
        "WSGIDispatchScript ${ROOT}/app.py application-group=%{RESOURCE}",
    ],
)
def test_an_expansion_that_a_line_does_not_make_is_told(printed, line):
    assert "which is not expanded here" in printed(line)


@pytest.mark.ours_only("hints of our own")
def test_dissimilar_words_are_not_suggested(printed):
    assert "did you mean" not in printed("WSGIDaemonProcess site workers=5", accepted=False)
    text = printed("WSGITrustedProxyHeaders X-Forwarded-Fro X-Unheard-Of")
    ignored = 'ignores "X-Forwarded-Fro", which is not one of (did you mean "x-forwarded-for"?)'
    assert ignored in text
    assert text.count("did you mean") == 1


@pytest.mark.ours_only("mod_wsgi takes any text for a name")
@pytest.mark.parametrize("call", ["create_app(1)", "create_app(", "create_app( )", "a.make()"])
@pytest.mark.parametrize(
    "line",
    ['WSGICallableObject "{}"', 'WSGIScriptAlias /a ${{ROOT}}/app.py callable-object="{}"'],
)
def test_a_call_with_arguments_is_refused_and_one_without_accepted(printed, line, call):
    text = printed(line.format(call), accepted=False)
    assert "or a function that makes one and needs no arguments, such as create_app(), not" in text
    assert f'write "application = {call}" into the script instead' in text
    assert "create_app" not in printed(line.format("create_app()"))
