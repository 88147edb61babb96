"""WSGITelemetryService and WSGITelemetryOptions: read and checked; nothing is sent yet."""

import pytest
from harness.conf import Conf

SERVICE = "WSGITelemetryService unix:/run/telemetry.sock interval=2\n"
OPTIONS = "WSGITelemetryOptions +CaptureUserAgent\n"
APPLICATION = "WSGIPythonPath ${APPS}\nWSGIScriptAlias / ${APPS}/ask.py\n"
SAID = "WSGITelemetryService is accepted, but this version of mod_wsgi_rs sends nothing yet"


@pytest.mark.ours_only("mod_wsgi sends")
def test_that_nothing_is_sent_is_said_once_at_the_start(serve):
    server = serve(Conf(SERVICE + OPTIONS + APPLICATION), private=True)
    assert server.get("/?1").status == 200
    assert len(server.log.find(SAID)) == 1
    server.log.expect(SAID)


def test_without_a_service_nothing_is_said(serve):
    server = serve(Conf(OPTIONS + APPLICATION))
    assert server.get("/?1").status == 200
    assert server.log.find("Telemetry") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WSGITelemetryService", "WSGITelemetryService takes"),
        ("WSGITelemetryService /run/t", "unix:"),
        ("WSGITelemetryService unix:/run/t interval=0.1", "0.5"),
        ("WSGITelemetryService unix:/run/t every=1", "interval="),
        ("WSGITelemetryOptions", "WSGITelemetryOptions"),
        ("WSGITelemetryOptions Everything", "Everything"),
        ("WSGITelemetryOptions All +CaptureUserAgent", "mix"),
    ],
)
def test_a_bad_line_is_refused(configtest, line, words):
    accepted, printed = configtest(Conf(line))
    assert not accepted
    assert words in printed


@pytest.mark.parametrize("line", [SERVICE, OPTIONS])
@pytest.mark.parametrize("section", ["VirtualHost *", "Directory /srv"])
def test_the_directives_are_about_the_whole_server(configtest, section, line):
    accepted, printed = configtest(Conf(f"<{section}>\n{line}</{section.split()[0]}>"))
    assert not accepted
    assert "WSGITelemetry" in printed
