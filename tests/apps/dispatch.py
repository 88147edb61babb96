"""A dispatch script: three headers say what its functions return, as expressions."""

import sys

seen = sys.modules.setdefault("seen_by_dispatch", type(sys)("seen_by_dispatch"))


def answered(environ, header):
    seen.environ = {
        key: value if isinstance(value, (str, int, float)) else repr(value)
        for key, value in environ.items()
    }
    text = environ.get(header)
    return None if text is None else eval(text)


def process_group(environ):
    return answered(environ, "HTTP_X_PROCESS")


def application_group(environ):
    print("application_group is asked")
    return answered(environ, "HTTP_X_APPLICATION")


def callable_object(environ):
    return answered(environ, "HTTP_X_CALLABLE")
