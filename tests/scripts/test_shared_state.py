"""Applications in interpreters of one process do not see each other's state: that of C modules, of
threads, and of the environment."""

import itertools

import pytest
from harness.conf import Conf

TWO = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/shared_state.py application-group=%{GLOBAL}
    WSGIScriptAlias /one ${APPS}/shared_state.py application-group=one
    WSGIScriptAlias /two ${APPS}/shared_state.py application-group=two
    """
)
MOUNTS = ["/one", "/two", "/main", "/one"]
DIFFERS = pytest.mark.differs(
    "modules-apart", "C modules share their state up to Python 3.11 or 3.12", always=False
)


@pytest.fixture
def server(serve):
    return serve(TWO, private=True)


@DIFFERS
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("asyncio_", "TimeoutError, own; CancelledError, own; InvalidStateError, own"),
        ("decimal_", "[True, True]"),
        ("zoneinfo_", "ZoneInfoNotFoundError, own"),
    ],
)
def test_a_c_module_is_of_one_interpreter_only(server, path, text):
    assert [server.get(f"{mount}/{path}").text for mount in MOUNTS] == [text] * len(MOUNTS)


@DIFFERS
def test_a_default_context_of_decimal_is_of_one_application(server):
    assert server.get("/one/precision?9").text == "9"
    assert server.get("/two/precision").text == "28"
    assert server.get("/main/precision?11").text == "11"
    assert server.get("/one/precision").text == "9"


@pytest.mark.ours_only("mod_wsgi hides no module")
def test_the_log_names_a_module_that_is_hidden(serve, env):
    if env.python_version >= (3, 13):
        pytest.skip("no module of this Python shares its state")
    server = serve(TWO, private=True)
    for mount in MOUNTS:
        server.get(f"{mount}/decimal_")
    hidden = server.log.expect("uses the twin in Python of the module _decimal", count=2)
    assert len(hidden) == 2
    assert "'two'" in hidden[0].text


@DIFFERS
def test_threads_that_applications_start_have_numbers_of_their_own(server):
    mounts = ["/one", "/two", "/main"]
    seen = [server.get(f"{mount}/numbers_of_threads").text.split() for mount in mounts]
    flat = list(itertools.chain(*seen))
    assert len(set(flat)) == len(flat) == 15


@DIFFERS
def test_event_loops_run_in_threads_that_applications_start(server):
    for mount in ("/one", "/two"):
        assert server.get(f"{mount}/loop_begins").text == "True"
    for mount in ("/two", "/one", "/main"):
        assert server.get(f"{mount}/loops_of_threads").text == "ran"
    for mount in ("/one", "/two"):
        assert server.get(f"{mount}/loop_ends").status == 200


# --- the environment ------------------------------------------------------------------------------

SETTER = """
import os
os.environ.setdefault("SITE_SETTINGS", NAME)
os.environ.pop("TO_REMOVE", None)
os.environ["GIVEN"] += NAME
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("SITE_SETTINGS", "GIVEN")
    return [" ".join(os.environ[name] for name in names).encode()]
"""


@pytest.mark.embedded_only("the environment of Apache's children is that of Apache")
@pytest.mark.differs("environment-apart", "mod_wsgi's interpreters inherit what others have set")
def test_each_interpreter_begins_with_the_environment_of_the_process(serve):
    names = ["one", "two", "main"]
    aliases = "\n".join(
        f"WSGIScriptAlias /{name} ${{ROOT}}/{name}.py application-group="
        + ("%{GLOBAL}" if name == "main" else name)
        for name in names
    )
    files = tuple((f"{name}.py", f"NAME = {name!r}\n{SETTER}") for name in names)
    environment = (("GIVEN", "given-"), ("TO_REMOVE", "1"))
    server = serve(Conf(aliases, files=files, environment=environment), private=True)
    for name in [*names, *names]:
        assert server.get(f"/{name}").text == f"{name} given-{name}"


DJANGO_WSGI = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "NAME_settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
DJANGO_SETTINGS = """
import asyncio
from django.http import HttpResponse
from django.urls import path
NAME = "THE_NAME"
SECRET_KEY = ROOT_URLCONF = __name__
ALLOWED_HOSTS = ["*"]
async def slow(request):
    from django.conf import settings
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.2)
    except asyncio.TimeoutError:
        return HttpResponse(settings.NAME)
urlpatterns = [path("", slow)]
"""


@pytest.mark.differs("environment-apart", "the second site runs with the settings of the first")
def test_two_django_sites_in_one_process_have_their_own_settings(serve, packages):
    """As startproject writes wsgi.py; with asynchronous views."""
    names = ("first", "second")
    text = f"WSGIPythonPath {packages}:${{ROOT}}\n" + "\n".join(
        f"WSGIScriptAlias /{name} ${{ROOT}}/{name}.py application-group={name}" for name in names
    )
    files = tuple(
        (f"{name}{kind}.py", text.replace("THE_NAME", name).replace("NAME_", f"{name}_"))
        for name in names
        for kind, text in (("", DJANGO_WSGI), ("_settings", DJANGO_SETTINGS))
    )
    server = serve(Conf(text, files=files), private=True)
    for name in [*names, *names]:
        response = server.get(f"/{name}/")
        assert (response.status, response.text) == (200, name)
