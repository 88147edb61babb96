"""The error log as an assertion: an unexpected line of level warn or worse is a failure."""

import re
import time
from dataclasses import dataclass

from .valgrind import SLOWER

LINE = re.compile(
    r"\[(?P<time>[^\]]+)\] \[(?P<module>[\w-]+):(?P<level>\w+)\] "
    r"\[pid (?P<pid>\d+)\] (?:(?P<tid>\d{7,}) )?(?P<text>.*)",
    re.DOTALL,
)
# What a process of a group wrote outside of a request: Apache's side names group and process.
SOURCE = re.compile(r"daemon '[^']*' \[pid (?P<pid>\d+)\] ")
# What no pattern that names a line can match.
NO_LINE = "(no line of any log)"
BAD_LEVELS = {"emerg", "alert", "crit", "error", "warn", "raw"}

# One child with a few threads is always near its limit; AH03092 is a race of mpm_event's own,
# between its last connections and its end.
HARMLESS = re.compile(
    r"^(AH03092|AH10159|AH00161|AH00286|AH00287|AH00484|AH10158|AH03490|AH00288):"
)

# The end of a process that ended itself by a fault, and a panic. Apache reports the first as a mere
# notice. SIGKILL and SIGTERM are sent by tests, by the manager and by Apache.
CRASH = re.compile(
    r"exit signal (?!Killed|Terminated)|killed by signal (?:4|5|6|7|8|11|31)\b|core dump"
    r"|Fatal Python error|panicked at|AddressSanitizer"
)


@dataclass(frozen=True)
class Line:
    module: str
    level: str
    pid: int
    tid: int
    text: str

    @classmethod
    def parse(cls, raw):
        match = LINE.match(raw)
        if not match:
            # Something wrote to standard error past Apache's log.
            return cls("", "raw", 0, 0, raw)
        pid, tid = int(match["pid"]), int(match["tid"] or 0)
        text = match["text"]
        if source := SOURCE.match(text):
            pid, tid, text = int(source["pid"]), 0, text[source.end() :]
        return cls(match["module"], match["level"], pid, tid, text)

    @property
    def bad(self):
        if HARMLESS.match(self.text):
            return False
        return self.level in BAD_LEVELS or self.is_crash

    @property
    def is_crash(self):
        return CRASH.search(self.text) is not None

    def __str__(self):
        return f"[{self.module}:{self.level}] {self.text}"


class ErrorLog:
    """One error log file, read from where the running test began."""

    def __init__(self, path):
        self.path = path
        self.start = 0
        self.allowed = []
        self.demanded_crashes = set()

    def begin(self):
        """Reads from the end of the file on, with no line permitted."""
        self.skip()
        self.allowed = []
        self.demanded_crashes = set()

    def skip(self):
        """Reads from the end of the file on."""
        self.start = self.path.stat().st_size if self.path.exists() else 0

    def text(self):
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read().decode("utf-8", "backslashreplace")

    def lines(self):
        # The last piece is empty, or a line that is still being written.
        return [Line.parse(raw) for raw in self.text().split("\n")[:-1] if raw]

    def find(self, pattern):
        return [line for line in self.lines() if re.search(pattern, line.text)]

    def allow(self, *patterns):
        """These lines may be written, and need not be. No pattern permits a crash or a panic."""
        for pattern in patterns:
            assert not re.search(pattern, NO_LINE), f"{pattern!r} permits every line"
        self.allowed += patterns

    def allow_traceback(self, *last_lines):
        """Tracebacks, with the record before them, that end with lines like these patterns."""
        script = r"^(?:\[script [^]]*\] )?"
        self.allow(r"^WSGI0(?:109|174): ", rf"{script}Traceback ", rf"{script}[ \t]")
        self.allow(*(script + pattern for pattern in last_lines))

    def wait_for(self, pattern, count=1, timeout=30):
        """The lines that match, as soon as there are `count` of them."""
        deadline = time.monotonic() + timeout * SLOWER
        while len(found := self.find(pattern)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{count} error log line(s) matching {pattern!r} wanted, {len(found)} came; "
                    f"the log:\n{self.text()}"
                )
            time.sleep(0.01)
        return found

    def expect(self, *patterns, count=1):
        """These lines must have been written, whatever their level; returns those of the first."""
        found = [self.wait_for(pattern, count) for pattern in patterns]
        self.allow(*patterns)
        return found[0]

    def expect_crash(self, *patterns):
        """The crash that the test has brought about, each pattern a line that must be written."""
        for pattern in patterns:
            found = [line for line in self.wait_for(pattern) if line.is_crash]
            assert found, f"{pattern!r} matches lines, but none about a crash"
            self.demanded_crashes.update(line.text for line in found)
            self.allowed += [f"^{re.escape(line.text)}$" for line in found]

    def expect_traceback(self, header, tail):
        """A header record, then the traceback's records by the same thread, down to `tail`."""
        (first, *_) = self.wait_for(header)
        self.wait_for(tail)
        block, inside = [], False
        for line in self.lines():
            if line == first:
                inside = True
            if inside and (line.pid, line.tid) == (first.pid, first.tid):
                block.append(line)
                if line is not first and re.search(tail, line.text):
                    break
        self.allowed += [f"^{re.escape(line.text)}$" for line in block]
        return block

    def crashes(self):
        """The lines about crashes and panics that no test has demanded."""
        return [
            line
            for line in self.lines()
            if line.is_crash and line.text not in self.demanded_crashes
        ]

    def unexpected(self):
        """Undemanded crashes, and lines of level warn or worse that were not named."""
        crashes = self.crashes()
        return crashes + [
            line
            for line in self.lines()
            if line.bad
            and line not in crashes
            and not any(re.search(pattern, line.text) for pattern in self.allowed)
        ]
