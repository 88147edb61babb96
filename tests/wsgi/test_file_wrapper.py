"""wsgi.file_wrapper: the same bytes however they are sent."""

import codecs

import pytest
from harness.client import head, read_until, split
from harness.conf import Conf
from harness.httpd import wait_until

SMALL = "0123456789abcdefghijklmnopqrstuvwxyz\n"
LARGE = "".join(f"line {n:07}\n" for n in range(200_000))

FILES = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /sendfile ${APPS}/files.py
    WSGIScriptAlias /unmapped ${APPS}/files.py
    WSGIScriptAlias /deflated ${APPS}/files.py
    WSGIScriptAlias /validated ${APPS}/files.py callable-object=validated
    WSGIScriptAlias / ${APPS}/files.py
    <Location /sendfile>
        EnableSendfile On
        WSGIEnableSendfile On
    </Location>
    <Location /unmapped>
        EnableMMAP Off
    </Location>
    <Location /deflated>
        SetOutputFilter DEFLATE
    </Location>
    """,
    modules=("deflate", "filter"),
    files=(("files/small", SMALL), ("files/large", LARGE), ("files/empty", "")),
)

MOUNTS = ["", "/sendfile", "/unmapped", "/deflated"]


@pytest.fixture
def server(serve):
    return serve(FILES)


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", [*MOUNTS, "/validated"])
@pytest.mark.parametrize(("name", "text"), [("small", SMALL), ("large", LARGE), ("empty", "")])
def test_a_file_arrives_whole(server, mount, name, text):
    response = server.get(f"{mount}/whole?{name}")
    assert response.status == 200
    assert response.body == text.encode()


@pytest.mark.parametrize("mount", ["", "/sendfile"])
def test_a_file_has_its_length(server, mount):
    assert server.get(f"{mount}/whole?small").header("Content-Length") == str(len(SMALL))
    response = server.get(f"{mount}/whole?small&seek=30")
    assert response.header("Content-Length") == str(len(SMALL) - 30)
    assert response.text == SMALL[30:]


@pytest.mark.parametrize("mount", ["", "/sendfile"])
def test_the_applications_length_cuts_the_file(server, mount):
    raw = server.raw(
        head(f"{mount}/whole?small&seek=10&length=5") + head("/whole?small", "Connection: close")
    )
    first, rest = split(raw)
    assert b"Content-Length: 5" in first
    assert rest.startswith(b"abcdeHTTP/1.1 200")


@pytest.mark.differs(
    "file-shorter-than-length", "mod_wsgi trusts a Content-Length past the file's end"
)
def test_a_length_beyond_the_files_end_is_visible(server):
    raw = server.raw(head("/whole?small&length=1000") + head("/whole?small"))
    assert SMALL.encode() in raw
    assert raw.count(b"HTTP/1.1 ") == 1
    server.log.allow("Content-Length|shorter|end of file|AH0")


@pytest.mark.parametrize(
    "path",
    [
        "/whole?small&seek=37",
        pytest.param(
            "/whole?small&seek=1000",
            marks=pytest.mark.differs(
                "file-past-its-end",
                "mod_wsgi drops the connection when tell() is past the file's end",
            ),
        ),
    ],
)
def test_a_file_at_its_end_is_an_empty_answer(server, path):
    response = server.get(path)
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("size", [100, 50_000])
@pytest.mark.differs("daemon-file-ranges", "mod_wsgi's daemons send all of it", mode="daemon")
def test_a_range_of_a_file_is_served_whatever_its_size(serve, size):
    text = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/app.py\n"
    app = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = os.path.join(os.path.dirname(__file__), "served")
    return environ["wsgi.file_wrapper"](open(path, "rb"))
"""
    server = serve(Conf(text, files=(("app.py", app), ("served", "x" * size))))
    response = server.get("/", headers={"Range": "bytes=1-3"})
    assert (response.status, response.body) == (206, b"xxx")


@pytest.mark.parametrize("mount", ["", "/sendfile", "/validated"])
def test_head_of_a_file_has_its_length_and_no_body(server, mount):
    raw = server.raw(
        head(f"{mount}/range_?small", method="HEAD") + head("/whole?small", "Connection: close")
    )
    first, rest = split(raw)
    assert b"Content-Length: 37" in first
    assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.differs(
    "daemon-whole-answers",
    "Apache cannot tell the length of what mod_wsgi passes on",
    mode="daemon",
)
def test_a_range_of_a_file_is_served(server):
    response = server.get("/range_?small", headers={"Range": "bytes=10-14"})
    assert (response.status, response.text) == (206, "abcde")
    assert response.header("Content-Range") == "bytes 10-14/37"


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/in_memory", b"only in memory " * 1000),
        ("/pipe", b"through a pipe"),
        ("/temporary", b"0123456789" * 50_000),
        ("/after_write?small", b"head|" + SMALL.encode()),
        ("/subclass?small", SMALL.encode()),
        ("/wrapped?large", LARGE.encode()),
        ("/whole?small&block=1", SMALL.encode()),
    ],
)
def test_other_than_plain_files_are_iterated(server, path, body):
    assert server.get(path).body == body


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["", "/sendfile"])
@pytest.mark.parametrize("name", ["small", "large"])
def test_file_is_closed_after_sending(server, mount, name):
    assert server.get(f"{mount}/closing?{name}").status == 200
    assert len(server.log.expect("the file was closed")) == 1


@pytest.mark.differs(
    "client-left-quietly",
    "mod_wsgi may log an error and a traceback when a client leaves a download",
    always=False,
)
def test_file_is_closed_on_client_disconnect(server):
    with server.socket() as sock:
        sock.sendall(head("/closing?large"))
        read_until(sock, b"line 0000000")
    server.log.expect("the file was closed")
    assert not server.log.unexpected()


@pytest.mark.embedded_only("counts the descriptors of httpd's children")
def test_no_descriptors_are_left_open(server):
    def files():
        (pid,) = server.children()
        return [name for name in server.open_files(pid) if "/files/" in name]

    for mount in MOUNTS:
        for path in ("/whole?small", "/whole?large&length=10", "/subclass?small", "/closing?small"):
            server.get(mount + path)
    server.log.expect("the file was closed", count=len(MOUNTS))
    wait_until(lambda: not files(), "every file to be closed")


ROTATED = codecs.encode(SMALL, "rot13").encode()
DATA = b"abcdefghij" * 1000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("gzip", DATA),
        ("bz2", DATA),
        ("lzma", DATA),
        ("forwarding", ROTATED),
        ("subclass", ROTATED),
        ("own_method", ROTATED),
        ("own_method_raw", ROTATED),
    ],
)
@pytest.mark.differs("file-read", "mod_wsgi sends the file whose descriptor the object names")
def test_an_object_that_reads_otherwise_than_its_descriptor_is_read(server, kind, body):
    response = server.get(f"/kind?small&kind={kind}")
    assert (response.status, response.body) == (200, body)


@pytest.mark.parametrize(("kind", "found"), [("proc", b"VmRSS:"), ("sys", b"never")])
@pytest.mark.differs("file-read", "mod_wsgi believes the size of a file of /proc or /sys")
def test_a_file_that_the_kernel_makes_up_is_read(server, kind, found):
    response = server.get(f"/kind?small&kind={kind}")
    assert response.status == 200
    assert found in response.body
    assert b"\0" not in response.body


@pytest.mark.differs("file-read", "mod_wsgi sends the file past the method")
def test_a_subclass_of_the_wrapper_yields_its_own_pieces(server):
    assert server.get("/overridden?small").body == SMALL.upper().encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("spooled_on_disk", DATA[2:]),
        ("named", DATA[2:]),
        ("raw", SMALL.encode()),
        ("text", SMALL.encode()),
        ("unsent_writes", (b"0123456789" * 10)[8:]),
    ],
)
def test_an_unmodified_file_is_sent_by_its_descriptor(server, kind, body):
    response = server.get(f"/kind?small&kind={kind}")
    assert (response.status, response.body) == (200, body)
    # Known before the file is read.
    assert response.header("Content-Length") == str(len(body))


@pytest.mark.parametrize(("kind", "body"), [("spooled_in_memory", DATA[2:])])
def test_a_file_in_memory_is_read(server, kind, body):
    assert server.get(f"/kind?small&kind={kind}").body == body


def test_the_wrapper_by_hand(server):
    said = server.get("/position?small").text.split("\n")
    assert said[:5] == ["0123456789", "True", "10", "10", "True"]
    assert said[5:] == ["ValueError", "ValueError", "AttributeError", "TypeError"]


@pytest.mark.differs("file-wrapper-close", "mod_wsgi's close() raises SystemError there")
def test_a_file_without_close_is_wrapped_all_the_same(server):
    assert server.get("/without_close").body == b"read once"


def test_a_read_that_gives_no_bytes_is_a_500(server):
    assert server.get("/text_mode").status == 500
    server.log.expect_traceback("WSGI0174: .*TypeError", "^TypeError: ")


def test_a_file_can_be_compressed(server):
    response = server.get("/deflated/whole?large", headers={"Accept-Encoding": "gzip"})
    assert response.header("Content-Encoding") == "gzip"
    assert len(response.body) < len(LARGE) / 2
