"""The Rust source read as text: which file imports which, how long files and functions are, where
`unsafe` stands. Needs neither a compiler nor Apache; it knows nothing of what the code does.

`make structure` prints the figures.
"""

import re
import statistics
from collections import defaultdict
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

# Longest file and longest function, in lines.
MAX_FILE = 600
MAX_FUNCTION = 60

ITEM = re.compile(
    r"(?:^|[;{}\]\s])(?:pub(?:\([^)]*\))?\s+)?(?:default\s+|const\s+|async\s+|unsafe\s+|safe\s+|"
    r'extern\s+(?:"[^"]*"\s*)?)*(?:fn|struct|enum|union|trait|type|const|static(?:\s+mut)?|'
    r"macro_rules!)\s+(\w+)"
)
FUNCTION = re.compile(
    r"^([ \t]*)(?:pub(?:\([^)]*\))?\s+)?"
    r"(?:const\s+|async\s+|unsafe\s+|extern\s+(?:\"[^\"]*\"\s*)?)*fn\s+(\w+)",
    re.M,
)
USE = re.compile(r"(?<!\w)(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
PATH = re.compile(r"(?<![\w:.])((?:[a-z_]\w*::)+)(\w+)?")
CHARACTER = re.compile(r"'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'")


def files(repo=REPO):
    """The Rust files of the product: no tests, benchmarks, fuzzers or build scripts."""
    roots = [repo / "src", *sorted((repo / "crates").glob("*/src"))]
    return [path for root in roots for path in sorted(root.rglob("*.rs"))]


def blank(text):
    """`text` of the same length without its line breaks lost and all else turned into spaces."""
    return re.sub(r"[^\n]", " ", text)


@cache
def code(path):
    """The file's text with comments, strings and unit tests replaced by spaces, line by line."""
    return without_tests(plain(path.read_text()))


def plain(text):
    """`text` with comments, strings and characters replaced by spaces."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|\b(?:b|c)?r(#*)".*?"\1|(?:\b[bc])?"(?:\\.|[^"\\])*"|'
        + CHARACTER.pattern,
        re.S,
    )
    return token.sub(lambda match: blank(match.group()), text)


def without_tests(text):
    for match in reversed(list(re.finditer(r"#\[cfg\(test\)\]\s*(?:mod \w+\s*\{)?", text))):
        if match.group().endswith("{"):
            end = closing(text, match.end() - 1)
            text = text[: match.start()] + blank(text[match.start() : end]) + text[end:]
    return text


def closing(text, start):
    """The place behind the brace that closes the one at `start`."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.end()
    return len(text)


# --- imports --------------------------------------------------------------------------------------


def leaves(tree, prefix=()):
    """The paths of a `use` tree: (segments, name that it gets here)."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace >= 0:
        head = [part.strip() for part in tree[:brace].split("::") if part.strip()]
        for branch in branches(tree[brace + 1 : tree.rindex("}")]):
            yield from leaves(branch, (*prefix, *head))
        return
    path, _, alias = tree.partition(" as ")
    segments = (*prefix, *(part.strip() for part in path.split("::") if part.strip()))
    if segments and segments[-1] == "self":
        segments = segments[:-1]
    if segments:
        yield segments, alias.strip() or segments[-1]


def branches(text):
    depth, last = 0, 0
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield text[last:place]
            last = place + 1
    if text[last:].strip():
        yield text[last:]


class Module:
    """One file of a crate, or a block `mod name { }` in one."""

    def __init__(self, path, name, parent, text):
        self.path, self.name, self.parent = path, name, parent
        self.children = {}
        blocks = []
        for match in re.finditer(r"\bmod\s+(\w+)\s*\{", text):
            if not blocks or match.start() >= blocks[-1][1]:
                end = closing(text, match.end() - 1)
                blocks.append((match.start(), end, match.group(1), match.end()))
        for start, end, inner, body in reversed(blocks):
            self.children[inner] = Module(path, inner, self, text[body : end - 1])
            text = text[:start] + blank(text[start:end]) + text[end:]
        self.uses = [
            leaf for match in USE.finditer(text) for leaf in leaves(" ".join(match[2].split()))
        ]
        self.names = {alias: segments for segments, alias in self.uses if segments[-1] != "*"}
        self.globs = [segments[:-1] for segments, _ in self.uses if segments[-1] == "*"]
        self.text = USE.sub(lambda match: blank(match.group()), text)
        self.items = set(ITEM.findall(self.text))

    @property
    def root(self):
        return self.parent.root if self.parent else self

    def everything(self):
        yield self
        for child in self.children.values():
            yield from child.everything()

    def find(self, segments, seen=()):
        """The file that defines what `segments`, said here, names; None outside of the crate. A
        name that is only passed on is looked up where it comes from."""
        if (self, segments) in seen:
            return None
        seen = (*seen, (self, segments))
        head, rest = segments[0], segments[1:]
        if head == "crate":
            return self.root.inside(rest, seen)
        if head == "self":
            return self.inside(rest, seen)
        if head == "super":
            return self.parent.inside(rest, seen) if self.parent else None
        if head in self.names and self.names[head][0] != head:
            return self.find(self.names[head] + rest, seen)
        if head in self.children:
            return self.children[head].inside(rest, seen)
        return None

    def inside(self, segments, seen):
        if not segments:
            return self.path
        head, rest = segments[0], segments[1:]
        if head == "super":
            return self.parent.inside(rest, seen) if self.parent else None
        if head in self.children:
            return self.children[head].inside(rest, seen)
        if head in self.items:
            return self.path
        if head in self.names:
            return self.find(self.names[head] + rest, seen)
        for glob in self.globs:
            found = self.find((*glob, *segments), seen)
            if found:
                return found
        return self.path

    def imports(self):
        """The files of this crate that the module takes names from."""
        wanted = [segments for segments, _ in self.uses if not self.is_module(segments)]
        for match in PATH.finditer(self.text):
            segments = tuple(part for part in match[1].split("::") if part)
            wanted.append((*segments, match[2]) if match[2] else segments)
        found = {self.find(segments) for segments in wanted}
        return found - {None, self.path}

    def is_module(self, segments):
        """An import of a module: what is used of it is said where it is used."""
        found = self.find(segments)
        if not found:
            return False
        stem = found.parent.name if found.stem in {"mod", "lib", "main"} else found.stem
        return segments[-1] == stem and segments[-1].islower()


def crate(root):
    """The module tree of the crate whose lib.rs or main.rs is `root`."""
    top = Module(root, "crate", None, code(root))
    attach(top, root.parent)
    return top


def attach(module, folder):
    for name in re.findall(r"\bmod\s+(\w+)\s*;", module.text):
        for path in (folder / f"{name}.rs", folder / name / "mod.rs"):
            if path.exists():
                child = Module(path, name, module, code(path))
                module.children[name] = child
                attach(child, folder / name)


def roots(repo=REPO):
    """The roots of all crates: libraries, programs, and programs of their own in bin/."""
    sources = [repo / "src", *sorted((repo / "crates").glob("*/src"))]
    named = [source / name for source in sources for name in ("lib.rs", "main.rs")]
    programs = [path for source in sources for path in sorted((source / "bin").glob("*.rs"))]
    return [path for path in [*named, *programs] if path.exists()]


def arrows(root):
    """{file: files of the same crate that it takes names from}"""
    found = defaultdict(set)
    for module in crate(root).everything():
        found[module.path] |= module.imports()
    return found


def circles(graph):
    """The strongly connected sets of more than one file (Tarjan's algorithm)."""
    number, low, stack, result = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            place = stack.index(node)
            part = stack[place:]
            del stack[place:]
            if len(part) > 1:
                result.append(sorted(part))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return result


def circle_lines(root, repo=REPO):
    """One line for each circle of a crate: its files, and the arrows that tie them."""
    graph = arrows(root)
    return [
        "; ".join(
            f"{path.relative_to(repo)} -> {', '.join(str(o.relative_to(repo)) for o in others)}"
            for path in circle
            if (others := sorted(graph[path] & set(circle)))
        )
        for circle in circles(graph)
    ]


# --- sizes ----------------------------------------------------------------------------------------


def functions(path):
    """(name, first line, lines) of each function with a body, unit tests left out."""
    text = code(path)
    for match in FUNCTION.finditer(text):
        place = match.end()
        depth = 0
        while place < len(text):
            character = text[place]
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
            if depth == 0 and character in "{;":
                break
            place += 1
        if place < len(text) and text[place] == "{":
            end = closing(text, place)
            first = text.count("\n", 0, match.start(2)) + 1
            yield match[2], first, text.count("\n", match.start(2), end) + 1


def long_functions(repo=REPO):
    return [
        f"{path.relative_to(repo)}:{line} {name}: {length}"
        for path in files(repo)
        for name, line, length in functions(path)
        if length > MAX_FUNCTION
    ]


def long_files(paths, repo=REPO):
    return [
        f"{path.relative_to(repo)}: {lines}"
        for path in paths
        if (lines := len(path.read_text().splitlines())) > MAX_FILE
    ]


def unsafe_by_folder(repo=REPO):
    """{folder: (uses of unsafe, notes on them)}"""
    found = defaultdict(lambda: [0, 0])
    for path in files(repo):
        uses = len(re.findall(r"\bunsafe\s*(?:\{|impl\b|fn\b|extern\b)", code(path)))
        notes = len(re.findall(r"//[/!]?\s*(?:SAFETY:|# Safety)", path.read_text()))
        if uses:
            folder = path.parent.relative_to(repo)
            found[folder][0] += uses
            found[folder][1] += notes
    return {folder: tuple(counts) for folder, counts in sorted(found.items())}


def mentions(word, repo=REPO):
    """The files of the product, unit tests left out, whose code or strings have `word`."""
    text = {path: path.read_text().partition("#[cfg(test)]\nmod tests")[0] for path in files(repo)}
    return [str(path.relative_to(repo)) for path in text if re.search(rf"\b{word}\b", text[path])]


def daemon_option_files(repo=REPO):
    """{option of WSGIDaemonProcess: source files that name its field}, for the options whose row
    of the table sets one field of the group's configuration. Options of the command have the same
    names and become text of a configuration."""
    table = (repo / "src/config/daemon_options.rs").read_text()
    rows = re.findall(r'\brow\("([\w-]+)",(?:(?!\brow\().)*?\bit\.config((?:\.\w+)+)', table, re.S)
    found = {name: mentions(field.rpartition(".")[2], repo) for name, field in rows}
    command = "crates/command/"
    return {
        name: [path for path in paths if not path.startswith(command)]
        for name, paths in found.items()
    }


def report(repo=REPO):
    lengths = sorted(len(path.read_text().splitlines()) for path in files(repo))
    tenth = statistics.quantiles(lengths, n=10, method="inclusive")[-1]
    yield f"files: {len(lengths)}, lines: {sum(lengths)}"
    middle = statistics.median(lengths)
    yield f"lines a file: median {middle:.0f}, p90 {tenth:.0f}, max {lengths[-1]}"
    long = long_functions(repo)
    yield f"functions over {MAX_FUNCTION} lines: {len(long)}"
    yield from (f"  {line}" for line in long)
    tied = [line for root in roots(repo) for line in circle_lines(root, repo)]
    yield f"circles of files: {len(tied)}"
    yield from (f"  {line}" for line in tied)
    by_folder = unsafe_by_folder(repo)
    uses, notes = (sum(counts[place] for counts in by_folder.values()) for place in (0, 1))
    yield f"unsafe: {uses} uses, {notes} notes"
    yield from (f"  {folder}: {a} uses, {b} notes" for folder, (a, b) in by_folder.items())

    yield from option_lines(daemon_option_files(repo))


def option_lines(touched):
    fewest = min(len(paths) for paths in touched.values())
    names = [name for name, paths in touched.items() if len(paths) == fewest]
    yield f"files that an option of WSGIDaemonProcess touches: {fewest} ({', '.join(names)})"
    yield f"  {names[0]}: {', '.join(touched[names[0]])}"


def main():
    for line in report():
        print(line)


if __name__ == "__main__":
    main()
