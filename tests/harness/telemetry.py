"""The service that WSGITelemetryService reports to, as far as tests need one."""

import contextlib
import dataclasses
import socket
import struct
import threading

from .httpd import wait_until

KINDS = {
    2: "sample",
    4: "slow",
    5: "started",
    6: "stopping",
    7: "stopped",
    8: "garbage",
    9: "collection",
}
NUMBERS = {1: "<Q", 2: "<d", 3: "<q"}
LISTS = {5: "i", 6: "d"}


@dataclasses.dataclass
class Report:
    """One datagram."""

    kind: str
    pid: int
    number: int
    time: float
    fields: dict


def decode(data):
    magic, version, kind, flags, pid, number, when = struct.unpack_from("<4sBBHIId", data)
    assert (magic, version, flags) == (b"WSGI", 1, 0)
    fields, at = {}, 24
    while at < len(data):
        field, form = struct.unpack_from("<HB", data, at)
        assert field not in fields, f"field {field} stands there twice"
        at += 3
        if form in NUMBERS:
            (fields[field],) = struct.unpack_from(NUMBERS[form], data, at)
            at += 8
            continue
        (length,) = struct.unpack_from("<H", data, at)
        at += 2
        if form == 4:
            fields[field] = data[at : at + length].decode()
            at += length
        else:
            values = f"<{length}{LISTS[form]}"
            fields[field] = struct.unpack_from(values, data, at)
            at += struct.calcsize(values)
    assert at == len(data)
    return Report(KINDS[kind], pid, number, when, fields)


class Service:
    """Hears what processes report, all the time: a socket keeps ten messages only."""

    def __init__(self, path):
        self.reports = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o777)
        self.socket.settimeout(0.1)
        self.closed = False
        self.thread = None

    def listen(self):
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self):
        while not self.closed:
            with contextlib.suppress(TimeoutError):
                self.reports.append(decode(self.socket.recv(65536)))

    def close(self):
        self.closed = True
        if self.thread:
            self.thread.join()
        self.socket.close()

    def of(self, kind, **fields):
        """The reports of this kind, in which the fields (`f200=1`) have these values."""
        wanted = {int(name[1:]): value for name, value in fields.items()}
        return [
            report
            for report in self.reports
            if report.kind == kind
            and all(report.fields.get(field) == value for field, value in wanted.items())
        ]

    def wait_for(self, kind, count=1, timeout=30, **fields):
        def heard():
            found = self.of(kind, **fields)
            return found if len(found) >= count else None

        return wait_until(heard, f"{count} of {kind} {fields}", timeout)
