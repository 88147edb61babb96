"""Access and authentication scripts: files of the tests, and lines of the log."""

# Scripts that answer nothing: without the functions, and with an error.
FILES = (
    ("empty.py", "# no functions\n"),
    ("broken.py", "raise KeyError('on purpose')\n"),
)
# What Apache's own modules say at a refusal.
# mod_wsgi ends every refusal of an access script with WSGI0057.
TURNED_AWAY = r"WSGI0057|AH(0161[78]|0179[0-4]|0163[01]|0178[678])"
# The records of a traceback, in the words of either module.
TRACEBACK = r"WSGI0174|Traceback|File|Error|return|raise|eval|~~|\^\^|direct cause"
