"""A real browser, headless: chromium, driven by its DevTools protocol over two pipes."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time

from .httpd import die_with_parent

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = """
--headless=new --remote-debugging-pipe --disable-gpu --disable-dev-shm-usage --no-first-run
--no-default-browser-check --disable-extensions --disable-background-networking
--disable-component-update --disable-sync --mute-audio --password-store=basic
"""


def find_browser():
    """The program; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of a browser with a profile of its own."""

    def __init__(self, program, profile, *flags):
        flags = [*FLAGS.split(), *flags, f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        there, self.writer = os.pipe()
        self.reader, here = os.pipe()
        # The browser reads commands from descriptor 3, and writes to 4.
        plumbed = 'r=$1 w=$2; shift 2; eval "exec \\"\\$@\\" 3<&$r 4>&$w"'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", plumbed, "browser", str(there), str(here), program, *flags],
            pass_fds=(there, here),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
            env=os.environ | {"HOME": str(profile)},
        )
        os.close(there)
        os.close(here)
        self.numbers = itertools.count(1)
        self.buffer = b""
        # What pages complain about: exceptions, and errors of the log of the browser.
        self.complaints = []
        target = self.call("Target.createTarget", url="about:blank", session=None)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True, session=None)
        self.session = attached["sessionId"]

    def call(self, method, session="", seconds=60, **parameters):
        """The result of a command."""
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = self.session
        os.write(self.writer, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while (answer := self._message(deadline)).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event):
        method, what = event.get("method"), event.get("params", {})
        is_error = what.get("entry", {}).get("level") == "error"
        if method == "Runtime.exceptionThrown" or (method == "Log.entryAdded" and is_error):
            self.complaints.append(what)

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self.reader], [], [], left)[0], "no answer"
            piece = os.read(self.reader, 65536)
            assert piece, "the browser has ended"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url):
        self.call("Page.navigate", url=url)

    def listen(self):
        """Has `complaints` filled from here on."""
        self.call("Runtime.enable")
        self.call("Log.enable")

    def resize(self, width, height, *, dark=False):
        """Gives the window another size in pixels; `dark` is what the user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path):
        """Writes what the window shows to a PNG file."""
        taken = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(taken))

    def evaluate(self, expression):
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def wait_for_text(self, part, seconds=60):
        """Waits until the page shows this text; how long it took."""
        begun = time.monotonic()
        while part not in (shown := self.evaluate("document.body?.innerText ?? ''") or ""):
            assert time.monotonic() - begun < seconds, f"{part!r} is not shown:\n{shown}"
            time.sleep(0.01)
        return time.monotonic() - begun

    def close(self):
        os.close(self.writer)
        try:
            # The end of the pipe ends the browser.
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reader)
