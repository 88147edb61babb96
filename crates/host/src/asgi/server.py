"""The event loop of a worker: a task for each request, and what starts and ends the loop.

What does not wait is in Rust: `server` is its `Serving`, a request its `Request`.
"""

import concurrent.futures
import contextvars
import sys

current_request = contextvars.ContextVar("mod_wsgi.asgi.request")
# How long clients may take to answer a close, in seconds, when the process is to end.
CLOSE_LIMIT = 3
# How often to look how late timers are, in seconds.
LAG_INTERVAL = 0.25


class Server:
    def __init__(self, server, settings, loop):
        self.server = server
        self.settings = settings
        self.loop = loop
        # By the identity of the callable, which the application keeps.
        self.applications = {}
        self.exchanges = {}
        self.arrivals, self.progress = server.descriptors()
        self.accepts = False
        self.ended = asyncio.Event()
        # When the timer is due that tells how late the loop is; None while there is none.
        self.timer_due = None
        self.is_active = False
        # Tasks and callbacks take the context of the code that makes them, which may be a request's.
        self.context = contextvars.copy_context()
        servers.append(self)

    def application(self, callable_, script):
        found = self.applications.get(id(callable_))
        if found is None:
            watch_asgiref(self.server)
            found = Application(self.server, self.settings, callable_, script)
            self.applications[id(callable_)] = found
        return found

    def watch(self):
        self.loop.add_reader(self.progress, self.on_progress)
        self.accept()

    def accept(self):
        """Takes new requests while there is room for them."""
        accepts = self.server.has_room() and not self.ended.is_set()
        if accepts != self.accepts:
            self.accepts = accepts
            if accepts:
                context = self.context.copy()
                context.run(self.loop.add_reader, self.arrivals, self.on_arrivals)
            else:
                self.loop.remove_reader(self.arrivals)

    def on_arrivals(self):
        self.handle(self.server.arrivals())

    def on_progress(self):
        self.handle(self.server.progress())

    def handle(self, events):
        if self.timer_due is None:
            self.begin_timer()
        else:
            self.is_active = True
        begun = []
        for event in events:
            if event is None:
                self.ended.set()
            elif type(event) is int:
                exchange = self.exchanges.get(event)
                if exchange is not None:
                    exchange.on_event()
            else:
                exchange = self.begin(event)
                if exchange is not None:
                    begun.append(exchange)
        if begun:
            # Behind the first step of each: most requests are complete by then.
            self.loop.call_soon(self.watch_clients, begun)
        self.accept()

    def begin_timer(self):
        """A timer by which one sees how late the loop is."""
        self.is_active = False
        self.timer_due = self.loop.time() + LAG_INTERVAL
        self.loop.call_at(self.timer_due, self.note_lag)

    def note_lag(self):
        lag = self.loop.time() - self.timer_due
        has_requests = self.server.note_lag(int(lag * 1_000_000))
        if has_requests or self.is_active:
            self.begin_timer()
        else:
            # A loop that has nothing to do is not woken; WebSockets that are only open are nothing.
            self.timer_due = None

    def begin(self, request):
        found = self.server.load(request)
        if found is None:
            return None
        callable_, script, more = found
        application = self.application(callable_, script)
        # The name of the application in its script, where events, metrics or slow requests are looked for.
        observed = None
        if more is None:
            exchange = Exchange(self.loop, request, application)
        else:
            is_websocket, observed = more
            if is_websocket:
                exchange = WebSocketExchange(self.loop, request, application, self.exchanges)
            else:
                exchange = Exchange(self.loop, request, application)
        self.exchanges[request.number] = exchange
        exchange.task = self.context.run(self.loop.create_task, self.serve(exchange, observed))
        return exchange

    def watch_clients(self, exchanges):
        for exchange in exchanges:
            if not exchange.task.done():
                exchange.request.watch()

    async def serve(self, exchange, observed):
        request, application = exchange.request, exchange.application
        number = request.number
        if exchange.task is None:
            # Where tasks are eager (asyncio.eager_task_factory) the first step comes before what makes the task has it.
            exchange.task = asyncio.current_task()
        current_request.set(request)
        failed = True
        try:
            if observed is not None:
                request.observe(asyncio.current_task(), application.script)
            if not application.is_started and not await application.start():
                seconds = application.seconds_to_next_start()
                why = f"{application.failure} [script {application.script}]"
                request.refuse(f"{why}; it is not tried again for {seconds:.0f} s")
                return
            scope = request.scope()
            if application.is_supported:
                scope["state"] = application.state.copy()
            call = application.callable
            if observed is not None:
                call = request.started(scope, call, observed)
            await call(scope, exchange.receive, exchange.send)
            failed = False
        except asyncio.CancelledError:
            if self.ended.is_set() or request.interrupted or exchange.cancelling is not None:
                request.fail(503 if self.ended.is_set() else 504 if request.interrupted else 500)
            else:
                # Nothing here has cancelled it.
                self.server.report(request, sys.exc_info(), application.script)
        except BaseException:
            raised = sys.exc_info()
            if request.disconnected and is_of_disconnect(raised[1]):
                raised = (ClientDisconnected, ClientDisconnected("the client has disconnected"), None)
            self.server.report(request, raised, application.script)
        finally:
            if exchange.cancelling is not None:
                exchange.cancelling.cancel()
            if not exchange.is_websocket:
                self.exchanges.pop(number, None)
            exchange.finish(failed)
            if not self.accepts:
                self.accept()

    async def close_websockets(self):
        """Tells clients that they are to connect anew, and applications of it."""
        found = self.exchanges.values()
        exchanges = [it for it in found if it.is_websocket and it.socket is not None]
        if exchanges:
            waiters = [exchange.close(1012) for exchange in exchanges]
            waiters += [exchange.task for exchange in exchanges]
            limit = self.settings["shutdown_limit"]
            limit = CLOSE_LIMIT if limit is None else min(limit / 4, CLOSE_LIMIT)
            await asyncio.wait(waiters, timeout=limit)

    async def run(self):
        """Serves from the start of the applications to their end."""
        failed = False
        # One limit for all of them: the manager does not wait longer.
        limit, begun, started = self.settings["startup_limit"], self.loop.time(), 0
        for index in range(self.settings["applications"]):
            found = self.server.application(index)
            # Several aliases may lead to one application.
            if found is not None and id(found[0]) not in self.applications:
                left = limit - (self.loop.time() - begun) if started else limit
                failed |= not await self.application(*found).start(left)
                started += 1
        watch_asgiref(self.server)
        self.server.started(failed)
        self.watch()
        await self.ended.wait()
        self.accept()
        await self.close_websockets()
        tasks = [exchange.task for exchange in self.exchanges.values()]
        if tasks:
            for task in tasks:
                task.cancel()
            limit = self.settings["shutdown_limit"]
            # What they still send goes on meanwhile.
            await asyncio.wait(tasks, timeout=limit and limit / 2)
        self.loop.remove_reader(self.progress)
        for application in self.applications.values():
            await application.stop()


def interrupt(task):
    """Cancels the task of a request that takes longer than it may; called by another thread."""
    if not task.done():
        task.get_loop().call_soon_threadsafe(task.cancel)


def new_loop(kind):
    if kind != "asyncio":
        try:
            import uvloop
        except ImportError:
            if kind == "uvloop":
                raise
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def finish(loop):
    """As `asyncio.run` does: ends what is left, then the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


def serve(server, settings):
    loop = new_loop(settings["loop"])
    asyncio.set_event_loop(loop)
    executor = concurrent.futures.ThreadPoolExecutor(settings["threads"], "wsgi-executor")
    watch_executor(server, executor, False)
    loop.set_default_executor(executor)

    async def main():
        await Server(server, settings, loop).run()

    task = loop.create_task(main())
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit) as stop:
            # A task that the application has made; it does not end the worker.
            if task.done():
                raise
            server.log("warning", f"{type(stop).__name__} in a task of an application is ignored")
    finish(loop)
