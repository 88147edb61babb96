"""The command mod_wsgi_rs in the place of a management command, with options of its own."""

import os
import subprocess
import sys

from django.core.management.base import BaseCommand, CommandError, CommandParser

from .. import command


def program():
    try:
        return command()
    except FileNotFoundError as why:
        raise CommandError(str(why)) from why


def become(arguments):
    """Replaces this process, so that signals and the terminal are the server's."""
    sys.stdout.flush()
    sys.stderr.flush()
    path = program()
    os.execv(path, [path, "start-server", *arguments])


class Parser(CommandParser):
    """Keeps the words that are no options of Django, in their order, for the server."""

    def __init__(self, **keywords):
        super().__init__(allow_abbrev=False, **keywords)

    def parse_args(self, args=None, namespace=None):
        known, server_options = self.parse_known_args(args, namespace)
        known.server_options = server_options
        return known

    def print_help(self, file=None):
        super().print_help(file)
        print("\nAll other options are those of mod_wsgi_rs start-server:\n", file=file, flush=True)
        subprocess.run([program(), "start-server", "--help"], stdout=file, check=False)


class ServerCommand(BaseCommand):
    """A management command that ends as the program."""

    stealth_options = ("server_options",)
    requires_system_checks = ()

    def create_parser(self, prog_name, subcommand, **keywords):
        description = self.help or None
        parser = Parser(
            prog=f"{os.path.basename(prog_name)} {subcommand}",
            description=description,
            missing_args_message=getattr(self, "missing_args_message", None),
            called_from_command_line=getattr(self, "_called_from_command_line", None),
            **keywords,
        )
        self.add_base_arguments(parser)
        self.add_arguments(parser)
        return parser

    def add_base_arguments(self, parser):
        """Those of Django that mean something for a server."""
        parser.add_argument("--settings", help="the module of the settings")
        parser.add_argument("--pythonpath", help="a directory to import the project from")
        parser.add_argument("--traceback", action="store_true", help="show tracebacks of errors")
        parser.add_argument("--no-color", action="store_true", help="print without colours")
        parser.add_argument("--force-color", action="store_true", help="print colours in any case")
        parser.add_argument("--skip-checks", action="store_true", help="skip system checks")
