"""mod_wsgi.subscribe_events and its kin: what callbacks are told, and what they may change."""

import json
import os
import signal
from urllib.parse import quote

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

EVENTS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/events.py application-group=%{GLOBAL}
    """
)
# Two, so that neither has the process for itself.
NAMED = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /named ${APPS}/events.py application-group=named
    WSGIScriptAlias /other ${APPS}/events.py application-group=other
    """
)
BY_MOUNT = [("/main", EVENTS), ("/named", NAMED)]

REQUEST = {"request_id", "request_data"}
MOMENTS = {"request_start", "queue_start", "daemon_start"}
STARTED = (
    REQUEST
    | MOMENTS
    | {
        "thread_id",
        "daemon_connects",
        "daemon_restarts",
        "server_pid",
        "application_object",
        "callable_object",
        "application_start",
    }
)
RESPONSE = REQUEST | {"response_status", "response_headers", "exception_info"}
FINISHED = (
    REQUEST
    | MOMENTS
    | {
        "thread_id",
        "server_pid",
        "input_reads",
        "input_length",
        "input_time",
        "output_length",
        "output_writes",
        "output_time",
        "application_finish",
        "application_time",
        "status",
        "gil_wait_time",
        "gil_wait_count",
    }
)
CPU = {"cpu_user_time", "cpu_system_time", "cpu_time"}


@pytest.fixture
def server(serve):
    return serve(EVENTS)


def heard(server, path, mount="/main"):
    """[(name, payload)] of the newest request for the path, once it is over."""

    def events():
        told = server.get(f"{mount}/told?{path}").json()
        starts = [at for at, (name, _) in enumerate(told) if name == "request_started"]
        newest = list(told[starts[-1] :]) if starts else []
        return newest if newest and newest[-1][0] == "request_finished" else None

    return wait_until(events, f"the end of {path}")


@pytest.mark.all_mpms
@pytest.mark.parametrize(("mount", "conf"), BY_MOUNT)
def test_request_event_sequence_is_published(serve, mount, conf):
    server = serve(conf)
    assert server.post(f"{mount}/reads", "abcde\nfgh").body == b"x" * 9 + b"more"
    events = heard(server, "/reads", mount)
    assert [name for name, _ in events] == [
        "request_started",
        "response_started",
        "request_finished",
    ]
    started, response, finished = (payload for _, payload in events)
    assert set(started) == STARTED
    assert set(response) == RESPONSE
    assert set(finished) - CPU == FINISHED
    assert set(finished) & CPU in (set(), CPU)

    assert started["request_id"] == response["request_id"] == finished["request_id"] != ""
    assert started["callable_object"] == "application"
    assert started["application_object"] == "application"
    assert isinstance(started["server_pid"], int)
    embedded = server.mode == "embedded"
    assert (started["queue_start"] == 0) is embedded
    assert (started["daemon_start"] == 0) is embedded
    moments = [started[name] for name in ("request_start", "queue_start", "daemon_start")]
    moments = [moment for moment in (*moments, started["application_start"]) if moment]
    assert moments == sorted(moments)

    assert response["response_status"] == "201 Created"
    assert response["response_headers"][1] == ["X-Header", "value"]
    assert response["exception_info"] is None

    assert finished["status"] == 201
    assert finished["input_length"] == 9
    assert finished["input_reads"] in (2, 3)
    assert (finished["output_writes"], finished["output_length"]) == (2, 13)
    assert finished["application_finish"] >= started["application_start"]
    assert finished["application_time"] >= finished["output_time"] > 0
    assert finished["gil_wait_count"] >= 0
    assert finished["thread_id"] == started["thread_id"]


@pytest.mark.parametrize(
    ("path", "status"), [("simple", 200), ("twice", 500), ("bad_header", 200), ("silent", 500)]
)
def test_the_status_at_the_end_is_the_answers(server, path, status):
    assert server.get(f"/main/{path}").status == status
    assert heard(server, f"/{path}")[-1][1]["status"] == status
    server.log.allow("silent|RuntimeError|Traceback|start_response")


def test_response_started_comes_before_anything_is_checked(server):
    assert server.get("/main/bad_header").text == "fine"
    statuses = [
        payload["response_headers"][0][0]
        for name, payload in heard(server, "/bad_header")
        if name == "response_started"
    ]
    assert statuses == ["Bad Name", "Content-Type"]


def test_exception_info_of_start_response_is_published(server):
    assert server.get("/main/twice").status == 500
    first, second = (
        payload["exception_info"]
        for name, payload in heard(server, "/twice")
        if name == "response_started"
    )
    assert first is None
    assert second[0] == "ValueError"


@pytest.mark.parametrize(("path", "names"), [("raises", 3), ("raises_late", 4)])
def test_exception_is_published_before_request_finished(server, path, names):
    server.get(f"/main/{path}")
    server.log.expect_traceback("WSGI0174", "ValueError: raised for the event")
    events = heard(server, f"/{path}")
    assert len(events) == names
    name, payload = events[-2]
    assert name == "request_exception"
    assert set(payload) == REQUEST | {"exception_info"}
    assert payload["exception_info"][0] == "ValueError"


def test_request_data_and_environ_are_one_for_callbacks_and_application(server):
    assert server.get("/main/simple?mark").text == "yes {'mark': 'from the start'}"
    assert heard(server, "/simple")[-1][1]["request_data"] == {"mark": "from the start"}
    assert server.get("/main/simple").text == "None {}"


def test_a_callback_may_replace_the_application(server):
    assert server.get("/main/replace").text == "replaced"
    try:
        assert server.get("/main/simple").text == "the other application"
        assert ["extra", {"extra": 7}] in server.get("/main/told?").json()
    finally:
        assert server.get("/main/restore").text == "restored"
    assert server.get("/main/simple").text == "None {}"


@pytest.mark.parametrize(("kind", "code"), [("ValueError", "WSGI0112"), ("SystemExit", "WSGI0190")])
def test_raising_callback_is_reported_and_harms_no_request(server, kind, code):
    assert server.get(f"/main/break_callback?{quote(f'request_started={kind}')}").text == "armed"
    assert server.get("/main/simple").status == 200
    server.log.expect(code, f"{kind}: ")
    server.log.allow("Traceback|  File|    |~|\\^")


def test_events_of_one_interpreter_are_not_published_in_another(serve):
    server = serve(NAMED)
    server.get("/named/simple")
    ids = {payload["request_id"] for _, payload in heard(server, "/simple", "/named")}
    elsewhere = server.get("/other/told?").json()
    assert not ids & {payload.get("request_id") for _, payload in elsewhere}


def test_a_thread_without_a_request_has_no_request_data(server):
    assert server.get("/main/in_thread").text.startswith("RuntimeError: ")


# --- mod_wsgi.RequestTimeout ----------------------------------------------------------------------


def test_a_request_timeout_is_a_504(server):
    assert server.get("/main/timed_out").status == 504
    server.log.expect("Request interrupted by RequestTimeout; thread recovered")
    assert not server.log.find("WSGI017[45]")


def test_a_request_timeout_after_the_head_cuts_the_answer(server):
    reply = server.get("/main/timed_out_late")
    assert (reply.status, reply.body) == (200, b"some")
    server.log.expect("Request interrupted by RequestTimeout after")
    assert not server.log.find("WSGI017[45]")


# --- the process ----------------------------------------------------------------------------------


@pytest.mark.all_mpms
@pytest.mark.parametrize(("mount", "conf"), BY_MOUNT)
def test_process_stopping_is_published(serve, mount, conf):
    server = serve(conf, private=True)
    assert server.get(f"{mount}/on_shutdown").status == 200
    assert server.get(f"{mount}/say?process_stopping").status == 200
    server.stop(signal.SIGTERM)
    reason = "" if server.mode == "embedded" else "shutdown_signal"
    told = json.dumps({"shutdown_reason": reason})
    server.log.expect(f"event process_stopping {told}", f"shutdown process_stopping {told}")


def test_process_stopping_is_published_without_destroyinterpreter(serve):
    server = serve(Conf("WSGIDestroyInterpreter Off\n" + EVENTS.text), private=True)
    assert server.get("/main/on_shutdown").status == 200
    server.stop(signal.SIGTERM)
    server.log.expect("shutdown process_stopping")


@pytest.mark.parametrize("mode", ["daemon"])
@pytest.mark.parametrize("signame", ["SIGHUP", "SIGUSR2"])
def test_daemon_process_publishes_its_signals(serve, signame, mode):
    server = serve(NAMED, private=True)
    pid = int(server.get("/named/on_signal").text)
    assert int(server.get("/other/say?process_signal").text) == pid
    number = getattr(signal, signame)
    os.kill(pid, number)
    told = json.dumps({"signame": signame, "signum": int(number)})
    server.log.expect(f"signal process_signal {told}", f"event process_signal {told}")
    assert int(server.get("/named/say?").text) == pid


@pytest.mark.embedded_only("daemon processes have signals")
def test_subscribing_to_signals_in_embedded_mode_is_noted(server):
    assert server.get("/main/on_signal").status == 200
    server.log.expect("subscribe_signals.* embedded mode|outside daemon mode", "in on_signal")


@pytest.mark.ours_only("maximum-requests ends another way there")
@pytest.mark.parametrize("mode", ["daemon"])
def test_reason_of_a_replacement_is_published(serve, mode):
    text = """
    WSGIDaemonProcess short threads=2 python-path=${APPS} maximum-requests=2
    WSGIScriptAlias /main ${APPS}/events.py process-group=short application-group=%{GLOBAL}
    """
    server = serve(Conf(text), private=True)
    for _ in range(2):
        assert server.get("/main/on_shutdown").status == 200
    server.log.expect('shutdown process_stopping {"shutdown_reason": "maximum_requests"}', count=2)
