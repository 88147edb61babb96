"""The promised figures, each as a ratio inside one run. Pure."""

from dataclasses import dataclass

from bench import cases, stats

OURS_E, OURS_D, OURS_A = "ours-embedded", "ours-daemon", "ours-asgi"
UNCOUNTED = {OURS_E: "ours-embedded-uncounted", OURS_D: "ours-daemon-uncounted"}
THEIRS_E, THEIRS_D = "mod_wsgi-embedded", "mod_wsgi-daemon"


@dataclass(frozen=True)
class Target:
    """`contender`'s figure divided by `reference`'s is at most, or at least, `bound`."""

    case: str
    contender: str
    figure: str
    bound: float
    reference: str
    at_least: bool = False
    # The reference's figure may be another case's.
    reference_case: str | None = None
    title: str | None = None

    @property
    def text(self):
        what = self.title or f"{_mode(self.contender)}{cases.TITLES[self.case]}"
        return f"{what}: {cases.UNITS[self.figure][0]}"

    @property
    def limit(self):
        return f"{'≥' if self.at_least else '≤'} {self.bound:.2f} × {self.reference}"

    def ratio(self, results):
        """Spread of the contender's figure divided by the reference's; None if one is missing."""
        return stats.ratio(
            results.values(self.case, self.contender, self.figure),
            results.values(self.reference_case or self.case, self.reference, self.figure),
        )

    def verdict(self, results):
        """(met: True, False or None for unknown; the ratio as a Spread or why there is none)."""
        ratio = self.ratio(results)
        if ratio is None:
            for case, who in (
                (self.case, self.contender),
                (self.reference_case or self.case, self.reference),
            ):
                if not results.values(case, who, self.figure):
                    return None, f"{who}: {results.why_not(case, who)}"
            return None, "no round has both figures"
        met = ratio.median >= self.bound if self.at_least else ratio.median <= self.bound
        return met, ratio


@dataclass(frozen=True)
class Limit:
    """`contender`'s figure is at most `bound` in every round."""

    case: str
    contender: str
    figure: str
    bound: float

    @property
    def text(self):
        return f"{_mode(self.contender)}{cases.TITLES[self.case]}: {cases.UNITS[self.figure][0]}"

    @property
    def limit(self):
        return f"≤ {self.bound:g}"

    def verdict(self, results):
        """The same as of a ratio; the figure to compare is the greatest."""
        values = results.values(self.case, self.contender, self.figure)
        if not values:
            return None, f"{self.contender}: {results.why_not(self.case, self.contender)}"
        found = stats.Spread(max(values), min(values), max(values))
        return found.median <= self.bound, found


@dataclass(frozen=True)
class Growth:
    """From 50 to 200 groups each group costs at most `bound` times what it cost from 1 to 50.

    Growth with the square would make it five times.
    """

    figure: str
    title: str
    contender: str = OURS_D
    bound: float = 1.5
    # The last of those that it compares.
    case: str = cases.GROUPS[200]

    @property
    def text(self):
        return f"200 process groups: {self.title}, each of 51–200"

    @property
    def limit(self):
        return f"≤ {self.bound:.2f} × each of 2–50"

    def verdict(self, results):
        series = []
        for count, case in cases.GROUPS.items():
            values = results.values(case, self.contender, self.figure)
            if not values:
                return None, f"{case}: {results.why_not(case, self.contender)}"
            series.append((count, values))
        (one, low), (some, middle), (many, high) = series
        early = [(b - a) / (some - one) for a, b in zip(low, middle, strict=False)]
        late = [(b - a) / (many - some) for a, b in zip(middle, high, strict=False)]
        if min(early) <= 0:
            # Below the noise: what 50 groups add cannot be told from nothing.
            return None, "50 groups cost no more than one"
        ratio = stats.ratio(late, early)
        return ratio.median <= self.bound, ratio


def shown(value, bound):
    """A ratio with as many decimals as it takes to see on which side of the bound it is."""
    for decimals in (2, 3, 4):
        text = f"{value:.{decimals}f}"
        if (float(text) > bound, float(text) < bound) == (value > bound, value < bound):
            break
    return text


def _mode(contender):
    return {OURS_E: "embedded ", OURS_D: "daemon "}.get(contender, "")


def _of(contender, case, figure, *bounds, at_least=False):
    """One target for each (bound, reference)."""
    return [Target(case, contender, figure, *pair, at_least=at_least) for pair in bounds]


HELLO = [
    *_of(OURS_E, "hello-16", "cpu_us", (1.30, "null"), (0.50, THEIRS_E)),
    *_of(OURS_E, "hello-64", "p99_ms", (0.2, THEIRS_E)),
    *_of(
        *(OURS_D, "hello-16", "cpu_us"),
        *((1.8, "null"), (0.33, THEIRS_D), (0.65, "apache-uwsgi"), (1.15, "nginx-uwsgi")),
    ),
    *_of(OURS_D, "hello-1", "p50_ms", (0.35, THEIRS_D)),
    *_of(OURS_D, "hello-64", "p99_ms", (0.1, THEIRS_D)),
]
TRANSFER = [
    *_of(OURS_D, "stream", "mb_s", (1.3, THEIRS_D), at_least=True),
    *_of(OURS_D, "stream", "cpu_ms", (0.8, THEIRS_D)),
    *_of(OURS_D, "file", "mb_s", (0.9, "static"), at_least=True),
    *_of(OURS_D, "upload", "mb_s", (2, THEIRS_D), at_least=True),
]
MEMORY = [
    *_of(OURS_D, cases.MEMORY, "loaded_mb", (0.9, THEIRS_D)),
    *(
        Target(
            cases.DJANGO_MEMORY[True, warm],
            OURS_D,
            "loaded_mb",
            0.5,
            THEIRS_D,
            reference_case=cases.DJANGO_MEMORY[False, False],
            title=f"daemon Django, preload=On{' warm-up=/django' if warm else ''}, 4 processes",
        )
        for warm in (False, True)
    ),
]
GROUPS = [
    Growth("all_ms", "start-up"),
    Growth("idle_mb", "idle memory"),
    Target(
        cases.GROUPS[200],
        OURS_D,
        "p50_ms",
        1.15,
        OURS_D,
        reference_case=cases.GROUPS[1],
        title="hello to one of 200 process groups, against a single one",
    ),
]
TAILS = [
    target
    for case in cases.TAILS
    for figure in ("p99_ms", "p999_ms")
    for target in _of(OURS_D, case.name, figure, (1.2, "nginx-uwsgi"))
]
STEADY = [
    *(
        Limit(case.name, contender, figure, bound)
        for case in cases.RESTARTS
        for contender in (OURS_E, OURS_D)
        for figure, bound in (("slowest_ms", 100), ("failed", 0))
    ),
    *(
        Limit(case.name, OURS_D, figure, bound)
        for case in cases.SLOW
        for figure, bound in (("p99_ms", 50), ("failed", 0))
    ),
]
ASGI = [
    *_of(OURS_A, "asgi-hello-16", "cpu_us", (0.8, "apache-uvicorn"), (1, "nginx-uvicorn")),
    *_of(OURS_A, "asgi-stream", "mb_s", (1.5, "apache-uvicorn"), at_least=True),
    *_of(OURS_A, "asgi-sockets-1000", "cpu_us", (0.7, "apache-uvicorn")),
    Limit("asgi-idle-10000", OURS_A, "apache_kb", 12),
    Limit("asgi-idle-10000", OURS_A, "threads", 0),
]
COUNTING = [
    target
    for contender, without in UNCOUNTED.items()
    for target in _of(contender, cases.COUNTING.name, "instructions", (1.02, without))
]
ALL = [*HELLO, *COUNTING, *TRANSFER, *MEMORY, *GROUPS, *TAILS, *STEADY, *ASGI]
