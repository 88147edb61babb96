"""The Rust source has no circles of files, no file and no function too long to read, and the reader
that says so sees what it has to see."""

import pytest
from harness import rust_source
from harness.env import REPO, TESTS

pytestmark = pytest.mark.ours_only("reads our own source tree")


@pytest.mark.parametrize(
    "root", rust_source.roots(), ids=lambda path: str(path.relative_to(REPO).with_suffix(""))
)
def test_no_files_of_a_crate_import_each_other_in_a_circle(root):
    assert rust_source.circle_lines(root) == []


def test_no_file_is_longer_than_600_lines():
    tests = [*TESTS.rglob("*.py"), *(REPO / "bench").rglob("*.py")]
    assert rust_source.long_files([*rust_source.files(), *tests]) == []


def test_no_function_is_longer_than_60_lines():
    assert rust_source.long_functions() == []


def test_an_option_of_a_group_needs_its_row_its_field_and_its_behaviour_only():
    touched = rust_source.daemon_option_files()
    assert len(touched) > 20
    for name in ("queue-timeout", "interrupt-timeout", "memory-limit"):
        row, behaviour, field = sorted(touched[name], key=lambda path: path.startswith("crates"))
        assert row == "src/config/daemon_options.rs"
        assert behaviour.startswith("crates/daemon/"), touched[name]
        assert field.startswith("crates/group-config/"), touched[name]


# --- the reader itself ----------------------------------------------------------------------------

CIRCLES = {
    "each other": {
        "lib.rs": "mod a;\nmod b;",
        "a.rs": "use crate::b::Child;\npub struct Parent(Child);",
        "b.rs": "use crate::a::Parent;\npub struct Child(Box<Parent>);",
    },
    "child and parent": {
        "lib.rs": "mod a;",
        "a/mod.rs": "mod b;\npub fn parent() { b::child() }\npub fn other() {}",
        "a/b.rs": "pub fn child() { super::other() }",
    },
    "by a name that is passed on": {
        "lib.rs": "mod a;\npub mod b;\npub use a::Thing;",
        "a.rs": "pub struct Thing;\nimpl Thing { fn ask() { crate::b::answer() } }",
        "b.rs": "pub fn answer() -> crate::Thing { todo!() }",
    },
    "by a module that is imported": {
        "lib.rs": "mod a;\nmod b;",
        "a.rs": "use crate::b;\npub fn ask() { b::answer() }",
        "b.rs": "use super::a::{ask as question};\npub fn answer() { question() }",
    },
    "three in a row": {
        "lib.rs": "mod a;\nmod b;\nmod c;",
        "a.rs": "use crate::b::B;\npub struct A;",
        "b.rs": "use crate::c::*;\npub struct B;",
        "c.rs": "pub fn f() -> crate::a::A { crate::a::A }",
    },
}
TREES = {
    "a table of contents": {
        "lib.rs": "mod a;\npub use a::Thing;",
        "a/mod.rs": "mod b;\nmod c;\npub use b::Thing;\npub use c::Other;",
        "a/b.rs": "use super::Other;\npub struct Thing(Other);",
        "a/c.rs": "pub struct Other;",
    },
    "tests and comments": {
        "lib.rs": "mod a;\nmod b;",
        "a.rs": "use crate::b::B;\npub struct A;",
        "b.rs": '//! See crate::a::A.\npub struct B;\nconst T: &str = "crate::a::A";\n'
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
    },
}


def write(folder, sources):
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "lib.rs"


@pytest.mark.parametrize("name", CIRCLES)
def test_the_reader_finds_a_circle(name, tmp_path):
    root = write(tmp_path, CIRCLES[name])
    assert len(rust_source.circle_lines(root, tmp_path)) == 1


@pytest.mark.parametrize("name", TREES)
def test_the_reader_finds_no_circle_in_a_tree(name, tmp_path):
    root = write(tmp_path, TREES[name])
    assert rust_source.circle_lines(root, tmp_path) == []


def test_the_reader_counts_the_lines_of_a_function(tmp_path):
    body = "    call();\n" * rust_source.MAX_FUNCTION
    path = write(tmp_path, {"lib.rs": f"fn short() {{\n}}\n\nfn long(a: [u8; 2]) {{\n{body}}}\n"})
    assert list(rust_source.functions(path)) == [
        ("short", 1, 2),
        ("long", 4, rust_source.MAX_FUNCTION + 2),
    ]
