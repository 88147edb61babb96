"""Every directive: where it may stand, and every sentence that refuses a line."""

import re

import pytest
from harness import daemon_options
from harness.conf import Conf
from harness.directives import DIRECTIVES, FORMER, PLACES, params, plain
from harness.env import REPO

pytestmark = pytest.mark.embedded_only("a line is read before any process is started")

# Apache's own words, and those of what Apache leaves to us.
MISPLACED = "{}>? (cannot occur within|not allowed)"


@pytest.fixture
def printed(configtest):
    """printed(text, accepted) is what httpd says about a configuration."""

    def printed(text, accepted):
        was_accepted, printed = configtest(Conf(text, ("authz_user",)))
        assert was_accepted == accepted, printed
        return printed

    return printed


# --- where a directive may stand ------------------------------------------------------------------


@pytest.mark.ours_only("reads our manual")
def test_the_table_of_directives_is_complete():
    page = (REPO / "docs/directives.md").read_text()
    documented = set(re.findall(r"^#{2,3} `?<?(WSGI\w+)", page, re.M))
    assert documented == {plain(name) for name in DIRECTIVES | FORMER}


@pytest.mark.parametrize("name", params(DIRECTIVES))
def test_directive_contexts_are_accepted(printed, name):
    places, value = DIRECTIVES[name]
    # Names of process groups are unique.
    lines = (f"{name} {value}" + str(n) * (value == "site") for n in range(9))
    text = "\n".join(
        frame.format(next(lines)) for place in places for frame in PLACES.get(place, ())
    )
    # Any group may be the one that a request names: none is without use.
    # Those that the values name have to exist.
    text += "\nWSGIProcessGroup %{ENV:GROUP}\nWSGIDaemonProcess site\nWSGIDaemonProcess other"
    assert ":warn]" not in printed(text, True)


@pytest.mark.parametrize("place", ["S", "V", "D"])
@pytest.mark.parametrize("name", params(DIRECTIVES))
def test_directive_is_refused_in_other_contexts(printed, name, place):
    places, value = DIRECTIVES[name]
    for frame in PLACES[place] if place not in places else ():
        said = printed(frame.format(f"{name} {value}"), False)
        assert re.search(MISPLACED.format(plain(name)), said)


FOREIGN = [name for name, (places, _) in DIRECTIVES.items() if "S" in places and "I" not in places]


@pytest.mark.differs("interpreter-options-foreign", "mod_wsgi takes it as if it stood outside")
@pytest.mark.parametrize("name", params(FOREIGN))
def test_a_block_for_interpreters_holds_nothing_else(printed, name):
    said = printed(PLACES["I"][0].format(f"{name} {DIRECTIVES[name][1]}"), False)
    assert f"{plain(name)} cannot occur within <WSGIInterpreterOptions> section" in said


CLASSES = {"F": "FileInfo", "A": "AuthConfig"}
HTACCESS = Conf(
    "AccessFileName .htaccess\nAlias /of ${ROOT}/of\n"
    + "".join(
        f"<Directory ${{ROOT}}/of/{letter}>\nAllowOverride {name}\n</Directory>\n"
        for letter, name in CLASSES.items()
    ),
    ("alias", "authn_core", "authz_user"),
    files=tuple(
        (f"of/{letter}/{plain(name)}/{file}", text)
        for letter in CLASSES
        for name, (_, value) in DIRECTIVES.items()
        for file, text in ((".htaccess", f"{name} {value}\n"), ("file", name))
    ),
)


@pytest.mark.parametrize("letter", CLASSES)
@pytest.mark.parametrize("name", params(DIRECTIVES))
def test_htaccess_may_hold_a_directive_under_its_class_alone(serve, name, letter):
    server = serve(HTACCESS)
    response = server.get(f"/of/{letter}/{plain(name)}/file")
    if letter in DIRECTIVES[name][0]:
        assert (response.status, response.text) == (200, name)
    else:
        assert response.status == 500
        server.log.expect(rf"\.htaccess: {name}>? not allowed here")


@pytest.mark.differs("directives-of-4", "mod_wsgi 6 refuses to start over them")
@pytest.mark.parametrize("name", FORMER)
def test_a_former_directive_warns_in_its_places_and_is_refused_elsewhere(printed, name):
    places, value = FORMER[name]
    for place, frames in PLACES.items():
        for frame in frames:
            said = printed(frame.format(f"{name} {value}"), place in places)
            if place in places:
                assert f"{name} has no effect: " in said
            else:
                assert re.search(MISPLACED.format(name), said)


# --- what is refused ------------------------------------------------------------------------------


def differs(slug, *row):
    return pytest.param(*row, marks=pytest.mark.differs(slug, "mod_wsgi accepts it"))


FLAGS = [
    name
    for name, (_, value) in DIRECTIVES.items()
    if value in ("On", "Off", "Auto") and name != "WSGIMapHEADToGET"
]
WORDS = (
    {
        "WSGIMapHEADToGET": "Off | On | Auto",
        "WSGIAcceptMutex": "default | flock | fcntl | sysvsem | posixsem | pthread",
    }
    | dict.fromkeys(FLAGS, "Off | On")
    | {
        "WSGIScriptReloading": "Off | On | Wait",
        "WSGIStatusRequestLines": "Off | Path | Full",
        "WSGIPrintLevel": "error | warn | notice | info | debug",
        "WSGILogFormat": "text | json",
    }
)


def framed(name, line):
    """The line where it may stand."""
    return PLACES[DIRECTIVES[name][0][0]][0].format(line)


@pytest.mark.parametrize("name", params(WORDS))
def test_a_directive_of_certain_words_takes_no_others(printed, env, name):
    for value in ("Yes", "1", "Onn"):
        said = printed(framed(name, f"{name} {value}"), False)
        if not env.oracle:
            assert f'\n{name} must be one of: {WORDS[name]}, not "{value}"' in said


ONE = [
    name
    for name, (_, value) in DIRECTIVES.items()
    if len(value.split()) == 1 and not re.search("Daemon|Script$|Options|Trusted|Telem", name)
]


@pytest.mark.parametrize("name", params(ONE))
@pytest.mark.parametrize("arguments", ["", "one two"])
def test_a_directive_of_one_argument_takes_one(printed, name, arguments):
    assert f"\n{name} takes one argument, " in printed(framed(name, f"{name} {arguments}"), False)


THEIRS = """
<VirtualHost *>
    ServerName theirs.example
    WSGIDaemonProcess theirs
</VirtualHost>
<VirtualHost *>
    {}
    {}
</VirtualHost>
"""
ELSEWHERE = 'names the process group "theirs", which is not {}'
NO_OPTION = 'has no option "{}"; it takes name=value with one of these names: {}'
ALIAS = "process-group, application-group, callable-object, pass-authorization, interface"
SCRIPTS = {
    "WSGIAccessScript": "access",
    "WSGIAuthUserScript": "auth user",
    "WSGIAuthGroupScript": "auth group",
    "WSGIDispatchScript": "dispatch",
}
END = "</WSGIInterpreterOptions>"
TOO_LONG = "x" * 5000
CUT = "x" * 1000 + "..."
# A line, the sentence we refuse it with, and what of it mod_wsgi says.
REFUSED = [
    # Numbers and paths.
    ("WSGIPythonHashSeed x", "WSGIPythonHashSeed must be \"random\" or an integer in the "
     "range 0 to 4294967295, not \"x\"", "4294967295"),
    ("WSGISwitchInterval 0",
     "WSGISwitchInterval must be a positive number of seconds, not \"0\"", "positive"),
    ("WSGISlowRequests -1",
     "WSGISlowRequests must be a non-negative number of seconds, not \"-1\"", "non-negative"),
    (f"WSGISocketPrefix {TOO_LONG}", "WSGISocketPrefix must be a path, absolute or below "
     f"ServerRoot, not \"{CUT}\"", "WSGISocketPrefix"),
    ("WSGITrustedProxies 10.0.0.0/99", "WSGITrustedProxies cannot take \"10.0.0.0/99\" for the "
     "address of a trusted proxy; it takes IPv4 and IPv6 ", "10.0.0.0/99"),
    differs("relative-script-paths", f"WSGIScriptAlias / {TOO_LONG}",
     f"WSGIScriptAlias cannot make the path \"{CUT}\" absolute below ServerRoot", ""),
    # Aliases.
    ("WSGIScriptAlias /a", "WSGIScriptAlias requires at least two arguments, ", "at least two arg"),
    ("WSGIScriptAliasMatch ^/a",
     "WSGIScriptAliasMatch requires at least two arguments, ", "at least two arg"),
    ("WSGIScriptAliasMatch ^/(a /b.py", "WSGIScriptAliasMatch has \"^/(a\", which could not be "
     "compiled as a regular expression", "could not be compiled"),
    pytest.param(
        "ASGIScriptAlias /a /b.py process-group=%{GLOBAL}",
        "ASGIScriptAlias names %{GLOBAL} for the process group; applications of ASGI are served by "
        "a WSGIDaemonProcess, not in Apache's own processes", "",
        marks=pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    ),
    ("WSGIScriptAlias /a /b.py thread=1",
     f"WSGIScriptAlias {NO_OPTION.format('thread', ALIAS)}", "nvalid option"),
    ("WSGIScriptAlias /a /b.py nonsense",
     f"WSGIScriptAlias {NO_OPTION.format('nonsense', ALIAS)}", "nvalid option"),
    *(
        (f"WSGIScriptAlias /a /b.py {option}=",
         f"WSGIScriptAlias: {option}=\"\" is not allowed, it must name {thing}", f"{thing[2:]}")
        for option, thing in {
            "process-group": "a process group", "application-group": "an application group",
            "callable-object": "a callable object",
        }.items()
    ),
    ("WSGIScriptAlias /a /b.py pass-authorization=Yes",
     "WSGIScriptAlias: pass-authorization=\"Yes\" must be one of: Off | On", "authorization"),
    *(
        (f"{name} process-group=none application-group=x",
         f"{name.split()[0]} names the process group \"none\", which is not yet configured: a "
         "WSGIDaemonProcess line must come first", "not yet configured")
        for name in ("WSGIScriptAlias /a /b.py", "WSGIImportScript /b.py")
    ),
    *(
        (THEIRS.format(server, f"{name} process-group=theirs application-group=x"),
         f"{name.split()[0]} {ELSEWHERE.format(hidden)}", hidden.partition(":")[0])
        for name in ("WSGIScriptAlias /a /b.py", "WSGIImportScript /b.py")
        for server, hidden in (
            ("ServerName ours", "accessible: the virtual host at "),
            ("", "matchable: either this server or the virtual host at "),
        )
    ),
    # Scripts.
    *((framed(name, name), f"{name} needs the location of the {kind} script", "ocation of")
      for name, kind in SCRIPTS.items()),
    *((framed(name, f"{name} /a.py process-group=x"),
       f"{name} {NO_OPTION.format('process-group', 'application-group')}", "nvalid option")
      for name in SCRIPTS),
    ("WSGIImportScript", "WSGIImportScript needs the location of the import script", "ocation of"),
    ("WSGIImportScript /a application-group=x",
     "WSGIImportScript needs the option process-group=", "process group"),
    ("WSGIImportScript /a process-group=%{GLOBAL}",
     "WSGIImportScript needs the option application-group=", "application group"),
    ("WSGIHandlerScript", "WSGIHandlerScript needs the name of the handler", "ame "),
    ("WSGIHandlerScript name", "WSGIHandlerScript needs the location of the handler script for "
     "the handler \"name\"", "ocation"),
    # Blocks.
    (f"<WSGIInterpreterOptions process-group=a\n{END}", "WSGIInterpreterOptions is missing "
     "its closing '>'", "missing closing '>'"),
    *((f"<WSGIInterpreterOptions {word}>\n{END}",
       f"WSGIInterpreterOptions has no selector \"{word.removesuffix('=b')}\"; it takes name=value "
       "with one of these names: process-group, application-group", "WSGIInterpreterOptions")
      for word in ("a", "a=b")),
    (f"<WSGIInterpreterOptions process-group=a Process-Group=b>\n{END}",
     "WSGIInterpreterOptions has \"Process-Group\" more than once", "process-group"),
    differs("interpreter-options-foreign",
     f"<WSGIInterpreterOptions>\n<WSGIInterpreterOptions>\n{END}\n{END}",
     "WSGIInterpreterOptions cannot occur within <WSGIInterpreterOptions> section", ""),
    # Telemetry.
    ("WSGITelemetryService", "WSGITelemetryService takes one or two arguments, ", "takes "),
    ("WSGITelemetryService udp:1.2.3.4:5", "WSGITelemetryService must be unix:/path, the path of a "
     "Unix socket (UDP is not supported), not \"udp:1.2.3.4:5\"", "unix:/path"),
    ("WSGITelemetryService unix:/t every=1", "WSGITelemetryService takes interval=seconds as its "
     "second argument, not \"every=1\"", "interval="),
    ("WSGITelemetryService unix:/t interval=0.4", "WSGITelemetryService has interval=\"0.4\", it "
     "must be at least 0.5 seconds", "0.5"),
    ("WSGITelemetryOptions", "WSGITelemetryOptions needs at least one flag: None | All | "
     "CaptureUserAgent", "flag"),
    ("WSGITelemetryOptions All +CaptureUserAgent",
     "WSGITelemetryOptions cannot mix flags with and without a + or - sign", "mix"),
    ("WSGITelemetryOptions +", "WSGITelemetryOptions has a sign without a flag; the only flag is "
     "CaptureUserAgent", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions -None", "WSGITelemetryOptions cannot have a sign before \"None\", only "
     "before CaptureUserAgent", "WSGITelemetryOptions"),
    ("WSGITelemetryOptions Everything", "WSGITelemetryOptions has no flag \"Everything\"; there "
     "are None | All | CaptureUserAgent", "Everything"),
    # Process groups.
    ("WSGIDaemonProcess", "WSGIDaemonProcess needs the name of the process group", "ame"),
    ("WSGIDaemonProcess site thread=5", "WSGIDaemonProcess has no option \"thread\" "
     "(did you mean \"threads\"?); it takes name=value with one of these names: user, group, ",
     "nvalid option"),
    ("WSGIDaemonProcess site\n<VirtualHost *>\nWSGIDaemonProcess site\n</VirtualHost>",
     "WSGIDaemonProcess \"site\" duplicates a previous definition, in the main server; remove this "
     "line, or take another name", "duplicates"),
    ("<VirtualHost *>\nWSGIDaemonProcess site\n</VirtualHost>\nWSGIDaemonProcess site",
     "WSGIDaemonProcess \"site\" duplicates a previous definition; remove one of the lines, or "
     "take another name; the first is in the server at ", "duplicates"),
    ("<VirtualHost *>\nWSGIDaemonProcess site\n</VirtualHost>\n<VirtualHost *>\n"
     "WSGIDaemonProcess site threads=2\n</VirtualHost>",
     "WSGIDaemonProcess \"site\" duplicates a previous definition, with other options; give both "
     "lines the same options, take another name, or ", "duplicates"),
    ("WSGIDaemonProcess site script-user=root script-group=root",
     "WSGIDaemonProcess takes only one of script-user= and script-group=", "script-group"),
    differs("callable-object-factory", "WSGICallableObject create_app(1)",
     "WSGICallableObject must name a callable object, or a function that makes one and needs no "
     "arguments, such as create_app(), not \"create_app(1)\"; write \"application = "
     "create_app(1)\" into the script instead", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "ours", "theirs"), REFUSED)
def test_a_line_is_refused_with_a_sentence(printed, env, text, ours, theirs):
    said = printed(text, False)
    assert (theirs or ours if env.oracle else f"\n{ours}") in said
    assert re.search(r"line \d+ of .*/httpd\.conf:", said)


# A line, and what it warns of.
WARNED = [
    ("WSGIPythonOptimize On", "WSGIPythonOptimize must be a whole number; \"On\" is read as 0"),
    ("WSGITrustedProxyHeaders Forwarded",
     "WSGITrustedProxyHeaders ignores \"Forwarded\", which is not one of: "),
    ("WSGIDaemonProcess site threads=5x",
     "WSGIDaemonProcess: threads=\"5x\" is read as 5, \"x\" is ignored"),
    ("WSGIDaemonProcess site server-metrics=On",
     "WSGIDaemonProcess server-metrics=On has no effect: a daemon process has none of Apache's "
     "memory, and "),
    ("WSGIDaemonProcess site newrelic-environment=x",
     "WSGIDaemonProcess: newrelic-environment= has no effect: the application starts the New "
     "Relic agent itself since mod_wsgi 6"),
    (f"<WSGIInterpreterOptions application-group=a>\nWSGIFreeThreading On\n{END}",
     "WSGI0201: WSGIFreeThreading has no effect in a block with application-group=: it holds for "
     "whole processes"),
]  # fmt: skip


@pytest.mark.ours_only("mod_wsgi says nothing, or in other words")
@pytest.mark.parametrize(("text", "warning"), WARNED)
def test_a_line_that_is_accepted_may_warn(printed, text, warning):
    said = printed(text, True)
    assert re.search(r"\[wsgi:warn\].*" + re.escape(warning), said)


# --- the source against these tables --------------------------------------------------------------

SAYING = re.compile(
    r"\b(?:error|arity_error|warn|notice)\(\s*"
    r"(?:line,\s*)?(?:&?format!\(|format_args!\()?\s*"
    r'"((?:[^"\\]|\\.)*)"',
    re.DOTALL,
)
# Said where these tables do not reach, and where they are tried.
GROUP_NAMES = "config/test_group_names"
ELSEWHERE_TRIED = {
    "is not allowed in .htaccess files": "Apache refuses the line before us",
    "needs Apache to be started as root": "config/test_daemon_options",
    "{} has no effect: use LogLevel wsgi:debug": "server/test_process_wide",
    "{} has no effect: {reason}": "above, for what mod_wsgi 4 had",
    "takes one argument": "Apache says it before us",
    '{}: environment= names the variable "{}", which Apache does not have{meant}': GROUP_NAMES,
    "{} names the application group {}, which is not expanded here{}": GROUP_NAMES,
}


def sayings():
    """What src/config has to say about a line, with {} for what stands in it."""
    for path in sorted((REPO / "src/config").glob("*.rs")):
        code = path.read_text().partition("\n#[cfg(test)]\nmod tests")[0]
        if path.name != "stub.rs":
            for text in SAYING.findall(code):
                text = re.sub(r"\\\n\s*", "", text).replace('\\"', '"')
                yield text


@pytest.mark.ours_only("reads our source")
def test_every_message_of_the_configuration_is_tested():
    options = [*daemon_options.OPTIONS.values(), *daemon_options.OURS.values()]
    rows = [getattr(row, "values", row) for row in REFUSED]
    tried = [
        *(ours for _, ours, _ in rows),
        *(warning for _, warning in WARNED),
        *(sentence for _, bad in options for sentence in bad.values()),
        *(f"must be one of: {words}, not " for words in WORDS.values()),
        "cannot occur within <VirtualHost> section",
    ]
    found = list(sayings())
    assert len(found) > 50
    untried = []
    for text in found:
        # The tables leave out how long sentences end.
        pattern = ".*".join(map(re.escape, re.split(r"\{[^{}]*\}?", text[:60])))
        if text not in ELSEWHERE_TRIED and not any(re.search(pattern, line) for line in tried):
            untried.append(text)
    assert untried == []
