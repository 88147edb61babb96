"""Lines of JSON in Apache's error log (`WSGILogFormat json`)."""

import json


def records(text):
    """All records of a log as Apache has written it: each backslash is there twice."""
    lines = [line for line in text.splitlines() if '{"time"' in line]
    return [json.loads(line[line.index('{"time"') :].replace("\\\\", "\\")) for line in lines]
