"""The pure part of `make bench`: from samples to verdicts, tables, charts and the page."""

import json
import re
import sys
from xml.etree import ElementTree

import pytest
from harness.env import REPO

sys.path.insert(0, str(REPO))
from bench import callgrind, cases, charts, cpu, document, load, stats, tables, targets
from bench.results import Results

pytestmark = pytest.mark.ours_only("reads nothing but samples made here")


def results(**figures):
    """Samples of hello-16: contender=[CPU µs of each round]; None is a round that failed."""
    made = Results()
    for contender, values in figures.items():
        for value in values:
            sample = None if value is None else {"cpu_us": value}
            made.add("hello-16", contender.replace("_", "-"), sample)
    return made


LESS = targets.Target("hello-16", "ours-daemon", "cpu_us", 1.5, "null")
MORE = targets.Target("hello-16", "ours-daemon", "cpu_us", 1.5, "null", at_least=True)


@pytest.mark.parametrize(
    ("ours", "null", "less", "ratio"),
    [
        ([30, 30, 30], [20, 20, 20], True, (1.5, 1.5, 1.5)),
        ([31, 31, 31], [20, 20, 20], False, (1.55, 1.55, 1.55)),
        # A machine that gets slower moves both: each round has its own quotient.
        ([10, 20, 40], [10, 20, 40], True, (1, 1, 1)),
        ([20, 40, 10], [10, 10, 10], False, (2, 1, 4)),
        # A round that only one of them has does not count.
        ([10, 10, 10], [None, 10, 10], True, (1, 1, 1)),
    ],
)
def test_a_verdict_compares_round_by_round(ours, null, less, ratio):
    made = results(ours_daemon=ours, null=null)
    met, spread = LESS.verdict(made)
    assert met is less
    assert (spread.median, spread.low, spread.high) == pytest.approx(ratio)
    assert MORE.verdict(made)[0] is (spread.median >= 1.5)


def test_a_missing_or_invalid_figure_makes_the_verdict_unknown_and_says_why():
    made = results(ours_daemon=[1])
    made.lack("hello-16", "null", "runs no Python")
    assert LESS.verdict(made) == (None, "null: runs no Python")
    made = results(ours_daemon=[1, 1], null=[1, 1])
    made.fail("hello-16", "ours-daemon", "wrk counted 3 x status")
    assert LESS.verdict(made) == (None, "ours-daemon: wrk counted 3 x status")
    table = "\n".join(tables.of_targets(made, [LESS]))
    assert "unknown (ours-daemon: wrk counted 3 x status)" in table


@pytest.mark.parametrize(
    ("memory", "met"),
    [((10, 59, 209), True), ((10, 59, 350), False), ((10, 59, 1000), False)],
)
def test_growth_with_the_number_of_groups_is_linear_or_not(memory, met):
    made = Results()
    for name, value in zip(cases.GROUPS.values(), memory, strict=True):
        made.add(name, "ours-daemon", {"idle_mb": value})
    assert targets.Growth("idle_mb", "idle memory").verdict(made)[0] is met


def test_every_target_names_a_case_a_figure_and_contenders_that_exist():
    from bench.servers import CONTENDERS

    names = {kind.name for kind in CONTENDERS}
    for target in targets.ALL:
        assert target.contender in names
        if isinstance(target, targets.Target):
            assert target.reference in names
            for case in {target.case, target.reference_case or target.case}:
                assert target.figure in tables.FIGURES[case]


def test_every_contender_without_a_figure_is_named_in_the_table():
    class Someone:
        name, title = "null", "the floor"

    class Broken:
        name, title = "ours-daemon", "the one that broke"

    made = results(null=[30])
    made.fail("hello-16", "ours-daemon", "status 503")
    table = "\n".join(tables.of_case(made, "hello-16", [Someone, Broken]))
    assert "status 503: the one that broke" in table


def test_a_chart_is_well_formed_and_shows_every_bar():
    values = [("null", "a <floor>", stats.Spread(30, 29, 31)), ("x", "b", stats.Spread(0, 0, 0))]
    chart = charts.bars("CPU & more", [("hello", "µs", values)])
    root = ElementTree.fromstring(chart)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["CPU & more", "hello (µs)", "a <floor>", "30.0", "b", "0.00"]


def test_page_has_every_marker_and_only_text_between_markers_changes():
    page = document.PAGE.read_text()
    for marker in ("machine", "targets", "ratios", "faults"):
        changed = document.between(page, marker, ["one line \\1"])
        assert f"<!-- {marker} -->\none line \\1\n<!-- /{marker} -->" in changed
        assert (
            re.split(f"<!-- /?{marker} -->", changed)[::2]
            == (re.split(f"<!-- /?{marker} -->", page)[::2])
        )
    with pytest.raises(ValueError, match="stand 0 times"):
        document.between("no marker", "machine", [])


def test_every_chart_that_is_drawn_is_shown_on_the_page():
    page = document.PAGE.read_text()
    assert {file for file in document.CHARTS if f"performance/{file}" not in page} == set()


def test_processor_time_counts_children_that_are_gone():
    import os
    import subprocess

    burn = "import time\nend = time.thread_time() + 0.2\nwhile time.thread_time() < end: pass"
    before = cpu.seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", burn], check=True)
    # The kernel counts in hundredths.
    assert cpu.seconds([os.getpid()]) - before >= 0.18


def test_wrk_that_counts_errors_fails_the_load():
    printed = (
        '\nRESULT {"requests": 5, "seconds": 1, "p50": 1, "p99": 1, "p999": 1, "failed": %s}\n'
    )
    assert load.read(printed % '{"read": 0, "status": 0}')["closed"] == 0
    assert load.read(printed % '{"read": 2, "status": 0}', may_close=True)["closed"] == 2
    for failed in ('{"read": 2}', '{"status": 1}', '{"timeout": 1}', '{"connect": 1}'):
        with pytest.raises(load.LoadFailed, match="beside 5 requests"):
            load.read(printed % failed)
    with pytest.raises(load.LoadFailed, match="unable to connect"):
        load.read("unable to connect")


@pytest.mark.parametrize(
    ("value", "bound", "text"),
    [(1.5, 1.3, "1.50"), (1.296, 1.3, "1.296"), (1.3, 1.3, "1.30"), (0.50004, 0.5, "0.5000")],
)
def test_a_ratio_is_shown_with_the_decimals_that_its_verdict_needs(value, bound, text):
    assert targets.shown(value, bound) == text


def test_the_samples_survive_in_json():
    made = results(ours_daemon=[57.81234, None, 60], null=[1, 2, 3])
    read = json.loads(made.to_json())
    assert read["samples"]["hello-16"]["ours-daemon"] == {"cpu_us": [57.81, None, 60.0]}


def test_functions_are_read_from_the_output_of_callgrind():
    printed = """\
------------------------------
Ir
------------------------------
2,000  PROGRAM TOTALS

Ir     file:function
------------------------------
1,500  ???:PyDict_SetItem [/usr/lib/libpython3.11.so.1.0]
  300  src/head.rs:wsgi::head::ResponseHead::push [/opt/mod_wsgi_rs.so]
  100  other.rs:wsgi::head::ResponseHead::push [/opt/mod_wsgi_rs.so]
  100  ???:0x0000000000104f20 [???]
"""
    assert callgrind.read(printed) == {
        "PyDict_SetItem  (libpython3.11.so.1.0)": 1500,
        "wsgi::head::ResponseHead::push  (mod_wsgi_rs.so)": 400,
        "0x0000000000104f20  (???)": 100,
    }
