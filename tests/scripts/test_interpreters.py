"""Application groups are interpreters: which request runs in which, and what each is like."""

import concurrent.futures
import dataclasses

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.httpd import wait_until

GROUPS = Conf(
    """
    WSGIPythonPath ${APPS}
    SetEnv FROM_ENV from-setenv
    SetEnv INDIRECT %{ENV:FROM_ENV}
    SetEnv GLOBALLY %{GLOBAL}
    PassEnv FROM_PROCESS
    WSGIScriptAlias /global ${APPS}/ask.py application-group=%{GLOBAL}
    WSGIScriptAlias /named ${APPS}/ask.py application-group=named
    WSGIScriptAlias /also-named ${APPS}/ask.py application-group=named
    WSGIScriptAlias /other ${APPS}/ask.py application-group=other
    WSGIScriptAlias /server ${APPS}/ask.py application-group=%{SERVER}
    WSGIScriptAlias /host ${APPS}/ask.py application-group=%{HOST}
    WSGIScriptAlias /resource ${APPS}/ask.py application-group=%{RESOURCE}
    WSGIScriptAlias /behind ${APPS}/ask.py/prefix
    WSGIScriptAlias /unset ${APPS}/ask.py
    WSGIScriptAlias /env ${APPS}/ask.py application-group=%{ENV:FROM_ENV}
    WSGIScriptAlias /indirect ${APPS}/ask.py application-group=%{ENV:INDIRECT}
    WSGIScriptAlias /globally ${APPS}/ask.py application-group=%{ENV:GLOBALLY}
    WSGIScriptAlias /rewritten ${APPS}/ask.py application-group=%{ENV:FROM_REWRITE}
    WSGIScriptAlias /process ${APPS}/ask.py application-group=%{ENV:FROM_PROCESS}
    WSGIScriptAlias /absent ${APPS}/ask.py application-group=%{ENV:ABSENT}
    WSGIScriptAlias /embedded-token ${APPS}/ask.py application-group=x%{SERVER}
    WSGIScriptAlias /callable ${APPS}/ask.py
    WSGIScriptAlias /odd-callable ${APPS}/ask.py
    <Location /callable>
        SetEnv CALLABLE application
        WSGICallableObject %{ENV:CALLABLE}
    </Location>
    <Location /odd-callable>
        WSGICallableObject %{GLOBAL}
    </Location>
    <VirtualHost *>
        ServerName localhost
        RewriteEngine On
        RewriteRule ^/rewritten - [E=FROM_REWRITE:from-rewrite]
    </VirtualHost>
    <VirtualHost *>
        ServerName other.example
        ServerAlias *.other.example
    </VirtualHost>
    """,
    modules=("env", "rewrite"),
    threads=1,
    environment=(("FROM_PROCESS", "from-process"),),
)

GROUP = "environ['mod_wsgi.application_group']"


@pytest.fixture
def server(serve):
    server = serve(GROUPS)
    # See test_a_thread_that_served_a_named_group_can_still_serve_the_main_one.
    assert ask(server, "1", "/global") == 1
    return server


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("mount", "group"),
    [
        ("/global", ""),
        ("/named", "named"),
        ("/server", "localhost:{port}"),
        ("/host", "localhost:{port}"),
        ("/resource", "localhost:{port}|/resource"),
        ("/unset", "localhost:{port}|/unset"),
        ("/env", "from-setenv"),
        # A value is expanded once more, but an environment variable's name only once.
        ("/indirect", "%{{ENV:FROM_ENV}}"),
        ("/globally", ""),
        ("/rewritten", "from-rewrite"),
        ("/process", "from-process"),
        ("/absent", "%{{ENV:ABSENT}}"),
        ("/embedded-token", "x%{{SERVER}}"),
    ],
)
def test_an_application_group_expands_to(server, mount, group):
    seen = ask(server, GROUP, mount, host=f"localhost:{server.port}")
    assert seen == group.format(port=server.port)


@pytest.mark.parametrize("port", ["", ":80", ":443"])
def test_the_well_known_ports_are_left_out(server, port):
    assert ask(server, GROUP, "/resource", host=f"localhost{port}") == "localhost|/resource"


@pytest.mark.parametrize(
    ("mount", "group"), [("/server", "other.example"), ("/host", "www.other.example")]
)
def test_server_is_the_servers_name_and_host_the_clients(server, mount, group):
    assert ask(server, GROUP, mount, host="www.other.example") == group


def test_repeated_slashes_make_no_other_resource(server):
    group = ask(server, GROUP, "//resource", host="localhost")
    assert group == "localhost|/resource"


@pytest.mark.parametrize("path", ["", "/", "/a", "/b/c"])
def test_the_rest_of_the_url_makes_no_other_resource(server, path):
    """Else a client could make an interpreter with each URL."""
    assert ask(server, GROUP, f"/behind{path}", host="localhost") == "localhost|/behind"


@pytest.mark.parametrize("mount", ["/callable", "/odd-callable"])
def test_a_callables_name_may_come_from_the_environment(server, mount):
    assert ask(server, "environ['mod_wsgi.callable_object']", mount) == "application"


@pytest.mark.all_mpms
@pytest.mark.parametrize(
    ("mount", "main"),
    [("/global", True), ("/globally", True), ("/named", False), ("/unset", False)],
)
def test_the_empty_group_is_the_main_interpreter(server, mount, main):
    assert ask(server, "in_main_interpreter()", mount) is main


@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.differs(
    "main-after-named",
    "mod_wsgi runs it in the interpreter the thread served first, on Python 3.11",
)
def test_a_thread_that_served_a_named_group_can_still_serve_the_main_one(serve):
    server = serve(dataclasses.replace(GROUPS, threads=2), private=True)

    def both_threads(mount):
        # Neither request ends before the other has begun, so each has a thread of its own.
        meet = (
            "[kept.setdefault('barrier', threading.Barrier(2)).wait(5), in_main_interpreter()][1]"
        )
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: ask(server, meet, mount), range(2)))

    assert ask(server, "in_main_interpreter()", "/named") is False
    assert both_threads("/named") == [False, False]
    assert both_threads("/global") == [True, True]


@pytest.mark.all_mpms
def test_applications_of_one_group_share_their_modules(server):
    ask(server, "setattr(loaded_in, 'seen', 'by /named')", "/named")
    assert ask(server, "loaded_in.seen", "/also-named") == "by /named"
    assert "AttributeError" in ask(server, "loaded_in.seen", "/other")
    assert "AttributeError" in ask(server, "loaded_in.seen", "/global")


def test_each_interpreter_loads_a_script_once(server):
    for mount in ("/named", "/also-named", "/named"):
        assert ask(server, "loaded_in.count", mount) == 1


def test_a_sub_interpreter_is_announced(serve):
    server = serve(GROUPS, private=True)
    ask(server, "1", "/named")
    server.log.expect("[Cc]reating .*sub-?interpreter.*'named'")
    server.log.expect("Loading WSGI script .* into sub-interpreter 'named'")


# --- design.md D5 ---------------------------------------------------------------------------------


@pytest.mark.differs("single-group-main", "mod_wsgi gives a lone application a sub-interpreter")
@pytest.mark.all_mpms
@pytest.mark.parametrize(
    "text",
    [
        "WSGIScriptAlias / ${APPS}/ask.py",
        "WSGIScriptAlias / ${APPS}/ask.py application-group=lonely",
        "WSGIApplicationGroup lonely\nWSGIScriptAlias / ${APPS}/ask.py",
        "WSGIApplicationGroup a\n"
        "WSGIScriptAlias /a ${APPS}/ask.py\nWSGIScriptAlias / ${APPS}/ask.py",
    ],
)
def test_single_group_of_a_process_runs_in_the_main_interpreter(serve, text):
    server = serve(Conf("WSGIPythonPath ${APPS}\n" + text))
    assert ask(server, "in_main_interpreter()") is True
    # The name stays: applications use it as a key.
    assert ask(server, GROUP) != ""


@pytest.mark.parametrize(
    "text",
    [
        "WSGIScriptAlias /a ${APPS}/ask.py\nWSGIScriptAlias / ${APPS}/ask.py",
        "WSGIScriptAlias /a ${APPS}/ask.py application-group=a\n"
        "WSGIScriptAlias / ${APPS}/ask.py application-group=b",
        "WSGIScriptAlias / ${APPS}/ask.py application-group=a\n"
        "Alias /b ${APPS}\n"
        "<Location /b>\nSetHandler wsgi-script\nWSGIApplicationGroup b\n</Location>",
        "WSGIScriptAlias / ${APPS}/ask.py application-group=%{HOST}",
        "WSGIScriptAliasMatch ^/([a-z]*) ${APPS}/ask.py",
        "SetEnvIf X-Group (.*) GROUP=$1\n"
        "WSGIScriptAlias / ${APPS}/ask.py application-group=%{ENV:GROUP}",
        "<VirtualHost *>\nServerName localhost\nWSGIScriptAlias / ${APPS}/ask.py\n</VirtualHost>\n"
        "<VirtualHost *>\nServerName other\nWSGIScriptAlias / ${APPS}/ask.py\n</VirtualHost>",
    ],
)
def test_a_process_with_several_groups_gives_each_its_own(serve, text):
    conf = Conf("WSGIPythonPath ${APPS}\n" + text, modules=("alias", "setenvif"))
    server = serve(conf)
    assert ask(server, "in_main_interpreter()", headers={"X-Group": "some"}) is False


def test_the_main_interpreter_is_not_shared_by_two_applications_unasked(serve):
    text = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /a ${APPS}/ask.py application-group=%{GLOBAL}
    WSGIScriptAlias / ${APPS}/ask.py
    """
    server = serve(Conf(text))
    assert ask(server, "in_main_interpreter()", "/a") is True
    assert ask(server, "in_main_interpreter()") is False


# --- what every interpreter is like ---------------------------------------------------------------


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/global", "/named"])
def test_the_mod_wsgi_module_is_there(server, mount):
    seen = ask(
        server,
        "(lambda m: [type(m.version).__name__, len(m.version), m.process_group,"
        " m.application_group, m.maximum_processes, m.threads_per_process,"
        " m.version == environ['mod_wsgi.version']])(sys.modules['mod_wsgi'])",
        mount,
    )
    group = "" if server.mode == "embedded" else "tests"
    threads = 1 if server.mpm == "prefork" else server.conf.threads
    assert seen == ["tuple", 3, group, mount.strip("/").replace("global", ""), 1, threads, True]


@pytest.mark.parametrize("mount", ["/global", "/named"])
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sys.argv", ["mod_wsgi"]),
        ("'threading' in sys.modules", True),
        ("__import__('mod_wsgi').FileWrapper is environ['wsgi.file_wrapper']", True),
        ("type(environ['wsgi.input']).__module__", "mod_wsgi"),
        ("sys.path.count(environ['SCRIPT_FILENAME'].rpartition('/')[0])", 1),
    ],
)
def test_in_every_interpreter(server, mount, expression, value):
    assert ask(server, expression, mount) == value


@pytest.mark.parametrize("mount", ["/global", "/named"])
def test_pythonpath_directories_come_first(server, mount):
    assert ask(server, "sys.path[0]", mount) == str(server.apps)


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/global", "/named"])
def test_thread_local_data_outlives_a_request(server, mount):
    count = "setattr(local, 'count', getattr(local, 'count', 0) + 1) or local.count"
    seen = [ask(server, count, mount) for _ in range(5)]
    assert seen == list(range(seen[0], seen[0] + 5))


@pytest.mark.all_mpms
@pytest.mark.parametrize("mount", ["/global", "/named"])
def test_a_thread_started_by_an_application_runs_between_requests(server, mount):
    ask(
        server,
        "[threading.Thread(target=lambda: kept.update(ran=threading.get_ident()), daemon=True)"
        ".start()]",
        mount,
    )
    ask(server, "[thread.join(5) for thread in threading.enumerate() if thread.daemon][:0]", mount)
    assert isinstance(ask(server, "kept.get('ran')", mount), int)


def test_each_interpreter_has_its_own_os_environ(server):
    ask(server, "os.environ.__setitem__('ASKED', 'in named')", "/named")
    assert ask(server, "os.environ.get('ASKED')", "/named") == "in named"
    assert ask(server, "os.environ.get('ASKED')", "/global") is None


# --- event loops ----------------------------------------------------------------------------------

LOOPS = Conf(
    """
    WSGIScriptAlias /main ${ROOT}/loops.py application-group=%{GLOBAL}
    WSGIScriptAlias /named ${ROOT}/loops.py application-group=named
    """,
    files=(
        (
            "loops.py",
            """
import asyncio, threading
all_threads, others = threading.Barrier(4), threading.Barrier(3)
state = {"running": False}
async def run():
    state["running"] = True
    while state["running"]:
        await asyncio.sleep(0.01)
def meet():
    all_threads.wait(10)
def loop():
    asyncio.run(run())
def is_running():
    return state["running"]
def look():
    others.wait(10)
    return asyncio._get_running_loop()
def end():
    state["running"] = False
def application(environ, start_response):
    answer = globals()[environ["PATH_INFO"][1:]]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(answer).encode()]
""",
        ),
    ),
)


@pytest.mark.differs(
    "event-loops-apart", "asyncio takes threads of two interpreters for one", always=False
)
def test_an_event_loop_runs_in_the_thread_of_its_own_interpreter_only(serve):
    """asyncio knows threads by their number, in all interpreters; so does what asks it."""
    server = serve(LOOPS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for mount in ("/named", "/main"):
            assert set(pool.map(lambda _, at=mount: server.get(f"{at}/meet").text, range(4))) == {
                "None"
            }
        for _ in range(4):
            loop = pool.submit(server.get, "/main/loop")
            wait_until(lambda: server.get("/main/is_running").text == "True", "the loop to run")
            seen = list(pool.map(lambda _: server.get("/named/look").text, range(3)))
            assert server.get("/main/end").status == 200
            assert loop.result().text == "None"
            assert seen == ["None"] * 3
