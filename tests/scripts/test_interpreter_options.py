"""<WSGIInterpreterOptions>: what single interpreters are told, and how they share the processor."""

import concurrent.futures
import time

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.httpd import wait_until

ALIASES = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/ask.py application-group=%{GLOBAL}
    WSGIScriptAlias /one ${APPS}/ask.py application-group=one
    WSGIScriptAlias /two ${APPS}/ask.py application-group=two
    """


def block(lines, *selectors):
    return f"<WSGIInterpreterOptions {' '.join(selectors)}>\n{lines}\n</WSGIInterpreterOptions>\n"


def group(mode):
    return "process-group=%{GLOBAL}" if mode == "embedded" else "process-group=tests"


def asked(server, expression, mounts=("/one", "/two")):
    # Named groups only: see test_a_thread_that_served_a_named_group_can_still_serve_the_main_one.
    return [ask(server, expression, mount) for mount in mounts]


def test_restriction_holds_for_the_named_interpreter(serve):
    conf = Conf(ALIASES + block("WSGIRestrictStdout On", "application-group=one"))
    answers = asked(serve(conf), "print('seen')")
    assert answers == ["OSError: sys.stdout access restricted by mod_wsgi", None]
    serve(conf).log.expect("seen$")


@pytest.mark.parametrize(
    ("directive", "expression", "on", "off"),
    [
        ("WSGIRestrictStdin", "type(sys.stdin).__name__", "Restricted", None),
        ("WSGIRestrictSignal", "type(signal.signal).__name__", "SignalIntercept", "function"),
    ],
)
def test_a_block_may_say_on_or_off(serve, directive, expression, on, off):
    conf = Conf(
        ALIASES
        + f"{directive} Off\n"
        + block(f"{directive} On", "application-group=two")
        + block(f"{directive} Off", "application-group=three")
    )
    one, two = asked(serve(conf), expression)
    assert one != on
    assert off is None or one == off
    assert two == on


def test_more_selectors_win_then_the_later_block(serve, mode):
    conf = Conf(
        ALIASES
        + "WSGIRestrictSignal On\n"
        + block("WSGIRestrictSignal Off", group(mode), "application-group=one")
        + block("WSGIRestrictSignal On", group(mode))
        + block("WSGIRestrictSignal Off", "application-group=two")
        + block("WSGIRestrictSignal On", "application-group=two")
    )
    one, two = asked(serve(conf), "type(signal.signal).__name__")
    assert (one, two) == ("function", "SignalIntercept")


def test_a_block_for_another_process_group_changes_nothing(serve, mode):
    other = "process-group=other" if mode == "embedded" else "process-group=%{GLOBAL}"
    conf = Conf(ALIASES + block("WSGIRestrictSignal Off", other))
    assert asked(serve(conf), "type(signal.signal).__name__") == ["SignalIntercept"] * 2


def test_path_layers_add_up(serve, mode):
    conf = Conf(
        ALIASES
        + block("WSGIPythonPath ${ROOT}/for-one", "application-group=one")
        + block("WSGIPythonPath ${ROOT}/for-all")
        + block("WSGIPythonPath ${ROOT}/for-group", group(mode)),
        files=tuple(
            (f"for-{name}/which_layer.py", f"name = '{name}'\n") for name in ("one", "all", "group")
        ),
    )
    server = serve(conf)
    root = str(server.root)
    layers = "[p.rpartition('/')[2] for p in sys.path if p.startswith(" + repr(root) + ")]"
    one, two = asked(server, layers)
    # With as many selectors the later block is the stronger one.
    assert (one, two) == (["for-group", "for-one", "for-all"], ["for-group", "for-all"])
    assert asked(server, "__import__('which_layer').name") == ["group", "group"]
    apps = "[p.rpartition('/')[2] for p in sys.path][:4].index('apps')"
    assert asked(server, apps) == [3, 2]


def test_block_for_the_main_interpreter_holds_there_alone(serve):
    text = ALIASES + block("WSGIRestrictSignal Off", "application-group=%{GLOBAL}")
    server = serve(Conf(text), private=True)
    assert ask(server, "type(signal.signal).__name__", "/main") == "function"
    # On Python 3.11 mod_wsgi needs another thread for another interpreter.
    server = serve(Conf(text), private=True)
    assert ask(server, "type(signal.signal).__name__", "/one") == "SignalIntercept"


def test_a_lone_application_named_by_a_block_has_an_interpreter_of_its_own(serve):
    text = """
    WSGIPythonPath ${APPS}
    WSGIApplicationGroup lonely
    WSGIScriptAlias / ${APPS}/ask.py
    """
    conf = Conf(text + block("WSGIRestrictStdin On", "application-group=lonely"))
    server = serve(conf)
    assert ask(server, "in_main_interpreter()") is False
    assert ask(server, "type(sys.stdin).__name__") == "Restricted"


# --- the switch interval --------------------------------------------------------------------------

INTERVAL = "sys.getswitchinterval()"


@pytest.mark.needs_lock("it is the interval of the lock")
def test_a_block_sets_the_interval_of_its_processes(serve, mode):
    conf = Conf(
        ALIASES + "WSGISwitchInterval 0.02\n" + block("WSGISwitchInterval 0.03", group(mode))
    )
    assert asked(serve(conf), INTERVAL) == [pytest.approx(0.03)] * 2


@pytest.mark.needs_lock("it is the interval of the lock")
def test_an_interval_for_one_interpreter_is_left_out_where_the_lock_is_shared(serve):
    conf = Conf(
        ALIASES
        + "WSGISwitchInterval 0.02\n"
        + block("WSGISwitchInterval 0.03", "application-group=one")
    )
    server = serve(conf, private=True)
    assert asked(server, INTERVAL) == [pytest.approx(0.02)] * 2
    (line,) = server.log.expect("WSGI0199")
    assert line.level == "warn"


# --- locks ----------------------------------------------------------------------------------------

HOLDING = """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /one ${APPS}/holding.py application-group=one
    WSGIScriptAlias /two ${APPS}/holding.py application-group=two
    """


def runs_in_parallel(server):
    """Whether /two is answered while /one holds its interpreter's lock."""
    for mount in ("/one", "/two"):
        assert server.get(f"{mount}/quick").text == "quick"
    slowest = 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        holding = pool.submit(server.get, "/one/hold")
        server.log.expect("holding the lock")
        while not holding.done():
            start = time.monotonic()
            assert server.get("/two/quick").text == "quick"
            slowest = max(slowest, time.monotonic() - start)
    return slowest < float(holding.result().text) / 2


def has_own_gil(env):
    return env.python_version >= (3, 12)


@pytest.mark.needs_lock("is about the lock")
def test_interpreters_share_a_lock(serve):
    assert runs_in_parallel(serve(Conf(HOLDING), private=True)) is False


@pytest.mark.needs_lock("is about the lock")
@pytest.mark.parametrize(
    "lines",
    [
        "WSGIPerInterpreterGIL On\n",
        "WSGIPerInterpreterGIL Off\n" + block("WSGIPerInterpreterGIL On", "application-group=two"),
    ],
)
def test_an_interpreter_with_a_lock_of_its_own_runs_beside_others(serve, env, lines):
    if not has_own_gil(env):
        pytest.skip(f"Python {env.python} has one lock")
    server = serve(Conf(HOLDING + lines), private=True)
    assert runs_in_parallel(server) is True
    server.log.expect("[Cc]reating .*'two'.*own GIL")


@pytest.mark.needs_lock("is about the lock")
def test_an_interpreter_with_a_lock_of_its_own_ends_in_order(serve, env):
    if not has_own_gil(env):
        pytest.skip(f"Python {env.python} has one lock")
    server = serve(Conf(ALIASES + "WSGIPerInterpreterGIL On\n"), private=True)
    group = "environ['mod_wsgi.application_group']"
    goodbye = f"__import__('atexit').register(print, 'good-bye from', {group})"
    for mount in ("/one", "/two"):
        ask(server, f"[{goodbye}][:0]", mount)
    server.stop()
    server.log.expect("good-bye from one", "good-bye from two")


@pytest.mark.needs_lock("is about the lock")
def test_an_interpreter_with_a_lock_of_its_own_has_its_own_interval(serve, env):
    if not has_own_gil(env):
        pytest.skip(f"Python {env.python} has one lock")
    conf = Conf(
        ALIASES
        + block("WSGIPerInterpreterGIL On\nWSGISwitchInterval 0.03", "application-group=one")
    )
    assert asked(serve(conf), INTERVAL) == [pytest.approx(0.03), pytest.approx(0.005)]


def is_warned_of(server, code):
    """A daemon process may be late with the line; mod_wsgi prints it before it has a log."""
    server.log.allow(code)
    wait_until(lambda: server.log.find(code) or code in server.printed(), f"the line {code}")


def test_one_lock_for_each_needs_python_3_12(serve, env):
    if has_own_gil(env):
        pytest.skip(f"Python {env.python} can do it")
    server = serve(Conf(ALIASES + "WSGIPerInterpreterGIL On\n"), private=True)
    assert ask(server, "1", "/one") == 1
    is_warned_of(server, "WSGI0198")


def test_free_threading_needs_a_free_threaded_python(serve, env):
    if env.free_threaded:
        pytest.skip(f"Python {env.python} is; see scripts/test_free_threading")
    server = serve(Conf(ALIASES + "WSGIFreeThreading On\n"), private=True)
    assert ask(server, "1", "/one") == 1
    is_warned_of(server, "WSGI0200")


def test_free_threading_of_one_interpreter_has_no_effect(configtest):
    accepted, printed = configtest(
        Conf(ALIASES + block("WSGIFreeThreading On", "application-group=one"))
    )
    assert accepted
    assert "WSGI0201" in printed
