"""Tells the time, and what stands behind its own name in the URL."""

import time


def application(environ, start_response):
    lines = [time.strftime("%H o'clock")]
    if environ["PATH_INFO"]:
        lines.append(f"asked for {environ['PATH_INFO']}")
    start_response("200 OK", [("Content-Type", "text/plain; charset=iso-8859-1")])
    return ["\n".join(lines).encode("latin-1")]
