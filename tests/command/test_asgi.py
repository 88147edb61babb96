"""Applications of ASGI, named by one command: found, served, loaded anew."""

import re
import subprocess

import pytest
from harness.websocket import Closed, websocket

pytestmark = pytest.mark.ours_only("runs ours")

FAST = """from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse


@asynccontextmanager
async def lifespan(app):
    yield {"started": "started"}


app = FastAPI(lifespan=lifespan)


@app.get("/", response_class=HTMLResponse)
async def index(request: Request):
    return f"<html><body>one {request.state.started}</body></html>"


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
"""


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_new_user_of_fastapi_types_one_command_and_gets_a_page(start, activated, short):
    """https://fastapi.tiangolo.com/tutorial/first-steps/, with main.py, and what is edited next."""
    folder = short / "project"
    folder.mkdir()
    main = folder / "main.py"
    main.write_text(FAST)
    server = start("--reload", cwd=folder, **activated)
    server.wait_for("application: main:app, found by main.py")
    server.wait_for("interface: ASGI")
    server.wait_for(rf"docs: http://127\.0\.0\.1:{server.port}/docs")
    status, page = server.get()
    assert (status, "one started" in page, "refresh.js" in page) == (200, True, True)
    with websocket(server.port) as ws:
        ws.send_text("hello")
        assert ws.receive() == "hello"
        edit(main, "one {", "two {")
        server.wait_for_page("two started")
        # An open WebSocket holds up no new version: the page connects to it.
        with pytest.raises(Closed, match="1012"):
            ws.receive()
    edit(main, "app = FastAPI", "import no_such_module\napp = FastAPI")
    server.wait_for_page("ModuleNotFoundError: No module named &#x27;no_such_module&#x27;")
    server.wait_for("the application cannot be loaded")
    assert server.get()[0] == 500
    # A start that fails is shown as well.
    edit(main, "import no_such_module\n", "")
    edit(main, "    yield {", "    raise ValueError('no <database>')\n    yield {")
    server.wait_for_page("ValueError: no &lt;database&gt;")
    server.wait_for("ValueError: no <database>")
    assert "refresh.js" in server.get()[1]
    edit(main, "    raise ValueError('no <database>')\n", "")
    server.wait_for_page("two started")


def test_fastapi_is_served_in_production_with_event_streams_and_websockets(start, activated, short):
    folder = short / "project"
    folder.mkdir()
    (folder / "fast.py").write_text(
        FAST
        + '\n\n@app.get("/events")\n'
        + "async def events():\n"
        + "    from fastapi.responses import StreamingResponse\n"
        + "    return StreamingResponse(iter(['data: 1\\n\\n']), media_type='text/event-stream')\n"
    )
    server = start("fast:app", "--processes", "2", cwd=folder, **activated)
    assert server.get() == (200, "<html><body>one started</body></html>")
    assert server.get("/events") == (200, "data: 1\n\n")
    with websocket(server.port) as ws:
        ws.send_text("hello")
        assert ws.receive() == "hello"
        assert ws.close() == (1000, "")


# Nothing in the text says which interface it is.
HIDDEN = {
    "asgi": """async def answer(scope, get, put):
    assert scope["type"] == "http"
    await put({"type": "http.response.start", "status": 200, "headers": []})
    await put({"type": "http.response.body", "body": b"TEXT asgi"})
app = answer
""",
    "wsgi": """def answer(environ, begin):
    begin("200 OK", [])
    return [b"TEXT wsgi"]
app = answer
""",
}


@pytest.mark.parametrize("development", [True, False], ids=["development", "production"])
def test_interface_that_no_text_tells_is_that_of_the_loaded_application(start, site, development):
    app = site / "app.py"
    app.write_text(HIDDEN["asgi"].replace("TEXT", "first"))
    server = start(*(["--reload"] if development else []))
    assert server.get() == (200, "first asgi")
    if not development:
        return
    # The next version may have the other one, and none while it cannot be loaded.
    app.write_text(HIDDEN["wsgi"].replace("TEXT", "second"))
    server.wait_for_page("second wsgi")
    app.write_text("import no_such_module\n")
    server.wait_for_page("no_such_module")
    app.write_text(HIDDEN["asgi"].replace("TEXT", "third"))
    server.wait_for_page("third asgi")


ASGI = "async def app(scope, receive, send): ...\n"
WSGI = "def app(environ, start_response): ...\n"
OF_ASGI = ['ASGIScriptAlias "/" ', "request-timeout=0 ", "AsyncRequestWorkerFactor 16"]
OF_WSGI = ['WSGIScriptAlias "/" ', "request-timeout=60 "]

CONFIGURATIONS = {
    "asgi is seen": (ASGI, [], OF_ASGI, ["interface="]),
    "wsgi is seen": (WSGI, [], OF_WSGI, ["interface=", "AsyncRequest"]),
    "asgi is said": (WSGI, ["--interface", "asgi", "app.py"], OF_ASGI, ["interface="]),
    "wsgi is said": (ASGI, ["--interface", "wsgi", "app.py"], OF_WSGI, ["interface="]),
    "neither is seen": ("app = 1\n", [], ["interface=auto", "request-timeout=60 "], ["ASGIScript"]),
    "an option is for wsgi": ("app = 1\n", ["--warm-up", "/"], OF_WSGI, ["interface="]),
    "a limit is given": (
        ASGI,
        ["--request-timeout", "30", "--max-clients", "500", "--mount-point", "/a"],
        ['ASGIScriptAlias "/a" ', "request-timeout=30 ", "MaxRequestWorkers 512"],
        [],
    ),
    "prefork": (ASGI, ["--server-mpm", "prefork", "--preload"], ["preload=On"], []),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_interface_is_in_the_configuration_that_httpd_accepts(run, site, tmp_path, name):
    text, options, parts, absent = CONFIGURATIONS[name]
    (site / "app.py").write_text(text)
    root = tmp_path / "root"
    run("setup-server", "--server-root", root, *options)
    conf = (root / "httpd.conf").read_text()
    assert [part for part in parts if part not in conf] == []
    assert [part for part in absent if part in conf] == []
    checked = subprocess.run([root / "apachectl", "configtest"], capture_output=True, text=True)
    assert checked.stderr.strip().endswith("Syntax OK"), checked.stderr


@pytest.mark.parametrize("option", ["--embedded-mode", "--warm-up=/", "--application-group=x"])
def test_option_of_wsgi_is_refused_for_asgi_with_a_sentence(run, site, tmp_path, option):
    (site / "app.py").write_text(ASGI)
    done = run("setup-server", "--server-root", tmp_path / "root", option, check=False)
    assert done.returncode == 2
    sentence = rf"{option.split('=')[0]} is for applications of WSGI: .*; app:app is one of ASGI"
    assert re.search(sentence, done.stderr)


HANGS = """import asyncio
import os


async def app(scope, receive, send):
    assert scope["type"] == "http"
    text = f"process {os.getpid()}"
    if scope["path"] == "/hangs":
        await asyncio.sleep(600)
    elif scope["path"] == "/cleans_up":
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            text = "cancelled"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
"""


def test_request_of_asgi_is_cancelled_after_request_timeout(start, run, site, tmp_path):
    (site / "app.py").write_text(HANGS)
    server = start("--processes=1", "--request-timeout=3", "--interrupt-timeout=30")
    before = server.get()
    assert server.get("/hangs")[0] == 504
    server.wait_for(r"WSGI0275: cancelled request GET /hangs has taken")
    assert server.get("/cleans_up") == (200, "cancelled")
    # The process is the same: no other request of it was disturbed.
    assert server.get() == before
    done = run(
        "setup-server", "--server-root", tmp_path / "root", "--interrupt-timeout=5", check=False
    )
    assert done.returncode == 2
    assert "--interrupt-timeout needs --request-timeout" in done.stderr
