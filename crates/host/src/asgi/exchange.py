"""One request of HTTP on the event loop (ASGI 3, "HTTP")."""


class ClientDisconnected(OSError):
    """Raised by `send()` once the client has gone."""


def is_of_disconnect(error):
    """Whether an exception says only that the client has gone: that of `send()`, the one that Starlette raises in its
    place, or a group of such, as the tasks of Litestar leave one.
    """
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple) and inner:
        return all(map(is_of_disconnect, inner))
    of_starlette = getattr(sys.modules.get("starlette.requests"), "ClientDisconnect", OSError)
    return isinstance(error, (OSError, of_starlette))


class Exchange:
    """A request that is under way: what its application receives and sends."""

    __slots__ = ("application", "cancelling", "loop", "request", "task", "waiters")
    is_websocket = False

    def __init__(self, loop, request, application):
        self.loop = loop
        self.request = request
        self.application = application
        self.waiters = []
        self.task = None
        self.cancelling = None

    def wake(self):
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def ready(self):
        waiter = self.loop.create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Nothing may happen on the connection for hours, and the application wait anew all the time.
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    async def receive(self):
        while (message := self.request.receive()) is None:
            await self.ready()
        return message

    async def send(self, message):
        state = self.request.send(message)
        while state:
            if state == 2:
                self.disconnected()
            await self.ready()
            state = self.request.flush()
        if self.waiters:
            # The end of the response is a disconnect for those who receive.
            self.wake()

    def disconnected(self):
        """Sending has shown that the client has gone. The connection is given up: no event will tell of that."""
        self.cancel_later()
        self.wake()
        raise ClientDisconnected("the client has disconnected")

    def on_event(self):
        """Something has happened on the connection."""
        if self.request.progress():
            self.cancel_later()
        self.wake()

    def cancel_later(self):
        """The application is told that its client has gone, and has time to end by itself."""
        if self.cancelling is None and not self.task.done():
            grace = self.application.settings["grace"]
            self.cancelling = self.loop.call_later(grace, self.task.cancel)

    def finish(self, failed):
        """The application has returned."""
        self.request.end()
        # A task that it has left behind may still receive.
        self.wake()
