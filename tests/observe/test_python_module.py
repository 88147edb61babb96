"""What `import mod_wsgi` and `import apache` give an application inside the server."""

import os
import re

import pytest
from harness.client import ask
from harness.conf import Conf
from harness.error_log import ErrorLog

MODULE = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /main ${APPS}/ask.py application-group=%{GLOBAL}
    """
)
NAMED = Conf(
    """
    WSGIPythonPath ${APPS}
    WSGIScriptAlias /named ${APPS}/ask.py application-group=named
    WSGIScriptAlias /other ${APPS}/ask.py application-group=other
    """
)
BY_MOUNT = [("/main", MODULE), ("/named", NAMED)]
M = "__import__('mod_wsgi')"


@pytest.fixture
def server(serve):
    return serve(MODULE)


@pytest.mark.parametrize(("mount", "conf"), BY_MOUNT)
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("type(m.version).__name__", "tuple"),
        ("m.FileWrapper.__module__", "mod_wsgi"),
        (
            "[c.__name__ for c in m.RequestTimeout.__mro__]",
            ["RequestTimeout", "BaseException", "object"],
        ),
        ("m.RequestTimeout.__module__", "mod_wsgi"),
        ("m.LogHandler.__module__", "mod_wsgi"),
        ("issubclass(m.LogHandler, __import__('logging').Handler)", True),
        ("m.LogHandler is m.LogHandler", True),
        ("type(m.event_callbacks).__name__", "list"),
        ("type(m.shutdown_callbacks).__name__", "list"),
        ("type(m.signal_callbacks).__name__", "list"),
        ("m.request_metrics()", None),
        ("m.process_metrics()", None),
        ("m.server_metrics()", None),
        ("m.request_data()", {}),
        ("list(m.active_requests) == [environ['mod_wsgi.request_id']]", True),
        ("m.active_requests[environ['mod_wsgi.request_id']] is m.request_data()", True),
        ("hasattr(m, 'nonsense')", False),
        ("m.subscribe_events()", r"TypeError: .*exactly 1|TypeError: .*exactly one"),
        ("m.subscribe_events(callback=print)", "TypeError: .*no keyword arguments"),
        ("m.request_metrics(1)", "TypeError"),
    ],
)
def test_the_module_says(serve, mount, conf, expression, value):
    seen = ask(serve(conf), f"(lambda m: {expression})({M})", mount)
    if isinstance(value, str) and isinstance(seen, str):
        assert re.search(value, seen)
    else:
        assert seen == value


@pytest.mark.parametrize("which", ["event", "shutdown"])
def test_subscribe_returns_and_keeps_its_argument(serve, which):
    server = serve(MODULE, private=True)
    function = f"subscribe_{which}{'s' if which == 'event' else ''}"
    same = f"(lambda m, f: [m.{function}(f) is f, m.{which}_callbacks == [f]])({M}, len)"
    assert ask(server, same, "/main") == [True, True]
    # len() takes no keyword arguments: from now on each event of a request is an error.
    server.log.allow("WSGI0112|WSGI0190|Traceback|TypeError")


def test_request_data_lasts_as_long_as_its_request(server):
    mine = f"(lambda d: [dict(d), d.update(seen=1)])({M}.request_data())"
    for _ in range(4):
        assert ask(server, mine, "/main") == [{}, None]


def test_active_requests_are_those_being_served(server):
    ask(server, f"len({M}.active_requests)", "/main")
    for _ in range(3):
        assert ask(server, f"len({M}.active_requests)", "/main") == 1


def test_each_interpreter_has_a_module_of_its_own(serve):
    server = serve(NAMED)
    ask(server, f"setattr({M}, 'note', 'kept in named')", "/named")
    assert ask(server, f"hasattr({M}, 'note')", "/other") is False
    assert ask(server, f"{M}.note", "/named") == "kept in named"


@pytest.mark.parametrize("mount", ["/main"])
def test_apache_describes_its_server(server, env, mount):
    seen = ask(
        server,
        "(lambda a: [list(a.version), a.description, a.mpm_name, a.build_date,"
        " a.maximum_processes, a.threads_per_process])(__import__('apache'))",
        mount,
    )
    version, description, mpm, built, processes, threads = seen
    assert ".".join(map(str, version)) == env.version
    assert description.startswith(f"Apache/{env.version}")
    assert mpm == server.mpm
    assert built
    assert (processes, threads) == (1, server.conf.threads)
    assert ask(server, "list(environ['apache.version'])", mount) == version


# --- LogHandler -----------------------------------------------------------------------------------

LOG = (
    "(lambda l: [l.handlers.__setitem__(slice(None), [__import__('mod_wsgi').LogHandler()]),"
    " setattr(l, 'propagate', False), l.setLevel(1), {call}][-1])"
    "(__import__('logging').getLogger('tests'))"
)
OURS = r"^(\[client [^]]*\] )?\[script [^]]*ask.py\] "


def log(server, call, mount="/main"):
    return ask(server, LOG.format(call=call), mount)


LEVELS = [
    ("critical", "crit"),
    ("error", "error"),
    ("warning", "warn"),
    ("info", "info"),
]


@pytest.mark.parametrize(("mount", "conf"), BY_MOUNT)
@pytest.mark.parametrize(("method", "level"), LEVELS)
def test_a_record_has_its_own_level(serve, mount, conf, method, level):
    server = serve(conf)
    log(server, f"l.{method}('a record of %s', 'level {method}')", mount)
    (line,) = server.log.expect(f"{OURS}a record of level {method}$")
    assert line.level == level


@pytest.mark.parametrize(("method", "number"), [("debug", 10), ("log", 5)])
def test_debug_is_written_where_loglevel_says_so(serve, method, number):
    server = serve(Conf(MODULE.text, wsgi_level="wsgi:debug"), private=True)
    log(server, f"l.log({number}, 'fine print')")
    (line,) = server.log.expect(f"{OURS}fine print$")
    assert line.level == "debug"


def test_records_below_loglevel_are_not_formatted(serve):
    server = serve(MODULE, private=True)
    call = "[l.debug('never'), setattr(l.handlers[0], 'format', lambda r: kept.update(f=1) or 'x'),"
    call += " l.debug('never'), kept.get('f'), l.warning('seen'), kept.get('f')][3::2]"
    assert log(server, call) == [None, 1]
    server.log.expect(f"{OURS}x$")
    assert not server.log.find("never")


def test_each_line_of_a_record_is_a_line_of_the_log(server):
    log(server, "l.warning('first\\nsecond')")
    for text in ("first", "second"):
        (line,) = server.log.expect(f"{OURS}{text}$")
        assert line.level == "warn"


def test_a_record_of_no_request_is_the_servers(server):
    call = "(lambda t: [t.start(), t.join()])"
    call += "(threading.Thread(target=l.warning, args=('from a thread',)))"
    log(server, call)
    (line,) = server.log.expect("from a thread$")
    assert line.level == "warn"
    assert "[script " not in line.text


@pytest.mark.differs("log-handler-errors", "mod_wsgi drops the record without a word")
def test_a_record_that_cannot_be_formatted_is_handled_by_logging(server):
    log(server, "l.warning('%d', 'no number')")
    server.log.expect("TypeError")
    server.log.allow(r"\] (--- Logging error ---|Call stack:|Message: '%d'|Arguments: )")
    server.log.allow_traceback("TypeError: %d format")


@pytest.mark.embedded_only("the wire of daemon mode carries no source files")
def test_a_record_carries_its_place_in_the_source(serve):
    text = MODULE.text + 'ErrorLogFormat "[%t] [%-m:%l] [pid %P] %T %M from %F"\n'
    server = serve(Conf(text), private=True)
    log(server, "l.warning('placed')")
    server.log.expect(r"placed from <string>\(1\)$|placed from .*string.*1")


def test_a_virtual_hosts_records_are_in_its_own_log(serve):
    text = f"""{MODULE.text}
    <VirtualHost *>
        ServerName localhost
    </VirtualHost>
    <VirtualHost *>
        ServerName other.example
        ErrorLog "${{ROOT}}/other_log"
        LogLevel wsgi:error
    </VirtualHost>
    """
    server = serve(Conf(text), private=True)
    other = ErrorLog(server.root / "other_log")
    ask(server, LOG.format(call="l.error('elsewhere')"), "/main", host="other.example")
    other.wait_for("elsewhere")
    assert not server.log.find("elsewhere")
    assert os.path.exists(server.root / "error_log")
