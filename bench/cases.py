"""What is measured: names, paths and sizes."""

from dataclasses import KW_ONLY, dataclass

from bench import load
from bench.neighbours import Neighbours
from bench.servers.contender import Shape


@dataclass(frozen=True)
class Case:
    """What all cases have."""

    name: str
    title: str
    _: KW_ONLY
    path: str = "/hello"
    rounds: int = 3
    # What the application is written to; contenders of another interface have no part in it.
    interface: str = "wsgi"
    # Names of the contenders; all of the interface when empty.
    only: frozenset = frozenset()

    def has(self, contender):
        """Whether a contender is measured."""
        return (
            contender.interface == self.interface
            and (not self.only or contender.name in self.only)
            and (not contender.cases or self.name in contender.cases)
        )


@dataclass(frozen=True, kw_only=True)
class Connected(Case):
    """So many connections, for which the servers are laid out."""

    connections: int = 16


@dataclass(frozen=True, kw_only=True)
class Load(Connected):
    """Many requests at once, from wrk: req/s, CPU µs a request, p50, p99, p99.9."""

    request: str = ""
    method: str = "GET"
    seconds: int = 1
    # More connections than Apache has threads: it then closes some that are kept alive.
    crowded: bool = False


@dataclass(frozen=True, kw_only=True)
class Transfer(Connected):
    """64 MB on one connection: MB/s and CPU ms."""

    upload: bool = False
    rounds: int = 5
    repeats: int = 3


@dataclass(frozen=True, kw_only=True)
class Tail(Connected):
    """`rate` requests a second beside `neighbours`, from open_loop: p50, p99, p99.9."""

    rate: int
    neighbours: Neighbours
    seconds: int = 3


@dataclass(frozen=True, kw_only=True)
class Shaped(Case):
    """Clients in threads of their own, and servers of a shape for them."""

    shape: Shape
    clients: int = 8


@dataclass(frozen=True, kw_only=True)
class Restart(Shaped):
    """Clients that ask without a pause over graceful restarts: the slowest answer, failures."""

    # 5 ms in an application, a file where there is none.
    path: str = "/pause"
    rounds: int = 2
    restarts: int = 3
    # Seconds from one restart to the next.
    interval: float = 2


@dataclass(frozen=True, kw_only=True)
class SlowClients(Shaped):
    """Ordinary requests beside clients that send or read 1 KB a second: p50, p99, failures."""

    # `upload` or `download`, and the path for it.
    kind: str
    slow_path: str
    # Measured once the server has begun all responses; else from the first connection on.
    begun: bool = False
    slow: int = 200
    # Seconds from one request of a client to its next.
    interval: float = 0.04
    seconds: int = 6
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class Sockets(Case):
    """Open WebSockets, each of which echoes 100 bytes each second: CPU µs an echo, p50, p99."""

    shape: Shape
    sockets: int
    interval: float = 1
    seconds: int = 10


@dataclass(frozen=True, kw_only=True)
class IdleSockets(Case):
    """Open WebSockets that say nothing: KB of memory each, of Apache and of all else; threads."""

    sockets: int
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class Instructions(Case):
    """Requests one after the other under callgrind: instructions a request in user space."""

    rounds: int = 2


HELLO_1 = Load("hello-1", "hello, 1 connection", connections=1, rounds=5)
HELLO_16 = Load("hello-16", "hello, 16 connections", rounds=5, seconds=2)
HELLO_64 = Load(
    *("hello-64", "hello, 64 connections for 32 threads"),
    **{"connections": 64, "rounds": 5, "seconds": 2, "crowded": True},
)

LOADS = [
    HELLO_1,
    HELLO_16,
    HELLO_64,
    Load("hello-64-wide", "hello, 64 connections", connections=64, seconds=2),
    Load("hello-256", "hello, 256 connections", connections=256, seconds=2),
    Load("page", "8 KB page", path="/page"),
    Load("headers", "30 request headers", request=load.HEADERS),
    Load("post", "1 KB POST", path="/post", request=load.POST, method="POST"),
    Load("django", "Django page with template", path="/django", seconds=2),
    Load("sleep", "5 ms sleep", path="/sleep"),
    Load("spin", "2 ms of CPU", path="/spin", seconds=2),
]
TRANSFERS = [
    Transfer("stream", "64 MB stream", path="/stream"),
    Transfer("file", "64 MB file_wrapper", path="/large"),
    Transfer("upload", "64 MB upload", path="/upload", upload=True),
]
FORKING = Neighbours(forking=1)
TAILS = [
    Tail(
        f"tail-{rate}-{name}",
        f"{rate} requests/s, {neighbours.title}",
        rate=rate,
        neighbours=neighbours,
        only=frozenset(
            {"ours-embedded", "ours-daemon", "mod_wsgi-embedded", "mod_wsgi-daemon", "nginx-uwsgi"}
        ),
        seconds=seconds,
    )
    for name, neighbours in (
        ("quiet", Neighbours()),
        ("busy-2", Neighbours(computing=2)),
        ("busy-6", Neighbours(computing=6)),
        ("forks", FORKING),
    )
    for rate, seconds in ((500, 8), (2000, 3))
]
RESTARTS = [
    Restart(
        name,
        f"graceful restarts, {title}",
        shape=shape,
        only=frozenset({"static", "ours-embedded", "ours-daemon", "mod_wsgi-daemon"}),
    )
    for name, title, shape in (
        ("restart-debian", "Debian's settings of the MPM", Shape(mpm="debian")),
        ("restart-full", "ServerLimit equal to the children in use", Shape()),
    )
]
SLOW = [
    SlowClients(
        name,
        f"200 slow {title}",
        only=frozenset({"ours-daemon", "mod_wsgi-daemon", "nginx-uwsgi"}),
        kind=kind,
        slow_path=path,
        begun=begun,
        # Apache has threads for all of them: 400 and some.
        shape=Shape(connections=200),
    )
    for name, title, kind, path, begun in (
        ("slow-uploads", "uploads", "upload", "/upload", False),
        ("slow-downloads", "downloads", "download", "/thirty", False),
        ("slow-downloads-begun", "downloads that have begun", "download", "/thirty", True),
    )
]
ASGI_LOADS = [
    Load("asgi-hello-16", "hello, ASGI, 16 connections", interface="asgi", rounds=5, seconds=2)
]
ASGI_TRANSFERS = [Transfer("asgi-stream", "64 MB stream, ASGI", path="/stream", interface="asgi")]
SOCKETS = [
    Sockets(
        "asgi-sockets-1000",
        "1000 WebSockets, 100 bytes a second each",
        interface="asgi",
        sockets=1000,
        # A tunnel of mod_proxy has a thread of Apache.
        shape=Shape(connections=1000),
    )
]
IDLE_SOCKETS = [
    IdleSockets(
        "asgi-idle-10000",
        "10 000 idle WebSockets",
        interface="asgi",
        sockets=10_000,
        # Two descriptors each, or a thread.
        only=frozenset({"ours-asgi"}),
    )
]
# Processor time differs by more than two per cent from one run to the next, instructions hardly.
COUNTING = Instructions(
    "counting",
    "hello, what counting requests costs",
    only=frozenset(
        {"ours-embedded", "ours-embedded-uncounted", "ours-daemon", "ours-daemon-uncounted"}
    ),
)
# Others are measured by bench/alone.py; the names are for tables and targets.
START = "start"
MEMORY = "memory"
# By preload and warm-up.
DJANGO_MEMORY = {
    (False, False): "memory-django",
    (True, False): "memory-django-preload",
    (True, True): "memory-django-warm",
}
GROUPS = {1: "groups-1", 50: "groups-50", 200: "groups-200"}

TITLES = {
    **{case.name: case.title for case in [*LOADS, *TRANSFERS, *TAILS, *RESTARTS, *SLOW]},
    **{case.name: case.title for case in [*ASGI_LOADS, *ASGI_TRANSFERS, *SOCKETS, *IDLE_SOCKETS]},
    COUNTING.name: COUNTING.title,
    START: "start to first answer",
    MEMORY: "memory, 2 processes x 15 threads",
    DJANGO_MEMORY[False, False]: "memory, Django, 4 processes, preload off",
    DJANGO_MEMORY[True, False]: "memory, Django, 4 processes, preload on",
    DJANGO_MEMORY[True, True]: "memory, Django, 4 processes, preload on, and warm-up",
    **{name: f"{count} process group{'s' * (count > 1)}" for count, name in GROUPS.items()},
}
# A figure's unit, the decimals to show, and whether less is better.
UNITS = {
    "rps": ("req/s", 0, False),
    "cpu_us": ("CPU µs/req", 1, True),
    "instructions": ("instructions/req", 0, True),
    "p50_ms": ("p50 ms", 2, True),
    "p99_ms": ("p99 ms", 2, True),
    "p999_ms": ("p99.9 ms", 2, True),
    "mb_s": ("MB/s", 0, False),
    "cpu_ms": ("CPU ms", 0, True),
    "first_ms": ("ms to first answer", 0, True),
    "idle_mb": ("PSS MB idle", 1, True),
    "loaded_mb": ("PSS MB after load", 1, True),
    "closed": ("closed per 1000", 1, True),
    "all_ms": ("ms to all groups' answers", 0, True),
    "slowest_ms": ("slowest ms", 0, True),
    "failed": ("failed", 0, True),
    "late": ("late", 0, True),
    "apache_kb": ("KB of Apache a WebSocket", 2, True),
    "other_kb": ("KB of its workers a WebSocket", 1, True),
    "threads": ("threads of Apache", 0, True),
    "late_ms": ("client's own p99 ms", 2, True),
    "slowest_first_ms": ("slowest first request ms", 1, True),
}
