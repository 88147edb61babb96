"""The line below a traceback that says how to mend a known mistake, where the cause is certain."""

import pytest
from harness.conf import Conf

pytestmark = pytest.mark.differs("hints", "mod_wsgi has the traceback only", always=False)

ALIAS = "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${ROOT}/site/app.py\n"
SCRIPT = r"^(\[script [^]]*\] )?"
ANSWER = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""
ASGI = """
class Asynchronous:
    async def __call__(self, scope, receive, send):
        pass
"""
FLASK = """
class Flask:
    def wsgi_app(self, environ, start_response):
        return []
    def __call__(self, environ, start_response):
        return self.wsgi_app(environ, start_response)
"""


@pytest.fixture
def hint(serve, env):
    """hint(script, text) is the hint in the log of a server after a request to the script."""

    def hint(script, text=ALIAS, *, files=(), prepare=lambda server: None, **conf):
        files = (("site/app.py", script), *files)
        server = serve(Conf(text, files=files, **conf), private=True)
        prepare(server)
        assert server.get("/").status == 500
        server.log.allow("WSGI0", "Traceback", SCRIPT + "( |[A-Za-z.0-9]*Error|The|During)")
        server.log.allow("Hint: ", "^$")
        server.log.wait_for("WSGI0")
        hints = [line.text.partition("Hint: ")[2] for line in server.log.find("Hint: ")]
        assert len(hints) <= 1
        assert hints or not env.oracle, "mod_wsgi has no hints"
        return hints[0].replace(str(server.root), "ROOT") if hints else None

    return hint


def option(server_mode, daemon, embedded):
    return daemon if server_mode == "daemon" else embedded


@pytest.mark.parametrize(
    ("file", "folder"), [("site/beside.py", "site"), ("beside/__init__.py", "")]
)
def test_a_module_that_stands_beside_the_script(hint, mode, file, folder):
    found = hint("import beside.more\n" + ANSWER, files=((file, ""),))
    place = f"ROOT/{folder}".rstrip("/")
    added = option(mode, f"python-path={place}", f"WSGIPythonPath {place}")
    assert found == f"'beside' stands in {place}, which is not on sys.path; add {added}."


@pytest.mark.parametrize("folder", ["venv", ".venv", "env"])
def test_a_module_that_a_virtual_environment_has(hint, mode, env, folder):
    packages = f"site/{folder}/lib/python{env.python.rstrip('t')}/site-packages"
    found = hint("import in_venv\n" + ANSWER, files=((f"{packages}/in_venv/__init__.py", ""),))
    home = f"ROOT/site/{folder}"
    used = option(mode, f"python-home={home}", f"WSGIPythonHome {home}")
    assert found == f"the virtual environment {home} has 'in_venv'; use {used}."


def test_a_module_that_is_nowhere_has_no_hint(hint):
    assert hint("import nowhere_at_all\n" + ANSWER) is None


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (FLASK + "app = Flask()", "the script has 'app'; add callable-object=app."),
        (FLASK + "site = Flask()", "the script has 'site'; add callable-object=site."),
        (
            "def create_app():\n    pass\n",
            "'create_app' makes the application; add callable-object=create_app().",
        ),
        (
            "def create_app(config, debug=False):\n    pass\n",
            "'create_app' makes the application; add to the script: application = create_app(...).",
        ),
        (ASGI + "app = Asynchronous()", "the script has 'app': this is an ASGI application"),
        ("import os\nx = 1\n", None),
        (FLASK + "one, two = Flask(), Flask()", None),
    ],
)
def test_a_script_whose_callable_has_another_name(hint, script, text):
    found = hint(script)
    assert found is text or found.startswith(text)


def test_an_asgi_application(hint):
    assert hint(ASGI + "application = Asynchronous()").startswith("this is an ASGI application")


def test_a_relative_import_in_the_script(hint):
    assert "not part of a package" in hint("from . import views\n")


def test_a_file_that_may_not_be_opened(hint, env):
    if env.user is None:
        pytest.skip("needs root to have files of another user")

    def prepare(server):
        log = server.write("site/app.log", "")
        log.chmod(0o600)
        server.write("site/app.py", f"import logging\nlogging.FileHandler({str(log)!r})\n")

    found = hint("", prepare=prepare)
    assert found.startswith(f"this process has user '{env.user.pw_name}', group '")
    assert "; ROOT/site/app.log: uid 0, gid 0, mode 0600; ROOT/site: uid 0, gid 0, mode 0" in found


READ_ONLY = """
import os, sqlite3
database = sqlite3.connect(os.path.join(os.path.dirname(__file__), "data.sqlite"))
def application(environ, start_response):
    database.execute("INSERT INTO t VALUES (1)")
"""


def test_a_database_that_may_not_be_written(hint, env):
    if env.user is None:
        pytest.skip("needs root to have files of another user")
    sqlite3 = pytest.importorskip("sqlite3")

    def prepare(server):
        path = server.root / "site/data.sqlite"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE t (a)")
        path.chmod(0o644)

    found = hint(READ_ONLY, prepare=prepare)
    assert "; ROOT/site/data.sqlite: uid 0, gid 0, mode 0644; ROOT/site: uid 0" in found


@pytest.mark.parametrize("script", ["KEY = os.environ['SITE_KEY']\n" + ANSWER, None])
def test_a_variable_of_setenv_that_is_looked_for_in_os_environ(hint, script):
    in_request = "def application(environ, start_response):\n    return [os.environ['SITE_KEY']]\n"
    found = hint(
        "import os\n" + (script or in_request), "SetEnv SITE_KEY x\n" + ALIAS, modules=("env",)
    )
    assert found.startswith("SetEnv and PassEnv put 'SITE_KEY' into the environ of requests")


def test_another_missing_variable_has_no_hint(hint):
    assert hint("import os\nos.environ['SITE_KEY']\n") is None


SUB = "WSGIScriptAlias /other ${ROOT}/site/app.py application-group=other\n" + (
    "WSGIScriptAlias / ${ROOT}/site/app.py application-group=sub\n"
)
WRAPPED = """
try:
    raise ImportError("cannot load module more than once per process")
except ImportError as error:
    raise RuntimeError("numpy is broken") from error
"""


def test_an_extension_for_the_main_interpreter_is_found_in_the_chain_of_causes(hint):
    assert "WSGIApplicationGroup %{GLOBAL}" in hint(WRAPPED, SUB)


def test_preexec_fn_in_a_sub_interpreter(hint, env):
    if env.python_version >= (3, 12):
        pytest.skip("CPython permits it, but for an interpreter with a lock of its own")
    found = hint("import subprocess\nsubprocess.run(['/bin/true'], preexec_fn=int)\n", SUB)
    assert found.startswith("a fork by Python only works in the main interpreter")


FORKS = """
import os
def application(environ, start_response):
    ends = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(7)
        ends.append(os.waitpid(child, 0)[1])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr([os.waitstatus_to_exitcode(end) for end in ends]).encode()]
"""


def test_fork_in_a_sub_interpreter_is_told_once_before_cpython_ends_the_child(serve, env):
    server = serve(Conf(SUB, files=(("site/app.py", FORKS),)), private=True)
    server.log.allow("Python runtime state|Current thread|  File|Thread |Extension modules|^$")
    server.log.allow("WSGI0255", "  <no Python frame>")
    answer = server.get("/").text
    server.log.expect_crash("Fatal Python error: .*not main interpreter")
    assert answer != "[7, 7]", "this version of CPython permits it"
    assert server.get("/").text == answer
    if env.oracle:
        return
    (line,) = server.log.wait_for("WSGI0255: an application forks in a sub-interpreter")
    assert line.level == "error"
    assert "Hint: a fork by Python only works in the main interpreter; give the" in line.text
    assert server.get("/other").status == 200
    assert len(server.log.wait_for("WSGI0255", count=2)) == 2


def test_fork_in_the_main_interpreter_has_no_hint(serve):
    server = serve(Conf(ALIAS, files=(("site/app.py", FORKS),)), private=True)
    assert server.get("/").text == "[7, 7]"
    assert not server.log.find("WSGI0255")


def test_in_the_main_interpreter_the_same_has_no_hint(hint):
    assert hint(WRAPPED) is None


REFUSING = """
def application(environ, start_response):
    known = "HTTP_AUTHORIZATION" in environ
    start_response("200 OK" if known else "401 Unauthorized", [("Content-Type", "text/plain")])
    return [b"body"]
"""


@pytest.mark.parametrize("passed", [False, True])
def test_an_authorization_header_that_an_application_does_not_get(serve, passed):
    text = "WSGIPassAuthorization On\n" + ALIAS if passed else ALIAS
    server = serve(Conf(text, files=(("site/app.py", REFUSING),)), private=True)
    server.log.allow("Hint: .*WSGIPassAuthorization")
    assert server.get("/", headers={}).status == 401
    assert not server.log.find("Hint: ")
    for _ in range(3):
        response = server.get("/", headers={"Authorization": "Bearer x"})
        assert response.status == (200 if passed else 401)
    assert len(server.log.find("Hint: .*WSGIPassAuthorization On")) == (0 if passed else 1)
