"""The page of `SetHandler wsgi-status`, as tests ask for it."""

import os
from html.parser import HTMLParser

# Seconds for each answer: less than what waits for a worker takes, on a machine that others use.
# `make soak` holds each of them to 50 ms.
LIMIT = 0.05 if "LIMITS" in os.environ else 5


def status(server, query="json"):
    answer = server.get(f"/wsgi-status?{query}")
    assert answer.status == 200
    return answer.json() if query.startswith("json") else answer.text


def group(server, name="site"):
    return next(it for it in status(server)["groups"] if it["name"] == name)


def serves(server, path, name="site"):
    """Whether a worker serves a request to this path; others may have been answered already."""
    workers = group(server, name)["workers"]
    return any(path in (it["line"] or "") for worker in workers for it in worker["requests"])


def functions(stack):
    """Those of a stack or a task in JSON, the innermost first."""
    return [frame["function"] for frame in stack["frames"]]


class Texts(HTMLParser):
    """The texts of a page, and its elements."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)
