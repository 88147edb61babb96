"""runserver_apache: what runserver does, by Apache: for development."""

import re

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import naiveip_re
from django.db import connections

from ... import project
from ...program import become


class Command(BaseCommand):
    help = "Serves this project for development with Apache and mod_wsgi_rs, as runserver does."
    requires_system_checks = ()

    def add_arguments(self, parser):
        add = parser.add_argument
        add("addrport", nargs="?", help="optional port number, or address:port")
        add("--ipv6", "-6", action="store_true", dest="use_ipv6", help="use an IPv6 address")
        flags = {
            "nothreading": ("use_threading", "serve one request at a time"),
            "noreload": ("use_reloader", "do not load the project anew when a file is saved"),
            "nostatic": ("use_static_handler", "do not serve static files at STATIC_URL"),
        }
        for flag, (name, text) in flags.items():
            add(f"--{flag}", action="store_false", dest=name, help=text)
        # Django itself adds it only where it runs the checks.
        add("--skip-checks", action="store_true", help="skip system checks")
        text = "serve static files also where DEBUG is off"
        add("--insecure", action="store_true", dest="insecure_serving", help=text)

    def handle(self, *args, **options):
        if not settings.DEBUG and not settings.ALLOWED_HOSTS:
            raise CommandError("You must set settings.ALLOWED_HOSTS if DEBUG is False.")
        address, port = self.address(options)
        self.look_at_project(options)
        arguments = ["--host", address, "--port", port, *project.options(options["pythonpath"])]
        reload, static = options["use_reloader"], options["use_static_handler"]
        insecure = options["insecure_serving"]
        application = project.application()
        # With --reload the server itself serves static files where DEBUG is on.
        if insecure or not static or not reload:
            application = (
                f"mod_wsgi_rs.server.development:make(static={static}, insecure={insecure})"
            )
        arguments += ["--entry-point", application]
        if reload:
            arguments.append("--reload")
        if not options["use_threading"]:
            arguments += ["--processes", "1", "--threads", "1"]
        become(arguments)

    def address(self, options):
        """(address, port) of `addrport`, which is read as runserver reads it."""
        written = options["addrport"] or "8000"
        found = re.match(naiveip_re, written)
        if found is None:
            message = f'"{written}" is not a valid port number or address:port pair.'
            raise CommandError(message)
        address, _, ipv6, name, port = found.groups()
        if address == "0":
            address = "0.0.0.0"
        if ipv6:
            address = ipv6[1:-1]
        elif address and options["use_ipv6"] and not name:
            raise CommandError(f'"{address}" is not a valid IPv6 address.')
        return address or ("::1" if options["use_ipv6"] else "127.0.0.1"), port

    def look_at_project(self, options):
        """System checks and migrations. What they find does not keep a server that reloads from
        starting, because a save may correct it, and the browser shows it.
        """
        try:
            if not options["skip_checks"]:
                self.stdout.write("Performing system checks...\n\n")
                self.check(display_num_errors=True)
            self.check_migrations()
        except Exception as why:
            if not options["use_reloader"]:
                raise
            self.stderr.write(self.style.ERROR(f"{type(why).__name__}: {why}"))
        for connection in connections.all(initialized_only=True):
            connection.close()
