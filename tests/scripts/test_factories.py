"""A callable object that is written as a call: what the function returns is the application."""

import concurrent.futures
import os
import time

import pytest
from harness.conf import Conf
from harness.httpd import wait_until

makes = pytest.mark.differs("callable-object-factory", "mod_wsgi looks for an object of that name")

# The number of calls is the process's own, whatever is loaded anew.
MADE = """
import threading, time

def create_app(prefix=VERSION):
    threading.made_by_the_test = getattr(threading, "made_by_the_test", 0) + 1
    time.sleep(0.2)
    number = threading.made_by_the_test

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{prefix} {number} {environ['mod_wsgi.callable_object']}".encode()]

    return application
"""
ALIAS = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/site/app.py "
OF_ALIAS = ALIAS + "callable-object=create_app()"
OF_DIRECTORY = ALIAS + "\nWSGICallableObject create_app()"
OF_VARIABLE = (
    ALIAS + "\nSetEnv FACTORY create_app()\n<Location />\nWSGICallableObject %{ENV:FACTORY}\n"
    "</Location>"
)


def version(server):
    response = server.get("/")
    assert response.status == 200, response
    return response.text


def deploy(server, text, seconds):
    """Renamed into place, with a time of its own."""
    written = server.write("site/app.py.new", text)
    os.utime(written, (seconds, seconds))
    written.rename(server.root / "site/app.py")


def failures(server):
    server.log.allow("WSGI017[45]: ", "^Traceback ", r"^\s", "^[A-Za-z.]*(Error|Exit): ")


@pytest.fixture
def site(serve):
    """site(script, text): a server with that script."""

    def site(script, text=OF_ALIAS, **conf):
        files = (("site/app.py", script),)
        return serve(Conf(text, files=files, **conf), private=True)

    return site


@makes
@pytest.mark.parametrize("text", [OF_ALIAS, OF_DIRECTORY, OF_VARIABLE])
def test_factory_is_called_once_and_its_application_kept(site, text):
    server = site(MADE.replace("VERSION", "'one'"), text, modules=("env",))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: version(server), range(8)))
    assert answers == ["one 1 create_app()"] * 8
    assert version(server) == "one 1 create_app()"


@makes
def test_changed_script_has_its_factory_called_anew(site, mode):
    server = site(MADE.replace("VERSION", "'one'"))
    assert version(server) == "one 1 create_app()"
    deploy(server, MADE.replace("VERSION", "'two'"), time.time() + 10)
    # In daemon mode another process has loaded it, before requests reach it.
    expected = "two 2 create_app()" if mode == "embedded" else "two 1 create_app()"
    wait_until(lambda: version(server) == expected, "the new application")


@makes
def test_factory_of_a_changed_script_that_fails_leaves_old_daemon_processes_serving(site, mode):
    server = site(MADE.replace("VERSION", "'one'"))
    assert version(server) == "one 1 create_app()"
    fails = "raise ValueError('not yet')"
    deploy(server, MADE.replace("time.sleep(0.2)", fails).replace("VERSION", "2"), time.time() + 10)
    if mode == "daemon":
        version(server)
        server.log.wait_for("keeping the current workers")
        assert version(server) == "one 1 create_app()"
        server.log.expect("keeping the current workers")
    else:
        assert server.get("/").status == 500
    server.log.expect("^ValueError: not yet", "WSGI0109: ")
    failures(server)
    deploy(server, MADE.replace("VERSION", "'three'"), time.time() + 20)
    wait_until(lambda: version(server).startswith("three "), "the new application")


@makes
def test_factory_that_raises_is_a_500_with_its_traceback_and_is_tried_again(site):
    server = site(
        "import os\n"
        "FLAG = os.path.join(os.path.dirname(__file__), 'flag')\n"
        "def create_app():\n"
        "    with open(FLAG) as file:\n"
        "        text = file.read().encode()\n"
        "    def application(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        "        return [text]\n"
        "    return application\n"
    )
    assert server.get("/").status == 500
    line = server.log.expect("WSGI0109: ")[0]
    assert line.text.endswith("app.py' has failed. [LF]")
    assert "Factory 'create_app()' of WSGI script '" in line.text
    server.log.expect("^FileNotFoundError: ", "in create_app")
    failures(server)
    server.log.allow("WSGI0222", "^Hint: ")
    server.write("site/flag", "there")
    assert server.get("/").text == "there"


@makes
def test_factory_that_exits_is_a_500_of_a_process_that_goes_on(site):
    server = site("import sys\ndef create_app():\n    sys.exit(3)\n")
    assert server.get("/").status == 500
    server.log.expect("WSGI0107: .*Factory 'create_app\\(\\)' of WSGI script ")
    failures(server)
    server.log.allow("WSGI0222")
    assert server.get("/").status == 500
    server.log.expect("WSGI0107: ")


@makes
@pytest.mark.parametrize(
    ("script", "what"),
    [
        (
            "def create_app(settings): pass\n",
            "has a factory that needs arguments for WSGI application 'create_app()': "
            "create_app() missing 1 required positional argument: 'settings'; call it in the "
            "script, as in application = create_app(...).",
        ),
        (
            "class create_app:\n    def __init__(self, *, settings): pass\n",
            "has a factory that needs arguments for WSGI application 'create_app()': ",
        ),
        (
            "def create_app(): pass\n",
            "has a factory that returns a NoneType, which cannot be called, for WSGI application "
            "'create_app()'.",
        ),
        (
            "create_app = 3\n",
            "has a int, which cannot be called, for WSGI application 'create_app()'.",
        ),
    ],
)
def test_factory_that_makes_no_application_gives_one_sentence(site, script, what):
    server = site(script)
    assert server.get("/").status == 500
    [line] = server.log.expect("WSGI0089: ")
    assert what in line.text
    server.log.allow("WSGI0222")


@makes
def test_type_error_within_a_factory_has_its_traceback(site):
    server = site("def inner(one): pass\ndef create_app(): return inner()\n")
    assert server.get("/").status == 500
    server.log.expect("WSGI0109: ", "^TypeError: inner\\(\\) missing 1 required", "in create_app")
    failures(server)
    server.log.allow("WSGI0222")


def test_object_of_that_very_name_stands_above_the_factory(site):
    """As in mod_wsgi, where that is the only way."""
    server = site(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'of that name']\n"
        "globals()['create_app()'] = application\n"
        "def create_app(): raise ValueError\n"
    )
    assert server.get("/").text == "of that name"
