"""The machine and the versions of what runs on it."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from bench import pauses
from bench.servers.site import REPO


def _said(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    # Some print their version as an error; git prints errors only.
    return (done.stdout or done.stderr).strip() if "fatal:" not in done.stderr else ""


def _line(path, key):
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _version(text):
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found.group() if found else "unknown"


def facts(site):
    """{what: text}, in the order in which it is shown."""
    packages = {
        match.group(1).lower(): match.group(2)
        for path in site.packages.glob("*-info")
        if (match := re.match(r"(\w+?)-([\d.]+)[-.]", path.name))
    }
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    manifest = (REPO / "Cargo.toml").read_text()
    commit = _said("git", "-C", str(REPO), "rev-parse", "--short", "HEAD")
    version = re.search(r'version = "([\d.]+)"', manifest).group(1)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{_line('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) >> 20} GB",
        "system": f"{release.get('PRETTY_NAME', '?').strip(chr(34))}, Linux {platform.release()}",
        "mod_wsgi_rs": f"{version} ({commit})" if commit else version,
        "Apache": f"{site.env.version}, event MPM",
        "Python": _version(_said(str(site.python), "--version")),
        "nginx": _version(_said("nginx", "-v")),
        "mod_wsgi": packages.get("mod_wsgi", "missing"),
        "uWSGI": packages.get("uwsgi", "missing"),
        "gunicorn": packages.get("gunicorn", "missing"),
        "granian": packages.get("granian", "missing"),
        "uvicorn": packages.get("uvicorn", "missing"),
        "Django": packages.get("django", "missing"),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "pauses of processors with no server running": pauses.measure(),
        "wrk": _version(_said("wrk", "-v")),
    }
