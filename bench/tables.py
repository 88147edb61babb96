"""Results as text for a terminal. Pure."""

from bench import cases, stats, targets

LOAD_FIGURES = ("rps", "cpu_us", "p50_ms", "p99_ms", "p999_ms")
TAIL_FIGURES = ("p50_ms", "p99_ms", "p999_ms", "late_ms")
FIGURES = {
    **{case.name: LOAD_FIGURES + (("closed",) if case.crowded else ()) for case in cases.LOADS},
    **{case.name: ("mb_s", "cpu_ms") for case in cases.TRANSFERS},
    **{case.name: TAIL_FIGURES for case in cases.TAILS},
    **{case.name: ("slowest_ms", "failed", "p50_ms", "p99_ms") for case in cases.RESTARTS},
    **{case.name: ("p50_ms", "p99_ms", "slowest_ms", "failed") for case in cases.SLOW},
    **dict.fromkeys((case.name for case in cases.ASGI_LOADS), LOAD_FIGURES),
    **dict.fromkeys((case.name for case in cases.ASGI_TRANSFERS), ("mb_s", "cpu_ms")),
    **dict.fromkeys((case.name for case in cases.SOCKETS), ("cpu_us", "p50_ms", "p99_ms", "late")),
    **dict.fromkeys((it.name for it in cases.IDLE_SOCKETS), ("apache_kb", "other_kb", "threads")),
    cases.COUNTING.name: ("instructions",),
    cases.START: ("first_ms",),
    cases.MEMORY: ("idle_mb", "loaded_mb"),
    **dict.fromkeys(cases.DJANGO_MEMORY.values(), ("idle_mb", "loaded_mb")),
    **dict.fromkeys(
        cases.GROUPS.values(), ("all_ms", "idle_mb", "slowest_first_ms", "p50_ms", "cpu_us")
    ),
}
# What a case's ratios are made of, and whose figure is 1.
RATIO = {
    **{case.name: ("cpu_us", "null") for case in cases.LOADS},
    **{case.name: ("mb_s", "mod_wsgi-daemon") for case in cases.TRANSFERS},
}
# Without a counterpart in the null handler.
RATIO |= dict.fromkeys(("django", "sleep", "spin"), ("cpu_us", "mod_wsgi-daemon"))
RATIO |= dict.fromkeys(
    (case.name for case in [*cases.ASGI_LOADS, *cases.SOCKETS]), ("cpu_us", "apache-uvicorn")
)
RATIO |= {case.name: ("mb_s", "apache-uvicorn") for case in cases.ASGI_TRANSFERS}
ASGI = {case.name for case in [*cases.ASGI_LOADS, *cases.ASGI_TRANSFERS, *cases.SOCKETS]}
RATIO[cases.START] = ("first_ms", "mod_wsgi-daemon")
RATIO |= dict.fromkeys(cases.GROUPS.values(), ("idle_mb", "mod_wsgi-daemon"))
RATIO |= dict.fromkeys(
    (cases.MEMORY, *cases.DJANGO_MEMORY.values()),
    ("loaded_mb", "mod_wsgi-daemon"),
)
# Shown as they are, since their limits are absolute or the ratios of all contenders to one: tables
# of the page by the name of their markers, with the figures of each case and the contenders.
ABSOLUTE = {
    "tails": [(case, ("p99_ms", "p999_ms")) for case in cases.TAILS],
    "restarts": [(case, ("slowest_ms", "failed")) for case in cases.RESTARTS],
    "slow-clients": [(case, ("p50_ms", "p99_ms", "failed")) for case in cases.SLOW],
}

# Of all rounds the largest value is shown: a median would hide the round with the slowest request
# or with those that failed.
WORST = {"slowest_ms", "failed"}


def shown(figure, values):
    """What a table has of the values of a figure, one for each round."""
    return max(values) if figure in WORST else stats.Spread.of(values).median


def number(value, decimals):
    return f"{value:,.{decimals}f}".replace(",", " ")


def columns(rows, right=1):
    """Rows of texts as lines; columns from `right` on are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if place < right else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def of_case(results, case, contenders):
    """A table of one case: a line for each contender, medians (the largest values of WORST), the
    spread of the first figure.
    """
    figures = FIGURES[case]
    units = [cases.UNITS[figure] for figure in figures]
    rows = [[cases.TITLES[case], *(unit for unit, _, _ in units), "spread of the first"]]
    without = {}
    for contender in contenders:
        values = [results.values(case, contender.name, figure) for figure in figures]
        if not any(values):
            why = results.why_not(case, contender.name)
            without.setdefault(why, []).append(contender.title)
            continue
        cells = [
            number(shown(figure, found), decimals) if found else "-"
            for figure, found, (_, decimals, _) in zip(figures, values, units, strict=True)
        ]
        first, decimals = stats.Spread.of(values[0]) if values[0] else None, units[0][1]
        span = f"{number(first.low, decimals)}–{number(first.high, decimals)}" if first else "-"
        rows.append([contender.title, *cells, span])
    notes = (f"  {why}: {'; '.join(titles)}" for why, titles in without.items())
    return [*columns(rows), *notes, ""]


def ratios(results, contenders, interface="wsgi"):
    """The table of an interface: rows are cases, columns contenders; a cell is empty where there
    is none.
    """
    contenders = [it for it in contenders if it.interface == interface and not it.cases]
    rows = [["", *(contender.name for contender in contenders)]]
    for case, (figure, reference) in RATIO.items():
        if case not in results.samples or (case in ASGI) != (interface == "asgi"):
            continue
        row = [f"{cases.TITLES[case]}: {cases.UNITS[figure][0]} ÷ {reference}'s"]
        for contender in contenders:
            ratio = stats.ratio(
                results.values(case, contender.name, figure),
                results.values(case, reference, figure),
            )
            row.append(f"{ratio.median:.2f}" if ratio else "")
        rows.append(row)
    return rows


def absolute(results, name, contenders):
    """One of the tables ABSOLUTE: a row for each figure of a case, a column for each contender."""
    wanted = ABSOLUTE[name]
    asked = [each for each in contenders if any(each.name in case.only for case, _ in wanted)]
    rows = [["", *(contender.name for contender in asked)]]
    for case, figures in wanted:
        if case.name not in results.samples:
            continue
        for figure in figures:
            unit, decimals, _ = cases.UNITS[figure]
            row = [f"{case.title}: {unit}"]
            for contender in asked:
                values = results.values(case.name, contender.name, figure)
                row.append(number(shown(figure, values), decimals) if values else "")
            rows.append(row)
    return rows


def of_targets(results, wanted):
    """The table of targets, met or not."""
    rows = [["Target", "limit", "measured", "spread", "verdict"]]
    for target in wanted:
        met, ratio = target.verdict(results)
        if met is None:
            rows.append([target.text, target.limit, "-", "-", f"unknown ({ratio})"])
            continue
        span = f"{ratio.low:.2f}–{ratio.high:.2f}"
        rows.append(
            [
                target.text,
                target.limit,
                targets.shown(ratio.median, target.bound),
                span,
                "met" if met else "NOT met",
            ]
        )
    return columns(rows, right=99)
