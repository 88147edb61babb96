"""WSGIAuthUserScript with Basic and Digest, WSGIAuthGroupScript: who a client is."""

import contextlib
import hashlib
import subprocess
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest
from harness.access import FILES, TRACEBACK, TURNED_AWAY
from harness.client import TIMEOUT, ask, basic
from harness.conf import Conf

AUTH = ("auth_basic", "auth_digest", "authn_core", "authn_file", "authz_user", "access_compat")

TEXT = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${APPS}/ask.py
    WSGIApplicationGroup %{GLOBAL}
    <LocationMatch "^/(basic|digest|group|both)">
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        AuthDigestProvider wsgi
        WSGIAuthUserScript ${APPS}/access.py
        WSGIAuthGroupScript ${APPS}/access.py
        Require valid-user
    </LocationMatch>
    <LocationMatch "^/(digest|group/digest)">
        AuthType Digest
    </LocationMatch>
    <Location /both>
        AuthBasicProvider wsgi file
        AuthUserFile ${ROOT}/users
    </Location>
    <Location /group>
        Require wsgi-group Staff "two words"
    </Location>
    <LocationMatch "^/(basic|digest|group)/unset">
        WSGIAuthUserScript ${ROOT}/empty.py
        WSGIAuthGroupScript ${ROOT}/empty.py
    </LocationMatch>
    <LocationMatch "^/(basic|digest)/broken">
        WSGIAuthUserScript ${ROOT}/broken.py
    </LocationMatch>
    <Location /group/broken>
        WSGIAuthGroupScript ${ROOT}/broken.py
    </Location>
    <LocationMatch "^/unscripted/(basic|digest)">
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        AuthDigestProvider wsgi
        Require valid-user
    </LocationMatch>
    <Location /unscripted/digest>
        AuthType Digest
    </Location>
    <Location /unscripted/group>
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        WSGIAuthUserScript ${APPS}/access.py
        Require wsgi-group staff
    </Location>
"""
# carol:secret
USERS = ("users", "carol:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
AUTHENTICATION = Conf(TEXT, AUTH, files=(*FILES, USERS))


@pytest.fixture
def server(serve):
    server = serve(AUTHENTICATION)
    server.log.allow(TURNED_AWAY)
    return server


# --- Basic ----------------------------------------------------------------------------------------


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (None, 401),
        ("alice:wonder", 200),
        ("alice:wander", 401),
        ("alice:", 401),
        ("mallory:wonder", 401),
        ("zo\xeb:\xfcber", 200),
    ],
)
def test_a_password_is_checked(get, credentials, status):
    response = get("/basic", credentials=credentials)
    assert response.status == status
    if status == 401:
        assert response.header("WWW-Authenticate") == 'Basic realm="the realm"'


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ("True", 200, None),
        ("False", 401, None),
        ("None", 401, None),
        ("user == 'someone' and password == 'x:y' and type(user) is str", 200, None),
        ("''", 500, "WSGI0176: "),
        ("1", 500, "WSGI0177: "),
        ("b'alice'", 500, "WSGI0177: "),
        ("[]", 500, "WSGI0177: "),
        ("1 / 0", 500, "WSGI0174: "),
    ],
)
def test_the_answer_about_a_password_decides(get, server, answer, status, code):
    assert get("/basic", answer, "someone:x:y").status == status
    if code:
        server.log.expect(code)
    server.log.allow("AH01796", TRACEBACK)


def test_remote_user_reaches_the_application(server, get):
    headers = {"Authorization": basic("alice:wonder")}
    expression = "[environ['REMOTE_USER'], environ['AUTH_TYPE'], environ.get('HTTP_AUTHORIZATION')]"
    assert ask(server, expression, "/basic", headers=headers) == ["alice", "Basic", None]


def test_a_script_may_give_a_user_another_name(server):
    headers = {"Authorization": basic("alice:wonder"), "X-Answer": "'Lid' + chr(233) + 'll'"}
    user = "environ['REMOTE_USER'].encode('latin-1').decode()"
    assert ask(server, user, "/basic", headers=headers) == "Lid\xe9ll"


@pytest.mark.differs("auth-nul", "mod_wsgi cuts the name at the NUL")
def test_user_name_with_a_nul_is_denied(get, server):
    assert get("/basic", "'root' + chr(0) + 'x'", "alice:wonder").status == 500
    server.log.expect("WSGI0176: ")


def test_an_unknown_user_is_asked_of_the_next_provider(get):
    assert get("/both", credentials="carol:secret").status == 200
    assert get("/both", credentials="carol:wrong").status == 401
    assert get("/both", credentials="alice:wonder").status == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [("/unscripted/basic", "WSGI0041: "), ("/basic/unset", "WSGI0043: ")],
)
def test_without_a_script_or_a_function_passwords_are_a_500(get, server, path, code):
    assert get(path, credentials="alice:wonder").status == 500
    server.log.expect(code)


def test_unloadable_script_denies_access(get, server):
    assert get("/basic/broken", credentials="alice:wonder").status == 500
    server.log.expect_traceback("WSGI0174: ", "^KeyError")
    server.log.allow("WSGI0109")


# --- Digest ---------------------------------------------------------------------------------------


def open_with(handler, server, path, user, password, **headers):
    """(status, body) as urllib gets it, which answers the challenge itself."""
    url = f"http://127.0.0.1:{server.port}{path}"
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, user, password)
    opener = urllib.request.build_opener(handler(passwords))
    request = urllib.request.Request(url, headers=headers)
    try:
        with contextlib.closing(opener.open(request, timeout=TIMEOUT)) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except ValueError:
        # urllib gives up where it is challenged once more.
        return 401, b""


def curl(server, path, *options):
    """The status and the body that curl gets."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["curl", "-s", "-m", str(TIMEOUT), "-w", "\n%{http_code}", *options, url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body, _, status = printed.rpartition("\n")
    return int(status), body


@pytest.mark.parametrize(("password", "status"), [("wonder", 200), ("wander", 401), ("", 401)])
@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_clients_of_both_kinds_come_in_with_the_right_password(server, kind, password, status):
    handler = {
        "basic": urllib.request.HTTPBasicAuthHandler,
        "digest": urllib.request.HTTPDigestAuthHandler,
    }[kind]
    expression = quote("[environ['REMOTE_USER'], environ['AUTH_TYPE']]")
    found, body = open_with(handler, server, f"/{kind}/?{expression}", "alice", password)
    assert found == status
    if status == 200:
        assert body == f'["alice", "{kind.title()}"]'.encode()
    found, body = curl(server, f"/{kind}/?1", f"--{kind}", "-u", f"alice:{password}")
    assert found == status


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        # The MD5 of `alice:the realm:wonder`.
        ("'00' * 16", 401, None),
        ("None", 401, None),
        ("user == 'alice' and realm == 'the realm' and HASH", 200, None),
        ("HASH.encode()", 200, None),
        ("''", 500, "WSGI0178: "),
        ("b''", 500, "WSGI0178: "),
        ("True", 500, "WSGI0179: "),
        ("1", 500, "WSGI0179: "),
        ("chr(8364)", 500, "WSGI017"),
        ("1 / 0", 500, "WSGI0174: "),
    ],
)
def test_the_hash_of_a_user_decides(server, answer, status, code):
    answer = answer.replace("HASH", "'" + "5" * 32 + "'")
    digits = hashlib.md5(b"alice:the realm:wonder").hexdigest()
    answer = answer.replace("5" * 32, digits)
    found, _ = curl(
        server, "/digest/?1", "--digest", "-u", "alice:wonder", "-H", f"X-Answer: {answer}"
    )
    assert found == status
    if code:
        server.log.expect(code)
    server.log.allow("AH01789", TRACEBACK)


@pytest.mark.parametrize(
    ("path", "code"),
    [("/unscripted/digest", "WSGI0044: "), ("/digest/unset", "WSGI0046: ")],
)
def test_without_a_script_or_a_function_hashes_are_a_500(server, path, code):
    status, _ = curl(server, f"{path}/?1", "--digest", "-u", "alice:wonder")
    assert status == 500
    server.log.expect(code)
    server.log.allow("AH01789")


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "status"),
    [(None, 401), ("alice:wonder", 200), ("bob:builder", 200), ("alice:wrong", 401)],
)
def test_members_of_a_required_group_come_in(server, credentials, status):
    options = ("--basic", "-u", credentials) if credentials else ()
    assert curl(server, "/group/?1", *options)[0] == status


GROUPS = {
    "['STAFF']": (200, None),
    "('x', b'staff')": (200, None),
    "{'two words'}": (200, None),
    "(name for name in ['staff'])": (200, None),
    "['two', 'words']": (401, "WSGI0060: "),
    "[]": (401, "WSGI0059: "),
    "['x', 1]": (401, "WSGI0050: "),
    "['x', chr(8364)]": (401, "WSGI0049: "),
    "None": (401, "WSGI0051: "),
    "True": (401, "WSGI0051: "),
    "1": (401, "WSGI0051: "),
    "1 / 0": (401, "WSGI0174: "),
}


@pytest.fixture
def grouped(serve):
    """grouped(answer, path) is the status where only the groups depend on the answer."""
    text = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias / ${APPS}/ask.py
    <Location />
        AuthName "the realm"
        AuthType Basic
        AuthBasicProvider wsgi
        WSGIAuthUserScript ${ROOT}/permissive.py
        WSGIAuthGroupScript ${APPS}/access.py
        Require wsgi-group staff "two words"
    </Location>
    <Location /guards>
        WSGIAuthGroupScript ${APPS}/access.py application-group=guards
    </Location>
    <Location /empty>
        WSGIAuthGroupScript ${ROOT}/permissive.py
    </Location>
    <Location /broken>
        WSGIAuthGroupScript ${ROOT}/broken.py
    </Location>
    <Location /authoritative/on>
        WSGIGroupAuthoritative On
    </Location>
    <Location /authoritative/off>
        WSGIGroupAuthoritative Off
    </Location>
    """
    permissive = "def check_password(environ, user, password):\n    return True\n"
    files = (("permissive.py", permissive), ("broken.py", "raise KeyError('on purpose')\n"))
    server = serve(Conf(text, AUTH, files=files))
    server.log.allow(TURNED_AWAY)

    def grouped(answer, path="/"):
        options = ["--basic", "-u", "zoe:any", "-H", f"X-Answer: {answer}"]
        return curl(server, f"{path}?1", *options)[0]

    grouped.log = server.log
    return grouped


@pytest.mark.parametrize("answer", GROUPS)
def test_the_groups_of_a_user_decide(grouped, answer):
    status, code = GROUPS[answer]
    assert grouped(answer) == status
    if code:
        grouped.log.expect(code)
    grouped.log.allow(TRACEBACK)


@pytest.mark.differs("group-list-is-no-text", "mod_wsgi takes each character for a group")
def test_a_text_is_no_list_of_groups(grouped):
    assert grouped("'staff'") == 401
    grouped.log.expect("WSGI0051: .*returned a str")


@pytest.mark.parametrize("path", ["/authoritative/on", "/authoritative/off"])
@pytest.mark.parametrize(("groups", "status"), [("['staff']", 200), ("['others']", 401)])
def test_wsgigroupauthoritative_changes_no_decision(grouped, path, groups, status):
    assert grouped(groups, path) == status
    grouped.log.allow("WSGI00" if status != 200 else TURNED_AWAY)


def test_groups_are_asked_in_the_interpreter_that_is_named(grouped):
    answer = "[environ['mod_wsgi.application_group'] == 'guards' and 'staff' or 'none']"
    assert grouped(answer, "/guards") == 200


@pytest.mark.parametrize(("path", "code"), [("/empty", "WSGI0052: "), ("/broken", "WSGI0109: ")])
def test_failing_group_script_denies_access(grouped, path, code):
    assert grouped("['staff']", path) == 401
    grouped.log.expect(code)
    grouped.log.allow(TRACEBACK)


def test_require_wsgi_group_without_a_script_denies_access(get, server):
    assert get("/unscripted/group", credentials="alice:wonder").status == 401
    server.log.expect("WSGI0058: ")


@pytest.mark.differs("group-needs-a-name", "mod_wsgi accepts the line, and refuses every user")
def test_require_wsgi_group_needs_a_name(configtest):
    accepted, printed = configtest(Conf("<Location /x>\nRequire wsgi-group\n</Location>", AUTH))
    assert not accepted
    assert "Require wsgi-group needs the name of at least one group" in printed
