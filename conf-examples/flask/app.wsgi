"""The Flask object of notes.py, under the name that WSGI servers use."""

from notes import app as application  # noqa: F401
