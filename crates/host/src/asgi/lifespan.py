"""What an application is told of the start and the end of its process (ASGI, "Lifespan Protocol").

The server calls this; what it serves is not known here.
"""

import asyncio
import traceback

# The first and the longest pause between two starts that fail, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 1, 30


class Application:
    """One callable, and what it keeps from its start to its end."""

    def __init__(self, server, settings, callable_, script):
        self.server = server
        self.settings = settings
        self.callable = callable_
        self.script = script
        self.state = {}
        # Whether requests get a copy of the state.
        self.is_supported = False
        self.is_started = False
        self.is_stopping = False
        # The task that starts it, while it does.
        self.starting = None
        # Why the last start has failed, and when the next one may be, by the clock of the loop.
        self.failure = None
        self.pause = FIRST_PAUSE
        self.next_start = 0
        # That of the last start.
        self.lifespan = None

    async def start(self, limit=None):
        """Starts it, once for all that wait for it; whether that went well. `limit`: what is left of the time for the
        start of the worker, in seconds.
        """
        if self.is_started:
            return True
        if self.starting is None:
            if self.seconds_to_next_start() > 0:
                return False
            self.starting = asyncio.ensure_future(self._start(limit))
        # A request that is cancelled leaves the start to the others.
        return await asyncio.shield(self.starting)

    def seconds_to_next_start(self):
        """How long it is not started again because that has failed."""
        return max(0, self.next_start - asyncio.get_running_loop().time())

    async def _start(self, limit):
        try:
            self.is_started = await self._begin(limit)
            if not self.is_started:
                self.next_start = asyncio.get_running_loop().time() + self.pause
                self.pause = min(2 * self.pause, LONGEST_PAUSE)
        finally:
            self.starting = None
        return self.is_started

    async def _begin(self, left):
        if self.settings["lifespan"] == "off":
            return True
        if self.lifespan is not None:
            # Of a start that has failed: the application may still wait in it.
            self.lifespan.task.cancel()
        self.lifespan = lifespan = Lifespan(self)
        limit = self.settings["startup_limit"]
        left = limit if left is None else max(0, left)
        done, _ = await asyncio.wait({lifespan.startup}, timeout=left)
        if not done:
            lifespan.startup.cancel()
            lifespan.task.cancel()
            others = f", of which others before it took {limit - left:.1f} s" if left < limit else ""
            self.failed(f"lifespan.startup.complete was not sent within {limit:g} s{others}")
            return False
        self.state, self.is_supported = lifespan.state, lifespan.is_supported
        return lifespan.startup.result()

    def failed(self, why):
        lines = why.strip().splitlines() or ["lifespan.startup.failed"]
        # Frameworks send the traceback of what has failed; its last line says what that was.
        self.failure = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        rest = lines if self.failure is not lines[0] else lines[1:]
        self.server.start_failed(self.script, self.failure, "\n".join(rest))

    def log(self, level, text):
        self.server.log(level, f"[script {self.script}] {text}")

    async def stop(self):
        """Tells it of the end, and waits for it."""
        self.is_stopping = True
        if self.is_started and self.is_supported:
            await self.lifespan.stop()


class Lifespan:
    """One start of an application, and the scope that begins with it. One that has failed may end long after the next one
    has begun, so that none shares anything with another.
    """

    def __init__(self, application):
        loop = asyncio.get_running_loop()
        self.application = application
        self.state = {}
        # Whether the application knows the scope.
        self.is_supported = True
        self.received = False
        self.messages = asyncio.Queue()
        self.messages.put_nowait({"type": "lifespan.startup"})
        self.startup, self.shutdown = loop.create_future(), loop.create_future()
        self.task = loop.create_task(self._run())

    async def _run(self):
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.application.callable(scope, self._receive, self._send)
        except asyncio.CancelledError:
            if not self.startup.done() and not self.application.is_stopping:
                # Nothing here has cancelled it.
                self._raised(traceback.format_exc())
        except BaseException:
            self._raised(traceback.format_exc())
        else:
            self._raised("the application returned from its lifespan scope")
        for future in (self.startup, self.shutdown):
            if not future.done():
                future.set_result(True)

    def _raised(self, why):
        """The scope has ended with an exception, or without one."""
        application = self.application
        if self.startup.done():
            # Of a start that has failed enough has been said.
            has_started = not self.startup.cancelled() and self.startup.result()
            if has_started and not self.shutdown.done() and "Traceback" in why:
                application.log("error", f"in the lifespan scope:\n{why}")
            return
        if application.settings["lifespan"] == "on":
            *_, last = why.splitlines()
            ended = "asgi-lifespan=on, and the lifespan scope ended before it began"
            application.failed(f"{ended}: {last}\n{why if last != why else ''}")
            self.startup.set_result(False)
            return
        # An application need not know the scope.
        self.is_supported = False
        level = "warning" if self.received and "Traceback" in why else "info"
        what = "goes on without lifespan events (asgi-lifespan=auto)"
        application.log(level, f"{what}:\n{why}" if level == "warning" else what)

    async def _receive(self):
        self.received = True
        return await self.messages.get()

    async def _send(self, message):
        kind = message["type"]
        application = self.application
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            if self.startup.done():
                raise RuntimeError(f"'{kind}' was sent after the start was over")
            if kind == "lifespan.startup.failed":
                application.failed(message.get("message") or "")
            self.startup.set_result(kind == "lifespan.startup.complete")
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            if self.shutdown.done():
                raise RuntimeError(f"'{kind}' was sent a second time")
            if kind == "lifespan.shutdown.failed":
                text = message.get("message") or "lifespan.shutdown.failed"
                application.log("error", f"has not stopped cleanly:\n{text}")
            self.shutdown.set_result(True)
        else:
            raise RuntimeError(f"expected an ASGI message of the lifespan scope, but got '{kind}'")

    async def stop(self):
        """Tells the application of the end, and waits for it."""
        if not self.task.done():
            self.messages.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait({self.shutdown})
