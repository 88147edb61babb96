"""A script for every directive on access and dispatch. The header X-Answer is what a function
returns, as an expression; without it Alice comes in with `wonder` and belongs to the staff."""

import hashlib
import sys

# What was last seen, for applications in the same interpreter.
seen = sys.modules.setdefault("seen_by_access", type(sys)("seen_by_access"))

PASSWORDS = {"alice": "wonder", "bob": "builder", "zo\xeb": "\xfcber"}
GROUPS = {"alice": ["staff"], "bob": ["guests", b"two words"]}


def plain(value):
    return value if isinstance(value, (str, int, float)) else repr(value)


def answered(environ, default, **names):
    seen.environ = {key: plain(value) for key, value in environ.items()}
    seen.types = {key: type(value).__name__ for key, value in environ.items()}
    seen.kept = environ
    seen.names = names
    text = environ.get("HTTP_X_ANSWER")
    return default if text is None else eval(text, dict(names, environ=environ, sys=sys))


def allow_access(environ, host):
    return answered(environ, True, host=host)


def check_password(environ, user, password):
    known = user in PASSWORDS
    default = PASSWORDS[user] == password if known else None
    return answered(environ, default, user=user, password=password)


def get_realm_hash(environ, user, realm):
    default = None
    if user in PASSWORDS:
        text = f"{user}:{realm}:{PASSWORDS[user]}"
        default = hashlib.md5(text.encode("latin-1")).hexdigest()
    return answered(environ, default, user=user, realm=realm)


def groups_for_user(environ, user):
    return answered(environ, GROUPS.get(user, []), user=user)
