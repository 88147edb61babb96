"""docs/performance.md: its results.json, its charts, and its tables between markers."""

import re

from bench import cases, charts, stats, tables, targets
from bench.servers.site import REPO

PAGE = REPO / "docs/performance.md"
FOLDER = REPO / "docs/performance"
# file: (title, [(case, figure)])
CHARTS = {
    "hello.svg": (
        "Hello, world: server CPU a request, 16 connections",
        [("hello-16", "cpu_us")],
    ),
    "latency.svg": (
        "Hello, world: the slowest request in a hundred",
        [("hello-16", "p99_ms"), ("hello-64", "p99_ms"), ("hello-256", "p99_ms")],
    ),
    "cases.svg": (
        "Other requests: server CPU a request, 16 connections",
        [(name, "cpu_us") for name in ("page", "headers", "post", "django", "sleep", "spin")],
    ),
    "transfer.svg": (
        "64 MB on one connection",
        [(case.name, "mb_s") for case in cases.TRANSFERS],
    ),
    "memory.svg": (
        "Memory of all processes after load",
        [(name, "loaded_mb") for name in (cases.MEMORY, *cases.DJANGO_MEMORY.values())],
    ),
    "start.svg": ("From start to first answer", [(cases.START, "first_ms")]),
    "groups.svg": (
        "Many process groups: idle memory",
        [(name, "idle_mb") for name in cases.GROUPS.values()],
    ),
}


def write(results, contenders):
    """Write results, charts and tables anew; the prose of the page stays."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "results.json").write_text(results.to_json())
    for file, (title, wanted) in CHARTS.items():
        if panels := list(_panels(results, contenders, wanted)):
            (FOLDER / file).write_text(charts.bars(title, panels))
    page = PAGE.read_text()
    for marker, lines in (
        ("machine", _machine(results)),
        ("targets", _targets(results)),
        ("ratios", _ratios(results, contenders, "wsgi")),
        ("ratios-asgi", _ratios(results, contenders, "asgi")),
        ("faults", _faults(results, contenders)),
        *((name, _absolute(results, name, contenders)) for name in tables.ABSOLUTE),
    ):
        page = between(page, marker, lines)
    PAGE.write_text(page)


def between(page, marker, lines):
    """The page with other lines between `<!-- marker -->` and `<!-- /marker -->`."""
    pattern = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
    text = "".join(f"{line}\n" for line in lines)
    page, times = re.subn(pattern, lambda match: match[1] + text + match[2], page, flags=re.S)
    if times != 1:
        raise ValueError(f"the markers {marker} stand {times} times in {PAGE.name}")
    return page


def _panels(results, contenders, wanted):
    for case, figure in wanted:
        values = [(each, results.values(case, each.name, figure)) for each in contenders]
        shown = [(each.name, each.title, stats.Spread.of(found)) for each, found in values if found]
        if shown:
            yield cases.TITLES[case], cases.UNITS[figure][0], shown


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _machine(results):
    yield ", ".join(f"{what} {text}" for what, text in results.facts.items()) + "."


def _targets(results):
    yield _row(["Target", "Limit", "Measured", "Spread", ""])
    yield "|---|---|---|---|---|"
    for target in targets.ALL:
        met, ratio = target.verdict(results)
        if met is None:
            yield _row([target.text, target.limit, "", "", f"unknown: {ratio}"])
        else:
            span = f"{ratio.low:.2f}–{ratio.high:.2f}"
            verdict = "met" if met else "**not met**"
            measured = targets.shown(ratio.median, target.bound)
            yield _row([target.text, target.limit, measured, span, verdict])


def _ratios(results, contenders, interface):
    yield from _table(tables.ratios(results, contenders, interface))


def _absolute(results, name, contenders):
    yield from _table(tables.absolute(results, name, contenders))


def _table(rows):
    head, *rows = rows
    yield _row(head)
    yield "|---" * len(head) + "|"
    yield from map(_row, rows)


def _faults(results, contenders):
    titles = {each.name: each.title for each in contenders}
    none = True
    for case, found in results.faults.items():
        for name, text in found.items():
            none = False
            yield f"- {cases.TITLES[case]}: {titles[name]}: {text}"
    for case, found in results.absent.items():
        for name, text in found.items():
            # A contender without Python does not lack the case.
            if text.startswith("not available"):
                none = False
                yield f"- {cases.TITLES[case]}: {titles[name]}: {text}"
    if none:
        yield "None."
