"""A virtual host that tells of failures, and what it says of a request."""

import re

from .conf import Conf
from .httpd import wait_until


def conf(groups, aliases, more="", files=(), modules=()):
    """One virtual host with logs of its own. Applications may write to out/."""
    text = f"""
    {groups}
    CustomLog ${{ROOT}}/unused "%h"
    LogFormat "%U %>s %{{WSGI_FLAGS}}e %{{WSGI_QUEUE_TIME}}e %{{WSGI_APPLICATION_TIME}}e" flags
    <VirtualHost *:${{PORT}}>
        ServerName localhost
        ErrorLog ${{ROOT}}/out/host_log
        CustomLog ${{ROOT}}/out/access_log flags
        LogLevel wsgi:debug
        {aliases}
        {more}
        <Location /wsgi-status>
            SetHandler wsgi-status
        </Location>
    </VirtualHost>
    """
    files = (*files, ("out/README", "the application writes here"))
    modules = ("log_config", "env", "alias", *modules)
    return Conf(text, files=files, modules=modules, timeout=60, threads=16)


def logged(server, path):
    """Status, flags, and times of the last request to this path, once it has been logged.

    A line is read once.
    """
    read = server.__dict__.setdefault("lines_read", {})

    def there():
        log = server.root / "out/access_log"
        lines = log.read_text().splitlines() if log.exists() else []
        found = [line.split()[1:] for line in lines if line.split()[0] == path]
        if len(found) <= read.get(path, 0):
            return None
        read[path] = len(found)
        return found[-1]

    return wait_until(there, f"a line about {path}", timeout=30)


def flags(server, path):
    """Status and flags of the last request to this path.

    They are those of the access log; metrics and page say the same.
    """
    status, flag = logged(server, path)[:2]
    counted = re.findall(
        r'^wsgi_request_failures_total\{.*flag="(..)"\} [1-9]',
        server.get("/wsgi-status?prometheus").text,
        re.M,
    )
    asked = flag.split(",") if flag != "-" else []
    assert set(asked) <= set(counted), (flag, counted)
    # A request that was only sent to another worker has not failed.
    if not set(asked) <= {"RY", "RC"}:
        failures = server.get("/wsgi-status?json").json()["failures"]
        seen = [(it["request"].split()[1], it["flags"], str(it["status"])) for it in failures]
        assert any(it[:2] == (path, flag) for it in seen), (path, flag, seen)
        assert f">{flag}<" in server.get("/wsgi-status").text
    return status, flag


def host_log(server):
    return (server.root / "out/host_log").read_text(errors="replace")


def told(server, flag, text):
    """Whether the log of the virtual host has a line with this text and this flag."""
    pattern = re.compile(f"{text}.*\\[{flag}\\]")
    return wait_until(lambda: pattern.search(host_log(server)), f"{text} … [{flag}]")
