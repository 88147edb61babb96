"""runmodwsgi: the project behind an Apache of its own, with the options of mod_wsgi-express."""

from ... import project
from ...program import ServerCommand, become


class Command(ServerCommand):
    help = "Serves this project with Apache and mod_wsgi_rs."

    def handle(self, *args, **options):
        arguments = [*project.options(options["pythonpath"]), *project.collected_static_files()]
        # Of an option that is given twice the last one counts.
        written = options.get("server_options", [])
        become(["--entry-point", project.application(), *arguments, *written])
