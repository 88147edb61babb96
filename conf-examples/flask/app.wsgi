"""What Apache loads: the Flask object of notes.py, under the name WSGI servers look for."""

from notes import app as application  # noqa: F401
