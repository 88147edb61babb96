"""Request bodies on their way to workers whose sockets have little room."""

import hashlib
import itertools
import random

import pytest
from harness.conf import Conf

pytestmark = [
    pytest.mark.embedded_only("the test names its own process group"),
    pytest.mark.ours_only("request-buffer-size is an option of our own"),
]

APP = """
import hashlib
def application(environ, start_response):
    digest = hashlib.sha256(environ["HTTP_X_LONG"].encode())
    total = 0
    while piece := environ["wsgi.input"].read(7001):
        digest.update(piece)
        total += len(piece)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{total} {digest.hexdigest()}".encode()]
"""
HEADER = "".join(random.Random(1).choices("abcdefghijklmnop", k=7000))
# Around the borders of what is kept in memory, of a record, and of what is gathered.
LENGTHS = [1, 8_000, 65_534, 65_535, 65_536, 65_537, 200_001, 1 << 20, (1 << 20) + 1, 3_000_003]


def conf(*options):
    text = f"""
    WSGIDaemonProcess site threads=2 receive-buffer-size=4096 {" ".join(options)}
    WSGIChunkedRequest On
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    return Conf(text, files=(("app.py", APP),))


def expected(body):
    return f"{len(body)} {hashlib.sha256(HEADER.encode() + body).hexdigest()}"


@pytest.mark.parametrize("options", [(), ("request-buffer-size=0",)], ids=["gathered", "streamed"])
def test_every_byte_of_a_body_arrives_in_its_place(serve, options):
    server = serve(conf(*options))
    for length in LENGTHS:
        body = random.Random(length).randbytes(length)
        # The second one goes over the connection of the first.
        for _ in range(2):
            answer = server.post("/", body, headers={"X-Long": HEADER})
            assert (answer.status, answer.text) == (200, expected(body)), length


def test_every_byte_of_a_chunked_body_arrives_in_its_place(serve):
    server = serve(conf())
    body = random.Random(2).randbytes(700_000)
    sizes = itertools.cycle([1, 7, 8_000, 3, 70_000, 20])
    chunks, at = [], 0
    while at < len(body):
        size = next(sizes)
        chunks.append(body[at : at + size])
        at += size
    answer = server.post("/", iter(chunks), headers={"X-Long": HEADER})
    assert (answer.status, answer.text) == (200, expected(body))
