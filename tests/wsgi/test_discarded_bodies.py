"""Bodies that no client gets: they are asked for, but not for ever."""

import concurrent.futures

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

APP = """
import time
ended = []
def pieces(environ, count):
    try:
        while count:
            count -= 1
            yield b"some text "
            time.sleep(0.01)
        ended.append("whole")
    except GeneratorExit:
        ended.append("closed")
        raise
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/ended":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [",".join(ended).encode()]
    status = "304 Not Modified" if path == "/304" else "200 OK"
    headers = [("Content-Type", "text/plain")]
    if path == "/promise":
        headers.append(("Content-Length", "10"))
    start_response(status, headers)
    return pieces(environ, 50 if path == "/short" else -1)
"""
CONF = Conf(
    """
    WSGIScriptAlias /filtered ${ROOT}/app.py application-group=%{GLOBAL}
    WSGIScriptAlias / ${ROOT}/app.py application-group=%{GLOBAL}
    <Location /filtered>
        SetOutputFilter DEFLATE
    </Location>
    """,
    modules=("filter", "deflate"),
    files=(("app.py", APP),),
    threads=8,
)
ENDLESS = [
    ("HEAD", "/endless", 200),
    ("HEAD", "/filtered/endless", 200),
    ("GET", "/304", 304),
    ("GET", "/promise", 200),
]


@pytest.mark.ours_only("mod_wsgi asks for ever: unheard-answers")
def test_endless_head_response_releases_its_thread(serve):
    server = serve(CONF, private=True)

    def ask(method, path, status):
        answer = server.request(method, path, headers={"Accept-Encoding": "gzip"})
        assert (answer.status, answer.truncated) == (status, False)
        return answer

    with concurrent.futures.ThreadPoolExecutor(len(ENDLESS)) as pool:
        answers = list(pool.map(lambda asked: ask(*asked), ENDLESS))
    assert answers[1].header("Content-Encoding") == "gzip"
    assert answers[0].header("Content-Length") is answers[1].header("Content-Length") is None
    ended = ",".join(["closed"] * len(ENDLESS))
    wait_until(lambda: server.get("/ended").text == ended, "all of them to be closed")


def test_discarded_body_is_iterated_to_its_end(serve):
    server = serve(CONF, private=True)
    for path in ("/short", "/filtered/short"):
        assert server.request("HEAD", path).status == 200
    wait_until(lambda: server.get("/ended").text == "whole,whole", "the end of both")
