"""One WebSocket on the event loop (ASGI 3, "WebSocket"): first a request, then, once it is accepted, a `Socket` of Rust."""


class Released:
    """In place of a WebSocket that is over: the application may keep `receive` and `send` for as long as it likes."""

    __slots__ = ("message",)
    opening, due_earlier, closed, over = 2, False, True, True

    def __init__(self, message):
        self.message = message

    def receive(self):
        return self.message.copy()

    def send(self, message):
        return 2

    def flush(self):
        return 2


class WebSocketExchange(Exchange):
    """What the application of a WebSocket receives and sends."""

    __slots__ = ("connected", "exchanges", "number", "over", "socket", "timer")
    is_websocket = True

    def __init__(self, loop, request, application, exchanges):
        super().__init__(loop, request, application)
        self.exchanges, self.number = exchanges, request.number
        self.connected = False
        self.socket = None
        self.timer = None
        # A future, for those who wait until nothing is left to do.
        self.over = None

    async def receive(self):
        if not self.connected:
            self.connected = True
            return {"type": "websocket.connect"}
        while True:
            if self.socket is not None:
                message = self.socket.receive()
                if message:
                    return message
                if message is False:
                    # It has begun to end, of which no event tells. What has come before follows.
                    self.on_event()
                    continue
            elif self.request.answered or self.request.disconnected:
                return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
            else:
                self.request.watch()
            await self.ready()

    async def send(self, message):
        if self.socket is None:
            answer = self.request.handshake(message)
            if type(answer) is int:
                await self.handed_on(answer, self.request)
                if self.waiters and self.request.answered:
                    # Those who receive are told that there is no WebSocket.
                    self.wake()
                return
            self.socket = answer
            self.tick()
            # The client is to have its 101 first. It may have closed again by then.
            while state := answer.opening:
                if state == 2:
                    self.disconnected()
                await self.ready()
        else:
            state = self.socket.send(message)
            while state == 2 and self.socket.opening == 1:
                # Another task waits until the WebSocket is open.
                await self.ready()
                state = self.socket.send(message)
            if state == 3:
                self.go_on()
            else:
                await self.handed_on(state, self.socket)

    async def handed_on(self, state, transport):
        while state:
            if state == 2:
                self.disconnected()
            await self.ready()
            state = transport.flush()

    def disconnected(self):
        self.request.lost()
        if self.socket is not None:
            self.go_on()
        super().disconnected()

    def tick(self):
        """Pings, and what else is due at some time."""
        if self.timer is not None:
            self.timer.cancel()
        delay = self.socket.tick()
        self.timer = None if self.socket.over else self.loop.call_later(delay, self.on_time)
        self.go_on()

    def on_time(self):
        self.tick()
        if self.socket.closed:
            # A client that has vanished causes no event.
            self.cancel_later()

    def on_event(self):
        if self.socket is None:
            super().on_event()
            return
        self.socket.progress()
        if self.socket.closed:
            self.cancel_later()
        self.go_on()

    def go_on(self):
        self.wake()
        if not self.socket.over:
            if self.socket.due_earlier:
                self.tick()
            return
        if self.over is not None and not self.over.done():
            self.over.set_result(None)
        if self.task.done():
            self.release()

    def close(self, code):
        """Closes it in the application's place; a future that is done when that is."""
        self.over = self.loop.create_future()
        self.socket.close(code)
        self.go_on()
        return self.over

    def finish(self, failed):
        self.request.end()
        if self.socket is None:
            self.exchanges.pop(self.number, None)
            self.wake()
            return
        self.socket.close(1011 if failed else 1000)
        if self.socket.over:
            self.release()
        elif self.socket.due_earlier:
            self.tick()

    def release(self):
        """Nothing is left to do: the number is free."""
        if type(self.socket) is Released:
            # It may be another one's by now.
            return
        self.exchanges.pop(self.number, None)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        # Its number is free once nothing has the socket any more.
        while (message := self.socket.receive())["type"] != "websocket.disconnect":
            pass
        self.socket = Released(message)
        self.wake()
