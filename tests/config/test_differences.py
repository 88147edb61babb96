"""What mod_wsgi does differently, where no test of another theme shows it."""

import concurrent.futures

import pytest
from harness.client import ask, head, split
from harness.conf import Conf

ASK = "WSGIPythonPath ${APPS}\nWSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${APPS}/ask.py\n"
PLAIN = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]
"""


def own(app, text="", **more):
    """An application of the test's own."""
    text = f"WSGIChunkedRequest On\nWSGIScriptAlias / ${{ROOT}}/app.wsgi\n{text}"
    return Conf(text, files=(("app.wsgi", app),), **more)


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.differs("alias-callable-expanded", "mod_wsgi looks for an object of that literal name")
def test_the_callable_of_an_alias_is_expanded(serve):
    text = """
    WSGIPythonPath ${APPS}
    SetEnv NAME other
    WSGIScriptAlias / ${ROOT}/app.wsgi callable-object=%{ENV:NAME}
    """
    app = "from ask import *\nfrom ask import application as other\ndel application\n"
    server = serve(Conf(text, ("env",), files=(("app.wsgi", app),)))
    assert ask(server, "environ['mod_wsgi.callable_object']") == "other"


@pytest.mark.differs("directory-not-preloaded", "mod_wsgi tries to load the directory")
def test_a_directory_of_scripts_is_not_preloaded(serve, mode):
    group = "%{GLOBAL}" if mode == "embedded" else "tests"
    target = f"${{ROOT}}/dir/ process-group={group} application-group=%{{GLOBAL}}"
    conf = Conf(f"WSGIScriptAlias /dir/ {target}\n" + ASK, files=(("dir/app.wsgi", PLAIN),))
    server = serve(conf, private=True)
    assert server.get("/dir/app.wsgi").text == "plain"
    assert server.log.find("dir/'") == []


@pytest.mark.differs("group-port", "mod_wsgi takes any port a client names")
def test_the_port_of_a_groups_name_is_a_real_one(serve):
    server = serve(Conf(ASK.replace("%{GLOBAL}", "%{HOST}")))
    group = "environ['mod_wsgi.application_group']"
    assert ask(server, group, host="localhost:4711") == "localhost"


# --- interpreters ---------------------------------------------------------------------------------


@pytest.mark.embedded_only("Apache's own processes")
def test_python_installs_no_signal_handlers(serve):
    handler = "signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert ask(serve(Conf(ASK)), handler) is False


@pytest.mark.differs("loading-lock", "mod_wsgi has one lock for the process")
def test_interpreters_load_scripts_side_by_side(serve):
    slow = "import os, time\nwhile not os.path.exists(__file__ + '.gate'):\n    time.sleep(0.01)\n"
    text = """
    WSGIScriptAlias /slow ${ROOT}/slow.wsgi application-group=slow
    WSGIScriptAlias /quick ${ROOT}/quick.wsgi application-group=quick
    """
    conf = Conf(text, files=(("slow.wsgi", slow + PLAIN), ("quick.wsgi", PLAIN)))
    server = serve(conf, private=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        loading = pool.submit(server.get, "/slow")
        try:
            server.log.wait_for("oading WSGI script .*slow")
            quick = pool.submit(server.get, "/quick")
            done, _ = concurrent.futures.wait([quick], 3)
        finally:
            server.write("slow.wsgi.gate", "")
        assert loading.result().text == quick.result().text == "plain"
    assert done


# --- requests -------------------------------------------------------------------------------------

READS = """
def application(environ, start_response):
    print("called")
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"read"]
"""


read_failure_status = pytest.mark.differs(
    "read-failure-status", "mod_wsgi answers 500, as if it were a fault here"
)
client_left_quietly = pytest.mark.differs(
    "client-left-quietly", "mod_wsgi logs an error and a traceback", always=False
)


@pytest.mark.embedded_only("the first 64 KB of a body are read before a daemon hears of it")
@pytest.mark.parametrize(
    ("chunk", "end", "status"),
    [
        pytest.param(b"zz\r\nhello\r\n", True, b"400", marks=client_left_quietly),
        pytest.param(b"5\r\nhel", True, b"400", marks=read_failure_status),
        pytest.param(b"5\r\nhel", False, b"408", marks=read_failure_status),
        pytest.param(b"ffff\r\n" + b"x" * 0xFFFF, False, b"413", marks=client_left_quietly),
    ],
)
def test_a_body_that_cannot_be_read_is_the_clients_fault(serve, chunk, end, status):
    server = serve(own(READS, "LimitRequestBody 1000\n", timeout=1))
    request = head("/", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    raw = server.raw(request + chunk, end=end)
    assert split(raw)[0].startswith(b"HTTP/1.1 " + status)
    server.log.allow("AH0", "called")


def test_an_application_is_not_called_for_too_large_a_body(serve):
    server = serve(own(READS, "LimitRequestBody 1000\n"))
    assert server.post("/", b"x" * 1001).status == 413
    assert not server.log.find("called")
    server.log.allow("WSGI0140", "AH0")


@pytest.mark.differs("daemon-body-first", "mod_wsgi's daemons wait for the body", mode="daemon")
@pytest.mark.parametrize("mode", ["daemon"])
def test_a_client_that_stalls_in_its_body_calls_no_application(serve, mode):
    server = serve(own(READS), private=True)
    with server.socket() as sock:
        sock.sendall(head("/", "Content-Length: 10", method="POST") + b"x")
        # Others are served meanwhile: time enough for the first one to reach the application.
        for _ in range(20):
            assert server.get("/").text == "read"
        server.log.allow("called")
        server.log.wait_for("called", count=20)
        assert len(server.log.find("called")) == 20


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.differs("list-content-length", "mod_wsgi flushes after each item")
def test_a_plain_list_has_a_length(serve):
    assert serve(own(PLAIN)).get("/").header("Content-Length") == "5"


LISTS = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"] * int(environ["QUERY_STRING"])
"""


@pytest.mark.differs("list-content-length", "mod_wsgi flushes after each item")
@pytest.mark.parametrize("size", [16384, 16385, 65536])
def test_a_plain_list_has_a_length_and_ranges_up_to_64_kib(serve, size):
    server = serve(own(LISTS))
    assert server.get(f"/?{size}").header("Content-Length") == str(size)
    response = server.get(f"/?{size}", headers={"Range": "bytes=0-9"})
    assert (response.status, response.body) == (206, b"x" * 10)


ANSWERS = """
def application(environ, start_response):
    answers = {
        "/nul": ("200 OK", [("X-Nul", "before\\0after")]),
        "/interim": ("103 Early Hints", []),
        "/framed": ("200 OK", [("Transfer-Encoding", "identity"), ("X-After", "here")]),
    }
    start_response(*answers[environ["PATH_INFO"]])
    return [b"plain"]
"""


@pytest.mark.differs("header-null", "mod_wsgi cuts the value at the NUL")
def test_a_nul_in_a_header_is_refused(serve):
    server = serve(own(ANSWERS))
    assert server.get("/nul").status == 500
    server.log.expect_traceback("WSGI0174", "ValueError: ")


@pytest.mark.differs("interim-status", "mod_wsgi passes it on, and the client waits")
def test_an_interim_status_is_refused(serve):
    server = serve(own(ANSWERS))
    assert server.get("/interim").status == 500
    server.log.expect_traceback("WSGI0174", "ValueError: ")


@pytest.mark.differs("transfer-encoding", "mod_wsgi passes on what an application says of framing")
def test_the_framing_is_the_servers(serve):
    response = serve(own(ANSWERS)).get("/framed")
    assert response.header("Transfer-Encoding") is None
    assert (response.header("X-After"), response.body) == ("here", b"plain")


# --- logs, and the module -------------------------------------------------------------------------


@pytest.mark.differs("wsgi-errors-log", "mod_wsgi wraps a text file around it")
def test_wsgi_errors_is_the_log_itself(serve):
    errors = "environ['wsgi.errors']"
    server = serve(Conf(ASK))
    assert ask(server, f"[type({errors}).__name__, {errors}.buffer is {errors}]") == ["Log", True]


@pytest.mark.differs("hints", "mod_wsgi leaves it at the traceback")
def test_a_known_cause_gets_a_hint(serve):
    app = "raise ImportError('PyO3 modules do not yet support subinterpreters, see x')\n"
    server = serve(own(app, "WSGIApplicationGroup named\nWSGIScriptAlias /x ${APPS}/ask.py\n"))
    assert server.get("/").status == 500
    server.log.expect("Hint: .*WSGIApplicationGroup %{GLOBAL}")
    server.log.allow("WSGI0109", "ImportError", "Traceback", "^  File|^    ")


@pytest.mark.differs("active-requests", "mod_wsgi fills it whether or not it is read")
def test_active_requests_start_recording_on_first_use(serve):
    server = serve(Conf(ASK), private=True)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = "kept.setdefault('event', threading.Event()).wait(10)"
        waiting = pool.submit(ask, server, wait)
        while ask(server, "'event' in kept") is not True:
            pass
        assert ask(server, "len(__import__('mod_wsgi').active_requests)") == 1
        ask(server, "kept['event'].set()")
        assert waiting.result() is True


@pytest.mark.parametrize("mode", ["daemon"])
@pytest.mark.differs("daemon-exec", "mod_wsgi's daemons have all of Apache's environment")
def test_daemons_are_told_nothing_that_is_for_the_service_manager(serve, mode):
    environment = (("NOTIFY_SOCKET", "/nowhere"), ("SETTING", "of Apache"))
    server = serve(Conf(ASK, environment=environment))
    assert ask(server, "os.environ['SETTING']") == "of Apache"
    assert ask(server, "'NOTIFY_SOCKET' in os.environ") is False
