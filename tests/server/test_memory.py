"""What a hundred thousand requests leave behind in a child or a worker: nothing."""

import shutil

import pytest
from harness import daemons
from harness.client import head, read_until
from harness.httpd import wait_until
from harness.memory import MEMORY, hammer, slope

ROUNDS = 12
# The first rounds fill caches, arenas and stacks.
WARM_UP = 4
# A daemon takes longer, and what an application leaves behind is told by the other mode.
DAEMON = 12_000
# A leak of the smallest object is 16 bytes a request; the allocator moves in steps of 200 KiB.
LIMIT = 10


def servants(server):
    """The processes that serve: Apache's one child, and in daemon mode the one worker behind it."""
    (child,) = daemons.httpd_children(server)
    return [child, *daemons.workers(server)] if server.mode == "daemon" else [child]


def resident(pid):
    """Resident memory, in bytes."""
    return int(daemons.status_of(pid)["VmRSS"].split()[0]) * 1024


@pytest.mark.slow
@pytest.mark.ours_only("measures us, and takes its time")
@pytest.mark.skipif(not shutil.which("ab"), reason="ab (apache2-utils, httpd-tools) is missing")
@pytest.mark.parametrize(
    ("path", "requests", "body"),
    [
        ("/main/hello", 100_000, None),
        ("/named/hello", 12_000, None),
        ("/main/generator", 12_000, None),
        ("/main/writer", 12_000, None),
        ("/environ/a/b?c=d", 12_000, None),
        ("/body/echo", 12_000, b"x" * 2000),
        ("/body/ignore", 12_000, b"x" * 2000),
        ("/files/whole?small", 12_000, None),
    ],
)
def test_memory_does_not_grow_with_requests(serve, record_property, path, requests, body):
    server = serve(MEMORY, private=True)
    if server.mode == "daemon":
        requests = min(requests, DAEMON)
    assert server.get("/main/hello").status == 200
    watched = servants(server)
    points, done = {pid: [] for pid in watched}, 0
    while done < requests:
        hammer(server, path, requests // ROUNDS, body)
        done += requests // ROUNDS
        for pid in watched:
            points[pid].append((done, resident(pid)))
    assert servants(server) == watched
    for pid, who in zip(watched, ["child", "worker"], strict=False):
        begun, ended = points[pid][0][1], points[pid][-1][1]
        grown = slope(points[pid][WARM_UP:])
        record_property(
            "memory",
            f"{path}, {server.mode}, {who}: {done} requests,"
            f" RSS {begun >> 10} → {ended >> 10} KiB, {grown:+.2f} bytes a request",
        )
        # Short runs have more noise for each request.
        allowed = LIMIT if requests >= 100_000 else 4 * LIMIT
        assert grown < allowed, points[pid]


@pytest.mark.differs(
    "truncation-daemon",
    "mod_wsgi's Apache takes whatever end a daemon's answer has for its end",
    mode="daemon",
)
def test_failing_requests_leave_nothing_behind(serve):
    """Exceptions, clients that leave, bodies cut short: descriptors and threads stay the same."""
    server = serve(MEMORY, private=True)
    server.log.allow(r"response\.py\] close\(\) was called", r"body\.py\] read failure: ")
    server.log.allow_traceback("ValueError: (?:in the middle|at the beginning)")

    def fail():
        assert server.get("/main/closing_fails").truncated
        assert server.get("/main/closing_refuses").status == 500
        with server.socket() as sock:
            sock.sendall(head("/main/endless"))
            read_until(sock, b"xxxx")
        with server.socket() as sock:
            sock.sendall(head("/body/failing", "Content-Length: 100", method="POST") + b"x")

    def counts():
        """(threads, open files) of all processes that serve."""
        pids = servants(server)
        threads = sum(int(daemons.status_of(pid)["Threads"]) for pid in pids)
        return threads, sum(len(server.open_files(pid)) for pid in pids)

    for _ in range(20):
        fail()
    server.log.wait_for(r"close\(\) was called", count=60)
    before = counts()
    for _ in range(100):
        fail()
    server.log.wait_for(r"close\(\) was called", count=360)
    # A connection to a worker that still sends is closed by a thread made for it, which then ends.
    wait_until(lambda: counts()[0] <= before[0], "threads to end")
    # Apache lets the last connections linger a while.
    wait_until(lambda: counts()[1] <= before[1] + 4, "connections and files to be closed")
