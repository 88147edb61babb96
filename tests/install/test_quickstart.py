"""docs/quickstart.md is carried out: its files are written, its commands run, its answers compared.

A shell in namespaces of its own runs them as root on Debian's real Apache. What it changes in /etc,
/srv and where modules are goes into layers that vanish with it, its network is a loopback interface
that nothing else uses, and its processes end with it.
"""

import re
import subprocess

import pytest
from harness.env import REPO
from harness.namespaces import missing

PAGE = REPO / "docs/quickstart.md"
NOT_RUN = re.compile(r"<!-- not run by the test: [^>]+ -->\n$")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.M | re.S)
FILE = re.compile(r"^`(/\S+)`:\n\n$", re.M)

# What the page's commands write to, and what must be empty for it.
LAYERS = ("/etc", "/srv", "/usr/lib/apache2/modules", "/var/lib/apache2", "/var/log", "/home")
BEFORE = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$LAYER"
for place in $PLACES; do
    mkdir -p "$LAYER$place/upper" "$LAYER$place/work"
    layers="lowerdir=$place,upperdir=$LAYER$place/upper,workdir=$LAYER$place/work"
    mount -t overlay overlay -o "$layers" "$place"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
ip link set lo up
# This machine's own sites and another mod_wsgi are not part of the page.
rm -f /etc/apache2/sites-enabled/* /etc/apache2/mods-enabled/*wsgi*
a2ensite -q 000-default
# Debian's package has started Apache before a reader comes to the page. It detaches before its
# PidFile is there, and the apachectl of that moment would start another one.
apachectl start
for look in $(seq 300); do
    test -s /run/apache2/apache2.pid && break
    sleep 0.1
done
"""


MISSING = missing("a2enmod", "apachectl", "curl", "ip", "make", "pkill", "useradd")


pytestmark = pytest.mark.ours_only("our own page")


def steps(page):
    """(kind, what, text) in the page's order: ("file", its path, …), ("sh", …), ("text", …)."""
    end = 0
    for match in BLOCK.finditer(page):
        before, end = page[end : match.start()], match.end()
        language, text = match.groups()
        if language in ("sh", "text"):
            if not NOT_RUN.search(before):
                yield language, None, text
        else:
            path = FILE.search(before)
            assert path, f"which file is this?\n{text}"
            yield "file", path.group(1), text


def script(packages):
    """The page as one shell script; ===N=== stands before the output of its Nth step."""
    lines, expected = [], []
    for number, (kind, path, text) in enumerate(steps(PAGE.read_text())):
        if kind == "text":
            expected.append((number - 1, text.strip()))
        elif kind == "file":
            lines.append(
                f"mkdir -p $(dirname {path})\ncat >{path} <<'END_OF_FILE'\n{text}END_OF_FILE"
            )
        else:
            # Not from the network: the packages that the tests have installed.
            text = re.sub(
                r"^sudo (\S+)/bin/pip install .*$",
                rf"echo {packages} >$(echo \1/lib/python3*/site-packages)/packages.pth",
                text,
                flags=re.M,
            )
            lines.append(f"echo ==={number}===\n{text}")
    return "\n".join(lines), expected


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_commands_of_the_page_work_unchanged(packages, tmp_path):
    commands, expected = script(packages)
    tools, layer = tmp_path / "tools", tmp_path / "layer"
    tools.mkdir()
    layer.mkdir()
    sudo = tools / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    page = tmp_path / "page.sh"
    page.write_text(f"{BEFORE}set -x\ncd {REPO}\n{commands}\n")
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "bash", page],
        env={
            "PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LAYER": str(layer),
            "PLACES": " ".join(LAYERS),
            "HOME": "/root",
            "LANG": "C.UTF-8",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = re.split(r"^===(\d+)===$", done.stdout, flags=re.M)
    output = dict(zip(map(int, outputs[1::2]), outputs[2::2], strict=True))
    assert expected
    for number, text in expected:
        assert text in output[number], done.stdout + done.stderr
