"""What an administrator sees of requests that an event loop serves: slow ones with the place of
their tasks, events, `mod_wsgi.request_data()`, metrics and the state of the process.
"""

import concurrent.futures
import contextlib
import re
from pathlib import Path

import pytest
from harness import asgi_observed, command
from harness.asgi import conf
from harness.asgi_observed import APP, heard
from harness.httpd import wait_until
from harness.telemetry import Service
from harness.websocket import websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

SLOW = "WSGISlowRequests 0.3"
STATUS = """
<Location /wsgi-status>
    SetHandler wsgi-status
    WSGIStatusRequestLines Full
</Location>
"""


@pytest.fixture
def start(private):
    def start(options="", more="", **others):
        server = private(conf(options, more, app=APP, **others), lambda server: None)
        assert server.get("/quick").status == 200
        return server

    return start


def lines_about(server, path):
    """What the log has of a slow request, from its first line to the last before its end."""
    lines = [found.text for found in server.log.find(r"app\.py\] ")]
    first = next(at for at, text in enumerate(lines) if f"{path} has taken" in text)
    last = next(at for at, text in enumerate(lines) if f"{path} took" in text)
    return lines[first:last]


def test_slow_request_is_logged_with_the_place_of_its_task(start):
    server = start(more=SLOW)
    server.log.allow(r"app\.py\] ")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        # At once: one that waits, one that waits for tasks, and one that is fast.
        waiting = [pool.submit(server.get, path) for path in ("/sleep?2", "/tasks?2", "/quick")]
        assert [it.result().status for it in waiting] == [200, 200, 200]
    (first,) = server.log.wait_for(r"slow request GET /sleep\?2 has taken")
    (end,) = server.log.wait_for(r"slow request GET /sleep\?2 took")
    assert (first.level, end.level) == ("warn", "warn")
    assert "on the event loop" in first.text
    so_far, whole = (float(re.search(r" (\d+\.\d+) s", it.text)[1]) for it in (first, end))
    assert 0.3 <= so_far <= whole < 15
    server.log.wait_for(r"slow request GET /tasks\?2 took")
    assert not server.log.find("slow request GET /quick")
    every = [found.text for found in server.log.find(r"app\.py\] ")]
    # The frames stand as in a traceback, and the server's own call of the application is left out.
    places = [re.search(r" in (\w+)$", text)[1] for text in every if re.search(r"File ", text)]
    at = places.index("do_sleep")
    assert places[at - 1 : at + 3] == ["application", "do_sleep", "innermost", "sleep"]
    # One task waits in an asynchronous generator, the other in a coroutine with a limit on time.
    assert any(re.search(r"it waits for the task 'one\\+nof two':", text) for text in every)
    at = places.index("over_numbers")
    assert places[at : at + 4] == ["over_numbers", "numbers", "innermost", "sleep"]
    assert places.count("innermost") == 3
    assert not any("<mod_wsgi.asgi>" in text for text in every)


def test_requests_under_way_are_on_the_status_page_and_in_the_list_of_processes(start, env):
    server = start("asgi-concurrency=10", STATUS)
    assert server.get("/sleep?0").status == 200

    def site():
        (group,) = server.get("/wsgi-status?json").json()["groups"]
        return group

    def lines(group):
        (worker,) = group["workers"]
        return {request["line"]: request["age_seconds"] for request in worker["requests"]}

    def serves(*expected):
        """The group once these requests are listed, and no more those that have their answers."""
        return wait_until(lambda: set(lines(it := site())) == set(expected) and it, expected)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(server.get, "/sleep?inf")]
        # Of two that are sent at once either may be the older one.
        serves("GET /sleep?inf")
        waiting.append(pool.submit(server.get, "/tasks?inf"))
        group = serves("GET /sleep?inf", "GET /tasks?inf")
        ages = lines(group)
        assert group["oldest_request_seconds"] >= max(ages.values()) == ages["GET /sleep?inf"]
        assert group["requests_active"] == 2
        assert (group["interface"], group["capacity_per_worker"]) == ("asgi", 10)
        if Path(command.COMMAND).exists():
            words = ["ps", "--runtime-dir", server.root]
            listed = command.run_command(*words, cwd="/", module=env.module).stdout
            assert (listed.count("GET /sleep"), listed.count("GET /tasks")) == (1, 1)
        assert server.get("/release").text == "released"
        assert [it.result().status for it in waiting] == [200, 200]
    wait_until(lambda: site()["requests_active"] == 0, "the end of both")


@pytest.mark.needs_lock("the frames of a task that goes on meanwhile are not shown")
def test_slow_request_that_holds_the_loop_up_is_logged_meanwhile(start):
    server = start(more=SLOW)
    server.log.allow(r"app\.py\] ")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/block?3")
        server.log.wait_for(r"slow request GET /block\?3 has taken")
        server.log.wait_for("in hold_the_loop")
        assert not waiting.done()
        assert waiting.result().text == "blocked"
    server.log.wait_for(r"slow request GET /block\?3 took")
    places = [text for text in lines_about(server, r"/block?3") if "File " in text]
    assert [re.search(r" in (\w+)$", text)[1] for text in places] == [
        "application",
        "do_block",
        "hold_the_loop",
    ]


def test_event_stream_and_open_websocket_are_not_slow(start):
    server = start(more=SLOW)
    with websocket(server.port, "/socket") as opened:
        assert server.get("/stream?1.5").body.count(b"data") == 2
        opened.close()
    server.stop()
    assert not server.log.find("slow request")


def test_slow_request_of_a_virtual_host_is_in_its_own_log(start):
    more = f"""{SLOW}
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName other.example
        ErrorLog "${{ROOT}}/other_log"
    </VirtualHost>
    """
    server = start(more=more)
    assert server.get("/sleep?1", host="other.example").text == "slept"
    wait_until(
        lambda: re.search(
            r"sleep\?1 has taken.*in innermost.*sleep\?1 took",
            (server.root / "other_log").read_text(),
            re.DOTALL,
        ),
        "the lines",
    )
    assert not server.log.find("slow request")


def test_request_beyond_request_timeout_is_logged_with_the_place_of_its_task(start):
    server = start("request-timeout=1 graceful-timeout=1 shutdown-timeout=2")
    server.log.allow(
        "request-timeout", "still running", r"app\.py\] ", "was killed", "did not stop"
    )
    assert server.get("/sleep?600").status == 504
    server.log.wait_for(r"hanging request GET /sleep\?600 has taken")
    server.log.wait_for("in innermost")


def test_request_is_cancelled_where_requests_are_interrupted(start):
    server = start("request-timeout=1 interrupt-timeout=20")
    pid = server.get("/quick").text
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # Another one of the same process is not disturbed.
        begun = pool.submit(server.get, "/sleep?600")
        cleans_up = pool.submit(server.get, "/cleans_up?600")
        assert begun.result().status == 504
        assert cleans_up.result().text == "cancelled"
    (line,) = server.log.wait_for(r"WSGI0275: cancelled request GET /sleep\?600 has taken")
    assert (line.level, line.text[-5:]) == ("error", " [RT]")
    server.log.wait_for("in innermost")
    server.log.allow("WSGI0275", r"app\.py\] ", "504")
    assert server.get("/quick").text == pid


REQUEST = {"request_id", "request_data"}
MOMENTS = {"request_start", "queue_start", "daemon_start"}
STARTED = {
    *REQUEST,
    *MOMENTS,
    "thread_id",
    "daemon_connects",
    "daemon_restarts",
    "server_pid",
    "application_object",
    "callable_object",
    "application_start",
    "has_scope",
}
RESPONSE = {*REQUEST, "response_status", "response_headers", "exception_info"}
FINISHED = {
    *REQUEST,
    *MOMENTS,
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
}


def test_callbacks_hear_of_requests(start):
    server = start()
    assert server.get("/subscribe").text == "subscribed"
    assert server.post("/reads", [b"abcd", b"efgh"], chunked=True).body == b"x" * 8 + b"more"
    events = heard(server, "/reads")
    names = [name for name, _ in events]
    assert names == ["request_started", "response_started", "request_finished"]
    started, response, finished = (payload for _, payload in events)
    assert (set(started), set(response), set(finished)) == (STARTED, RESPONSE, FINISHED)
    assert started["request_id"] == response["request_id"] == finished["request_id"] != ""
    assert started["callable_object"] == started["application_object"] == "application"
    assert started["has_scope"] == "http"
    moments = [started[name] for name in ("request_start", "queue_start", "daemon_start")]
    assert 0 < moments[0] <= moments[1] <= moments[2] <= started["application_start"]
    assert response["response_status"] == "201 Created"
    assert response["response_headers"] == [["content-type", "text/plain"]]
    assert (finished["status"], finished["input_length"]) == (201, 8)
    assert (finished["output_writes"], finished["output_length"]) == (2, 12)
    assert finished["application_time"] >= finished["output_time"] > 0
    assert server.get("/raise").status == 500
    events = heard(server, "/raise")
    assert [name for name, _ in events] == [
        "request_started",
        "request_exception",
        "request_finished",
    ]
    assert events[1][1]["exception_info"][:2] == ["ValueError", "ValueError"]
    assert events[2][1]["status"] == 500
    server.log.allow_traceback("ValueError: raised for the event")
    # What is to be called may be replaced, and the data of the request are the application's.
    assert server.get("/replaced").json() == {"mark": "from the start"}
    assert server.get("/broken_callback").text == "fine"
    server.log.expect("WSGI0112: ValueError raised by a callback for event 'request_started'")
    server.log.allow_traceback("ValueError: of the callback")
    # A WebSocket is one request, from its handshake to the end of its application.
    with websocket(server.port, "/socket") as opened:
        opened.close()
    finished = heard(server, "/socket")[-1][1]
    assert finished["status"] == 101


def test_data_of_a_request_are_those_of_its_tasks_and_threads(start):
    server = start()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        queries = [str(number) for number in range(8)]
        answers = pool.map(lambda query: server.get(f"/data?{query}").json(), queries)
        assert list(answers) == [[True, True, True, {"query": query}] for query in queries]
    assert server.get("/outside").text == "no active request for this thread"


def test_active_requests_are_listed_until_their_ends(start):
    server = start()
    # One that has its answer may still be listed.
    wait_until(lambda: server.get("/list").json() == ["/list"], "one request")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/listed_sleep?2")
        both = ["/list", "/listed_sleep"]
        wait_until(lambda: sorted(server.get("/list").json()) == both, "two requests")
        assert waiting.result().status == 200
    wait_until(lambda: server.get("/list").json() == ["/list"], "one request")


def test_metrics_are_those_of_the_loop(start):
    server = start("asgi-concurrency=10 threads=3")
    assert server.get("/metrics").json() == [None, None]
    assert server.get("/record").text == "recording"
    server.get("/metrics")
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        slow = pool.submit(server.get, "/sleep?1.5")
        for _ in range(3):
            assert server.post("/reads", b"x" * 100).status == 201
        requests, process = server.get("/metrics").json()
        assert slow.result().status == 200
    # The one that asks first, three that read, and what is under way.
    assert requests["request_count"] == 4
    assert requests["status_2xx"] == 4
    assert (requests["input_bytes"], requests["output_bytes"] > 300) == (300, True)
    assert requests["application_time"] >= 0
    assert sum(requests["queue_time_buckets"]) == sum(requests["request_time_buckets"]) == 4
    # Not known of one request where its thread has others.
    assert requests["gil_wait_time"] is None
    assert requests["request_threads_started"] == requests["request_threads_active"] == 1
    assert requests["request_threads_current_elapsed"][0] > 0
    assert 0 < requests["capacity_utilization"] <= 1
    assert process["active_requests"] == 2
    assert process["request_count"] >= 6
    later, _ = server.get("/metrics").json()
    assert later["request_threads_max_duration"][0] >= 1.4
    assert later["application_time_max_us"] >= 1_400_000


def test_telemetry_service_hears_of_slow_requests(start):
    service = []
    more = f"""{SLOW}
    WSGITelemetryService unix:${{ROOT}}/service/socket interval=0.5
    """
    server = start(more=more, files=(("service/x", ""),))
    server.log.allow(r"app\.py\] ")
    (server.root / "service").chmod(0o755)
    with contextlib.ExitStack() as stack:
        heard = Service(server.root / "service/socket")
        service.append(heard)
        stack.callback(heard.close)
        heard.listen()
        assert server.get("/sleep?2").status == 200
        # In progress, and at its end.
        (first, *_) = heard.wait_for("slow", f200=0, f214="/sleep")
        (last,) = heard.wait_for("slow", f200=1, f214="/sleep")
        assert 0.3 <= first.fields[202] < last.fields[202] < 15
        assert (last.fields[210], last.fields[240]) == ("GET", 200)
        (stopped, *_) = heard.wait_for("sample", f20=1)
        assert stopped.fields[120 + 1] == 1


LOOPS = {"worker": "asyncio", "prefork": "uvloop"}


@pytest.mark.parametrize("mpm", LOOPS)
def test_requests_are_observed_under_other_mpms_and_loops(private, uvloop, mpm):
    # A child of prefork has one thread.
    children = asgi_observed.CONNECTIONS if mpm == "prefork" else 1
    options = f"asgi-loop={LOOPS[mpm]} python-path={uvloop}"
    server = private(asgi_observed.conf(options, children=children, start=children))
    asgi_observed.check(server)
