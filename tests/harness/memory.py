"""Requests by the hundred thousand, and whether memory grows with them."""

import re
import subprocess

from .conf import Conf

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
CLIENTS = 4


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


def slope(points):
    """Bytes a request, by least squares over (requests, bytes)."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
