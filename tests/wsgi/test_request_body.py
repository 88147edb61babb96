"""wsgi.input: every way of reading, every way a body can arrive, be wrong, or stop short."""

import dataclasses
import gzip
import http.client
import json
import random
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import daemons
from harness.client import head, read_all, read_until, split
from harness.conf import Conf
from harness.httpd import wait_until

BODY = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIChunkedRequest On
    WSGIScriptAlias /strict ${APPS}/body.py
    WSGIScriptAlias /limited ${APPS}/body.py
    WSGIScriptAlias /validated ${APPS}/body.py callable-object=validated
    WSGIScriptAlias /inflated ${APPS}/body.py
    WSGIScriptAlias / ${APPS}/body.py
    <Location /inflated>
        SetInputFilter DEFLATE
    </Location>
    <Location /strict>
        WSGIChunkedRequest Off
    </Location>
    <Location /limited>
        LimitRequestBody 100
    </Location>
    """,
    modules=("deflate",),
    timeout=3,
)


@pytest.fixture
def server(serve):
    return serve(BODY)


@pytest.mark.frontends
@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/validated"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_whole(server, mount, chunked):
    body = bytes(range(256)) * 40
    sent = (body[i : i + 999] for i in range(0, len(body), 999)) if chunked else body
    response = server.post(f"{mount}/echo", sent, chunked=chunked)
    assert response.body == body


@pytest.mark.frontends
@pytest.mark.parametrize(
    ("steps", "results"),
    [
        ("read", ["one\ntwo\nthree"]),
        ("read:-1", ["one\ntwo\nthree"]),
        ("read:3,read:3,read:100,read:1,read", ["one", "\ntw", "o\nthree", "", ""]),
        ("read:0,read:3", ["", "one"]),
        ("readline,readline,readline,readline", ["one\n", "two\n", "three", ""]),
        ("readline:2,readline:10,readline:0,readline:-1", ["on", "e\n", "", "two\n"]),
        ("readlines", [["one\n", "two\n", "three"]]),
        ("readlines:1,readlines:5", [["one\n"], ["two\n", "three"]]),
        ("readlines:0", [["one\n", "two\n", "three"]]),
        ("iter,iter", [["one\n", "two\n", "three"], []]),
        ("readline,read:1,iter", ["one\n", "t", ["wo\n", "three"]]),
        ("readline,read:2,readlines,read", ["one\n", "tw", ["o\n", "three"], ""]),
        ("close,read:3", [None, "one"]),
    ],
)
def test_ways_of_reading_share_the_remaining_body(server, steps, results):
    assert server.post(f"/steps?{steps}", b"one\ntwo\nthree").json() == results


@pytest.mark.frontends
def test_validator_accepts_wsgi_input(server):
    got = server.post("/validated/lines", b"first\nsecond\nthird\nlast").json()
    assert got == ["first\n", "se", "cond\n", "third\n", "last", ""]


@pytest.mark.frontends
def test_reading_takes_positional_arguments_only(server):
    kind, _ = server.post("/keyword", b"x").json()
    assert kind == "TypeError"


@pytest.mark.frontends
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_streams_through_in_pieces(server, chunked):
    body = b"0123456789abcdef" * 65536 * 4
    sent = (body[i : i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    assert server.post("/length", sent, chunked=chunked).json()["length"] == len(body)


@pytest.mark.parametrize("size", [100, 100_000, 3_000_000])
def test_body_changed_by_an_input_filter_arrives_whole(server, size):
    body = random.Random(size).randbytes(size // 2) + bytes(size // 2)
    compressed = gzip.compress(body)
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(compressed))}
    response = server.post("/inflated/echo", compressed, headers=headers)
    assert response.body == body


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_apache_keeps_may_come_in_pieces(serve, chunked):
    """mod_request's filter does not bear to be asked for what is not there yet."""
    text = """
    WSGIChunkedRequest On
    WSGIScriptAlias / ${APPS}/body.py
    WSGIPythonPath ${APPS}
    <Location />
        KeptBodySize 100000
    </Location>
    """
    server = serve(Conf(text, modules=("request",)), private=True)
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 60000"
    piece, last = b"x" * 20000, b""
    if chunked:
        piece, last = b"4e20\r\n%b\r\n" % piece, b"0\r\n\r\n"
    with server.socket() as sock:
        sock.sendall(head("/echo", length, "Connection: close", method="POST"))
        for _ in range(3):
            daemons.pause(0.1)
            sock.sendall(piece)
        sock.sendall(last)
        raw = read_all(sock)
    assert raw.startswith(b"HTTP/1.1 200 ")
    assert raw.endswith(b"x" * 60000)


@pytest.mark.differs("changed-body-length", "mod_wsgi's has the client's length", mode="daemon")
def test_body_lengthened_by_an_input_filter_has_its_length_where_known(server, mode):
    body = b"x" * 5000
    compressed = gzip.compress(body)
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(compressed))}
    said = server.post("/inflated/declared", compressed, headers=headers).json()
    # In embedded mode the application runs before the body is read.
    assert said == str(len(body) if mode == "daemon" else len(compressed))


@pytest.mark.frontends
def test_long_lines_survive_the_growth_of_the_buffer(server):
    line = b"x" * 300_000 + b"\n"
    (got, rest) = server.post("/steps?readline,read", line + b"rest").json()
    assert (len(got), rest) == (len(line), "rest")


@pytest.mark.frontends
def test_absent_body_reads_as_empty(server):
    assert server.get("/steps?read,readline,readlines,iter").json() == ["", "", [], []]


@pytest.mark.frontends
def test_an_unread_body_does_not_disturb_the_next_request(server):
    with server.connection() as connection:
        for _ in range(3):
            connection.request("POST", "/ignore", body=b"GET /smuggled HTTP/1.1\r\n\r\n" * 50)
            assert connection.getresponse().read() == b"the body was not read"


@pytest.mark.frontends
def test_pipelined_requests_keep_their_own_bodies(server):
    requests = b"".join(
        head("/echo", f"Content-Length: {len(body)}", method="POST") + body
        for body in (b"first", b"second!")
    )
    answers = server.raw(requests + head("/ignore", "Connection: close"))
    assert answers.index(b"first") < answers.index(b"second!") < answers.index(b"was not read")


@pytest.mark.parametrize("trailer", [b"", b"X-Trailer: yes\r\n"])
def test_chunk_extensions_and_trailers_are_no_part_of_the_body(server, trailer):
    request = head("/echo", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    chunks = b"5;name=value\r\nhello\r\n1\r\n!\r\n0\r\n" + trailer + b"\r\n"
    assert split(server.raw(request + chunks))[1] == b"hello!"


# --- 100-continue ---------------------------------------------------------------------------------


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def expecting(path):
    return head(
        path, "Content-Length: 5", "Expect: 100-continue", "Connection: close", method="POST"
    )


def test_continue_comes_when_the_application_first_reads(server):
    with server.socket() as sock:
        sock.sendall(expecting("/echo"))
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue\r\n")
        sock.sendall(b"hello")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"hello")


def test_reading_nothing_first_is_enough_for_100_continue(server):
    with server.socket() as sock:
        sock.sendall(expecting("/steps?read:0,read"))
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue\r\n")
        sock.sendall(b"hello")
        assert json.loads(split(read_all(sock))[1]) == ["", "hello"]


@pytest.mark.parametrize("path", ["/parrot", "/greet"])
def test_continue_comes_for_a_body_of_unknown_length(server, path):
    with server.socket() as sock:
        fields = "Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: close"
        sock.sendall(head(path, *fields, method="POST"))
        first = read_until(sock, b"\r\n\r\n")
        if path == "/parrot":
            assert first.startswith(b"HTTP/1.1 100 Continue\r\n")
        sock.sendall(chunk(b"hello") + chunk(b""))
        answer = read_all(sock)
    assert b"hello" in answer


@pytest.mark.embedded_only("the first 64 KB of a body are read before a daemon hears of it")
def test_continue_is_not_sent_when_the_body_is_not_read(server):
    with server.socket() as sock:
        sock.sendall(expecting("/ignore"))
        answer = read_until(sock, b"not read")
    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.embedded_only("a daemon's child reads the body before the application starts")
def test_continue_never_lands_inside_a_response(server):
    with server.socket() as sock:
        sock.sendall(expecting("/after_output"))
        early = read_until(sock, b"early|")
        sock.sendall(b"hello")
        answer = early + read_all(sock)
    assert b"100 Continue" not in answer
    assert b"hello" in answer


# --- body and answer at the same time -------------------------------------------------------------

BOTH_WAYS = pytest.mark.differs(
    "daemon-full-duplex", "mod_wsgi's daemon mode reads all of a body first", always=False
)


def upload(path, *fields):
    return head(path, *(fields or ["Transfer-Encoding: chunked"]), method="POST")


@BOTH_WAYS
@pytest.mark.all_mpms
@pytest.mark.parametrize("size", [10, 5000, 100_000])
@pytest.mark.parametrize("fields", [(), ("Content-Length: 1000000",)], ids=["chunked", "length"])
def test_a_piece_is_answered_before_the_next_one_is_sent(serve, size, fields):
    """A body of known length must not be gathered for that."""
    server = serve(dataclasses.replace(BODY, daemon_options="request-buffer-size=0"))
    frame = bytes if fields else chunk
    with server.socket() as sock:
        sock.sendall(upload("/parrot", *fields))
        for turn in range(5):
            sock.sendall(frame(b"%d" % turn * (size - 1) + b"|\n"))
            answer = read_until(sock, b"|")
            assert (b"HTTP/1.1 200 OK" in answer) == (turn == 0)
        if not fields:
            sock.sendall(chunk(b""))
            assert read_until(sock, b"0\r\n\r\n")


@BOTH_WAYS
def test_output_before_the_body_is_read_arrives(server):
    with server.socket() as sock:
        sock.sendall(upload("/greet"))
        read_until(sock, b"hello|")
        sock.sendall(chunk(b"who is there?\n") + chunk(b""))
        assert b"who is there?" in read_until(sock, b"0\r\n\r\n")


@BOTH_WAYS
def test_client_pause_mid_body_still_receives_output(server):
    with server.socket() as sock:
        sock.sendall(upload("/parrot") + chunk(b"first|\nsecond"))
        read_until(sock, b"first|")
        # In two packets, the border in the middle of a chunk's head.
        sock.sendall(b"2\r")
        sock.sendall(b"\n|\n\r\n")
        read_until(sock, b"second|")


@BOTH_WAYS
@pytest.mark.parametrize("chunked", [False, True])
def test_neither_direction_waits_for_the_other(server, chunked):
    """A worker whose answer fills the wire reads no more until its client reads."""
    total, piece = 32 * 1024 * 1024, b"0123456789abcdef" * 4096
    with server.socket() as sock, ThreadPoolExecutor(1) as pool:
        sock.sendall(
            upload("/twice", "Connection: close", "Transfer-Encoding: chunked")
            if chunked
            else upload("/twice", "Connection: close", f"Content-Length: {total}")
        )

        def send():
            for _ in range(total // len(piece)):
                sock.sendall(chunk(piece) if chunked else piece)
            sock.sendall(chunk(b"") if chunked else b"")

        sent = pool.submit(send)
        reply = http.client.HTTPResponse(sock)
        reply.begin()
        count = 0
        while got := reply.read(1024 * 1024):
            count += len(got)
        sent.result()
    assert count == 2 * total


@BOTH_WAYS
@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_an_answer_may_be_long_before_the_body_is_looked_at(server, size):
    answer = server.post("/shout", b"y" * size).body
    assert answer == b"x" * 64 * 65536 + b"|%d" % size


@BOTH_WAYS
def test_an_answer_may_end_before_the_body(server):
    """What is left of the body harms no other request, of this connection or to this worker."""
    for _ in range(3):
        with server.socket() as sock:
            sock.sendall(upload("/impatient") + chunk(b"that will do|\n"))
            # The server now waits for the rest.
            assert b"that will do" in read_until(sock, b"|")
            sock.sendall(chunk(b"x" * 300_000) + chunk(b"") + head("/ignore", "Connection: close"))
            assert read_all(sock).endswith(b"the body was not read")
    assert server.post("/echo", b"x" * 100_000).body == b"x" * 100_000


@BOTH_WAYS
def test_a_client_that_falls_silent_in_conversation_is_cut_off(server):
    """`Timeout` of this server is three seconds."""
    with server.socket() as sock:
        sock.sendall(upload("/parrot") + chunk(b"hello|\n"))
        read_until(sock, b"hello|")
        assert not read_all(sock).endswith(b"0\r\n\r\n")
    server.log.allow("request data read error", "Traceback|OSError|parrot|body.py")
    assert server.post("/echo", b"x").body == b"x"


@pytest.mark.differs("read-failure-status", "mod_wsgi answers 500 in embedded mode", always=False)
def test_requestreadtimeout_holds_for_a_body_that_is_streamed(serve):
    text = BODY.text + "RequestReadTimeout header=0 body=1"
    server = serve(Conf(text, ("reqtimeout",), timeout=60))
    assert status(server.raw(upload("/length") + chunk(b"and then silence"))) == 408


@BOTH_WAYS
def test_a_client_that_leaves_in_conversation_frees_its_worker(server):
    for _ in range(8):
        with server.socket() as sock:
            sock.sendall(upload("/parrot") + chunk(b"hello|\n"))
            read_until(sock, b"hello|")
    server.log.allow("request data read error", "Traceback|OSError|parrot|body.py")
    assert server.post("/echo", b"x").body == b"x"


# --- what the handler refuses ---------------------------------------------------------------------


def status(raw):
    return int(raw.split(b" ", 2)[1])


@pytest.mark.parametrize("value", ["gzip", "identity", "chunked, gzip", "xchunked"])
def test_another_transfer_encoding_than_chunked_is_refused(server, value):
    raw = server.raw(head("/echo", f"Transfer-Encoding: {value}", "Connection: close"))
    assert status(raw) in (400, 501)
    server.log.allow("WSGI0138", "AH02539|AH01587")


def test_the_name_chunked_is_not_case_sensitive(server):
    request = head("/echo", "Transfer-Encoding: CHUNKED", "Connection: close", method="POST")
    assert split(server.raw(request + b"2\r\nok\r\n0\r\n\r\n"))[1] == b"ok"


def test_a_chunked_body_needs_wsgichunkedrequest(server):
    response = server.post("/strict/echo", iter([b"hello"]), chunked=True)
    assert response.status == 411
    server.log.expect("WSGI0139")


@pytest.mark.parametrize("value", ["-1", "abc", "1 2", "0x10", "+5", "99999999999999999999999"])
def test_a_malformed_content_length_is_a_bad_request(server, value):
    raw = server.raw(head("/echo", f"Content-Length: {value}", "Connection: close"))
    assert status(raw) in (400, 413)
    server.log.allow("WSGI0141", "AH01587|AH01588|AH02420")


def test_two_different_content_lengths_are_a_bad_request(server):
    fields = ("Content-Length: 5", "Content-Length: 6", "Connection: close")
    assert status(server.raw(head("/echo", *fields, method="POST") + b"123456")) == 400
    server.log.allow("WSGI0141")


def test_content_length_beside_chunked_smuggles_nothing(server):
    fields = ("Transfer-Encoding: chunked", "Content-Length: 100")
    raw = server.raw(head("/echo", *fields, method="POST") + b"2\r\nok\r\n0\r\n\r\n", end=True)
    # Apache ignores the length and closes, or the handler refuses: one answer either way.
    assert raw.count(b"HTTP/1.1 ") == 1
    assert status(raw) in (200, 400)
    assert status(raw) == 400 or split(raw)[1] == b"ok"
    server.log.allow("WSGI0140")


def test_a_body_over_limitrequestbody_is_refused(server):
    raw = server.raw(head("/limited/echo", "Content-Length: 101", method="POST") + b"x" * 101)
    assert status(raw) == 413
    server.log.allow("AH01588|LimitRequestBody")


def test_a_body_of_just_limitrequestbody_is_served(server):
    assert server.post("/limited/echo", b"x" * 100).body == b"x" * 100


@pytest.mark.differs(
    "client-left-quietly",
    "mod_wsgi logs an error in Apache's process",
    mode="daemon",
    always=False,
)
def test_a_chunked_body_over_limitrequestbody_fails_the_read(server):
    response = server.post("/limited/failing", iter([b"x" * 80, b"x" * 80]), chunked=True)
    server.log.allow("AH01588|AH01589|LimitRequestBody", "read failure")
    assert response.status == 413 or response.json()[0][0] == "OSError"


@pytest.mark.differs(
    "client-left-quietly",
    "mod_wsgi logs an error in Apache's process",
    mode="daemon",
    always=False,
)
@pytest.mark.parametrize(
    "chunk", [b"zz\r\nhello\r\n", b"-1\r\n", b"fffffffffffffffff\r\nhello\r\n"]
)
def test_malformed_chunk_fails_only_the_read(server, chunk):
    request = head("/failing", "Transfer-Encoding: chunked", method="POST")
    raw = server.raw(request + chunk, end=True)
    assert status(raw) in (200, 400, 413)
    server.log.allow("AH01590|AH02901|AH0158", "read failure: .*OSError")
    assert status(raw) != 200 or b"OSError" in raw
    assert server.get("/ignore").status == 200


GZIPPED = {"Content-Encoding": "gzip"}
NO_GZIP = [
    b"no gzip at all",
    # The header is right, and then the data or its checksum is wrong.
    gzip.compress(b"x" * 100)[:10] + b"\xff" * 100,
    gzip.compress(b"x" * 100)[:-8] + b"\0" * 8,
    # It is, but unfolds to more than any honest text does (`DeflateInflateRatioLimit`).
    gzip.compress(b"\0" * 100_000_000),
]


@pytest.mark.differs("read-failure-status", "mod_wsgi answers 500, as if it were a fault here")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("body", NO_GZIP, ids=["text", "data", "checksum", "bomb"])
def test_a_body_that_a_filter_cannot_decode_is_the_clients_fault(server, body, chunked):
    sent = iter([body]) if chunked else body
    response = server.post("/inflated/length", sent, chunked=chunked, headers=GZIPPED)
    assert response.status == 400
    server.log.expect("AH01387|AH01392|AH01394|AH02649")
    assert server.post("/inflated/echo", b"plain").body == b"plain"


@pytest.mark.embedded_only("the first 64 KB of a body are read before a daemon hears of it")
def test_an_application_sees_an_oserror_where_a_filter_cannot_decode(server):
    response = server.post("/inflated/failing", NO_GZIP[0], headers=GZIPPED)
    assert response.status == 200
    assert response.json()[0][0] == "OSError"
    server.log.allow("AH01387", "read failure")


# --- bodies that stop short -----------------------------------------------------------------------


@pytest.mark.embedded_only("the first 64 KB of a body are read before a daemon hears of it")
@pytest.mark.all_mpms
def test_a_client_that_leaves_in_mid_body_gives_oserror(server):
    with server.socket() as sock:
        sock.sendall(head("/failing", "Content-Length: 100", method="POST") + b"only this")
        sock.shutdown(socket.SHUT_WR)
        line = server.log.expect(r"read failure: \['OSError'")[0]
    if server.env.oracle:
        # mod_wsgi logs the request before this one, whose client has left too, when it ends.
        server.log.allow("WSGI0174.*OSError", "^OSError: mod_wsgi request data read error")
    assert "mod_wsgi request data read error: " in line.text
    first, second = re.findall(r"\['OSError', [\"'](.*?)[\"']\]", line.text)
    assert first != second
    assert "error" in second


@pytest.mark.embedded_only("the first 64 KB of a body are read before a daemon hears of it")
def test_a_client_that_stalls_in_mid_body_gives_oserror_after_timeout(server):
    with server.socket() as sock:
        sock.sendall(head("/failing", "Content-Length: 100", method="POST") + b"only this")
        line = server.log.expect(r"read failure: \['OSError'")[0]
    assert "mod_wsgi request data read error: " in line.text


@pytest.mark.frontends
@pytest.mark.all_mpms
def test_an_input_kept_after_its_request_raises_instead_of_reading(server):
    assert server.post("/keep", b"body").text == "kept"

    def refused():
        # The client has its answer a moment before the server is done with the request.
        said = server.get("/use_kept").json()
        return said if all(isinstance(result, list) for result in said.values()) else None

    for name, (kind, text) in wait_until(refused, "the request to end").items():
        assert kind == "RuntimeError", name
        assert "request" in text
        assert "complete" in text
