"""What a hundred thousand requests leave behind in a child: nothing."""

import re
import shutil
import subprocess

import pytest
from harness.client import head, read_until
from harness.conf import Conf
from harness.httpd import wait_until

MEMORY = Conf(
    """
    WSGIPythonPath ${APPS}
    MaxKeepAliveRequests 0
    WSGIScriptAlias /main ${APPS}/response.py application-group=%{GLOBAL}
    WSGIScriptAlias /named ${APPS}/response.py application-group=named
    WSGIScriptAlias /body ${APPS}/body.py application-group=%{GLOBAL}
    WSGIScriptAlias /environ ${APPS}/environ.py application-group=named
    WSGIScriptAlias /files ${APPS}/files.py application-group=%{GLOBAL}
    """,
    files=(("files/small", "a small file\n" * 100),),
)
ROUNDS = 12
# The first rounds fill caches, arenas and stacks.
WARM_UP = 4
CLIENTS = 4
# A leak of the smallest object is 16 bytes a request; the allocator moves in steps of 200 KiB.
LIMIT = 10


def hammer(server, path, count, body):
    """`count` kept-alive requests; every one must be answered with 2xx."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["ab", "-q", "-k", "-n", str(count), "-c", str(CLIENTS)]
    if body:
        (server.root / "post").write_bytes(body)
        command += ["-p", str(server.root / "post"), "-T", "application/octet-stream"]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=120, check=True)
    assert f"Complete requests:      {count}\n" in done.stdout
    assert "Non-2xx responses" not in done.stdout
    # What ab calls failed are answers whose length is not the first one's.
    failed = re.search(r"Failed requests: +(\d+)\n +\(Connect: (\d+), Receive: (\d+)", done.stdout)
    assert not failed or failed.group(2) == failed.group(3) == "0"


def resident(server):
    """The child's resident memory, in bytes."""
    (pid,) = server.children()
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def slope(points):
    """Bytes a request, by least squares over (requests, bytes)."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


@pytest.mark.embedded_only("looks at httpd's one child")
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
    children = server.children()
    points, done = [], 0
    while done < requests:
        hammer(server, path, requests // ROUNDS, body)
        done += requests // ROUNDS
        points.append((done, resident(server)))
    assert server.children() == children
    steady = points[WARM_UP:]
    grown = slope(steady)
    record_property(
        "memory",
        f"{path}: {done} requests, RSS {points[0][1] >> 10} → {points[-1][1] >> 10} KiB,"
        f" {grown:+.2f} bytes a request",
    )
    # Short runs have more noise for each request.
    allowed = LIMIT if requests >= 100_000 else 4 * LIMIT
    assert grown < allowed, points


@pytest.mark.embedded_only("looks at httpd's one child")
def test_failing_requests_leave_nothing_behind(serve):
    """Exceptions, clients that leave, bodies cut short: descriptors and threads stay the same."""
    server = serve(MEMORY, private=True)
    server.log.allow(".")

    def fail():
        assert server.get("/main/closing_fails").truncated
        assert server.get("/main/closing_refuses").status == 500
        with server.socket() as sock:
            sock.sendall(head("/main/endless"))
            read_until(sock, b"xxxx")
        with server.socket() as sock:
            sock.sendall(head("/body/failing", "Content-Length: 100", method="POST") + b"x")

    def counts():
        (pid,) = server.children()
        with open(f"/proc/{pid}/status") as file:
            threads = int(re.search(r"Threads:\s+(\d+)", file.read()).group(1))
        return threads, len(server.open_files(pid))

    for _ in range(20):
        fail()
    server.log.wait_for(r"close\(\) was called", count=60)
    before = counts()
    for _ in range(100):
        fail()
    server.log.wait_for(r"close\(\) was called", count=360)
    assert counts()[0] == before[0]
    # Apache lets the last connections linger a while.
    wait_until(lambda: counts()[1] <= before[1] + 4, "connections and files to be closed")
