"""What is going on, on standard error: one line that moves on a terminal, plain lines elsewhere."""

import sys
import time


class Progress:
    def __init__(self, steps):
        self.steps, self.done = steps, 0
        self.began = time.monotonic()
        self.moving = sys.stderr.isatty()
        self.last = None

    def step(self, topic, text, count=1):
        """`count` of the announced steps are through; a new topic gets a line of its own."""
        self.done = min(self.steps, self.done + count)
        seconds = time.monotonic() - self.began
        stamp = f"[{100 * self.done / self.steps:3.0f} % {seconds // 60:2.0f}:{seconds % 60:02.0f}]"
        if self.moving:
            print(f"\r\033[K{stamp} {topic}: {text}"[:150], end="", file=sys.stderr, flush=True)
        elif topic != self.last:
            print(f"{stamp} {topic}", file=sys.stderr, flush=True)
        self.last = topic

    def note(self, text):
        """Something that stays on the screen."""
        print(
            f"{chr(13) + chr(27) + '[K' if self.moving else ''}{text}", file=sys.stderr, flush=True
        )

    def end(self):
        if self.moving:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
