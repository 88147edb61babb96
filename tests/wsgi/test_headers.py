"""start_response: what it accepts, what it refuses and in which words, what the client gets."""

from urllib.parse import quote

import pytest
from harness.client import head, split
from harness.conf import Conf

HEADERS = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /overridden ${APPS}/headers.py
    WSGIScriptAlias / ${APPS}/headers.py
    <Location /overridden>
        WSGIErrorOverride On
    </Location>
    """
)


@pytest.fixture
def server(serve):
    return serve(HEADERS)


@pytest.fixture
def call(server):
    """call("status, headers") is the response after start_response(status, headers)."""
    return lambda arguments: server.get(f"/call?{quote(arguments)}")


def with_headers(*headers):
    return f"'200 OK', [{', '.join(headers)},]"


# --- what is passed on ----------------------------------------------------------------------------


@pytest.mark.frontends
def test_headers_reach_the_client_unchanged(call):
    response = call(with_headers("('X-One', 'a, b; c=\"d\"')", "('X-Empty', '')", "('x-two', ' ')"))
    assert response.header("X-One") == 'a, b; c="d"'
    assert response.header("X-Empty") == ""
    assert response.body == b"accepted"


@pytest.mark.frontends
def test_header_values_leave_as_latin_1_bytes(server):
    arguments = quote(with_headers(r"('X-L', 'caf\xe9\xff')"))
    raw = server.raw(head(f"/call?{arguments}", version="1.0"))
    assert b"X-L: caf\xe9\xff\r\n" in raw


read_again = pytest.mark.differs(
    "daemon-status-header", "mod_wsgi reads a daemon's head as that of a CGI program", mode="daemon"
)


@read_again
@pytest.mark.parametrize("name", ["Status", "status"])
@pytest.mark.parametrize("value", ["500 No", "any"])
def test_a_header_called_status_is_one_like_any_other(call, name, value):
    response = call(with_headers(f"('X-One', '1'), ('{name}', '{value}'), ('X-Two', '2')"))
    assert (response.status, response.reason, response.body) == (200, "OK", b"accepted")
    assert [response.header(name) for name in ("X-One", "Status", "X-Two")] == ["1", value, "2"]


@pytest.mark.parametrize("name", ["X(y", "X;y", "caf\xe9", pytest.param("X:y", marks=read_again)])
def test_a_name_that_no_header_may_have_is_an_error(server, call, name):
    """It must not look as if it had been sent."""
    response = call(with_headers("('X-One', '1')", f"('{name}', 'value')"))
    assert response.status == 500
    assert response.header("X-One") is None
    assert b"accepted" not in response.body
    server.log.expect("AH02429|the response cannot be sent: invalid header name")


joined = pytest.mark.differs(
    "daemon-repeated-headers", "mod_wsgi makes one header with commas of them", mode="daemon"
)


@pytest.mark.frontends(mod_proxy_fcgi="joins them by commas")
@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "WWW-Authenticate",
        pytest.param("X-Repeated", marks=joined),
        pytest.param("Link", marks=joined),
    ],
)
def test_repeated_headers_stay_apart_and_in_order(call, name):
    response = call(with_headers(f"('{name}', 'a=1')", f"('{name}', 'b=2')", f"('{name}', 'a=1')"))
    assert response.header_values(name) == ["a=1", "b=2", "a=1"]


@pytest.mark.parametrize("status", ["302 Found", "201 Created"])
def test_a_location_is_a_header_and_no_redirect_of_its_own(call, status):
    response = call(f"'{status}', [('Location', '/call')]")
    assert (response.status, response.header("Location")) == (int(status[:3]), "/call")
    for location in ("http://other.example/", "elsewhere"):
        response = call(with_headers(f"('Location', '{location}')"))
        assert (response.status, response.header("Location")) == (200, location)


@pytest.mark.frontends
def test_the_content_type_is_the_applications(call):
    response = call(with_headers("('content-type', 'text/x-own; charset=latin-1')"))
    assert response.header("Content-Type") == "text/x-own; charset=latin-1"


def test_the_last_of_two_content_types_counts(call):
    headers = with_headers("('Content-Type', 'text/a')", "('Content-Type', 'text/b')")
    assert call(headers).header("Content-Type") == "text/b"


def test_the_applications_own_date_and_server_do_not_come_twice(call):
    response = call(with_headers("('Server', 'mine')", "('Date', 'today')"))
    assert len(response.header_values("Server")) <= 1
    assert len(response.header_values("Date")) <= 1


@pytest.mark.frontends(nginx="drops headers without a value")
def test_many_headers_all_arrive(server):
    # http.client refuses more than a hundred, so ninety and Apache's own.
    response = server.get("/many")
    assert [response.header(f"X-Header-{n}") for n in range(90)] == ["v" * n for n in range(90)]


def test_www_authenticate_survives_an_error_page_and_other_headers_do_not(server):
    response = server.get("/overridden/unauthorised")
    assert response.status == 401
    assert response.header_values("WWW-Authenticate") == ['Basic realm="a"', "Bearer"]


@pytest.mark.frontends
@pytest.mark.parametrize(
    "headers", ["[]", "Headers()", "Headers([('X-A', 'b')])", "[(Text('X-A'), Text('b'))]"]
)
def test_lists_strings_and_their_subclasses_are_accepted(call, headers):
    assert call(f"'200 OK', {headers}").body == b"accepted"


@pytest.mark.frontends
@pytest.mark.parametrize("exc_info", ["None", "(None, None, None)"])
def test_exc_info_may_be_none_or_a_tuple_while_nothing_is_out(call, exc_info):
    assert call(f"'200 OK', [], {exc_info}").body == b"accepted"


@pytest.mark.frontends
def test_start_response_returns_write(server):
    assert server.get("/returned").text == "write True"


# --- what is refused ------------------------------------------------------------------------------

REFUSED = [
    # status
    ("b'200 OK', []", "TypeError", "must be str, not bytes"),
    ("200, []", "TypeError", "must be str, not int"),
    ("None, []", "TypeError", "must be str, not NoneType"),
    ("'200 \\u20ac', []", "UnicodeEncodeError", "latin-1"),
    ("'', []", "ValueError", "status code must be a 3 digit integer: "),
    ("'OK', []", "ValueError", "status code must be a 3 digit integer: b'OK'"),
    ("'20 OK', []", "ValueError", "status code must be a 3 digit integer: b'20 OK'"),
    ("'2000 OK', []", "ValueError", "status code must be a 3 digit integer: b'2000 OK'"),
    ("' 200 OK', []", "ValueError", "status code must be a 3 digit integer: b' 200 OK'"),
    ("'200OK', []", "ValueError", "no space following status code: b'200OK'"),
    ("'200\\tOK', []", "ValueError", "no space following status code: b'200\\tOK'"),
    ("'200 O\\nK', []", "ValueError", "control character in status reason phrase: b'200 O\\nK'"),
    ("'200 OK\\r', []", "ValueError", "control character in status reason phrase: "),
    # headers
    ("'200 OK', ()", "TypeError", "start_response() argument 2 must be list, not tuple"),
    ("'200 OK', {}", "TypeError", "start_response() argument 2 must be list, not dict"),
    ("'200 OK', None", "TypeError", "start_response() argument 2 must be list, not None"),
    (
        "'200 OK', iter([])",
        "TypeError",
        "start_response() argument 2 must be list, not list_iterator",
    ),
    ("'200 OK', [['A', 'b']]", "TypeError", "each header must be a 2-tuple, not list"),
    ("'200 OK', ['A']", "TypeError", "each header must be a 2-tuple, not str"),
    ("'200 OK', [('A',)]", "ValueError", "each header must be a 2-tuple, got length 1"),
    ("'200 OK', [('A', 'b', 'c')]", "ValueError", "each header must be a 2-tuple, got length 3"),
    ("'200 OK', [(b'A', 'b')]", "TypeError", "must be str, not bytes"),
    ("'200 OK', [('A', b'b')]", "TypeError", "must be str, not bytes"),
    ("'200 OK', [('A', 1)]", "TypeError", "must be str, not int"),
    ("'200 OK', [('A', None)]", "TypeError", "must be str, not NoneType"),
    ("'200 OK', [('\\u20ac', 'b')]", "UnicodeEncodeError", "latin-1"),
    ("'200 OK', [('A', '\\u20ac')]", "UnicodeEncodeError", "latin-1"),
    ("'200 OK', [('', 'b')]", "ValueError", "header name is empty"),
    ("'200 OK', [('A B', 'c')]", "ValueError", "space character in header name: b'A B'"),
    ("'200 OK', [('A\\t', 'c')]", "ValueError", "control character in header name: b'A\\t'"),
    ("'200 OK', [('A\\n', 'c')]", "ValueError", "control character in header name: b'A\\n'"),
    (
        "'200 OK', [('A', 'b\\r\\nSet-Cookie: x')]",
        "ValueError",
        "carriage return/line feed character in header value: b'b\\r\\nSet-Cookie: x'",
    ),
    ("'200 OK', [('A', 'b\\n')]", "ValueError", "carriage return/line feed character in header"),
    ("'200 OK', [('A', '\\rb')]", "ValueError", "carriage return/line feed character in header"),
    # exc_info and the number of arguments
    (
        "'200 OK', [], 'text'",
        "RuntimeError",
        "start_response() argument 'exc_info' must be a 3-tuple or None",
    ),
    ("'200 OK', [], [1, 2, 3]", "RuntimeError", "'exc_info' must be a 3-tuple or None"),
    ("'200 OK',", "TypeError", "argument"),
    ("'200 OK', [], None, None", "TypeError", "argument"),
]


@pytest.mark.frontends
@pytest.mark.parametrize(("arguments", "kind", "words"), REFUSED)
def test_start_response_refuses(call, arguments, kind, words):
    said = call(arguments).text
    assert said.startswith(f"{kind}: ")
    assert words in said


@pytest.mark.frontends
def test_start_response_takes_positional_arguments_only(server):
    assert server.get("/keyword").text.startswith("TypeError: ")


@pytest.mark.frontends
def test_a_nul_in_a_value_never_splits_a_header(call):
    response = call(with_headers("('X-Nul', 'before\\x00after')", "('X-Next', 'there')"))
    assert response.status == 200
    assert response.header("X-Nul") in (None, "before")
    assert "after" not in (response.header("X-Next") or "")


@pytest.mark.frontends
def test_write_takes_bytes_only(server):
    assert server.get("/write_str").text.startswith("TypeError: ")


# --- calling twice --------------------------------------------------------------------------------


@pytest.mark.frontends
def test_before_output_a_second_call_replaces_the_first(server):
    response = server.get("/twice")
    assert (response.status, response.text) == (200, "second")
    assert response.header("X-First") is None


@pytest.mark.frontends
def test_before_output_a_second_call_with_exc_info_replaces_the_first(server):
    response = server.get("/twice_with_exc_info")
    assert (response.status, response.reason, response.text) == (500, "Sorry", "sorry")
    assert response.header("X-First") is None


@pytest.mark.frontends
def test_after_output_a_second_call_is_refused(server):
    expected = "out|RuntimeError: start_response() called more than once without exc_info"
    assert server.get("/after_output?again").text == expected


@pytest.mark.frontends
def test_after_output_a_call_with_exc_info_raises_that_exception(server):
    assert server.get("/after_output?exc_info").text == "out|KeyError: 'the original'"


def test_headers_of_a_response_that_never_left_are_not_on_the_error_page(server):
    head_, _ = split(server.raw(head("/original", version="1.0")))
    assert head_.startswith(b"HTTP/1.1 500 ")
    assert b"X-Lost" not in head_
    server.log.expect_traceback("WSGI0174", "ValueError: after start_response")
