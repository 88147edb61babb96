"""Samples in turn: A B C … A B C …, so that what disturbs the machine disturbs all alike.

The servers of all contenders are up and idle while one is measured. That costs next to nothing and
lets the samples of one round follow each other within seconds.
"""

import contextlib
import time

from bench import cases, clients, cpu, load, neighbours, open_loop, slow_clients, sockets, transfer
from bench.servers import Unavailable
from bench.servers.server import Broken
from bench.transfer import TransferFailed

FAULTS = (Broken, load.LoadFailed, TransferFailed, sockets.SocketsFailed, OSError)


class Running:
    """The servers of some contenders in one shape, all up."""

    def __init__(self, contenders, shape, results, progress):
        self.contenders, self.shape = contenders, shape
        self.results, self.progress = results, progress
        self.servers = {}
        self.lost = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with self._stack:
            for contender in self.contenders:
                self.progress.step("starting", contender.title, 0)
                try:
                    server = contender.server(self.shape)
                    server.start()
                except (Unavailable, *FAULTS) as error:
                    self._lost(contender, error)
                    continue
                self._stack.callback(server.stop)
                self.servers[contender.name] = server
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error):
        self.progress.step("stopping", f"{len(self.servers)} servers", 0)
        self._stack.close()

    def _lost(self, contender, error):
        self.lost[contender.name] = error
        self.progress.note(f"  {contender.title} does not start: {error}")

    def measure(self, case):
        """`case.rounds` samples of each contender that has a counterpart for the case."""
        sample, able = SAMPLES[type(case)], []
        for contender in self.contenders:
            if not case.has(contender):
                self.results.lack(case.name, contender.name, "not measured in this run")
                self.progress.step(case.title, contender.title, case.rounds)
            elif case.path in contender.lacks:
                self.results.lack(case.name, contender.name, contender.lacks[case.path])
                self.progress.step(case.title, contender.title, case.rounds)
            elif contender.name in self.lost:
                self.results.fail(case.name, contender.name, self.lost[contender.name])
                self.progress.step(case.title, contender.title, case.rounds)
            elif self._try(case, contender, sample.prepare):
                able.append(contender)
            else:
                self.progress.step(case.title, contender.title, case.rounds)
        for number in range(case.rounds):
            for contender in able:
                taken = None
                if not self.results.failed(case.name, contender.name):
                    taken = self._try(case, contender, sample.take)
                self.results.add(case.name, contender.name, taken)
                text = f"round {number + 1} of {case.rounds}, {contender.title}"
                self.progress.step(case.title, text)

    def _try(self, case, contender, function):
        try:
            return function(case, self.servers[contender.name])
        except FAULTS as error:
            self.results.fail(case.name, contender.name, error)
            self.progress.note(f"  {case.title}: {contender.title}: {error}")
            return None


class LoadSample:
    """One run of wrk."""

    @staticmethod
    def prepare(case, server):
        """The answer is right, and every thread has had work before anything counts."""
        body = b"x" * 1024 if case.method == "POST" else None
        content = server.check(case.path, case.method, body)
        load.run(server.url(case.path), case.connections, 1, case.request, case.crowded)
        return len(content)

    @staticmethod
    def take(case, server):
        before = server.cpu_seconds()
        counted = load.run(
            server.url(case.path), case.connections, case.seconds, case.request, case.crowded
        )
        spent = server.cpu_seconds() - before
        return {
            "rps": counted["requests"] / counted["seconds"],
            "cpu_us": spent / counted["requests"] * 1e6,
            "p50_ms": counted["p50"] / 1000,
            "p99_ms": counted["p99"] / 1000,
            "p999_ms": counted["p999"] / 1000,
            "closed": counted["closed"] / counted["requests"] * 1000,
        }


class TransferSample:
    """Some transfers of 64 MB, one after the other."""

    @staticmethod
    def _once(case, server):
        move = transfer.upload if case.upload else transfer.download
        return move(server.port, case.path)

    @classmethod
    def prepare(cls, case, server):
        return cls._once(case, server)

    @classmethod
    def take(cls, case, server):
        before = server.cpu_seconds()
        seconds = sum(cls._once(case, server) for _ in range(case.repeats))
        spent = server.cpu_seconds() - before
        return {
            "mb_s": case.repeats * (transfer.SIZE / 1e6) / seconds,
            "cpu_ms": spent / case.repeats * 1000,
        }


class TailSample:
    """One run at a fixed rate, beside other processes."""

    WARM_UP = 500
    SETTLE_SECONDS = 0.5

    @classmethod
    def prepare(cls, case, server):
        server.ask_again(case.path, cls.WARM_UP)
        return True

    @classmethod
    def take(cls, case, server):
        with neighbours.running(case.neighbours):
            if case.neighbours != neighbours.Neighbours():
                time.sleep(cls.SETTLE_SECONDS)
            return open_loop.run(server.port, case.path, case.connections, case.seconds, case.rate)


class CheckedSample:
    """A sample before which the server only has to answer."""

    @staticmethod
    def prepare(case, server):
        server.check(case.path)
        return True


class RestartSample(CheckedSample):
    """Some graceful restarts under load. What fails is a figure, not a fault."""

    @staticmethod
    def take(case, server):
        moments = [(number + 0.5) * case.interval for number in range(case.restarts)]
        counted = clients.run(
            server.port,
            case.path,
            case.clients,
            case.restarts * case.interval,
            events=[(moment, server.restart_gracefully) for moment in moments],
        )
        return counted.figures()


class SlowSample(CheckedSample):
    """Ordinary clients beside slow ones. What fails is a figure, not a fault."""

    @staticmethod
    def take(case, server):
        slow = (case.kind, server.port, case.slow_path, case.slow, case.begun)
        with slow_clients.running(*slow) as end:
            counted = clients.run(server.port, case.path, case.clients, case.seconds, case.interval)
            counted.failed += end()
        # Requests of slow clients are on their way: the next sample begins with a server that has
        # none.
        server.await_good_answer(case.path)
        return counted.figures()


class SocketsSample(CheckedSample):
    """WebSockets that echo at intervals."""

    @staticmethod
    def take(case, server):
        with sockets.Clients(server.port, case.sockets) as opened:
            before = server.cpu_seconds()
            counted = opened.echo(case.seconds, case.interval)
            spent = server.cpu_seconds() - before
        if counted["lost"] or not counted["echoes"]:
            raise sockets.SocketsFailed(f"{counted['lost']} WebSockets were not echoed")
        return {
            "cpu_us": spent / counted["echoes"] * 1e6,
            "p50_ms": counted["p50"] * 1000,
            "p99_ms": counted["p99"] * 1000,
            "late": counted["late"],
        }


class IdleSocketsSample(CheckedSample):
    """What WebSockets cost while nothing is said."""

    SETTLE_SECONDS = 2
    FIRST = 100

    @classmethod
    def take(cls, case, server):
        # What the first ones bring with them is no cost of each.
        sockets.Clients(server.port, cls.FIRST).close()
        time.sleep(cls.SETTLE_SECONDS)
        before = cls._costs(server)
        with sockets.Clients(server.port, case.sockets):
            time.sleep(cls.SETTLE_SECONDS)
            now = cls._costs(server)
        apache, others, threads = (b - a for a, b in zip(before, now, strict=True))
        return {
            "apache_kb": apache * 1024 / case.sockets,
            "other_kb": others * 1024 / case.sockets,
            "threads": threads,
        }

    @staticmethod
    def _costs(server):
        """(MB of the web server, MB of all other processes, threads of the web server)."""
        apache = cpu.running(server.roots, server.processes[-1].args[0])
        whole, own = server.pss_megabytes(), cpu.memory_megabytes(apache)
        return own, whole - own, cpu.threads(apache)


SAMPLES = {
    cases.Load: LoadSample,
    cases.Transfer: TransferSample,
    cases.Tail: TailSample,
    cases.Restart: RestartSample,
    cases.SlowClients: SlowSample,
    cases.Sockets: SocketsSample,
    cases.IdleSockets: IdleSocketsSample,
}
