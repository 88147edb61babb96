"""Servers whose graceful restarts are looked at: the limits of their MPM, and what they serve."""

from .conf import Conf
from .load import APP

# Debian's own, with slots for children beside those that leave; and as many slots as children.
LIMITS = {
    ("threads", "spare"): """
        ThreadLimit 64
        ServerLimit 16
        StartServers 2
        ThreadsPerChild 25
        MinSpareThreads 25
        MaxSpareThreads 75
        MaxRequestWorkers 150
    """,
    ("threads", "full"): """
        ThreadLimit 64
        ServerLimit 2
        StartServers 2
        ThreadsPerChild 25
        MinSpareThreads 25
        MaxSpareThreads 75
        MaxRequestWorkers 50
    """,
    ("prefork", "spare"): """
        ServerLimit 256
        StartServers 10
        MinSpareServers 5
        MaxSpareServers 10
        MaxRequestWorkers 150
    """,
    ("prefork", "full"): """
        ServerLimit 10
        StartServers 10
        MinSpareServers 5
        MaxSpareServers 10
        MaxRequestWorkers 10
    """,
}
SLOTS = ["spare", "full"]
# What a client asks for, by what answers.
PATHS = {"daemon": "/app/sleep", "embedded": "/app/sleep", "static": "/static/file"}
# The scoreboard may be full of old children for as long as these have requests.
FULL = ("scoreboard is full", "reached MaxRequestWorkers", "within MinSpareThreads")


def allow_full(server, slots="full"):
    """Expects the lines of a server whose slots may all be taken."""
    server.log.allow(*FULL)
    if (server.mpm, slots) == ("worker", "full"):
        # worker starts a child in the slot of one that leaves, and reads from there which one has
        # left: the new child may have written its own generation by then.
        server.log.allow("AH00546: no record of generation")


def restarts_conf(mpm, slots, answers):
    """tests/apps/faults.py at /app, in a group or in Apache's children; a file at /static."""
    limits = LIMITS["prefork" if mpm == "prefork" else "threads", slots]
    group = "%{GLOBAL}" if answers == "embedded" else "site"
    groups = "" if answers == "embedded" else "WSGIDaemonProcess site processes=2 threads=15"
    text = f"""
    {limits}
    MaxKeepAliveRequests 0
    {groups}
    WSGIScriptAlias /app ${{ROOT}}/app.py process-group={group} application-group=%{{GLOBAL}}
    Alias /static ${{ROOT}}/htdocs
    """
    files = (("app.py", APP), ("htdocs/file", "a file"), ("out/README", "notes of the application"))
    return Conf(text, files=files, modules=("alias",), timeout=30)
