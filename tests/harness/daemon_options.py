"""The options of WSGIDaemonProcess: values each takes, and what is said of those it refuses."""

LARGEST = "2147483647"
WHOLE = "must be {}, a whole number of at least {}"
FLAG = (["On", "off"], {"": (said := "must be one of: Off | On"), "1": said})


def number(unit, least=0, good=()):
    said = WHOLE.format(unit, least)
    return ([str(least), LARGEST, *good], {"": said, "x": said, str(least - 1): said})


def size(least):
    good, bad = number("a number of bytes", good=[str(least)])
    return good, bad | {str(least - 1): f"must be at least {least} bytes, or 0 for the default"}


def account(kind):
    thing = f"names no {kind} of this system"
    empty = f"is not allowed, it must name a {kind}"
    return ["games", "#5"], {"": empty, "no-such-account": thing}


SECONDS = number("a number of seconds")
REQUESTS = number("a number of requests")
BYTES = number("a number of bytes", good=["4294967296"])
ABSOLUTE = "must be an absolute path"
ROOT = "is not allowed: a daemon process may not run as root"
GROUP = "names a group this system does not have"
OCTAL = "must be an octal number such as 0027"
PRIORITY = "must be a priority, a whole number"
RANGE = "must be a number from 1 to 10000, or MIN-MAX with MIN from 0"
INTERVAL = "must be a positive number of seconds"
PATH_OR_URL = "must be a path such as /health, or http://www.example.com/health, without %"
VARIABLES = "must be inherit, none, or names and NAME=value with spaces between them"
TOO_MANY = ",".join(["#5"] * 65_536)
# What each takes, and what it says of what it does not take.
OPTIONS = {
    "user": (account("user")[0], account("user")[1] | {"root": ROOT, "#0": ROOT}),
    "group": account("group"),
    "supplementary-groups": (
        ["games", "games,#5"],
        {"games,no-such-account": GROUP, TOO_MANY: "has too many supplementary groups"},
    ),
    "threads": (
        ["0", "1", "65533"],
        dict.fromkeys(["", "x", "-1", "65534"], "must be a number of threads, from 0 to 65533"),
    ),
    "umask": (
        ["0", "027", "0777"],
        dict.fromkeys(["", "9", "x"], "must be an octal number such as 0027"),
    ),
    "chroot": (["/srv"], {"": ABSOLUTE, "srv": ABSOLUTE}),
    "home": (["/srv"], {"": ABSOLUTE, "srv": ABSOLUTE}),
    "lang": (["C.UTF-8"], {}),
    "locale": (["C.UTF-8"], {}),
    "display-name": (["%{GROUP}", "'my site'"], {}),
    "python-home": (["/usr"], {}),
    "python-path": (["/usr:/tmp"], {}),
    "python-eggs": (["/tmp"], {}),
    "switch-interval": (["0.01", "2"], dict.fromkeys(["", "0", "-1", "x", "0.1s"], INTERVAL)),
    "stack-size": number("a number of bytes", least=1),
    "maximum-requests": REQUESTS,
    "startup-timeout": SECONDS,
    "shutdown-timeout": SECONDS,
    "deadlock-timeout": SECONDS,
    "inactivity-timeout": SECONDS,
    "request-timeout": SECONDS,
    "interrupt-timeout": SECONDS,
    "graceful-timeout": SECONDS,
    "eviction-timeout": SECONDS,
    "restart-interval": SECONDS,
    "connect-timeout": SECONDS,
    "socket-timeout": SECONDS,
    "queue-timeout": SECONDS,
    "listen-backlog": number("a number"),
    "send-buffer-size": size(512),
    "receive-buffer-size": size(512),
    "header-buffer-size": size(8192),
    "response-buffer-size": size(65_536),
    "response-socket-timeout": SECONDS,
    "response-flush-delay": number("a number of milliseconds"),
    "socket-user": account("user"),
    "script-user": account("user"),
    "script-group": account("group"),
    "cpu-time-limit": SECONDS,
    "cpu-priority": (
        ["-20", "0", "19"],
        dict.fromkeys(["", "x"], "must be a priority, a whole number"),
    ),
    "memory-limit": BYTES,
    "virtual-memory-limit": BYTES,
    # On gives a warning.
    "server-metrics": (["Off"], FLAG[1]),
    "processes": (
        ["1", "10000"],
        dict.fromkeys(["", "x", "0"], "must be a number of processes, from 1 to 10000"),
    ),
}
# What mod_wsgi has not.
OURS = {
    "processes": (
        ["0-1", "2-8", "9999-10000"],
        dict.fromkeys(["0-0", "3-2", "1-x", "1-", "1-10001"], RANGE),
    ),
    "interface": (["wsgi", "ASGI"], dict.fromkeys(["", "x"], "must be one of: wsgi | asgi | auto")),
    "asgi-lifespan": (
        ["auto", "on", "Off"],
        dict.fromkeys(["", "x"], "must be one of: auto | on | off"),
    ),
    "asgi-loop": (
        ["auto", "asyncio", "uvloop"],
        dict.fromkeys(["", "x"], "must be one of: auto | asyncio | uvloop"),
    ),
    "asgi-concurrency": (
        ["1", "65533"],
        dict.fromkeys(["", "x", "0", "65534"], "must be a number of requests, from 1 to 65533"),
    ),
    "websocket-compression": FLAG,
    "websocket-limit": (
        ["0", "65533"],
        dict.fromkeys(["", "x", "-1", "65534"], "must be a number of WebSockets, from 0 to 65533"),
    ),
    "websocket-max-message": BYTES,
    "websocket-ping-interval": SECONDS,
    "preload": FLAG,
    # What it takes depends on aliases: tests/daemon/test_warm_up.py.
    "warm-up": ([], dict.fromkeys(["", "health", "/a%20b", "http://", "/a#b"], PATH_OR_URL)),
    "reload": FLAG,
    "environment": (
        ["inherit", "none", "HOME", "'A=1 B'", """ "inherit 'A=x y'" """.strip()],
        dict.fromkeys(["", "=1", "none=1"], VARIABLES),
    ),
    "maximum-requests-jitter": REQUESTS,
    "maximum-memory": BYTES,
    "request-buffer-size": BYTES,
    "response-spool-size": BYTES,
    "response-spool-total": BYTES,
}
FORMER = ["newrelic-config-file", "newrelic-environment"]
