"""What every contender has: a name, and a way to describe its programs for a shape."""

from typing import ClassVar

from bench.servers.server import Server, free_port
from bench.servers.site import Shape, Unavailable

__all__ = ["Contender", "Shape", "Unavailable"]


class Contender:
    name = ""
    title = ""
    # What its application is written to: `wsgi` or `asgi`.
    interface = "wsgi"
    # Paths of the application that it has no counterpart for, and why.
    lacks: ClassVar[dict] = {}
    # Names of the cases that it is measured in; all of its interface when empty.
    cases: ClassVar[frozenset] = frozenset()
    # Whether it can ask an application for a path before clients do.
    warms_up = False

    def __init__(self, site):
        self.site = site

    def programs(self, room, port, shape):
        """The programs to start, in order; raises Unavailable."""
        raise NotImplementedError

    def server(self, shape):
        """A server that is not started yet."""
        room, port = self.site.room(self.name), free_port()
        return Server(room, port, self.programs(room, port, shape), self.site.env.user)

    def version(self):
        """What is measured, for the report."""
        return ""

    def needs_one_application(self, shape):
        if shape.groups:
            raise Unavailable("has no process groups")
