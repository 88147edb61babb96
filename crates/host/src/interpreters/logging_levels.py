import sys
from importlib.machinery import PathFinder

import mod_wsgi


def keep_levels(logging):
    """Has records that no handler takes (`logging.lastResort`) keep their level in the server's log."""
    if type(logging.lastResort) is logging._StderrHandler:
        logging.lastResort = mod_wsgi.LogHandler(logging.lastResort.level)


class Finder:
    """Stands before the other finders until the interpreter imports `logging`, which takes milliseconds."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                del spec.loader.exec_module
                execute(module)
                keep_levels(module)

            spec.loader.exec_module = exec_module
        return spec


# A .pth file may have imported it.
if "logging" in sys.modules:
    keep_levels(sys.modules["logging"])
else:
    sys.meta_path.insert(0, Finder())
