"""The pure part of `make bench`: from samples to verdicts, tables, charts and the page."""

import contextlib
import json
import re
import socket
import sys
import threading
import time
from xml.etree import ElementTree

import pytest
from harness.env import REPO

sys.path.insert(0, str(REPO))
from bench import (
    callgrind,
    cases,
    charts,
    cpu,
    document,
    load,
    open_loop,
    pauses,
    sockets,
    stats,
    tables,
    targets,
)
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
        if isinstance(target, targets.Limit):
            assert target.figure in tables.FIGURES[target.case]
        if isinstance(target, targets.Target):
            assert target.reference in names
            for case in {target.case, target.reference_case or target.case}:
                assert target.figure in tables.FIGURES[case]


@pytest.mark.parametrize("contender", ["ours-embedded", "ours-daemon"])
@pytest.mark.parametrize(("counted", "met"), [(102, True), (103, False)])
def test_counting_requests_has_a_target_of_two_per_cent(contender, counted, met):
    uncounted = f"{contender}-uncounted"
    [target] = [it for it in targets.ALL if getattr(it, "reference", None) == uncounted]
    assert (target.contender, target.case) == (contender, "counting")
    made = Results()
    made.add("counting", contender, {"instructions": counted})
    assert target.verdict(made)[0] is None
    made.add("counting", uncounted, {"instructions": 100})
    assert target.verdict(made)[0] is met
    # No other case has servers that count nothing.
    from bench.__main__ import EVERY
    from bench.servers import CONTENDERS

    [kind] = [kind for kind in CONTENDERS if kind.name == uncounted]
    assert [case.name for case in EVERY if case.has(kind)] == ["counting"]


def test_case_has_the_contenders_of_its_interface_alone():
    from bench.__main__ import EVERY
    from bench.servers import CONTENDERS

    for case in EVERY:
        asked = [kind for kind in CONTENDERS if case.has(kind)]
        assert asked, case.name
        assert {kind.interface for kind in asked} == {case.interface}


def test_messages_over_websockets_are_counted_with_their_times():
    pairs = [socket.socketpair() for _ in range(5)]
    stopped = threading.Event()

    def answer():
        while not stopped.is_set():
            for _, there in pairs[:4]:
                with contextlib.suppress(BlockingIOError):
                    assert there.recv(4096, socket.MSG_DONTWAIT) == sockets.SENT
                    there.sendall(sockets.ECHO)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        answered = sockets.Echoes([here for here, _ in pairs[:4]])
        answered.run(0.5, 0.1)
        pairs[4][1].close()
        gone = sockets.Echoes([pairs[4][0]])
        with contextlib.suppress(BrokenPipeError):
            gone.run(0.1, 0.05)
    finally:
        stopped.set()
        thread.join()
    figures = answered.figures()
    assert figures["lost"] == 0
    assert 10 <= figures["echoes"] + figures["late"] <= 21
    assert 0 < figures["p50"] <= figures["p99"]
    assert gone.figures()["lost"] >= 1


def test_every_contender_without_a_figure_is_named_in_the_table():
    class Someone:
        name, title, interface = "null", "the floor", "wsgi"

    class Broken:
        name, title, interface = "ours-daemon", "the one that broke", "wsgi"

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
    for marker in ("machine", "targets", "ratios", "ratios-asgi", "faults", *tables.ABSOLUTE):
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


@pytest.mark.parametrize(
    ("values", "met"), [([40, 99], True), ([100], True), ([40, 101, 40], False)]
)
def test_a_limit_holds_in_every_round(values, met):
    made = Results()
    for value in values:
        made.add("restart-full", "ours-daemon", {"slowest_ms": value, "failed": 0})
    slowest = targets.Limit("restart-full", "ours-daemon", "slowest_ms", 100)
    assert slowest.verdict(made)[0] is met
    assert targets.Limit("restart-full", "ours-daemon", "failed", 0).verdict(made)[0] is True
    assert targets.Limit("slow-uploads", "ours-daemon", "failed", 0).verdict(made)[0] is None


def test_absolute_figures_have_a_row_each_and_the_columns_of_their_contenders():
    from bench.servers import CONTENDERS

    made = Results()
    made.add("slow-uploads", "nginx-uwsgi", {"p50_ms": 1, "p99_ms": 2, "failed": 0})
    head, *rows = tables.absolute(made, "slow-clients", CONTENDERS)
    assert head == ["", "ours-daemon", "mod_wsgi-daemon", "nginx-uwsgi"]
    assert rows == [
        ["200 slow uploads: p50 ms", "", "", "1.00"],
        ["200 slow uploads: p99 ms", "", "", "2.00"],
        ["200 slow uploads: failed", "", "", "0"],
    ]


def test_tables_have_the_slowest_request_and_the_failures_of_the_worst_round():
    from bench.servers import CONTENDERS

    made = Results()
    for slowest, failed in ((40, 0), (45, 0), (170, 3)):
        figures = {"slowest_ms": slowest, "failed": failed, "p50_ms": slowest, "p99_ms": slowest}
        made.add("restart-full", "ours-daemon", figures)
    _, *rows = tables.absolute(made, "restarts", CONTENDERS)
    assert [[cell for cell in row[1:] if cell] for row in rows] == [["170"], ["3"]]
    ours = [it for it in CONTENDERS if it.name == "ours-daemon"]
    line = next(it for it in tables.of_case(made, "restart-full", ours) if "170" in it)
    assert re.search(r" 170 +3 +45\.00 +45\.00 +40\W170$", line), line


def test_percentiles_are_values_of_the_list():
    values = list(range(1000))
    assert [stats.percentile(values, each) for each in (0, 50, 99, 99.9, 100)] == (
        [0, 500, 990, 999, 999]
    )
    assert stats.percentile([7], 99) == 7


@pytest.mark.parametrize(
    ("failed", "late", "p99"), [(0, 0.1, 1), (0, 3, 10), (0, 3, 4), (1, 0.1, 1)]
)
def test_open_loop_leaves_out_no_sample_of_a_late_client(failed, late, p99):
    """How late it was stands beside the others."""
    figures = {"p50_ms": 1, "p99_ms": p99, "p999_ms": p99, "late_ms": late}
    printed = json.dumps({"requests": 100, "failed": failed, **figures})
    if not failed:
        assert open_loop.read(printed) == figures
        return
    with pytest.raises(load.LoadFailed, match="1 of 100 requests failed"):
        open_loop.read(printed)


def test_pauses_are_counted_in_the_time_of_all_processors():
    assert pauses.describe([], 10) == (
        "0.0 % of the time, 0 a second above 0.3 ms, the longest 0.0 ms"
    )
    assert pauses.describe([0.5] * 10 + [45.0], 10) == (
        "0.5 % of the time, 1 a second above 0.3 ms, the longest 45.0 ms"
    )


def test_time_between_two_readings_of_the_clock_is_a_pause(monkeypatch):
    readings = iter([0.0, 0.0001, 0.0051, 0.0052, 0.9, 1.0])
    monkeypatch.setattr(pauses.time, "perf_counter", lambda: next(readings))
    monkeypatch.setattr(pauses.os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(pauses.os, "setpriority", lambda *_: None)
    assert pauses.watch(1, 0) == pytest.approx([5.0, 894.8, 100.0])


def test_open_loop_counts_time_from_the_due_moment():
    """The server takes 0.4 s for the first request and no time for the others."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            pause = 0.4
            with connection:
                while connection.recv(65536):
                    time.sleep(pause)
                    pause = 0
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        server = threading.Thread(target=serve)
        server.start()
        client = open_loop.Client(listener.getsockname()[1], "/", 1)
        client.go(rate=100, seconds=0.5)
        client.close()
        server.join()
    figures = client.figures()
    assert (figures["requests"], figures["failed"]) == (50, 0)
    # Of the fifty requests, forty were due in the pause, the last of them at its end.
    assert figures["p999_ms"] >= 400
    assert figures["p50_ms"] >= 100
