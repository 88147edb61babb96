"""Which lines make an application one of ASGI, and which configurations are refused."""

import pytest
from harness.asgi import APP
from harness.conf import Conf

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

GROUP = "WSGIDaemonProcess site\n"
WSGI = (
    "wsgi.py",
    "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    "    return [b'wsgi']\n",
)


def conf(text, **others):
    return Conf(text, files=(("app.py", APP), WSGI), threads=8, **others)


@pytest.mark.parametrize(
    "lines",
    [
        "WSGIDaemonProcess site\nASGIScriptAlias / ${ROOT}/app.py process-group=site",
        "ASGIScriptAlias / ${ROOT}/app.py process-group=site\nWSGIDaemonProcess site",
        "WSGIDaemonProcess site\nASGIScriptAliasMatch ^/ ${ROOT}/app.py process-group=site",
        "WSGIDaemonProcess site\n"
        "WSGIScriptAlias / ${ROOT}/app.py interface=asgi process-group=site",
        "WSGIDaemonProcess site interface=asgi\nASGIScriptAlias / ${ROOT}/app.py\n"
        "WSGIProcessGroup site",
        "WSGIDaemonProcess site interface=ASGI\nWSGIProcessGroup site\nAlias / ${ROOT}/app.py/\n"
        "<Location />\nSetHandler asgi-script\nOptions +ExecCGI\n</Location>",
    ],
)
def test_lines_lead_to_an_application_of_asgi(private, lines):
    server = private(conf(f"WSGIRestrictEmbedded On\n{lines}\n", modules=("alias",)))
    assert server.get("/scope").json()["type"] == "http"


def test_both_interfaces_are_served_by_one_server(private):
    server = private(
        conf(
            "WSGIRestrictEmbedded On\nWSGIDaemonProcess a\nWSGIDaemonProcess w\n"
            "ASGIScriptAlias /a ${ROOT}/app.py process-group=a\n"
            "WSGIScriptAlias /w ${ROOT}/wsgi.py process-group=w\n"
        )
    )
    assert server.get("/w").text == "wsgi"
    assert server.get("/a/scope").json()["root_path"] == "/a"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            "ASGIScriptAlias / /app.py process-group=%{GLOBAL}",
            "applications of ASGI are served by a WSGIDaemonProcess",
        ),
        (
            GROUP + "ASGIScriptAlias /a /a.py process-group=site\n"
            "WSGIScriptAlias /w /w.py process-group=site",
            "each process group serves one of the two",
        ),
        (
            "WSGIDaemonProcess site interface=wsgi\nASGIScriptAlias /a /a.py process-group=site",
            "each process group serves one of the two",
        ),
        (
            "WSGIDaemonProcess site warm-up=/ interface=asgi",
            "warm-up= is not for applications of ASGI",
        ),
    ],
)
def test_configuration_that_cannot_work_is_refused(configtest, lines, sentence):
    accepted, printed = configtest(Conf(lines + "\n"))
    assert not accepted
    assert sentence in printed


def test_application_of_asgi_in_apaches_own_processes_is_a_500(private):
    server = private(conf("ASGIScriptAlias / ${ROOT}/app.py\n"))
    assert server.get("/").status == 500
    server.log.expect("WSGI0223: .*applications of ASGI are served by a WSGIDaemonProcess")


def test_application_of_the_other_interface_is_a_500(private):
    server = private(
        conf(
            "WSGIDaemonProcess site interface=asgi\nWSGIScriptAlias / ${ROOT}/wsgi.py\n"
            "WSGIProcessGroup site\n"
        )
    )
    assert server.get("/").status == 500
    server.log.expect("WSGI0224: .*serves applications of ASGI .*this is one of WSGI")
