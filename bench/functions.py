"""In which functions a request's instructions are spent: `perf record`, user and kernel."""

import signal
import subprocess
import tempfile
import time

from bench import tables

REQUESTS = 20_000
# One sample in so many instructions: a prime, so that no loop keeps step with it.
PERIOD = 50_021
SHOWN = 40


def lines(server, part, pids, path):
    """Instructions a request, in all and by function, as lines of text."""
    with tempfile.NamedTemporaryFile(suffix=".perf") as data:
        _record(server, pids, path, data.name)
        samples = _samples(data.name)
    total = sum(samples.values())
    if not total:
        yield f"{part}: perf took no sample"
        return
    whole = total * PERIOD / REQUESTS
    yield f"{part}: {tables.number(whole, 0)} instructions a request, one connection"
    for where, count in sorted(samples.items(), key=lambda item: -item[1])[:SHOWN]:
        share = count / total
        yield f"  {tables.number(whole * share, 0):>8} {100 * share:5.1f} %  {where}"


def _record(server, pids, path, file):
    command = ["perf", "record", "-q", "-e", "instructions", "-c", str(PERIOD), "-o", file]
    perf = subprocess.Popen([*command, "-p", ",".join(map(str, pids))], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        server.ask_again(path, REQUESTS)
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait(30)


def _samples(file):
    """{"function  (file)": samples}."""
    done = subprocess.run(
        ["perf", "script", "-i", file, "-F", "ip,sym,dso"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    found = {}
    for line in done.stdout.splitlines():
        address, _, rest = line.strip().partition(" ")
        symbol, _, where = rest.rpartition(" (")
        where = where.rstrip(")").rpartition("/")[2]
        # What has no symbol is at least told apart by page.
        name = symbol.strip() if symbol.strip() not in {"", "[unknown]"} else f"{address[:-3]}..."
        key = f"{name[:100]}  ({where})"
        found[key] = found.get(key, 0) + 1
    return found
