def load(version, extension, parameters):
    """Gives the process to the extension, which is open as a descriptor of that number."""
    import sys
    import _imp
    import _signal
    from _frozen_importlib import ModuleSpec

    del globals()["load"]
    flags = sys.flags
    if not (flags.isolated or getattr(flags, "safe_path", False)):
        # The working directory, which is there because of -c.
        del sys.path[0]
    # A worker has handlers of its own.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    free_threaded = "t" if "t" in sys.abiflags else ""
    own = "{}.{}{}".format(*sys.version_info[:2], free_threaded)
    if sys.implementation.name != "cpython" or own != version:
        sys.exit(
            f"WSGI0036: Python cannot be started in this process: {sys.executable} is {sys.implementation.name} {own} "
            f"and not CPython {version}, which was there when Apache read its configuration; restart Apache"
        )
    spec = ModuleSpec("wsgi_host", None, origin=f"/proc/self/fd/{extension}")
    try:
        module = _imp.create_dynamic(spec)
    except ImportError as why:
        sys.exit(f"WSGI0036: Python cannot be started in this process: {sys.executable} cannot load the extension: {why}")
    module.run(int(parameters))


load(*__import__("sys").argv[1:])
