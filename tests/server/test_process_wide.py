"""Directives that hold for the whole process: what the interpreter is like under each."""

import hashlib

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.env import REPO

ASK = "WSGIPythonPath ${APPS}\nWSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ${APPS}/ask.py\n"

MANY = Conf(
    """
    WSGIPythonPath ${ROOT}/site:${APPS}
    WSGIPythonOptimize 2
    WSGIPythonWarnings error::UserWarning
    WSGIPythonWarnings ignore::DeprecationWarning
    WSGIDontWriteBytecode On
    WSGISwitchInterval 0.02
    WSGIPythonEggs ${ROOT}/eggs
    WSGIRestrictStdin On
    WSGIRestrictStdout On
    WSGIVerboseDebugging On
    WSGICaseSensitivity Off
    WSGIScriptAlias /Named ${APPS}/ask.py application-group=named
    WSGIScriptAlias /Resource ${APPS}/ask.py
    WSGIScriptAlias / ${APPS}/ask.py application-group=%{GLOBAL}
    """,
    files=(
        ("site/from_site.py", "here = True\n"),
        ("site/more.pth", "../further\n"),
        ("further/from_pth.py", "here = True\n"),
    ),
)


@pytest.fixture
def many(serve):
    return serve(MANY)


@pytest.fixture
def value(serve):
    """value(directives, expression) in a server with these directives."""
    return lambda text, expression: ask(serve(Conf(ASK + text)), expression)


@pytest.mark.embedded_only("about Apache's own processes; daemons have options of their own")
@pytest.mark.parametrize("mount", ["", "/Named"])
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sys.flags.optimize", 2),
        ("'error::UserWarning' in sys.warnoptions", True),
        ("sys.warnoptions[-2:]", ["error::UserWarning", "ignore::DeprecationWarning"]),
        ("sys.dont_write_bytecode", True),
        ("round(sys.getswitchinterval(), 6)", 0.02),
        ("__import__('from_site').here", True),
        ("__import__('from_pth').here", True),
        ("[p.rpartition('/')[2] for p in sys.path[:3]]", ["site", "further", "apps"]),
        ("sys.stdin.read", "OSError: sys.stdin access restricted by mod_wsgi"),
        ("sys.stdout.write", "OSError: sys.stdout access restricted by mod_wsgi"),
        ("print('x')", "OSError: sys.stdout access restricted by mod_wsgi"),
        ("type(sys.stdin).__module__ + '.' + type(sys.stdin).__name__", "mod_wsgi.Restricted"),
    ],
)
def test_process_wide_settings_hold_in_every_interpreter(many, mount, expression, value):
    assert ask(many, expression, mount) == value


@pytest.mark.embedded_only("about Apache's own processes; daemons have options of their own")
@pytest.mark.parametrize("mount", ["", "/Named"])
def test_egg_cache_is_in_the_configured_directory(many, mount):
    assert ask(many, "os.environ['PYTHON_EGG_CACHE']", mount) == f"{many.root}/eggs"


def test_without_case_sensitivity_names_are_lower_case(many):
    path = str(many.apps / "ask.py").lower()
    assert ask(many, "__name__") == "_mod_wsgi_" + hashlib.md5(path.encode()).hexdigest()
    group = ask(many, "environ['mod_wsgi.application_group']", "/Resource")
    assert group == "localhost|/resource"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sys.flags.optimize", 0),
        ("sys.dont_write_bytecode", False),
        ("sys.getswitchinterval()", 0.005),
        ("print('to the log')", None),
        ("'PYTHON_EGG_CACHE' in os.environ", False),
        ("sys.flags.hash_randomization", 1),
        ("type(signal.signal).__name__", "SignalIntercept"),
        ("sys.prefix", "/usr"),
    ],
)
def test_without_directives_python_is_as_usual(serve, expression, value):
    server = serve(Conf(ASK))
    assert ask(server, expression) == value
    server.log.allow(r"\] to the log$")


@pytest.mark.parametrize("text", ["WSGIPythonOptimize -3", "WSGIPythonOptimize 0"])
def test_an_optimisation_level_below_one_is_none(value, text):
    assert value(text, "sys.flags.optimize") == 0


def test_an_applications_assertions_go_with_optimisation(value):
    assert value("WSGIPythonOptimize 1", "exec('assert False')") is None


# --- WSGIPythonHashSeed ---------------------------------------------------------------------------


def hashes(serve, seed, count=2):
    """hash('x') in servers started one after the other."""
    found = []
    for _ in range(count):
        server = serve(Conf(f"{ASK}WSGIPythonHashSeed {seed}"), private=True)
        found.append(ask(server, "hash('x')"))
        server.stop()
    return found


def test_a_fixed_hash_seed_fixes_hashes(serve):
    first, second = hashes(serve, 123)
    assert first == second
    assert hashes(serve, 124, 1) != [first]


@pytest.mark.differs("hash-seed-random", "mod_wsgi takes the word random for the seed 0")
def test_a_random_hash_seed_is_random(serve):
    assert len(set(hashes(serve, "random", 3))) == 3


# --- WSGIPythonHome -------------------------------------------------------------------------------


@pytest.mark.all_mpms
def test_python_home_may_be_a_virtual_environment(serve, env):
    venv = env.site_packages.parents[2]
    if not env.readable_by_children(venv):
        pytest.skip(f"{venv} cannot be read by Apache's user")
    server = serve(Conf(f"{ASK}WSGIPythonHome {venv}"))
    assert ask(server, "sys.prefix") == str(venv)
    assert ask(server, "sys.base_prefix") != str(venv)
    assert ask(server, "__import__('flask').__name__") == "flask"


def test_python_home_may_be_a_prefix(value):
    assert value("WSGIPythonHome /usr", "sys.prefix") == "/usr"


def test_relative_paths_are_not_taken_from_the_repository(value):
    assert str(REPO) not in value("", "sys.path")


# --- restrictions ---------------------------------------------------------------------------------


def test_handlers_of_signals_are_not_installed_and_the_log_says_so(serve):
    server = serve(Conf(ASK))
    said = ask(server, "signal.signal(signal.SIGTERM, signal.SIG_IGN) == signal.SIG_IGN")
    assert said is True
    assert ask(server, "signal.getsignal(signal.SIGTERM) == signal.SIG_IGN") is False
    server.log.expect("15")
    server.log.expect("ask.py")


@pytest.mark.embedded_only("about Apache's own processes; daemons have options of their own")
@pytest.mark.parametrize("mpm", ["prefork"])
def test_unrestricted_the_main_thread_may_install_handlers(serve):
    server = serve(Conf(ASK + "WSGIRestrictSignal Off"))
    assert ask(server, "type(signal.signal).__name__") == "function"
    ask(server, "signal.signal(signal.SIGUSR2, signal.SIG_IGN)")
    assert ask(server, "signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN") is True


@pytest.mark.embedded_only("it forbids nothing else")
@pytest.mark.all_mpms
def test_where_embedded_mode_is_restricted_nothing_is_served_and_python_stays_away(serve):
    server = serve(Conf(ASK + "WSGIRestrictEmbedded On"))
    assert server.get("/").status == 500
    server.log.expect("WSGI0143: ")
    maps = (f"/proc/{server.children()[0]}/maps", "lib-dynload")
    with open(maps[0]) as file:
        assert maps[1] not in file.read()


def test_restrictembedded_off_serves(value):
    assert value("WSGIRestrictEmbedded Off", "1 + 1") == 2


# --- design.md D6 ---------------------------------------------------------------------------------


STARTED = "import os\nos.write(2, b'python started in %d\\n' % os.getpid())\n"


@pytest.mark.embedded_only("about Apache's own processes; daemons have options of their own")
@pytest.mark.all_mpms
def test_python_starts_in_the_children_and_never_in_the_parent(serve):
    server = serve(
        Conf(
            ASK,
            files=(("startup/sitecustomize.py", STARTED),),
            environment=(("PYTHONPATH", "${ROOT}/startup"),),
        ),
        private=True,
    )
    assert ask(server, "1") == 1
    server.reload()
    assert ask(server, "1") == 1
    pids = {int(line.text.rpartition(" ")[2]) for line in server.log.expect("python started in")}
    assert set(server.children()) < pids
    assert server.process.pid not in pids


@pytest.mark.all_mpms
def test_the_parent_has_no_thread_but_its_own(serve):
    server = serve(Conf(ASK))
    assert ask(server, "1") == 1
    with open(f"/proc/{server.process.pid}/status") as file:
        assert "\nThreads:\t1\n" in file.read()
