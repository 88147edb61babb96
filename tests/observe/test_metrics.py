"""What mod_wsgi.request_metrics(), process_metrics() and server_metrics() count."""

import concurrent.futures

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.httpd import wait_until

METRICS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIServerMetrics On
    WSGIScriptAlias /ask ${APPS}/ask.py application-group=%{GLOBAL}
    WSGIScriptAlias /events ${APPS}/events.py application-group=%{GLOBAL}
    """
)
M = "__import__('mod_wsgi')"

PHASES = [
    "server",
    "queue",
    "daemon",
    "application",
    "request",
    "gil_wait",
    "input_read",
    "output_write",
]
SLOTS = [
    "request_threads_completed",
    "request_threads_buckets",
    "request_threads_busy_time",
    "request_threads_cpu_time",
    "request_threads_current_elapsed",
    "request_threads_max_duration",
]
NUMBERS = [
    "pid",
    "start_time",
    "stop_time",
    "sample_period",
    *(f"cpu{part}_{what}" for part in ("", "_user", "_system") for what in ("utilization", "time")),
    "memory_max_rss",
    "memory_rss",
    "request_threads_maximum",
    "request_threads_started",
    "request_threads_active",
    "capacity_utilization",
    "request_count",
    "request_throughput",
    *(f"status_{number}xx" for number in range(1, 6)),
    "input_bytes",
    "input_reads",
    "output_bytes",
    "output_writes",
    "gil_wait_count",
]


@pytest.fixture
def server(serve):
    """A server of the test's own, which records from now on."""
    server = serve(METRICS, private=True)
    assert ask(server, f"{M}.start_recording_metrics()", "/ask") is None
    # Itself not recorded, because it had begun before.
    sample(server)
    return server


def sample(server, active=1):
    """The figures, once others are over: a client has its answer a moment before."""
    settled = f"({M}.process_metrics() or {{}}).get('active_requests', {active}) == {active}"
    settled = f"next(x for x in iter(lambda: {settled}, None) if x)"
    return ask(server, f"[{settled}, {M}.request_metrics()][1]", "/ask")


def test_metrics_are_recorded_from_the_first_call_on(serve):
    server = serve(METRICS, private=True)
    assert sample(server) is None
    assert ask(server, f"{M}.process_metrics()", "/ask") is None
    for _ in range(2):
        assert ask(server, f"{M}.start_recording_metrics()", "/ask") is None
    assert sample(server)["request_count"] >= 1
    assert ask(server, f"{M}.process_metrics()", "/ask")["request_count"] >= 4


prefork_thread_slot = pytest.mark.differs(
    "prefork-thread-slot", "the one thread of prefork has no place", mode="embedded", mpm="prefork"
)


@pytest.mark.all_mpms
@prefork_thread_slot
def test_a_sample_has_all_figures(server):
    for _ in range(3):
        assert server.post("/events/reads", "abcde\nfgh").status == 201
    assert server.get("/events/raises").status == 500
    server.log.expect_traceback("WSGI0174", "ValueError: raised for the event")
    seen = sample(server)
    phases = [
        f"{phase}_time{end}" for phase in PHASES for end in ("", "_buckets", "_min_us", "_max_us")
    ]
    assert set(seen) == {*NUMBERS, *SLOTS, *phases}

    # The four, and the sample before this one.
    assert seen["request_count"] == 5
    assert (seen["status_2xx"], seen["status_5xx"], seen["status_4xx"]) == (4, 1, 0)
    assert seen["input_bytes"] == 27
    assert seen["input_reads"] > 0
    assert seen["output_writes"] == 7
    assert seen["output_bytes"] > 39
    assert seen["request_throughput"] == pytest.approx(5 / seen["sample_period"])
    assert 0 < seen["capacity_utilization"] <= 1
    assert seen["memory_max_rss"] > 1 << 20
    assert seen["memory_rss"] > 1 << 20
    assert seen["cpu_time"] == seen["cpu_utilization"] >= seen["cpu_user_utilization"] >= 0

    threads = 1 if server.mpm == "prefork" and server.mode == "embedded" else 4
    assert seen["request_threads_maximum"] == threads
    assert seen["request_threads_active"] <= threads
    for name in SLOTS:
        assert len(seen[name]) == threads

    embedded = ("queue", "daemon") if server.mode == "embedded" else ()
    for phase in PHASES:
        values = [seen[f"{phase}_time{end}"] for end in ("", "_min_us", "_max_us")]
        buckets = seen[f"{phase}_time_buckets"]
        assert len(buckets) == 65
        if phase in embedded:
            assert values == [None, None, None]
            assert sum(buckets) == 0
        else:
            mean, least, most = values
            assert None not in values
            assert least <= mean * 1e6 + 1
            assert mean * 1e6 - 1 <= most
            assert sum(buckets) == 5


@pytest.mark.all_mpms
@prefork_thread_slot
def test_each_thread_has_its_place(server):
    for _ in range(3):
        server.get("/events/simple")
    seen = sample(server)
    assert sum(seen["request_threads_completed"]) == 4
    assert seen["request_threads_buckets"] == seen["request_threads_completed"]
    assert max(seen["request_threads_current_elapsed"]) > 0
    assert max(seen["request_threads_max_duration"]) > 0
    assert sum(seen["request_threads_busy_time"]) > 0


@pytest.mark.differs("sample-start", "start_time is the moment of the call, as stop_time is")
def test_a_sample_begins_where_the_one_before_ended(server):
    first, second = sample(server), sample(server)
    assert second["start_time"] == pytest.approx(first["stop_time"], abs=0.01)
    assert second["stop_time"] - second["start_time"] == pytest.approx(
        second["sample_period"], abs=1e-4
    )


def test_a_sample_is_drained(server):
    server.get("/events/simple")
    assert sample(server)["request_count"] == 2
    assert sample(server)["request_count"] == 1


def test_a_request_under_way_is_in_the_sample(server):
    wait = "kept.setdefault('event', threading.Event()).wait(10)"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, server, wait, "/ask")
        while ask(server, "'event' in kept", "/ask") is not True:
            pass

        def busy():
            seen = ask(server, f"{M}.request_metrics()", "/ask")
            return [elapsed for elapsed in seen["request_threads_current_elapsed"] if elapsed > 0]

        # The thread of the question before may still be on its way out.
        wait_until(lambda: len(busy()) == 2, "two busy threads")
        active = f"{M}.process_metrics()['active_requests']"
        wait_until(lambda: ask(server, active, "/ask") == 2, "two active requests")
        ask(server, "kept['event'].set()", "/ask")
        assert waiting.result() is True


def test_a_process_has_figures_of_its_own(server):
    for _ in range(3):
        server.get("/events/simple")
    metrics = f"{M}.process_metrics()"
    # The thread of the request before may still be on its way out.
    wait_until(lambda: ask(server, metrics, "/ask")["active_requests"] == 1, "one active request")
    seen = ask(server, metrics, "/ask")
    assert set(seen) == {
        *("pid", "request_busy_time", "request_count", "memory_max_rss", "memory_rss"),
        *("cpu_user_time", "cpu_system_time", "cpu_time", "restart_time", "current_time"),
        *("running_time", "request_threads", "active_requests", "threads"),
    }
    assert seen["request_count"] >= 4
    assert seen["request_busy_time"] > 0
    assert isinstance(seen["running_time"], int)
    assert 0 <= seen["current_time"] - seen["restart_time"] < 60
    assert seen["request_threads"] == len(seen["threads"])
    assert sum(thread["request_count"] for thread in seen["threads"]) >= seen["request_count"]
    assert all(set(thread) == {"thread_id", "request_count"} for thread in seen["threads"])


# --- the server -----------------------------------------------------------------------------------


@pytest.mark.embedded_only("a daemon process has none of Apache's memory")
@pytest.mark.all_mpms
def test_the_scoreboard_can_be_read(serve):
    server = serve(METRICS, private=True)
    seen = ask(server, f"{M}.server_metrics()", "/ask")
    assert set(seen) == {
        *("server_limit", "thread_limit", "running_generation"),
        *("restart_time", "current_time", "running_time", "processes"),
    }
    assert seen["server_limit"] == len(seen["processes"]) == 1
    assert 0 <= seen["current_time"] - seen["restart_time"] < 60
    (process,) = seen["processes"]
    assert process["pid"] in server.children()
    assert (process["process_num"], process["generation"], process["quiescing"]) == (0, 0, False)
    assert len(process["workers"]) == seen["thread_limit"]
    statuses = [worker["status"] for worker in process["workers"]]
    assert statuses.count("W") == 1
    assert set(statuses) <= set("._SRWKLDCGI")
    worker = process["workers"][statuses.index("W")]
    assert set(worker) == {
        *("thread_num", "generation", "status", "access_count", "bytes_served", "start_time"),
        *("stop_time", "last_used", "client", "request", "vhost"),
    }


@pytest.mark.embedded_only("a daemon process has none of Apache's memory")
def test_the_scoreboard_names_requests_under_extended_status(serve, needs_module):
    needs_module("status")
    conf = Conf(METRICS.text + "ExtendedStatus On\n", modules=("status",))
    server = serve(conf, private=True)
    workers = ask(server, f"{M}.server_metrics()['processes'][0]['workers']", "/ask")
    (worker,) = [worker for worker in workers if worker["status"] == "W"]
    assert worker["request"].startswith("GET /ask/?")
    assert worker["client"] == "127.0.0.1"


@pytest.mark.embedded_only("the directive is about embedded mode")
def test_scoreboard_is_closed_by_default(serve):
    text = METRICS.text.replace("WSGIServerMetrics On", "WSGIServerMetrics Off")
    server = serve(Conf(text), private=True)
    assert ask(server, f"{M}.server_metrics()", "/ask") is None


@pytest.mark.differs("daemon-server-metrics", "its daemons are forked and share the scoreboard")
@pytest.mark.parametrize("mode", ["daemon"])
def test_a_daemon_process_has_no_scoreboard(serve, configtest, mode):
    text = """
    WSGIDaemonProcess measured server-metrics=On python-path=${APPS}
    WSGIScriptAlias /ask ${APPS}/ask.py process-group=measured application-group=%{GLOBAL}
    """
    accepted, printed = configtest(Conf(text))
    assert accepted
    assert "server-metrics=On has no effect" in printed
    server = serve(Conf(text), private=True)
    server.log.allow("server-metrics=On has no effect")
    assert ask(server, f"{M}.server_metrics()", "/ask") is None
