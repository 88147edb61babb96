"""The Python side of the wheel of mod_wsgi_rs: where its command is, and the Django application
mod_wsgi_rs.server. Applications import mod_wsgi, which is another module: the server makes it.
"""

import os
import shutil
import sys
import sysconfig

__all__ = ["command"]


def command():
    """The path of the program mod_wsgi_rs: that of this installation, else that of PATH.

    Raises FileNotFoundError where there is none.
    """
    folders = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    # pip install --user
    folders.append(sysconfig.get_path("scripts", f"{os.name}_user"))
    for folder in folders:
        path = os.path.join(folder, "mod_wsgi_rs")
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("mod_wsgi_rs")
    if found is None:
        raise FileNotFoundError(f"the command mod_wsgi_rs is missing; looked in {folders} and PATH")
    return found
