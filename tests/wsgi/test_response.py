"""What becomes of what an application returns, yields and writes."""

import dataclasses

import pytest
from harness.client import head, read_until, split
from harness.conf import Conf
from harness.httpd import wait_until

RESPONSE = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIChunkedRequest On
    WSGIScriptAlias /validated ${APPS}/response.py callable-object=validated
    WSGIScriptAlias /head/on ${APPS}/response.py
    WSGIScriptAlias /head/off ${APPS}/response.py
    WSGIScriptAlias /deflated ${APPS}/response.py
    WSGIScriptAlias /replaced ${APPS}/response.py
    WSGIScriptAlias / ${APPS}/response.py
    <Location /head/on>
        WSGIMapHEADToGET On
    </Location>
    <Location /head/off>
        WSGIMapHEADToGET Off
        SetOutputFilter DEFLATE
    </Location>
    <Location /deflated>
        AddOutputFilterByType DEFLATE text/plain
        SetOutputFilter DEFLATE
    </Location>
    <Location /replaced>
        WSGIErrorOverride On
        ErrorDocument 404 "the administrator's 404"
        ErrorDocument 500 /pages/500.txt
    </Location>
    Alias /pages ${ROOT}/pages
    """,
    modules=("alias", "deflate", "filter", "mime"),
    files=(("pages/500.txt", "the administrator's 500"),),
)


@pytest.fixture
def server(serve):
    return serve(RESPONSE)


@pytest.fixture
def locating(serve):
    """A server with one thread for applications."""
    return serve(dataclasses.replace(RESPONSE, threads=1, timeout=5))


@pytest.mark.frontends
@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/validated"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/hello", b"Hello World!"),
        ("/pieces", b"one,two,three"),
        ("/generator", b"first,second"),
        ("/empty", b""),
        ("/nothing_but_empty", b""),
        ("/writer", b"written,again,returned"),
        ("/writer_only", b"written"),
        ("/big/40", b"".join(bytes([65 + n % 26]) * 65536 for n in range(40))),
    ],
)
def test_a_body_is_its_pieces_in_order(server, mount, path, body):
    response = server.get(mount + path)
    assert (response.status, response.reason) == (200, "OK")
    assert response.body == body
    assert response.header("Content-Type").startswith("text/plain")


# wsgiref.validate wants start_response called before the iterable is returned; PEP 3333 does not.
@pytest.mark.frontends
@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/late_start", 202, b"late"),
        ("/as_class", 200, b"a class is an application"),
        ("/getitem", 200, b"xy"),
    ],
)
def test_any_iterable_that_starts_in_time_will_do(server, path, status, body):
    response = server.get(path)
    assert (response.status, response.body) == (status, body)


@pytest.mark.frontends
def test_headers_go_out_with_an_empty_body(server):
    assert server.get("/nothing_but_empty").header("X-Kept") == "yes"


@pytest.mark.frontends
@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("200%20OK", 200, "OK"),
        ("201%20Created", 201, "Created"),
        ("299%20Our%20own%20reason", 299, "Our own reason"),
        ("200%20Not%20the%20usual%20reason", 200, "Not the usual reason"),
        ("404%20Not%20Here", 404, "Not Here"),
        ("418%20I'm%20a%20teapot", 418, "I'm a teapot"),
        ("503%20Busy", 503, "Busy"),
    ],
)
def test_the_status_line_is_the_applications(server, line, status, reason):
    response = server.get(f"/status/{line}")
    assert (response.status, response.reason, response.body) == (status, reason, b"body")


@pytest.mark.frontends
@pytest.mark.parametrize("line", ["200", "200%20"])
def test_a_status_without_a_reason_is_accepted(server, line):
    assert server.get(f"/status/{line}").status == 200


@pytest.mark.frontends
@pytest.mark.parametrize("code", ["204", "304"])
def test_status_204_and_304_have_no_body(server, code):
    # A body would be read as the next answer on this connection.
    raw = server.raw(head(f"/bodiless/{code}") + head("/hello", "Connection: close"))
    first, second = split(raw)
    assert first.startswith(b"HTTP/1.1 " + code.encode())
    assert b"X-Kept: yes" in first
    assert b"Transfer-Encoding" not in first
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.frontends
@pytest.mark.parametrize("code", ["204", "304"])
def test_a_body_that_must_not_be_is_dropped(server, code):
    raw = server.raw(head(f"/status/{code}%20None") + head("/hello", "Connection: close"))
    assert split(raw)[1].startswith(b"HTTP/1.1 200 OK\r\n")


# --- HEAD -----------------------------------------------------------------------------------------


@pytest.mark.frontends(mod_proxy_fcgi="drops Content-Length")
@pytest.mark.all_mpms
@pytest.mark.parametrize("path", ["/hello", "/pieces", "/generator", "/writer", "/empty"])
def test_head_answers_as_get_does_without_the_body(server, path):
    raw = server.raw(head(path, method="HEAD") + head("/hello", "Connection: close"))
    first, second = split(raw)
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.startswith(b"HTTP/1.1 200 OK")
    assert second.endswith(b"Hello World!")


@pytest.mark.frontends(mod_proxy_fcgi="drops Content-Length")
def test_head_keeps_the_applications_content_length(server):
    assert server.request("HEAD", "/hello").header("Content-Length") == "12"


@pytest.mark.parametrize(
    ("mount", "seen"),
    [("", "HEAD"), ("/head/on", "GET"), ("/head/off", "HEAD"), ("/deflated", "GET")],
)
def test_wsgimapheadtoget_sets_the_method_of_the_application(server, mount, seen):
    # The method's length is the only thing a HEAD response can tell: Content-Length of GET or HEAD.
    response = server.request("HEAD", f"{mount}/method", headers={"Accept-Encoding": "identity"})
    assert response.header("Content-Length") == str(len(seen))


@pytest.mark.parametrize("name", ["DEFLATE", "BROTLI_COMPRESS", "DATA"])
def test_head_has_the_headers_of_get_behind_a_filter_that_changes_the_body(serve, name):
    app = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("ETag", '"v"')])
    return [b"some text " * 300]
"""
    text = f"WSGIScriptAlias / ${{ROOT}}/app.py\nSetOutputFilter {name}\n"
    modules = ("deflate", "brotli", "data", "filter")
    server = serve(Conf(text, modules=modules, files=(("app.py", app),)))

    def fields(method):
        accepted = {"Accept-Encoding": "gzip" if name == "DEFLATE" else "br"}
        response = server.request(method, "/", headers=accepted)
        length = response.header("Content-Length")
        return length, [response.header(it) for it in ("ETag", "Vary", "Content-Encoding")]

    (length, expected), (said, found) = fields("GET"), fields("HEAD")
    assert found == expected
    # It may be left out, but not be another one.
    assert said in (None, length)


# --- Content-Length -------------------------------------------------------------------------------


@pytest.mark.frontends(mod_proxy_fcgi="drops Content-Length")
def test_bytes_beyond_content_length_are_dropped(server):
    raw = server.raw(head("/length?5,abc,defgh,ijk") + head("/hello", "Connection: close"))
    first, rest = split(raw)
    assert b"Content-Length: 5" in first
    assert rest.startswith(b"abcdeHTTP/1.1 200 OK\r\n")
    server.log.expect(r"close\(\) was called")


@pytest.mark.frontends(mod_proxy_fcgi="drops Content-Length")
@pytest.mark.differs(
    "short-body-closes", "mod_wsgi keeps a connection alive whose answer lacks bytes"
)
@pytest.mark.parametrize("query", ["10,abc,def", "10", "10,"])
def test_a_body_short_of_content_length_is_visible(server, query):
    raw = server.raw(head(f"/length?{query}") + head("/hello"))
    server.log.expect(r"close\(\) was called")
    server.log.allow("Content-Length of 10")
    # Were the connection kept, the next answer would be taken for the missing bytes.
    assert raw.count(b"HTTP/1.1 ") == 1


@pytest.mark.embedded_only("a quick answer of a daemon comes whole, so httpd knows its length")
def test_a_response_without_a_length_is_chunked_for_http_1_1(server):
    head_, body = split(server.raw(head("/generator", "Connection: close")))
    assert b"Transfer-Encoding: chunked" in head_
    assert body.endswith(b"\r\n0\r\n\r\n")


def test_a_response_without_a_length_ends_with_the_connection_for_http_1_0(server):
    head_, body = split(server.raw(head("/generator", version="1.0")))
    assert b"Transfer-Encoding" not in head_
    assert body == b"first,second"


# --- streaming ------------------------------------------------------------------------------------


@pytest.mark.frontends
def test_each_piece_leaves_before_the_next_is_asked_for(server):
    with server.socket() as sock:
        sock.sendall(head("/ticks", "Connection: close"))
        assert b"tock" not in read_until(sock, b"tick\n")
        assert server.get("/release").text == "released"
        read_until(sock, b"tock\n")


# --- close() --------------------------------------------------------------------------------------


@pytest.mark.all_mpms
def test_close_is_called_after_the_last_piece(server):
    assert server.get("/closing").body == b"ab"
    server.log.expect(r"close\(\) was called")


@pytest.mark.parametrize("where", ["close", "piece", "write"])
def test_response_is_complete_before_the_application_returns(server, where):
    assert server.get(f"/lingering?{where}").text == "here"
    assert server.get("/let_go").text == "done"
    server.log.expect("let go")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            "/closing_fails",
            marks=pytest.mark.differs(
                "truncation-daemon",
                "mod_wsgi's Apache takes whatever end a daemon's answer has for its end",
                mode="daemon",
            ),
        ),
        "/closing_refuses",
    ],
)
def test_close_is_called_after_an_exception(server, path):
    response = server.get(path)
    assert response.truncated or response.status == 500
    server.log.expect(r"close\(\) was called")
    server.log.expect_traceback("WSGI0174", "ValueError: (in the middle|at the beginning)")


@pytest.mark.all_mpms
def test_a_client_that_leaves_stops_the_iteration_and_close_is_called(server):
    with server.socket() as sock:
        sock.sendall(head("/endless"))
        read_until(sock, b"xxxx")
    server.log.expect(r"close\(\) was called")


def test_write_raises_oserror_once_the_client_has_left(server):
    with server.socket() as sock:
        sock.sendall(head("/endless_write"))
        read_until(sock, b"xxxx")
    server.log.expect("write raised OSError: ")


def test_start_response_and_write_refuse_service_after_the_request(server):
    assert server.get("/keep").text == "kept"
    # The client has its answer a moment before the server is done with the request.
    wait_until(
        lambda: server.get("/use_kept").text.count("RuntimeError ") == 2, "both to be refused"
    )


# --- WSGIErrorOverride ----------------------------------------------------------------------------


def test_an_applications_error_page_is_its_own(server):
    response = server.get("/error_page/404%20Nope")
    assert (response.status, response.text) == (404, "the application's page")


@pytest.mark.differs(
    "error-override-embedded",
    "mod_wsgi overrides error pages in daemon mode only",
    mode="embedded",
)
@pytest.mark.parametrize(
    ("line", "page"), [("404%20Nope", "administrator's 404"), ("500%20Oops", "administrator's 500")]
)
def test_wsgierroroverride_hands_error_pages_to_apache(server, line, page):
    response = server.get(f"/replaced/error_page/{line}")
    assert str(response.status) == line[:3]
    assert page in response.text
    assert "application's page" not in response.text


@pytest.mark.differs(
    "error-override-embedded",
    "mod_wsgi overrides error pages in daemon mode only",
    mode="embedded",
)
@pytest.mark.parametrize("line", ["404%20Nope", "500%20Oops"])
def test_wsgierroroverride_holds_for_head(server, line):
    path = f"/replaced/error_page/{line}"
    by_get, by_head = server.get(path), server.request("HEAD", path)
    assert (by_head.status, by_head.reason) == (by_get.status, by_get.reason)
    assert by_head.reason not in ("Nope", "Oops")
    assert by_head.header("Content-Type") == by_get.header("Content-Type")
    assert by_head.header("Content-Length") in (None, by_get.header("Content-Length"))
    assert by_head.body == b""


def test_wsgierroroverride_leaves_other_answers_alone(server):
    assert server.get("/replaced/error_page/200%20OK").text == "the application's page"


# --- output filters -------------------------------------------------------------------------------


# A body of a few bytes that comes whole is not worth compressing to mod_deflate.
@pytest.mark.embedded_only("a quick answer of a daemon comes whole, so httpd knows its length")
@pytest.mark.parametrize("path", ["/big/1", "/generator"])
def test_output_filters_see_the_response(server, path):
    plain = server.get(f"/deflated{path}")
    packed = server.get(f"/deflated{path}", headers={"Accept-Encoding": "gzip"})
    assert packed.header("Content-Encoding") == "gzip"
    assert plain.header("Content-Encoding") is None
    assert plain.body == server.get(path).body


# --- Location with a path of this server: CGI's local redirect, in daemon mode only ---------------

HERE = b"not here"


def located(locating, answer):
    """What the application at /arrived was told; None where the answer went out as it was."""
    if locating.mode == "daemon":
        assert answer.header_values("Location") == answer.header_values("Set-Cookie") == []
        assert answer.header("X-From") is None
        return answer.json()
    assert (answer.status, answer.body) == (200, HERE)
    assert answer.header("Location").startswith("/arrived")
    return None


@pytest.mark.all_mpms
def test_a_local_location_is_followed_inside_the_server_by_a_get(locating):
    answer = locating.get("/located?200&/arrived?x=1", headers={"X-Asked": "as before"})
    if told := located(locating, answer):
        assert told["REQUEST_METHOD"] == "GET"
        assert told["QUERY_STRING"] == "x=1"
        assert told["HTTP_X_ASKED"] == "as before"
        assert told["REDIRECT_URL"] == "/located"


@pytest.mark.parametrize("size", [10, 60_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_does_not_follow_a_local_location(locating, size, chunked):
    body = iter([b"x" * size]) if chunked else b"x" * size
    if told := located(locating, locating.post("/located?200&/arrived", body, chunked=chunked)):
        assert told["REQUEST_METHOD"] == "GET"
        assert "CONTENT_LENGTH" not in told
        assert told["body"] == 0


def test_remaining_body_at_a_local_location_is_no_request(server):
    body = b"GET /arrived?smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000
    with server.connection() as connection:
        for _ in range(3):
            connection.request("POST", "/located?200&/arrived?mine", body)
            answer = connection.getresponse().read()
            assert b"mine" in answer if server.mode == "daemon" else answer == HERE


def test_a_local_location_may_be_a_file(locating):
    body = locating.get("/located?200&/pages/500.txt").body
    assert body == (b"the administrator's 500" if locating.mode == "daemon" else HERE)


def test_head_of_a_local_location_has_no_body(locating):
    answer = locating.request("HEAD", "/located?200&/pages/500.txt")
    length = len("the administrator's 500") if locating.mode == "daemon" else len(HERE)
    assert (answer.body, answer.header("Content-Length")) == (b"", str(length))


@pytest.mark.parametrize(
    "query", ["201&/arrived", "302&/arrived", "200&http://localhost/arrived", "200&arrived"]
)
def test_any_other_location_goes_to_the_client(locating, query):
    status, _, where = query.partition("&")
    answer = locating.get(f"/located?{query}")
    assert (answer.status, answer.header("Location"), answer.body) == (int(status), where, HERE)


def test_local_locations_that_lead_in_a_circle_end(locating):
    answer = locating.get("/circle")
    assert answer.status == (500 if locating.mode == "daemon" else 200)
    locating.log.allow("AH00124")
