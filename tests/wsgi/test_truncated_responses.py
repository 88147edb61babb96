"""Answers that break off: their client sees it, whatever filters stand between, and no other."""

import contextlib
import gzip
import http.client

import pytest
from harness.conf import Conf

APP = """
turn = 0
def application(environ, start_response):
    global turn
    path = environ["PATH_INFO"]
    if path == "/good":
        start_response("200 OK", [("Content-Length", "4")])
        return [b"good"]
    headers = [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60")]
    if path == "/raises":
        start_response("200 OK", headers)
        return raises()
    if path == "/long":
        start_response("200 OK", headers)
        return [b"a" * 5000]
    if path == "/later":
        start_response("200 OK", headers)
        return iter([b"short\\n" * 10, b"a" * 5000])
    turn += 1
    body = b"x" * (1000 if environ["QUERY_STRING"] == "first" and turn > 1 else 500)
    start_response("200 OK", [*headers, ("Content-Length", "1000")])
    return [body] if path == "/list" else iter([body[:400], body[400:]])

def raises():
    yield b"a piece"
    raise ValueError("in the middle")
"""
TOP = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /deflated ${ROOT}/app.py
WSGIScriptAlias /sed ${ROOT}/app.py
WSGIScriptAlias /xml2enc ${ROOT}/app.py
WSGIScriptAlias /lines ${ROOT}/app.py
WSGIScriptAlias / ${ROOT}/app.py
<Location /deflated>
    SetOutputFilter DEFLATE
</Location>
<Location /sed>
    SetOutputFilter Sed
    OutputSed "s/q/q/"
</Location>
<Location /xml2enc>
    SetOutputFilter xml2enc
</Location>
<Location /lines>
    SetOutputFilter SUBSTITUTE
    Substitute s/never/there/
    SubstituteMaxLineLength 1000
</Location>
"""
LOGGED = [
    "Content-Length|shorter than",
    "AH01328: Line too long, URI /lines/",
]
MODULES = ("deflate", "filter", "sed", "substitute", "xml2enc")


@pytest.fixture
def server(serve):
    server = serve(Conf(TOP, modules=MODULES, files=(("app.py", APP),)), private=True)
    server.log.allow(*LOGGED)
    server.log.allow_traceback("ValueError: in the middle")
    return server


def is_visible(response):
    return response.truncated or response.status >= 500


@pytest.mark.parametrize("filtered", ["", "/deflated", "/sed", "/xml2enc"])
@pytest.mark.parametrize("path", ["/list", "/pieces", "/raises"])
@pytest.mark.ours_only("some of mod_wsgi's look complete: which ones depends on the filter")
def test_an_incomplete_answer_is_visible_to_its_client(server, filtered, path):
    response = server.get(f"{filtered}{path}", headers={"Accept-Encoding": "gzip"})
    assert is_visible(response), response


@pytest.mark.all_mpms
@pytest.mark.parametrize("path", ["/list", "/raises"])
def test_an_incomplete_answer_harms_no_other_request(server, path):
    """The connection to the worker it came over may be of no more use."""
    answers = []
    for _ in range(200):
        with contextlib.suppress(http.client.HTTPException):
            server.get(path)
        answers.append(server.post("/good", b"x").status)
    assert answers == [200] * 200


@pytest.mark.ours_only("mod_wsgi's gets into the cache")
def test_an_incomplete_answer_gets_into_no_cache(serve):
    text = f"""
    CacheRoot ${{ROOT}}/cache
    CacheEnable disk /
    {TOP}
    """
    files = (("app.py", APP), ("cache/README", "mod_cache_disk writes here"))
    modules = (*MODULES, "cache", "cache_disk")
    server = serve(Conf(text, modules=modules, files=files), private=True)
    (server.root / "cache").chmod(0o777)
    server.log.allow(*LOGGED)
    for _ in range(2):
        response = server.get("/deflated/pieces?first", headers={"Accept-Encoding": "gzip"})
    assert len(gzip.decompress(response.body)) == 1000


@pytest.mark.ours_only("mod_wsgi's client gets a 200 that breaks off, or has a page appended")
def test_an_answer_that_a_filter_refuses_whole_is_a_500(server):
    assert server.get("/lines/long").status == 500


@pytest.mark.differs(
    "truncation-daemon", "mod_wsgi appends an error page", mode="daemon", always=False
)
def test_an_answer_that_a_filter_refuses_in_the_middle_is_visibly_cut(server):
    assert is_visible(server.get("/lines/later"))
