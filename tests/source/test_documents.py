"""The documents agree with each other: their links, and the names that they use."""

import math
import re
import shutil
import subprocess
import sys

import pytest
from harness.asgi_contract import DIFFERENT
from harness.balancers import COLUMNS, EVENTS, FRONT_ENDS, PLANNED, label
from harness.env import REPO

pytestmark = pytest.mark.ours_only("reads our own documents")

DOCUMENTS = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").glob("*.md"))]
# Pages for people who look for help; what they name has to exist.
GUIDES = [REPO / "docs/quickstart.md", REPO / "docs/troubleshooting.md"]


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in headings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_to_files_and_headings_that_exist(page):
    broken = []
    for file, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", page.read_text()):
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{file}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_a_guide_names_only_codes_directives_and_options_that_exist(page):
    text = page.read_text()
    codes = set(re.findall(r"WSGI\d{4}", (REPO / "docs/errors.md").read_text()))
    assert set(re.findall(r"WSGI\d{4}", text)) - codes == set()
    manual = (REPO / "docs/directives.md").read_text()
    directives = set(re.findall(r"^#{2,3} `?<?([AW]SGI\w+)", manual, re.M))
    assert set(re.findall(r"\b(WSGI[A-Z][a-z]\w+)", text)) - directives == set()
    options = set(re.findall(r"^\| `([a-z-]+)=?` \|", manual, re.M))
    options |= {"process-group", "application-group", "callable-object"}
    # `python-home=` and `reload=On`, but not a variable of make or the shell.
    used = set(re.findall(r"(?<![\w.-])([a-z]+(?:-[a-z]+)*)=(?=[`\w/%])", text))
    assert used - options == set()


def test_each_sentence_about_tenants_names_a_test_that_exists():
    page = (REPO / "docs/safety.md").read_text()
    section = page.partition("## What a tenant can and cannot do\n")[2].partition("\n## ")[0]
    sentences = section.split("\n- ")[1:]
    assert len(sentences) > 15
    unnamed, missing = [], []
    for sentence in sentences:
        named = re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`", sentence)
        unnamed += [] if named else [sentence]
        file = None
        for path, test in named:
            file = path or file
            if f"def {test}(" not in (REPO / file).read_text():
                missing.append(f"{file}::{test}")
    assert (unnamed, missing) == ([], [])


def test_the_table_of_other_servers_of_asgi_has_every_difference_that_tests_expect():
    page = (REPO / "docs/asgi.md").read_text()
    assert [reason for _, _, reason in DIFFERENT.values() if reason not in page] == []


def test_the_table_of_several_machines_has_each_front_end_and_event_and_loses_no_get():
    page = (REPO / "docs/several-machines.md").read_text()
    section = page.partition("\n## What was tried\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    header, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert header == COLUMNS
    tried = [(front, event) for front in FRONT_ENDS for event in EVENTS]
    assert [row[:2] for row in rows] == [
        [FRONT_ENDS[front], label(front, event)] for front, event in tried
    ]
    for (_, event), row in zip(tried, rows, strict=True):
        found = dict(zip(COLUMNS, row, strict=True))
        assert int(found["GET sent"]) > 0
        assert int(found["POST carried out twice"]) == 0
        if event in PLANNED:
            assert int(found["GET failed"]) == 0, row


@pytest.mark.parametrize("column", ["uvicorn", "hypercorn", "daphne"])
def test_table_of_servers_of_asgi_names_options_of_these_servers(column):
    pytest.importorskip(column)
    page = (REPO / "docs/troubleshooting.md").read_text()
    heading = "## Coming from uvicorn, hypercorn or daphne\n"
    section = page.partition(heading)[2].partition("\n## ")[0]
    header, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    index = [name.strip() for name in header.split("|")].index(column)
    named = {name for row in rows for name in re.findall(r"--[\w-]+", row.split("|")[index])}
    assert len(named) > 10
    command = [sys.executable, "-m", column, "--help"]
    known = set(re.findall(r"--[\w-]+", subprocess.check_output(command, text=True)))
    assert named - known == set()


def test_lines_of_the_mpm_are_those_of_the_example():
    page = (REPO / "docs/asgi.md").read_text()
    (block,) = re.findall(r"```apache\n(ThreadsPerChild .*?)```", page, re.S)
    example = (REPO / "conf-examples/django-channels.conf").read_text()
    section = re.search(r"<IfModule mpm_event_module>\n(.*?)</IfModule>", example, re.S)[1]

    def directives(text):
        return [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]

    assert directives(section) == directives(block)


TIMES = " \N{MULTIPLICATION SIGN} "


def test_figures_of_the_readme_are_those_of_the_last_measurement():
    page = (REPO / "docs/performance.md").read_text()
    lines = re.findall(r"^\| .* \|$", page.partition("<!-- targets -->\n")[2], re.M)
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    targets = {(row[0], row[1].partition(TIMES)[2]): row[2:] for row in rows if len(row) == 5}
    small = "hello, 16 connections: CPU µs/req"
    restart = "daemon graceful restarts, Debian's settings of the MPM: slowest ms"
    django = next(row for row in rows if row[0].startswith("Django page with template: CPU"))
    names = next(row for row in rows if row[0] == "" and "ours-embedded" in row)
    result = dict(zip(names, django, strict=True))
    quotients = [
        float(result[f"ours-{mode}"]) / float(result[f"mod_wsgi-{mode}"])
        for mode in ("embedded", "daemon")
    ]
    section = page.partition("<!-- targets -->\n")[2].partition("<!-- /targets -->")[0]
    verdicts = re.findall(r"\| (met|\*\*not met\*\*) \|$", section, re.M)
    expected = [
        targets[f"embedded {small}", "mod_wsgi-embedded"][0],
        targets[f"daemon {small}", "mod_wsgi-daemon"][0],
        *(f"{quotient:.2f}" for quotient in quotients),
        targets["daemon memory, 2 processes x 15 threads: PSS MB after load", "mod_wsgi-daemon"][0],
        str(math.ceil(float(targets[restart, ""][0]))),
        str(verdicts.count("met")),
        str(len(verdicts)),
    ]
    readme = (REPO / "README.md").read_text()
    section = readme.partition("\n**Cost**")[2].partition("\n## ")[0]
    figures = re.findall(r"\d+\.\d+|\d\d+", section.replace("mod_wsgi = 1:", ""))
    assert figures == expected


def test_documents_agree_how_long_the_benchmark_takes():
    page = (REPO / "docs/performance.md").read_text()
    others = (REPO / "CONTRIBUTING.md").read_text()
    (first,) = re.findall(r"writes this page: (\d+ minutes)", page)
    (second,) = re.findall(r"\| `make bench` \| (.*?) \|", others)
    assert first == second


RULES = REPO / "conf-examples/prometheus-alerts.yml"


def test_rules_of_alerts_use_metrics_flags_and_reasons_that_exist():
    page = (REPO / "docs/operations.md").read_text()
    lines = re.findall(r"^ +expr: (?:>-?\n)?((?:.*\n)(?: {10,}.*\n)*)", RULES.read_text(), re.M)
    text = "".join(lines)
    used = set(re.findall(r"\bwsgi_\w+", text))
    assert len(used) > 5
    metrics = set(re.findall(r"`(wsgi_\w+)`", page))
    histograms = set(re.findall(r"^\| `(wsgi_\w+)` \| histogram", page, re.M))
    metrics |= {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    assert used - metrics == set()
    headings = {"flag": "## Why a request has failed\n", "reason": "## Metrics\n"}
    for name, heading in headings.items():
        section = page.partition(f"\n{heading}")[2].partition("\n## ")[0]
        # The first column; prose may have the word in another meaning.
        cells = re.findall(r"^\| (`.*?`) \|", section, re.M)
        known = {value for cell in cells for value in re.findall(r"`(\w+)`", cell)}
        assert len(known) > 5
        values = {
            value
            for values in re.findall(rf'{name}[!=]=?~?"([^"]+)"', text)
            for value in values.split("|")
        }
        assert values
        assert values - known == set()


@pytest.mark.skipif(not shutil.which("visudo"), reason="visudo is missing")
def test_sudoers_line_of_the_monitoring_check_is_one_that_sudo_takes(tmp_path):
    page = (REPO / "docs/operations.md").read_text()
    (line,) = re.findall(r"^nagios ALL=.*$", page, re.M)
    (check,) = re.findall(r"^command\[check_wsgi\]=/usr/bin/sudo -n (.*)$", page, re.M)
    assert line.endswith(f"NOPASSWD: {check}")
    file = tmp_path / "sudoers"
    file.write_text(f"{line}\n")
    file.chmod(0o440)
    checked = subprocess.run(
        ["visudo", "-c", "-f", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
