import json
import logging
import time

import mod_wsgi

# What is longer is cut on its way to Apache, whose log has each backslash twice and cuts lines, too.
LIMIT = 3700
ESCAPED_LIMIT = 7000
OF_EACH_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The texts that are cut, and whether their ends are kept: an exception says at its end what it is.
CUT = {"message": False, "logger": False, "exception": True, "stack": True}


def fits(text, part=1):
    escaped = len(text) + text.count("\\")
    return len(text) <= LIMIT // part and escaped <= ESCAPED_LIMIT // part


def shown(value):
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def plain(value):
    """The value itself where it can be JSON, else what repr() says of it."""
    try:
        json.dumps(value, default=shown, allow_nan=False)
    except Exception:
        return shown(value)
    return value


def dump(value):
    return json.dumps(value, default=shown)


class JsonFormatter(logging.Formatter):
    """Makes a line of JSON of a record, in ASCII."""

    def format(self, record):
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": str(record.levelname),
            "logger": str(record.name),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        entry["request_id"] = request_id()
        entry["process_group"] = mod_wsgi.process_group
        entry["application_group"] = mod_wsgi.application_group
        entry["pid"] = plain(record.process)
        every = vars(record).items()
        extra = {str(name): plain(it) for name, it in every if name not in OF_EACH_RECORD}
        if extra:
            entry["extra"] = extra
        return self.fitting(entry)

    def fitting(self, entry):
        text = dump(entry)
        if fits(text):
            return text
        entry["truncated"] = True
        if not fits(dump(entry.get("extra")), part=4):
            del entry["extra"]
        texts = [name for name in CUT if name in entry]
        for name in texts:
            self.cut(entry, name, LIMIT)
        text = dump(entry)
        while not fits(text) and any(entry[name] for name in texts):
            longest = max(texts, key=lambda name: len(dump(entry[name])) if entry[name] else 0)
            self.cut(entry, longest, len(entry[longest]) * 3 // 4)
            text = dump(entry)
        return text

    def cut(self, entry, name, most):
        value = entry[name]
        entry[name] = value[max(len(value) - most, 0) :] if CUT[name] else value[:most]


class LogHandler(logging.Handler):
    """Writes records to Apache's error log at their own level."""

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        if json_records:
            self.setFormatter(JsonFormatter())

    def emit(self, record):
        if not writes(record.levelno):
            return
        try:
            write(record.levelno, self.format(record), record.pathname, record.lineno)
        except Exception:
            self.handleError(record)
