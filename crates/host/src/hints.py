"""Lines for the log below a traceback, where the cause is certain. Run in the interpreter of the application."""

import os
import sys

BESIDE = (".venv", "venv", "env")
NAMES = ("app", "flask_app", "wsgi_app")
FACTORIES = ("create_app", "make_app")


def chain(exception):
    """The exception and those that it was raised from or during, the last one first."""
    found, left = [], [exception]
    while left:
        error = left.pop()
        if error is not None and not any(error is known for known in found):
            found.append(error)
            left += [error.__context__, error.__cause__]
    return found


def last_frame(error):
    """That in which the exception was raised."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback and traceback.tb_frame


def last_file(error):
    frame = last_frame(error)
    return frame and frame.f_code.co_filename


def last_module(error):
    frame = last_frame(error)
    return frame and frame.f_globals.get("__name__")


def is_daemon():
    return bool(getattr(sys.modules.get("mod_wsgi"), "process_group", ""))


def has_module(folder, name):
    path = os.path.join(folder, name)
    if os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py")):
        return True
    try:
        return any(
            entry.startswith(name + ".") and entry.endswith(".so") for entry in os.listdir(folder)
        )
    except OSError:
        return False


def folders(script):
    """Those of the script and above it."""
    folder = os.path.dirname(os.path.abspath(script))
    return [place for place in (folder, os.path.dirname(folder)) if place != "/"]


def missing_module(error, script, variables):
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    name = error.name.partition(".")[0]
    if name in sys.modules:
        return None
    known = {os.path.realpath(place) for place in sys.path if isinstance(place, str)}
    for place in folders(script):
        if has_module(place, name) and os.path.realpath(place) not in known:
            option = "python-path=" if is_daemon() else "WSGIPythonPath "
            return f"'{name}' stands in {place}, which is not on sys.path; add {option}{place}"
    if sys.prefix != sys.base_prefix:
        return None
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for place in folders(script):
        for home in (os.path.join(place, folder) for folder in BESIDE):
            if has_module(os.path.join(home, "lib", version, "site-packages"), name):
                option = "python-home=" if is_daemon() else "WSGIPythonHome "
                return f"the virtual environment {home} has '{name}'; use {option}{home}"
    return None


def relative_import(error, script, variables):
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        if last_file(error) == script:
            return (
                "a WSGI script is not part of a package, so that a relative import has nothing to start "
                "from; import the module by its full name"
            )
    return None


def account():
    user, group = os.geteuid(), os.getegid()
    try:
        import grp
        import pwd

        return f"user '{pwd.getpwuid(user).pw_name}', group '{grp.getgrgid(group).gr_name}'"
    except KeyError:
        return f"user #{user}, group #{group}"


def owner(path):
    """Owner and mode of a file or of the folder that it would be in, as far as they can be seen."""
    try:
        found = os.stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path}: uid {found.st_uid}, gid {found.st_gid}, mode {found.st_mode & 0o7777:04o}"


def databases():
    """The databases of sqlite that this process has open and may not write, or not in their folder."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{number}")
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                is_database = file.read(16) == b"SQLite format 3\0"
        except OSError:
            continue
        folder = os.path.dirname(path)
        if is_database and not (os.access(path, os.W_OK) and os.access(folder, os.W_OK)):
            found.add(path)
    return found


def permission(error, script, variables):
    paths = []
    if isinstance(error, PermissionError) and isinstance(error.filename, (str, bytes)):
        paths = [os.path.abspath(os.fsdecode(error.filename))]
    elif type(error).__name__ == "OperationalError" and "readonly database" in str(error):
        paths = sorted(databases())
    elif type(error).__name__ != "OperationalError" or "unable to open database" not in str(error):
        return None
    places = "".join(
        f"; {owner(place)}" for path in paths for place in (path, os.path.dirname(path))
    )
    return f"this process has {account()}{places}"


def environment(error, script, variables):
    if not isinstance(error, KeyError) or variables is None or last_module(error) != "os":
        return None
    name = error.args[0] if error.args else None
    if not isinstance(name, str) or name not in variables:
        return None
    remedy = "environment= of WSGIDaemonProcess" if is_daemon() else "the environment of Apache"
    return (
        f"SetEnv and PassEnv put '{name}' into the environ of requests and not into os.environ; for "
        f"os.environ use {remedy}"
    )


def asynchronous(error, script, variables):
    # Raised by the call itself, so that no frame of the application is in the traceback.
    if isinstance(error, TypeError) and error.__traceback__ is None:
        if str(error).endswith("missing 1 required positional argument: 'send'"):
            return ASGI
    return None


ASGI = (
    "this is an ASGI application, and the alias is one of WSGI; use ASGIScriptAlias with a process group, "
    "or make a WSGI application of it by a2wsgi.ASGIMiddleware(application)"
)
CAUSES = (missing_module, relative_import, permission, environment, asynchronous)


def of_exception(exception, script, variables):
    """The hint for an exception; None where there is none."""
    for error in chain(exception):
        for cause in CAUSES:
            hint = cause(error, script, variables)
            if hint:
                return hint
    return None


def parameters(function):
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return ()
    names = code.co_varnames[: code.co_argcount]
    return names[1:] if names[:1] == ("self",) else names


def needs_arguments(function):
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    optional = len(function.__defaults__ or ()) + len(function.__kwdefaults__ or ())
    return code.co_argcount + code.co_kwonlyargcount > optional


def looks_like(found, names):
    """Whether an object is called with these arguments."""
    if isinstance(found, type) or not callable(found):
        return False
    call = found if hasattr(found, "__code__") else getattr(type(found), "__call__", None)
    return parameters(call)[: len(names)] == names


def of_callable(namespace, wanted):
    """The hint for a script without the callable that is wanted; None where there is none."""
    found = {
        name: value
        for name, value in list(namespace.items())
        if isinstance(name, str)
        and name[:1] != "_"
        and looks_like(value, ("environ", "start_response"))
    }
    named = [name for name in NAMES if name in namespace and looks_like(namespace[name], ())]
    names = [name for name in named if name in found] or list(found)
    if len(names) == 1 or names and names[0] in NAMES:
        return f"the script has '{names[0]}'; add callable-object={names[0]}"
    for name in named:
        if looks_like(namespace[name], ("scope", "receive", "send")):
            return f"the script has '{name}': {ASGI}"
    if not names and len(named) == 1 and not isinstance(namespace[named[0]], type(sys)):
        return f"the script has '{named[0]}'; add callable-object={named[0]}"
    for name in FACTORIES:
        if callable(namespace.get(name)):
            if needs_arguments(namespace[name]):
                return f"'{name}' makes the application; add to the script: {wanted} = {name}(...)"
            return f"'{name}' makes the application; add callable-object={name}()"
    return None
