"""Which interface a callable has. Run once for each application whose configuration does not say.

An application of WSGI is called with two arguments, one of ASGI 3 with three, and gives something to await. One of ASGI 2
is called with the scope alone, and gives what is called with the two others.
"""

import inspect
import sys
import types


def is_coroutine_function(function):
    if inspect.iscoroutinefunction(function):
        return True
    # As asgiref and older versions of asyncio mark one that is written as an ordinary function.
    coroutines = sys.modules.get("asyncio.coroutines")
    mark = getattr(coroutines, "_is_coroutine", None)
    return mark is not None and getattr(function, "_is_coroutine", None) is mark


def takes(callable_, count):
    """Whether it can be called with so many arguments; None where that cannot be known."""
    try:
        signature = inspect.signature(callable_)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_coroutine(callable_):
    """Whether what a call gives is to be awaited."""
    if is_coroutine_function(callable_):
        return True
    # Of an instance; a function's own is none.
    if isinstance(callable_, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return False
    return is_coroutine_function(getattr(callable_, "__call__", None))


def of_class(callable_):
    """Of one whose instances are made by the first call."""
    if hasattr(callable_, "__await__"):
        return "asgi"
    call = getattr(callable_, "__call__", None)
    if is_coroutine_function(call) or takes(callable_, 2) is False and takes(callable_, 1):
        return "asgi2"
    return "asgi" if takes(callable_, 2) is False and takes(callable_, 3) else "wsgi"


def interface(callable_):
    """`wsgi`, `asgi`, or `asgi2`, which is not served."""
    # asgiref's marks.
    if getattr(callable_, "_asgi_single_callable", False):
        return "asgi"
    if getattr(callable_, "_asgi_double_callable", False):
        return "asgi2"
    if isinstance(callable_, type):
        return of_class(callable_)
    if is_coroutine(callable_):
        return "asgi"
    # An ordinary function around a coroutine function, or one that returns the second callable of ASGI 2.
    if takes(callable_, 2) is False:
        if takes(callable_, 3):
            return "asgi"
        if takes(callable_, 1):
            return "asgi2"
    return "wsgi"
