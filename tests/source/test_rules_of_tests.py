"""The tests keep to their own rules: what they are called, and what they may import."""

import ast
import re

import pytest
from harness.env import TESTS

pytestmark = pytest.mark.ours_only("reads our own tests")

FILES = sorted(TESTS.rglob("test_*.py"))
# A name says subject, condition and outcome; a pronoun in it is a subject that is not named.
PRONOUNS = {
    *("he", "him", "i", "it", "me", "she", "them", "they", "us", "we", "you"),
    *("ours", "theirs", "what", "who", "whoever", "whom"),
    *(f"{which}{of}" for which in ("any", "every", "no", "some") for of in ("body", "one")),
    *("anybodys", "everybodys", "nobodys", "somebodys"),
}
names = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def functions(path):
    tree = ast.parse(path.read_text())
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@names
def test_names_of_tests_have_no_pronouns(path):
    tests = [name for name in functions(path) if name.startswith("test_")]
    assert tests
    assert [name for name in tests if PRONOUNS & set(name.split("_"))] == []


@names
def test_names_of_tests_have_no_numbers_of_files(path):
    assert not re.search(r"\d", path.stem)
    assert [name for name in functions(path) if re.match(r"test_\d", name)] == []


def imported(path):
    """The modules a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_files_import_no_test_module(path):
    """What two of them need is in harness/ or in a conftest.py."""
    modules = {file.stem for file in [*FILES, *TESTS.rglob("conftest.py")]}
    parts = {part for module in imported(path) for part in module.split(".")}
    assert parts & (modules | {"tests"}) == set()
