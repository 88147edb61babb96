"""A program in a pseudo-terminal, and what its screen shows, as far as such programs need it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

from .command import clean_environment, in_its_terminal

SEQUENCE = re.compile(r"\x1b\[([?>]?)([0-9;]*)([A-Za-z])|\x1b[=>78]|\x1b\(B")


class Terminal:
    """The program, its screen and its keyboard."""

    def __init__(self, *words, rows=24, columns=100, cwd="/", **variables):
        self.rows, self.columns = rows, columns
        self.cells, self.at, self.output, self.rest = {}, [0, 0], "", ""
        self.is_alternate = False
        self.main, self.other = pty.openpty()
        fcntl.ioctl(self.other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.other)
        self.process = subprocess.Popen(
            list(map(str, words)),
            cwd=cwd,
            env=clean_environment(TERM="xterm-256color", **variables),
            stdin=self.other,
            stdout=self.other,
            stderr=self.other,
            start_new_session=True,
            preexec_fn=in_its_terminal,
        )

    def press(self, keys):
        os.write(self.main, keys.encode())

    def unread(self):
        """How many bytes of the keys the program has not read yet."""
        count = fcntl.ioctl(self.other, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def read(self):
        """Takes what has been printed."""
        while select.select([self.main], [], [], 0)[0]:
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the program's end is closed
                return
            self.output += piece.decode(errors="replace")
            self._show(self.rest + piece.decode(errors="replace"))

    def _show(self, text):
        place = 0
        while place < len(text):
            character = text[place]
            if character == "\x1b":
                found = SEQUENCE.match(text, place)
                if not found:
                    break  # the rest comes later
                self._obey(*(found.groups() if found[3] else ("", "", "")))
                place = found.end()
                continue
            place += 1
            if character == "\r":
                self.at[1] = 0
            elif character == "\n":
                self.at[0] += 1
            elif character >= " ":
                self.cells[tuple(self.at)] = character
                self.at[1] += 1
        self.rest = text[place:]

    def _obey(self, private, numbers, what):
        values = [int(number or 0) for number in numbers.split(";")]
        if private and values == [1049]:
            self.is_alternate = what == "h"
        elif what == "H":
            row, column = [*values, 0][:2]
            self.at = [max(row, 1) - 1, max(column, 1) - 1]
        elif what == "J":
            self.cells = {}
        elif what in "ABCD" and what:
            by = max(values[0], 1)
            self.at["ABCD".index(what) // 2] += {"A": -by, "B": by, "C": by, "D": -by}[what]

    def lines(self):
        self.read()
        return [
            "".join(self.cells.get((row, column), " ") for column in range(self.columns)).rstrip()
            for row in range(self.rows)
        ]

    def wait_for(self, pattern, seconds=30):
        """Waits for a line that the pattern finds; the line."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.lines()
            found = [line for line in lines if re.search(pattern, line)]
            if found:
                return found[0]
            assert time.monotonic() < deadline, f"{pattern!r} is not shown:\n" + "\n".join(lines)
            assert self.process.poll() is None, self.output[-2000:]
            select.select([self.main], [], [], 0.02)

    def wait_for_end(self, seconds=30):
        """The exit status of the program; the terminal has to be as it was."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the program does not end"
            self.read()
            select.select([self.main], [], [], 0.02)
        self.read()
        assert termios.tcgetattr(self.other) == self.before
        assert not self.is_alternate
        assert self.output.rfind("\x1b[?25h") > self.output.rfind("\x1b[?25l")
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)
        for descriptor in [self.main, self.other]:
            if descriptor is not None:
                os.close(descriptor)

    def hang_up(self):
        """Nothing is left of the terminal."""
        os.close(self.other)
        os.close(self.main)
        self.main = self.other = None
