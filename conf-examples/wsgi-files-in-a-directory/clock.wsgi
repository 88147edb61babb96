"""Returns the time, and the URL path after the name of the script."""

import time


def application(environ, start_response):
    lines = [time.strftime("%H o'clock")]
    if environ["PATH_INFO"]:
        lines.append(f"asked for {environ['PATH_INFO']}")
    start_response("200 OK", [("Content-Type", "text/plain; charset=iso-8859-1")])
    return ["\n".join(lines).encode("latin-1")]
