"""interface=auto: a process decides by its application, once, before it serves."""

import os
import threading

import pytest
from harness.client import read_all
from harness.conf import Conf
from harness.httpd import wait_until
from harness.websocket import TEXT, frame, handshake, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]

BOTH = """
import functools

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi"})

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]

"""
CALLABLES = {
    "coroutine": ("asgi", "application = asgi"),
    "instance": (
        "asgi",
        "class App:\n    async def __call__(self, *messages):\n        await asgi(*messages)\n"
        "application = App()",
    ),
    "method": (
        "asgi",
        "class App:\n    async def run(self, scope, receive, send):\n"
        "        await asgi(scope, receive, send)\napplication = App().run",
    ),
    "partial": ("asgi", "application = functools.partial(asgi)"),
    "wrapper": (
        "asgi",
        "@functools.wraps(asgi)\ndef application(*messages):\n    return asgi(*messages)",
    ),
    "function_of_three": (
        "asgi",
        "def application(scope, receive, send):\n    return asgi(scope, receive, send)",
    ),
    "awaitable_class": (
        "asgi",
        "class application:\n    def __init__(self, *messages):\n        self.messages = messages\n"
        "    def __await__(self):\n        return asgi(*self.messages).__await__()",
    ),
    "function": ("wsgi", "application = wsgi"),
    "any_arguments": ("wsgi", "def application(*given):\n    return wsgi(*given)"),
    "class": (
        "wsgi",
        "class application:\n    def __init__(self, environ, start_response):\n"
        "        self.result = wsgi(environ, start_response)\n"
        "    def __iter__(self):\n        return iter(self.result)",
    ),
    "instance_of_wsgi": (
        "wsgi",
        "class App:\n    def __call__(self, environ, start_response):\n"
        "        return wsgi(environ, start_response)\napplication = App()",
    ),
}
TWO_CALLABLES = {
    "class": (
        "class application:\n    def __init__(self, scope): pass\n"
        "    async def __call__(self, receive, send): pass"
    ),
    "function": (
        "def application(scope):\n    async def serve(receive, send): pass\n    return serve"
    ),
}


def auto(name, more=""):
    return (
        f"WSGIDaemonProcess {name} {more}\n"
        f"WSGIScriptAlias /{name} ${{ROOT}}/{name}.py interface=auto process-group={name}\n"
    )


def conf(text, files, **others):
    return Conf("WSGIRestrictEmbedded On\n" + text, files=files, **{"threads": 16, **others})


def one(source, options="", **others):
    """A server of one application at /app."""
    return conf(auto("app", options), (("app.py", source),), **others)


def rewrite(server, source):
    script = server.root / "app.py"
    later = script.stat().st_mtime_ns + 5_000_000_000
    script.write_text(source)
    os.utime(script, ns=(later, later))


@pytest.fixture
def kinds(serve):
    """A server with an application of each kind, each in a process group of its own."""
    files = tuple((f"{name}.py", BOTH + text) for name, (_, text) in CALLABLES.items())
    return serve(conf("".join(auto(name) for name in CALLABLES), files))


@pytest.mark.parametrize("name", CALLABLES)
def test_application_is_served_by_the_interface_of_its_callable(kinds, name):
    assert kinds.get(f"/{name}").text == CALLABLES[name][0]


@pytest.mark.parametrize(
    ("options", "alias"),
    [
        ("interface=auto", "WSGIScriptAlias /app ${ROOT}/app.py interface=auto"),
        ("preload=On", "WSGIScriptAlias /app ${ROOT}/app.py interface=auto"),
        ("", "ASGIScriptAlias /app ${ROOT}/app.py interface=auto callable-object=make()"),
        ("", "ASGIScriptAliasMatch ^/app ${ROOT}/app.py interface=auto"),
    ],
)
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_each_line_that_says_auto_leads_to_both_interfaces(private, options, alias, interface):
    source = f"{BOTH}application = {interface}\ndef make():\n    return application\n"
    text = f"WSGIDaemonProcess app {options}\n{alias} process-group=app\n"
    server = private(conf(text, (("app.py", source),)))
    assert server.get("/app").text == interface


def test_interface_is_decided_once_in_each_process(private):
    server = private(one(BOTH + "application = asgi"))
    for _ in range(5):
        assert server.get("/app").text == "asgi"
    server.log.expect(
        r"interface=auto: 'application' of .*/app.py is an application of ASGI", count=1
    )


@pytest.mark.parametrize(
    ("app", "module", "expected"),
    [
        ("asgi_frameworks/starlette_app", "starlette", b"hello world"),
        ("asgi_frameworks/django_app", "django", b"hello world"),
        ("asgi_frameworks/fastapi_app", "fastapi", b"hello world"),
        ("asgi_frameworks/quart_app", "quart", b"hello world"),
        ("asgi_frameworks/litestar_app", "litestar", b"hello world"),
        ("asgi_frameworks/blacksheep_app", "blacksheep", b"hello world"),
    ],
)
def test_application_of_a_framework_for_asgi_is_known(serve, packages, app, module, expected):
    pytest.importorskip(module)
    server = serve(
        conf(
            f"WSGIDaemonProcess {module} python-path={packages}\n"
            f"WSGIScriptAlias /{module} ${{APPS}}/{app}.py interface=auto process-group={module}\n",
            (),
        )
    )
    assert server.get(f"/{module}/hello/world").body == expected


WSGI_FRAMEWORKS = {
    "flask": "from flask import Flask\napplication = Flask(__name__)\n"
    "@application.route('/')\ndef page(): return 'wsgi'\n",
    "django": "from django.conf import settings\n"
    "from django.core.wsgi import get_wsgi_application\n"
    "from django.http import HttpResponse\nfrom django.urls import path\n"
    "settings.configure(ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, SECRET_KEY='x')\n"
    "urlpatterns = [path('', lambda request: HttpResponse('wsgi'))]\n"
    "application = get_wsgi_application()\n",
}


@pytest.mark.parametrize("module", WSGI_FRAMEWORKS)
def test_application_of_a_framework_for_wsgi_is_known(private, packages, module):
    pytest.importorskip(module)
    server = private(one(WSGI_FRAMEWORKS[module], f"python-path={packages}"))
    assert server.get("/app/").text == "wsgi"


# The lines of the workers that end because nothing has decided.
ENDED = ("WSGI026[01]", "this worker serves no request", "exited with status 1")


@pytest.mark.parametrize("kind", TWO_CALLABLES)
def test_application_of_asgi_2_is_refused_with_a_sentence(private, kind):
    server = private(one(TWO_CALLABLES[kind]))
    assert server.get("/app").status == 503
    server.log.expect("WSGI0260: interface=auto is not decided: .*ASGI 2, which has two callables")
    server.log.expect(
        r"WSGI0117: .* exited with status 1: WSGI0260: interface=auto is not decided: "
    )
    server.log.allow(*ENDED)


def test_script_that_cannot_be_loaded_decides_no_interface(private):
    server = private(one("import there_is_no_such_module\n"))
    assert server.get("/app").status == 503
    server.log.expect(
        r"WSGI0117: .* exited with status 1: ModuleNotFoundError: No module named "
        "'there_is_no_such_module'"
    )
    server.log.allow_traceback("ModuleNotFoundError")
    server.log.allow(*ENDED, "WSGI010[0-9]")
    rewrite(server, BOTH + "application = wsgi")
    wait_until(lambda: server.get("/app").status == 200, "the application to start", timeout=30)


def test_mended_script_is_loaded_before_the_pause_is_over_where_reload_is_on(private):
    server = private(one("x(\n", "reload=On"))
    assert server.get("/app").status == 503
    server.log.expect("WSGI0117: .* exited with status 1: SyntaxError: ")
    server.log.wait_for("restarting in 10.0 s", timeout=30)
    server.log.allow(*ENDED, "WSGI010[0-9]", "WSGI0174", r"^\s", "SyntaxError", "WSGI0117")
    rewrite(server, BOTH + "application = wsgi")
    wait_until(lambda: server.get("/app").status == 200, "the application to start", timeout=8)


def test_applications_of_different_interfaces_do_not_share_a_group(private):
    text = auto("app") + "WSGIScriptAlias /b ${ROOT}/b.py interface=auto process-group=app\n"
    files = (("app.py", BOTH + "application = asgi"), ("b.py", BOTH + "application = wsgi"))
    server = private(conf(text, files))
    assert server.get("/b").status == 503
    server.log.expect("WSGI0261: .*app.py is one of ASGI, .*b.py is one of WSGI; each process")
    server.log.expect(r"WSGI0117: .* exited with status 1: WSGI0261: ")
    server.log.allow(*ENDED)


def test_new_code_of_the_other_interface_is_served_by_the_new_processes(private):
    server = private(one(BOTH + "application = wsgi", "processes=2"))
    assert server.get("/app").text == "wsgi"
    for interface in ("asgi", "wsgi"):
        rewrite(server, f"{BOTH}application = {interface}")
        wait_until(
            lambda wanted=interface: server.get("/app").text == wanted, "the new code", timeout=30
        )


def test_replacement_that_decides_nothing_leaves_the_old_process(private):
    server = private(one(BOTH + "application = wsgi"))
    assert server.get("/app").text == "wsgi"
    rewrite(server, TWO_CALLABLES["class"])
    for _ in range(3):
        assert server.get("/app").text == "wsgi"
    server.log.expect("keeping the current workers and their code")
    server.log.allow(*ENDED)


ECHO = """
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        text = (await receive())["text"]
        await send({"type": "websocket.send", "text": text})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"x-method", scope["method"].encode())]})
    await send({"type": "http.response.body", "body": body})
"""
WSGI_ECHO = """
def application(environ, start_response):
    start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"])])
    return [environ["wsgi.input"].read()]
"""


@pytest.mark.parametrize("source", [ECHO, WSGI_ECHO], ids=["asgi", "wsgi"])
def test_bodies_of_unknown_length_and_head_are_passed_to_both(private, source):
    server = private(one(source))
    assert server.post("/app", [b"some ", b"pieces"], chunked=True).body == b"some pieces"
    assert server.request("HEAD", "/app").header("x-method") == "HEAD"


def test_websocket_is_opened_by_an_application_of_asgi_only(private):
    server = private(one(ECHO))
    with websocket(server.port, "/app") as ws:
        ws.send(frame(TEXT, b"hello"))
        assert ws.receive() == "hello"
    other = private(one(WSGI_ECHO))
    with other.socket() as sock:
        sock.sendall(handshake("/app", "dGhlIHNhbXBsZSBub25jZQ==", "Connection: close"))
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK")


HOLDING = """
import os, time
def application(environ, start_response):
    path = os.path.dirname(__file__)
    open(f"{path}/begun-{os.getpid()}", "w").close()
    while environ["QUERY_STRING"] == "wait" and not os.path.exists(f"{path}/go"):
        time.sleep(0.01)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_process_of_wsgi_takes_as_many_requests_as_there_are_threads(private):
    """The other one is started although the first one would have places for a hundred of ASGI."""

    def prepare(server):
        server.root.chmod(0o777)

    server = private(one(HOLDING, "processes=1-2 threads=1"), prepare)
    first = server.get("/app").text
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(server.get("/app?wait").text))
    (server.root / f"begun-{first}").unlink()
    waiting.start()
    wait_until((server.root / f"begun-{first}").exists, "the first process to be busy")
    assert server.get("/app").text != first
    (server.root / "go").write_text("")
    waiting.join()
    assert answers == [first]
