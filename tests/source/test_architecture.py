"""The source tree keeps to docs and design: where unsafe may stand, who may import whom.

Nothing here needs Apache. It reads the files as text, which is enough for rules this simple.
"""

import re

import pytest
from harness.env import REPO, TESTS

pytestmark = pytest.mark.ours_only("reads our own source tree")

# The rooms that touch C, whole. Elsewhere one posix.rs a crate may, or a folder of that name, and
# these files.
UNSAFE_ROOMS = [
    "src/module",
    "src/module_config",
    "src/httpd",
    "src/apr",
    "crates/host/src/cpython",
    "crates/sys/src",
]
UNSAFE_FILES = {"crates/host/src/gateway/lease.rs", "crates/extension/src/lib.rs"}
FORBID = "#![forbid(unsafe_code)]"

# Who may use whom among the crates of the workspace.
CRATE_ARROWS = {
    "mod_wsgi_rs": {"host", "fastcgi", "group-config", "scoreboard", "sys", "wsgi"},
    "daemon": {"host", "fastcgi", "group-config", "scoreboard", "sys", "websocket", "wsgi"},
    "command": {"group-config", "sys"},
    "extension": {"daemon", "host"},
    "host": {"wsgi"},
    "fastcgi": {"wsgi"},
    "group-config": set(),
    "scoreboard": set(),
    "sys": set(),
    "websocket": set(),
    "wsgi": set(),
}

# Inside the module's own crate: room → what of `crate::` it may name.
ROOM_ARROWS = {
    "apr": {"apr", "bindings"},
    "httpd": {"httpd", "apr", "bindings"},
    "config": {"config"},
}
# And which crates a room may name.
# `wsgi` is vocabulary: the levels of the log, the ways a body can fail.
ROOM_CRATES = {"apr": set(), "httpd": {"wsgi"}, "config": set(), "handler": {"wsgi"}}


def rust_files():
    roots = [REPO / "src", *sorted((REPO / "crates").glob("*/src"))]
    return [path for root in roots for path in sorted(root.rglob("*.rs"))]


def code(path):
    """The file's text without comments and string literals."""
    text = path.read_text()
    text = re.sub(r'r(#+)".*?"\1', '""', text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"//.*", "", text)


def relative(path):
    return str(path.relative_to(REPO))


def may_be_unsafe(path):
    name = relative(path)
    if "posix" in (path.stem, path.parent.name):
        return True
    return name in UNSAFE_FILES or any(name.startswith(f"{room}/") for room in UNSAFE_ROOMS)


def ancestors(path):
    """The module files a file hangs from: itself, then up to the crate's root."""
    yield path
    folder = path.parent
    while folder.name and folder != REPO:
        for candidate in (folder / "mod.rs", folder.with_suffix(".rs")):
            if candidate.exists():
                yield candidate
        for root in (folder / "lib.rs", folder / "main.rs"):
            if root.exists():
                yield root
                return
        folder = folder.parent


def test_unsafe_stands_only_in_its_rooms():
    strays = [
        relative(path)
        for path in rust_files()
        if not may_be_unsafe(path) and re.search(r"\bunsafe\b(?!_code)", code(path))
    ]
    assert strays == []


def test_every_other_file_stands_under_forbid_unsafe_code():
    # What stands above an unsafe room or file cannot forbid, and holds nothing but declarations.
    roots = {REPO / "src/lib.rs", *(REPO / "crates").glob("*/src/lib.rs")}
    roots |= {(REPO / name).parent / "mod.rs" for name in UNSAFE_FILES}
    bare = [
        relative(path)
        for path in rust_files()
        if not may_be_unsafe(path)
        and path not in roots
        and not any(FORBID in parent.read_text() for parent in ancestors(path))
    ]
    assert bare == []


def manifests():
    return [REPO / "Cargo.toml", *sorted((REPO / "crates").glob("*/Cargo.toml"))]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda path: path.parent.name)
def test_crates_depend_along_the_arrows(manifest):
    text = manifest.read_text()
    name = re.search(r'^name = "(?:wsgi-)?([\w-]+)"', text, re.M).group(1)
    # Every table but the workspace's own list, which all may choose from.
    tables = re.findall(r"^\[((?:dev-|build-)?dependencies)\]\n((?:(?!\[).*\n?)*)", text, re.M)
    assert tables
    used = {line for _, table in tables for line in re.findall(r"^[\w-]+", table, re.M)}
    assert used & set(CRATE_ARROWS) <= CRATE_ARROWS[name]


def room(path):
    """The first name below src: `config` of src/config/mod.rs, `handler` of src/handler.rs."""
    return path.relative_to(REPO / "src").parts[0].removesuffix(".rs")


def test_rooms_of_the_module_use_each_other_along_the_arrows():
    strays = []
    for path in sorted((REPO / "src").rglob("*.rs")):
        text = code(path)
        rooms = set(re.findall(r"\bcrate::(\w+)", text))
        for group in re.findall(r"\bcrate::\{([^}]*)\}", text):
            rooms |= {item.split("::")[0].strip() for item in group.split(",") if item.strip()}
        rooms = {name for name in rooms if (REPO / "src" / name).is_dir() or known_file(name)}
        here = room(path)
        wrong = rooms - ROOM_ARROWS.get(here, rooms)
        # `module` is the top: nothing below it names it.
        if here != "module":
            wrong |= rooms & {"module"}
        crates = set(re.findall(r"(?<![\w:])(host|fastcgi|scoreboard|wsgi|daemon)::", text))
        wrong |= crates - ROOM_CRATES.get(here, {"host", "fastcgi", "scoreboard", "wsgi"})
        strays += [f"{relative(path)} uses {name}" for name in sorted(wrong)]
    assert strays == []


def known_file(name):
    return (REPO / "src" / f"{name}.rs").exists()


def test_crates_do_not_name_apache():
    pattern = re.compile(r"\b(?:ap|apr)_\w+\(|\brequest_rec\b|\bhttpd::|\bapr::")
    strays = [
        relative(path)
        for path in sorted((REPO / "crates").rglob("src/**/*.rs"))
        if pattern.search(code(path))
    ]
    assert strays == []


def test_option_of_a_daemon_process_is_set_by_its_row_and_copied_nowhere():
    # A new option has its row, its field with default, and its behaviour: three files.
    rows = (REPO / "src/config/daemon_options.rs").read_text().partition("#[cfg(test)]")[0]
    fields = set(re.findall(r"\b(?:it|group)\.config\.(?:\w+\.)?(\w+)\b(?! *\()", rows))
    assert len(fields) > 30
    defined = "".join(path.read_text() for path in (REPO / "crates/group-config/src").glob("*.rs"))
    assert [field for field in sorted(fields) if f"pub {field}:" not in defined] == []
    # What the rest of the configuration completes: Apache's user, WSGIPythonHome,
    # WSGISwitchInterval and Timeout.
    completed = {"uid", "gid", "home", "switch_interval", "socket_timeout"}
    written = (REPO / "src/daemons/group_config.rs").read_text()
    copied = {field for field in fields if re.search(rf"^\s*{field}(?::|,$)", written, re.M)}
    # The path of a script is another field.
    assert copied - {"path"} <= completed


def test_files_are_of_a_size_one_can_read():
    long = [
        f"{relative(path)}: {lines}"
        for path in [*rust_files(), *TESTS.rglob("*.py")]
        if (lines := len(path.read_text().splitlines())) > 600
    ]
    assert long == []


# --- documents ------------------------------------------------------------------------------------


def table_of_directives():
    """The names in the directive table: `Directive::new(c"WSGI…"` or `name: c"WSGI…"`."""
    names = set()
    for path in (REPO / "src/config").glob("directives*.rs"):
        names |= set(re.findall(r'(?:Directive::new\(|name:)\s*c"<?([AW]SGI\w+)', path.read_text()))
    return names


def test_every_directive_is_documented_and_every_documented_one_exists():
    page = (REPO / "docs/directives.md").read_text()
    headings = set(re.findall(r"^#{2,3} `?<?([AW]SGI\w+)", page, re.M))
    assert table_of_directives(), "no directives found in src/config/directives*.rs"
    assert headings == table_of_directives()


def test_a_directives_documentation_has_all_its_parts():
    page = (REPO / "docs/directives.md").read_text()
    sections = re.split(r"^#{2,3} (?=`?<?[AW]SGI)", page, flags=re.M)[1:]
    lacking = [
        f"{section.split()[0]}: {part}"
        for section in sections
        for part in ("Syntax", "Default", "Context", "Override")
        if f"**{part}:**" not in section
    ]
    assert lacking == []


LEVELS = {"alert", "crit", "error", "warn", "debug", "configuration"}


def test_every_code_of_the_log_is_documented_and_every_documented_one_is_written():
    # Unit tests, at the end of a file, may name codes that are never written.
    sources = (path.read_text().partition("#[cfg(test)]")[0] for path in rust_files())
    lines = (line for source in sources for line in source.splitlines())
    written = {
        code
        for line in lines
        if not line.strip().startswith("//")
        for code in re.findall(r"WSGI\d{4}", line)
    }
    page = (REPO / "docs/errors.md").read_text()
    rows = re.findall(r"^\| `(WSGI\d{4})` \| ([^|]+) \| ([^|]+) \|$", page, re.M)
    documented = [code for code, _, _ in rows]
    assert written
    assert documented == sorted(written)
    assert {level for _, levels, _ in rows for level in levels.split(", ")} <= LEVELS


def differences():
    """{slug: reason} of every differs marker in the tests."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        for slug in re.findall(r"""mark\.differs\(\s*["']([a-z0-9-]+)["']""", text):
            found[slug] = path.name
    return found


@pytest.mark.parametrize("slug", sorted(differences()))
def test_a_difference_that_a_test_claims_is_written_down(slug):
    page = REPO / "docs/differences-from-mod_wsgi.md"
    assert page.exists(), "docs/differences-from-mod_wsgi.md is missing"
    anchor = rf'^#+ .*\b{slug}\b|<a (id|name)="{slug}"|\{{#{slug}\}}|^[-*|] *`{slug}`'
    assert re.search(anchor, page.read_text(), re.M), f"{slug} has no heading or anchor there"
