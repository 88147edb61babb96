"""Tracing, error reports and metrics of the usual libraries, as docs/monitoring.md sets them up.

Their threads and exporters have to survive `preload` (a fork) and the end of recycled workers.
A test whose library is not installed is skipped.
"""

import gzip
import http.server
import importlib.util
import itertools
import json
import threading
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("about libraries, with options that mod_wsgi does not have")

OPTIONS = "processes=2 threads=2 maximum-requests=5 graceful-timeout=20 shutdown-timeout=20"

TRACED = r"""
import json, os
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
HERE = os.path.dirname(__file__)
LOADED_BY = os.getpid()
class FileExporter(SpanExporter):
    def export(self, spans):
        with open(os.path.join(HERE, "out", "spans"), "a") as file:
            for span in spans:
                parent = span.parent.span_id if span.parent else 0
                file.write(json.dumps([f"{span.context.trace_id:032x}", f"{parent:016x}",
                                       span.kind.name, os.getpid()]) + "\n")
        return SpanExportResult.SUCCESS
provider = TracerProvider()
# Longer than the test: only the end of a worker exports before.
provider.add_span_processor(BatchSpanProcessor(FileExporter(), schedule_delay_millis=DELAY))
"""
WSGI = """
def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{LOADED_BY} {os.getpid()} {environ.get('HTTP_TRACEPARENT')}".encode()]
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
application = OpenTelemetryMiddleware(answer, tracer_provider=provider)
"""
ASGI = """
async def answer(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    parent = dict(scope["headers"]).get(b"traceparent", b"").decode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    text = f"{LOADED_BY} {os.getpid()} {parent}".encode()
    await send({"type": "http.response.body", "body": text})
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
application = OpenTelemetryMiddleware(answer, tracer_provider=provider)
"""
REPORTED = r"""
import os
import sentry_sdk
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
sentry_sdk.init(dsn=DSN)
def answer(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("on purpose " + environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
application = SentryWsgiMiddleware(answer)
"""
COUNTED = r"""
import atexit, os
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", os.path.join(os.path.dirname(__file__), "out"))
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
served = Counter("served", "Requests.")
active = Gauge("active", "Requests that are being served.", multiprocess_mode="livesum")
# Functions of atexit are run by the workers that a template has forked, too.
atexit.register(lambda: multiprocess.mark_process_dead(os.getpid()))
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return [generate_latest(registry)]
    with active.track_inprogress():
        served.inc()
        return [str(os.getpid()).encode()]
"""
WRAPPED = r"""
import os
import newrelic.agent
newrelic.agent.initialize(os.path.join(os.path.dirname(__file__), "newrelic.ini"))
newrelic.agent.register_application(timeout=10.0)
def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {newrelic.agent.current_trace_id()}".encode()]
application = newrelic.agent.WSGIApplicationWrapper(answer)
"""
# Without a connection to the service.
NEWRELIC = """
[newrelic]
license_key = 0000000000000000000000000000000000000000
app_name = test
developer_mode = true
monitor_mode = true
distributed_tracing.enabled = true
log_file = stderr
log_level = error
"""


def folder_of(name):
    """The directory that a package is imported from; skips the test where there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        pytest.skip(f"{name} is not installed")
    path = Path(next(iter(spec.submodule_search_locations or [spec.origin])))
    return path.parents[name.count(".")]


@pytest.fixture
def start(private, env, packages):
    def start(app, package, options="", interface="wsgi", files=()):
        folder = folder_of(package)
        # A copy of that which Apache's user can read.
        folder = packages if folder == env.site_packages else folder
        alias = "ASGIScriptAlias" if interface == "asgi" else "WSGIScriptAlias"
        text = f"""
        WSGIRestrictEmbedded On
        WSGIDaemonProcess site python-path={folder} {OPTIONS} {options} \
            interface={interface}
        {alias} / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
        """
        files = (("app.py", app), ("out/README", "the application writes here"), *files)
        server = private(
            Conf(text, files=files, timeout=60, threads=16),
            lambda server: (server.root / "out").chmod(0o777),
        )
        server.log.allow("has served 5 requests", "exited with status 0", "stopping")
        # Those of exporters, which their libraries start again in each worker.
        server.log.allow("preload: importing has started [12] threads")
        return server

    return start


def parent_of(number):
    return f"00-{number:032x}-{number:016x}-01"


@pytest.mark.parametrize("preload", ["Off", "On"])
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_spans_of_opentelemetry_continue_traces_and_none_is_lost(start, interface, preload):
    app = TRACED.replace("DELAY", "600_000") + (WSGI if interface == "wsgi" else ASGI)
    package = f"opentelemetry.instrumentation.{interface}"
    server = start(app, package, f"preload={preload}", interface)
    loaders, pids, numbers = set(), set(), itertools.count(1)

    def recycled():
        number = next(numbers)
        answer = server.get("/", headers={"traceparent": parent_of(number)})
        loader, pid, parent = answer.text.split()
        assert parent == parent_of(number)
        loaders.add(loader)
        pids.add(pid)
        return len(pids) > 4

    wait_until(recycled, "workers that are recycled", timeout=60)
    last = next(numbers)
    # A template has loaded the application for all workers.
    assert loaders.isdisjoint(pids) == (preload == "On")
    server.stop()
    lines = (server.root / "out/spans").read_text().splitlines()
    spans = [json.loads(line) for line in lines]
    served = {(trace, parent) for trace, parent, kind, _ in spans if kind == "SERVER"}
    assert served == {(f"{number:032x}", f"{number:016x}") for number in range(1, last)}
    assert {str(pid) for *_, pid in spans} == pids


def test_exporter_of_a_preloaded_worker_has_its_thread(start):
    app = TRACED.replace("DELAY", "100") + WSGI
    server = start(app, "opentelemetry.instrumentation.wsgi", "preload=On maximum-requests=0")
    assert server.get("/", headers={"traceparent": parent_of(7)}).status == 200
    spans = server.root / "out/spans"
    # Without the end of a worker: the thread that exports runs in the worker.
    wait_until(lambda: spans.exists() and f"{7:032x}" in spans.read_text(), "the span", timeout=30)


@pytest.fixture
def sentry():
    """A service that keeps the events it gets; its data source name, and the list."""
    events = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for line in body.splitlines():
                item = json.loads(line)
                if "exception" in item:
                    events.append(item)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield f"http://public@127.0.0.1:{service.server_port}/1", events
    service.shutdown()
    thread.join()
    service.server_close()


@pytest.mark.parametrize("preload", ["Off", "On"])
def test_each_exception_is_reported_to_sentry(start, sentry, preload):
    name, events = sentry
    server = start(REPORTED.replace("DSN", repr(name)), "sentry_sdk", f"preload={preload}")
    server.log.allow("WSGI0174", "RuntimeError", "Traceback", "^  ")
    # What sentry_sdk prints where its queue is not empty at exit.
    server.log.allow("^Sentry is attempting to send", "^Waiting up to", "^Press Ctrl-C to quit")
    numbers = [f"n{number}" for number in range(20)]
    for number in numbers:
        assert server.get(f"/raise?{number}").status == 500
    # Those of workers that are recycled at once as well: sentry_sdk waits for its queue at exit.
    server.stop()
    seen = [event["exception"]["values"][-1]["value"] for event in events]
    assert sorted(seen) == sorted(f"on purpose {number}" for number in numbers)
    assert all(event["request"]["query_string"] in numbers for event in events)


@pytest.mark.parametrize("preload", ["Off", "On"])
def test_prometheus_client_counts_over_workers_that_come_and_go(start, preload):
    server = start(COUNTED, "prometheus_client", f"preload={preload}")
    pids = []

    def recycled():
        pids.append(server.get("/").text)
        return len(set(pids)) > 4

    wait_until(recycled, "workers that are recycled", timeout=60)
    text = server.get("/metrics").text
    assert f"served_total {len(pids)}.0" in text
    assert "active 0.0" in text
    daemons.await_all_workers(server)
    out = server.root / "out"
    alive = {str(pid) for pid in daemons.workers(server)}

    def gauges():
        names = [path.stem.rpartition("_")[2] for path in out.glob("gauge_live*.db")]
        return set(names) <= alive | {str(pid) for pid in daemons.workers(server)}

    wait_until(gauges, "files of live workers only", timeout=30)


@pytest.mark.parametrize("preload", ["Off", "On"])
def test_wrapper_of_newrelic_serves_and_continues_traces(start, preload):
    server = start(WRAPPED, "newrelic", f"preload={preload}", files=(("newrelic.ini", NEWRELIC),))
    pids, numbers = set(), itertools.count(1)

    def recycled():
        number = next(numbers)
        pid, trace = server.get("/", headers={"traceparent": parent_of(number)}).text.split()
        # That of the request, and none that the agent has made.
        assert trace == f"{number:032x}"
        pids.add(pid)
        return len(pids) > 4

    wait_until(recycled, "workers that are recycled", timeout=60)
    server.stop()


TRACEPARENT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr([environ.get(f"HTTP_{it}") for it in ("TRACEPARENT", "TRACESTATE")]).encode()]
"""


def test_traceparent_reaches_the_application_unchanged(serve, mode):
    text = "WSGIScriptAlias / ${ROOT}/app.py"
    server = serve(Conf(text, files=(("app.py", TRACEPARENT),)))
    state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    headers = {"traceparent": parent_of(5), "tracestate": state}
    assert server.get("/", headers=headers).text == repr([parent_of(5), state])
    assert server.get("/").text == repr([None, None])
