"""What an application of ASGI is given and what becomes of what it sends (ASGI 3, "HTTP")."""

import contextlib
import threading

import pytest
from harness.asgi import conf
from harness.client import head, read_all, read_until, reset
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]


def headers_of(scope):
    return [(name["bytes"], value["bytes"]) for name, value in scope["headers"]]


@pytest.mark.all_mpms
def test_scope_tells_of_the_request(server):
    fields = {"X-Some": "a, b", "User-Agent": "test", "Content-Type": "text/plain"}
    answer = server.post("/mounted/a%20b/%C3%BC?q=%20x&y", b"1234", headers=fields)
    scope = answer.json()
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("1.1", "POST", "http")
    assert (scope["path"], scope["root_path"]) == ("/mounted/a b/ü", "/mounted")
    assert scope["raw_path"] == {"bytes": "/mounted/a%20b/%C3%BC"}
    assert scope["query_string"] == {"bytes": "q=%20x&y"}
    assert scope["server"] == ["127.0.0.1", server.port]
    assert scope["client"][0] == "127.0.0.1"
    assert isinstance(scope["client"][1], int)
    assert not [name for name in scope["extensions"] if not name.startswith("http.response.")]
    headers = headers_of(scope)
    assert all(name == name.lower() for name, _ in headers)
    expected = {
        ("x-some", "a, b"),
        ("user-agent", "test"),
        ("content-type", "text/plain"),
        ("content-length", "4"),
        ("host", "localhost"),
    }
    assert expected <= set(headers)


def test_path_at_the_root_has_no_root_path(server):
    scope = server.get("/scope").json()
    assert (scope["path"], scope["root_path"]) == ("/scope", "")


def test_path_that_is_not_utf_8_is_decoded_with_replacements(server):
    scope = server.get("/scope/%ff").json()
    assert scope["path"] == "/scope/�"
    assert scope["raw_path"] == {"bytes": "/scope/%ff"}


def test_request_of_http_1_0_is_named_so(server):
    reply = server.raw(head("/scope", version="1.0"))
    assert b'"http_version": "1.0"' in reply


def test_repeated_header_lines_are_one_as_in_httpd(server):
    raw = head("/scope", "X-Many: 1", "X-Other: x", "X-Many: 2", "Connection: close")
    assert b'[{"bytes": "x-many"}, {"bytes": "1, 2"}]' in server.raw(raw)


def test_authorization_is_passed_where_the_configuration_says_so(serve):
    fields = {"Authorization": "Bearer token"}
    server = serve(conf(more="WSGIPassAuthorization On"))
    headers = headers_of(server.get("/scope", headers=fields).json())
    assert ("authorization", "Bearer token") in headers


def test_authorization_is_not_passed_otherwise(server):
    headers = headers_of(server.get("/scope", headers={"Authorization": "Bearer token"}).json())
    assert "authorization" not in dict(headers)


@pytest.mark.all_mpms
@pytest.mark.parametrize("size", [0, 1, 65536, 300_000, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_a_request_comes_back(server, size, chunked):
    body = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    answer = server.post("/echo", [body] if chunked else body, chunked=chunked)
    assert (answer.status, answer.body) == (200, body)


def test_pieces_of_a_body_are_answered_before_its_end(serve):
    server = serve(conf("request-buffer-size=0"))
    with server.socket() as sock:
        fields = ["Transfer-Encoding: chunked", "Connection: close"]
        sock.sendall(head("/duplex", *fields, method="POST"))
        for piece in (b"first", b"second"):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            read_until(sock, piece)
        sock.sendall(b"0\r\n\r\n")
        assert read_all(sock).endswith(b"0\r\n\r\n")


def test_upload_is_held_back_while_the_application_does_not_receive(serve):
    server = serve(conf("threads=3"))
    size, sent, counts = 64 << 20, 0, []
    with server.socket() as sock:
        fields = (f"Content-Length: {size}", "Connection: close")
        sock.sendall(head("/count_when_asked", *fields, method="POST"))
        wait_until(lambda: server.get("/events").json() == ["waits"], "the request", timeout=30)

        def is_held():
            nonlocal sent
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sent < size:
                    sent += sock.send(bytes(min(size - sent, 65536)))
            counts.append(sent)
            # The worker serves other requests meanwhile.
            assert server.get("/scope").status == 200
            return len(counts) > 20 and counts[-1] == counts[-20]

        wait_until(is_held, "the upload to be held back", timeout=60)
        assert sent < size / 2
        assert server.get("/open").text == "opened"
        sock.settimeout(60)
        sock.sendall(bytes(size - sent))
        assert read_all(sock).endswith(str(size).encode())


@pytest.mark.all_mpms
@pytest.mark.parametrize("path", ["large", "one_message"])
@pytest.mark.parametrize("size", [1, 65536, 20_000_000])
def test_large_response_is_complete(server, path, size):
    answer = server.get(f"/{path}?{size}")
    assert (answer.status, len(answer.body), answer.truncated) == (200, size, False)


def test_task_that_listens_is_told_of_the_end_once_all_has_been_sent(server):
    for _ in range(5):
        answer = server.get("/listen?5000000")
        assert (answer.status, len(answer.body), answer.truncated) == (200, 5_000_000, False)


def test_slow_reader_holds_its_own_request_back_and_no_other(serve):
    """send() returns when the bytes are handed on."""
    server = serve(conf("response-spool-size=65536 response-buffer-size=65536"))
    pieces = 250
    with server.socket() as sock:
        sock.sendall(head(f"/slow_reader?{pieces}", "Connection: close"))
        first = read_until(sock, b"z")
        sent = []

        def is_held():
            sent.append(len(server.get("/events").json()))
            return len(sent) > 5 and sent[-1] == sent[-5]

        wait_until(is_held, "the application to be held back", timeout=30)
        assert sent[-1] < pieces
        count = first.count(b"z")
        while piece := sock.recv(1 << 20):
            count += piece.count(b"z")
    assert count == pieces * 65536


def test_many_requests_are_under_way_at_once_on_a_single_thread(server):
    count = 12
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.get("/wait").text))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    wait_until(
        lambda: server.get("/events").json().count("waits") == count, "all to wait", timeout=30
    )
    assert server.get("/open").text == "opened"
    for thread in threads:
        thread.join()
    assert answers == ["opened"] * count


@pytest.mark.all_mpms
def test_client_that_leaves_is_a_disconnect_and_then_an_error_of_send(server):
    with server.socket() as sock:
        sock.sendall(head("/disconnect"))
        read_until(sock, b"first")
        reset(sock)
    expected = ["http.disconnect", "True the client has disconnected"]
    wait_until(lambda: server.get("/events").json() == expected, "the disconnect", timeout=20)


def leave_endless(server, kind, noted):
    with server.socket() as sock:
        sock.sendall(head(f"/endless?{kind}"))
        read_until(sock, b"more")
        reset(sock)
    wait_until(lambda: server.get("/events").json() == [noted], "the disconnect", timeout=20)


@pytest.mark.parametrize(
    ("kind", "noted"), [("plain", "ClientDisconnected"), ("group", "ExceptionGroup")]
)
def test_exception_that_says_only_that_the_client_has_left_is_no_error_of_the_application(
    server, kind, noted
):
    for _ in range(3):
        leave_endless(server, kind, noted)
    assert server.log.find("WSGI0174|Traceback") == []


def test_task_of_a_client_that_has_left_is_cancelled_after_graceful_timeout(serve):
    server = serve(conf("graceful-timeout=1"))
    with server.socket() as sock:
        sock.sendall(head("/cancelled"))
        read_until(sock, b"first")
        assert server.get("/events").json() == []
        reset(sock)
    wait_until(lambda: server.get("/events").json() == ["cancelled"], "the end", timeout=20)


def test_after_the_response_receive_is_a_disconnect_and_send_an_error(server):
    assert server.get("/after").text == "done"
    expected = ["http.disconnect", "a message was sent after the response was complete"]
    wait_until(lambda: server.get("/events").json() == expected, "what comes after")


@pytest.mark.all_mpms
@pytest.mark.parametrize("status", [200, 204, 304, 404, 418, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_status_and_method_decide_whether_there_is_a_body(server, status, method):
    answer = server.request(method, f"/status?{status}")
    body = b"" if method == "HEAD" or status in (204, 304) else b"body"
    assert (answer.status, answer.body) == (status, body)
    # The application is told what the client has sent.
    assert answer.header("x-method") == (method if status != 304 else answer.header("x-method"))


def test_repeated_headers_of_a_response_keep_their_order(server):
    assert server.get("/cookies").header_values("Set-Cookie") == ["a=1", "b=2"]


def test_connection_is_kept_between_requests(server):
    with server.connection() as connection:
        for number in range(5):
            connection.request("POST", "/echo", body=str(number))
            assert connection.getresponse().read() == str(number).encode()


def test_exception_before_the_head_is_a_500_with_its_traceback(server):
    assert server.get("/raise").status == 500
    server.log.expect("WSGI0174: .*ValueError exception raised")
    server.log.expect_traceback("Traceback", "ValueError: on purpose, before the head")


def test_exception_after_the_head_cuts_the_response(server):
    answer = server.get("/raise_late")
    assert (answer.status, answer.body, answer.truncated) == (200, b"some", True)
    server.log.expect("WSGI0174: .*ValueError exception raised")
    server.log.expect_traceback("Traceback", "ValueError: on purpose, after the head")
    server.log.allow("WSGI0108|truncated|response")


def test_application_that_sends_no_response_is_a_500(server):
    assert server.get("/nothing").status == 500
    server.log.expect("WSGI0226: the ASGI application returned without sending a response")


def test_response_without_an_end_is_cut(server):
    answer = server.get("/incomplete")
    assert (answer.status, answer.truncated) == (200, True)
    server.log.expect("WSGI0226: the ASGI application returned before its response was complete")
    server.log.allow("WSGI0108|truncated|response")


def test_body_shorter_than_its_length_is_cut_and_longer_is_an_error(server):
    assert server.get("/length?4,4").text == "xxxx"
    assert server.get("/length?9,4").truncated
    server.log.expect("the body of the response is shorter than its Content-Length")
    assert server.get("/length?2,4").status == 500
    server.log.expect_traceback(
        "Traceback", "RuntimeError: the body of the response is longer than its Content-Length"
    )
    server.log.allow("WSGI0174|WSGI0108|truncated|response")


def test_message_that_is_not_allowed_raises_an_exception_with_the_reason(server):
    said = server.get("/wrong").json()
    expected = (
        "RuntimeError: expected ASGI message 'http.response.start' or 'http.response.body', but got"
    )
    assert said == [
        "TypeError: an ASGI message must be a dict, not NoneType",
        f"{expected} ''",
        f"{expected} 'http.request'",
        "RuntimeError: 'http.response.body' was sent before 'http.response.start'",
        "TypeError: 'str' object cannot be interpreted as an integer",
        "ValueError: 'status' of 'http.response.start' must be a status code of HTTP",
        "ValueError: status code of a final response must be 200 or more: b'101'",
        "TypeError: a header of 'http.response.start' must be a pair of byte strings, not of str "
        "and str",
        "ValueError: carriage return/line feed character in header value: b'b\\nc'",
        "ValueError: space character in header name: b'a b'",
        "ValueError: a header of 'http.response.start' must be a pair",
        "ValueError: invalid content length: b'x'",
        "RuntimeError: 'trailers' are an extension that the scope does not announce",
        "RuntimeError: 'http.response.start' was sent a second time",
        "TypeError: 'body' of 'http.response.body' must be a byte string, not str",
    ]


def test_each_request_has_a_context_of_its_own(server):
    first = server.get("/context?one").json()
    second = server.get("/context?two").json()
    assert (first[0], first[1], second[0], second[1]) == (None, "one", None, "two")
    # A shallow copy of what the lifespan has left.
    assert [it[2]["own"] for it in (first, second)] == [1, 1]
    assert second[2]["shared"]["count"] == first[2]["shared"]["count"] + 1


def test_context_of_a_request_is_not_that_of_the_request_which_made_room(start):
    """With all places taken, connections are looked at again by a request that ends."""
    server = start("asgi-concurrency=1 processes=1")
    for name in ("one", "two", "three"):
        before, own, _ = server.get(f"/context?{name}").json()
        assert (before, own) == (None, name)


HOSTS = """
<VirtualHost *>
    ServerName one.example
    ErrorLog ${ROOT}/one_log
    ASGIScriptAlias / ${ROOT}/app.py process-group=site
</VirtualHost>
<VirtualHost *>
    ServerName two.example
    ErrorLog ${ROOT}/two_log
    ASGIScriptAlias / ${ROOT}/app.py process-group=site
</VirtualHost>
"""


def test_text_that_is_printed_is_in_the_log_of_the_request_s_virtual_host(start):
    server = start("", HOSTS)
    names = ["one", "two"]

    def ask(name):
        server.get(f"/log?{name}", host=f"{name}.example")

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, other in (names, names[::-1]):
        text = (server.root / f"{name}_log").read_text()
        for how in ("printed", "printed by a thread", "printed by a task"):
            assert f"{name}: {how}\n" in text
        assert f"{other}:" not in text
