"""`make soak`: restarts, faults and memory for longer than `make test` has time for.

Here stand the limits on time and memory; make test only counts what fails.
"""

import os
import shutil
import signal
import time

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import READY, wait_until
from harness.load import APP, Load, load_conf
from harness.memory import MEMORY, hammer, slope
from harness.restarts import PATHS, SLOTS, allow_full, restarts_conf

pytestmark = pytest.mark.ours_only("our own processes")

REPEATS = int(os.environ.get("REPEATS", "20"))
# Milliseconds that no request may take during a restart or a touch.
SLOWEST = 100
MIB = 1 << 20


@pytest.fixture
def start(private):
    """start(conf) is a server of the test's own; its log is watched to the end."""
    return private


@pytest.fixture
def site(start):
    """Two workers, warm, and a static file beside them."""
    warm = load_conf()
    text = warm.text + "Alias /static ${ROOT}/htdocs\n"
    text = text.replace("WSGIScriptAlias / ", "WSGIScriptAlias /app ")
    server = start(
        Conf(
            text, files=warm.files, modules=("alias",), children=16, start=8, threads=16, timeout=10
        )
    )
    (server.root / "htdocs/file").write_text("a file")
    for _ in range(8):
        assert server.get("/app").status == 200
    server.log.allow("was killed by signal 9")
    return server


FAULTS = {
    "SIGTERM to every worker": lambda server: daemons.signal_each_worker(server, 2, signal.SIGTERM),
    "kill -9 of every worker": lambda server: daemons.signal_each_worker(server, 2, signal.SIGKILL),
    "kill -9 of the manager": lambda server: daemons.kill_manager(server, 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_get_fails_at(site, record_property, fault):
    with Load(site.port, "/app/sleep") as load:
        for _ in range(max(1, REPEATS // 4)):
            FAULTS[fault](site)
    record_property("load", f"{REPEATS // 4} x {fault}: {load.total}")
    assert load.total.failed == []


def test_touches_neither_fail_nor_delay_requests(site, record_property):
    with Load(site.port, "/app/sleep") as load:
        for _ in range(REPEATS):
            daemons.touch(site, 2)
            daemons.pause(0.2)
    record_property("load", f"{REPEATS} touches: {load.total}")
    assert load.total.failed == []
    assert load.total.slowest * 1000 < SLOWEST


@pytest.mark.all_mpms
@pytest.mark.parametrize("answers", PATHS)
@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("beside", [0, 2], ids=["", "beside-requests-of-200-ms"])
def test_graceful_restarts_neither_fail_nor_delay_requests(
    start, record_property, mpm, slots, answers, beside
):
    """One every two seconds: httpd looks at its children once a second."""
    server = start(restarts_conf(mpm, slots, answers))
    allow_full(server, slots)
    for _ in range(8):
        assert server.get("/app").status == 200
    # Without a slot for another child a client may wait for an old one to finish its requests.
    limit = SLOWEST + (200 if beside and slots == "full" else 0)
    if (mpm, answers) == ("prefork", "embedded"):
        # Ten children start Python at the same time.
        limit += 400
    long = Load(server.port, "/app/sleep?for=0.2", clients=beside)
    with long, Load(server.port, PATHS[answers]) as load:
        daemons.pause(1)
        load.forget_slowest()
        for _ in range(REPEATS):
            server.process.send_signal(signal.SIGUSR1)
            daemons.pause(2)
    record_property("load", f"{mpm}, {slots}, {answers}: {REPEATS} graceful restarts: {load.total}")
    assert load.total.failed == []
    assert long.tallies == [] or long.total.failed == []
    assert load.total.slowest * 1000 < limit


# --- memory ---------------------------------------------------------------------------------------

GROUPS = 50


def memory_of_groups(server):
    """Proportional set size of each group, in bytes: its manager and its workers."""
    return [
        daemons.pss(pid) + sum(daemons.pss(child) for child in daemons.children(pid))
        for pid in daemons.managers(server)
    ]


@pytest.mark.parametrize(
    ("options", "limit"),
    [("processes=1 threads=2", 7), ("processes=0-1 threads=2", 2)],
)
def test_fifty_idle_groups_are_small(start, record_property, options, limit):
    """The aims are 6.0 and 1.5 MB; the limits here leave room for other machines."""
    groups = "".join(
        f"WSGIDaemonProcess group{number} {options}\n"
        f"WSGIScriptAlias /{number} ${{ROOT}}/app.py process-group=group{number}\n"
        for number in range(GROUPS)
    )
    began = time.monotonic()
    server = start(Conf(f"WSGIRestrictEmbedded On\n{groups}", files=(("app.py", APP),)))
    took = time.monotonic() - began
    workers = 0 if options.startswith("processes=0") else 1

    def settled():
        managers = daemons.managers(server)
        return len(managers) == GROUPS and all(
            daemons.manages(pid) and len(daemons.workers_of(pid)) == workers for pid in managers
        )

    wait_until(settled, "all workers", timeout=60)
    # The last imports end, and pages that were shared become one's own.
    daemons.pause(3)
    sizes = memory_of_groups(server)
    average = sum(sizes) / len(sizes) / MIB
    record_property(
        "memory",
        f"{GROUPS} groups, {options}: {average:.2f} MB PSS each, {sum(sizes) / MIB:.0f} MB in all,"
        f" server up after {took:.2f} s",
    )
    assert average <= limit
    if workers == 0:
        assert server.get("/7").status == 200


@pytest.mark.skipif(not shutil.which("ab"), reason="ab (apache2-utils, httpd-tools) is missing")
def test_a_daemon_does_not_grow_over_a_million_requests(start, record_property):
    text = MEMORY.text.replace("WSGIPythonPath ${APPS}", "")
    group = "WSGIDaemonProcess site threads=4 python-path=${APPS}\nWSGIProcessGroup site\n"
    server = start(Conf(group + text, files=MEMORY.files, threads=8))
    points, done = [], 0
    for _ in range(20):
        hammer(server, "/main/hello", 2500 * REPEATS, None)
        done += 2500 * REPEATS
        (worker,) = daemons.workers(server)
        points.append((done, resident(worker)))
    grown = slope(points[5:])
    record_property("memory", f"daemon, {done} requests: {grown:+.3f} bytes a request")
    assert grown < 2, points


def resident(pid):
    return int(daemons.status_of(pid)["VmRSS"].split()[0]) * 1024


def test_hundred_restarts_leave_the_parent_unchanged(start, record_property):
    server = start(load_conf())
    assert server.get("/").status == 200
    points = []
    for number in range(5 * REPEATS):
        before = len(server.log.find(READY))
        server.process.send_signal(signal.SIGUSR1)
        server.log.wait_for(READY, count=before + 1)
        pid = server.process.pid
        points.append((number, resident(pid)))
    held = len(server.open_files(server.process.pid))
    wait_until(lambda: len(daemons.workers(server)) == 2, "two workers", timeout=30)
    record_property(
        "memory",
        f"{len(points)} graceful restarts: the parent went from {points[5][1] >> 10} to"
        f" {points[-1][1] >> 10} KiB, and holds {held} descriptors",
    )
    assert slope(points[len(points) // 4 :]) < 64 * 1024
    assert server.get("/").status == 200
