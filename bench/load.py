"""wrk: many connections, one thread, requests as fast as they are answered."""

import json
import subprocess
import tempfile

# Printed by wrk itself, so that no text made for people has to be read.
DONE = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p999": %f, "failed": {' ..
        '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        latency:percentile(99.9), e.connect, e.read, e.write, e.status, e.timeout))
end
"""
POST = """
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
"""
HEADERS = """
for i = 1, 30 do
    wrk.headers["X-Header-Number-" .. i] = "some value that is neither long nor short, " .. i
end
"""


class LoadFailed(Exception):
    """The server refused, broke off or answered with an error: the figures mean nothing."""


def run(url, connections, seconds, request="", may_close=False):
    """What wrk counted in whole seconds: requests, seconds, p50, p99 and p999 in microseconds.

    With `may_close` the server may close connections that are kept alive; `closed` counts them.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(request + DONE)
        script.flush()
        done = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--timeout=10s",
                f"-s{script.name}",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            check=False,
        )
    return read(done.stdout + done.stderr, may_close)


def read(printed, may_close=False):
    """The figures in what wrk printed; raises LoadFailed when it counted errors."""
    line = next((line for line in printed.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise LoadFailed(f"wrk: {printed.strip()[-200:]}")
    result = json.loads(line.removeprefix("RESULT "))
    failed = {what: count for what, count in result.pop("failed").items() if count}
    result["closed"] = failed.pop("read", 0) if may_close else 0
    if failed or not result["requests"]:
        what = ", ".join(f"{count} x {what}" for what, count in failed.items()) or "no answer"
        raise LoadFailed(f"wrk counted {what} beside {result['requests']} requests")
    return result
