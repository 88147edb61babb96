"""Fixtures and options. What they are made of is in tests/harness."""

import atexit
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from harness import frontends
from harness.env import REPO, Env, Missing
from harness.httpd import Servers
from harness.pythons import pythons

# How a difference shows. A server that does not start is never one.
DIFFERENCE = (AssertionError, http.client.HTTPException, OSError)
MODES = ["embedded", "daemon"]
MPMS = ["event", "worker", "prefork"]
UNNEEDED = shutil.ignore_patterns(
    "test", "tests", "idlelib", "config-*", "__pycache__", "site-packages", "ensurepip"
)
USED = pytest.StashKey[list]()
# Properties of a report that the summary prints.
MEASURED = {"memory", "load"}


def pytest_addoption(parser):
    parser.addoption("--mpm", default="", help="comma separated; default: event, all where marked")
    parser.addoption("--mode", default="", help="comma separated; default: embedded and daemon")


def pytest_configure(config):
    try:
        config.env = Env()
    except Missing as missing:
        raise pytest.UsageError(str(missing))
    if not config.env.module.exists():
        raise pytest.UsageError(f"{config.env.module} is missing: build it first")


def pytest_report_header(config):
    return config.env.describe()


def pytest_generate_tests(metafunc):
    marked = metafunc.definition.get_closest_marker
    named = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "mpm" in metafunc.fixturenames and "mpm" not in named:
        asked = [mpm for mpm in metafunc.config.getoption("mpm").split(",") if mpm]
        mpms = asked or (MPMS if marked("all_mpms") else MPMS[:1])
        # At session scope pytest sorts by it, and servers are started less often.
        metafunc.parametrize("mpm", mpms, scope="session")
    if "mode" in metafunc.fixturenames and "mode" not in named:
        asked = [mode for mode in metafunc.config.getoption("mode").split(",") if mode]
        modes = [mode for mode in asked or MODES if mode in MODES]
        if marked("embedded_only"):
            modes = [mode for mode in modes if mode == "embedded"]
        if marked("frontends") and not metafunc.config.env.oracle:
            modes += [mode for mode in asked or frontends.NAMES if mode in frontends.NAMES]
        metafunc.parametrize("mode", modes, scope="session")


def differences(item):
    """The marks of the differences that show in this test, in its mode and under its MPM."""
    given = item.callspec.params if hasattr(item, "callspec") else {}

    def shows(mark):
        only = {name: mark.kwargs[name] for name in ("mode", "mpm") if name in mark.kwargs}
        return all(given.get(name) == value for name, value in only.items())

    return [mark for mark in item.iter_markers("differs") if shows(mark)]


def is_repeated(item):
    """Whether the test is one behind a front end, for another MPM than the first."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    return given.get("mode") in frontends.NAMES and given.get("mpm", MPMS[0]) != MPMS[0]


def pytest_collection_modifyitems(config, items):
    # A front end knows nothing of the MPM that the module runs under.
    items[:] = [item for item in items if not is_repeated(item)]
    if "PYTEST_XDIST_WORKER" in os.environ:
        # What takes longest begins first: at the end the other processes would wait for it.
        items.sort(key=lambda item: item.get_closest_marker("begins_first") is None)
    if config.env.free_threading:
        for item in items:
            for mark in item.iter_markers("needs_lock"):
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))
    if not config.env.oracle:
        return
    for item in items:
        for mark in differences(item):
            reason = ": ".join(mark.args)
            strict = mark.kwargs.get("always", True)
            item.add_marker(pytest.mark.xfail(strict=strict, reason=reason, raises=DIFFERENCE))
        for mark in item.iter_markers("ours_only"):
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        servers = item.funcargs.get("servers") if hasattr(item, "funcargs") else None
        own = servers.of_this_test if servers else []
        for server in [*item.stash.get(USED, []), *own]:
            report.sections.append((f"error log of {server.root}", server.log.text()))
    return report


def pytest_terminal_summary(terminalreporter, config):
    """What was measured; and an oracle run ends with the list of our differences."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    measured = [
        text
        for report in reports
        for name, text in report.user_properties
        if report.when == "call" and name in MEASURED
    ]
    if measured:
        terminalreporter.section("measured")
        for text in measured:
            terminalreporter.line(text)
    if config.env.oracle:
        reasons = {report.wasxfail for report in terminalreporter.getreports("xfailed")}
        terminalreporter.section("differences from mod_wsgi, all wanted")
        for reason in sorted(reasons):
            terminalreporter.line(f"- {reason}")


@pytest.fixture(scope="session")
def env(pytestconfig):
    return pytestconfig.env


@pytest.fixture(scope="session")
def servers(env):
    servers = Servers(env)
    atexit.register(servers.close)
    yield servers
    servers.close()
    # How mod_wsgi itself leaves is not ours to mend.
    assert env.oracle or not servers.complaints, "\n".join(servers.complaints)


@pytest.fixture(autouse=True)
def judged(request):
    """Stops and judges every server that a test has made, whatever fixture made it.

    It is set up before the fixtures of the test, so what is here comes after their own ends.
    """
    servers = request.getfixturevalue("servers") if "servers" in request.fixturenames else None
    yield
    if servers is None:
        return
    complaints = servers.judge(servers.of_this_test)
    if request.config.env.oracle and differences(request.node):
        return
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def front_ends(servers):
    """Other web servers in front of wsgi-daemon; see harness/frontends.py."""
    front_ends = frontends.FrontEnds(servers)
    yield front_ends
    front_ends.stack.close()


@pytest.fixture
def needs_module(env):
    """Skips the test where Apache lacks one of its own modules."""

    def check(*names):
        for name in names:
            if name not in env.static and not env.has_module(name):
                pytest.skip(f"this Apache has no mod_{name}")

    return check


@pytest.fixture
def serve(request, servers, mpm, mode, needs_module):
    """serve(conf) is the running server for a configuration; its error log is watched.

    With private=True it is the test's own: started for it, stopped after it, free to be broken.
    """
    if mpm not in request.config.env.mpms:
        pytest.skip(f"this Apache has no mpm_{mpm}")
    behind = mode in frontends.NAMES
    if behind:
        reason = request.node.get_closest_marker("frontends").kwargs.get(mode)
        if reason:
            pytest.skip(f"{mode} {reason}")
    used = request.node.stash.setdefault(USED, [])

    def serve(conf, *, private=False):
        if behind:
            return request.getfixturevalue("front_ends").client(mode, conf)
        needs_module(*conf.modules)
        if private:
            server = servers.make(conf, mpm, mode)
            server.start()
        else:
            server = servers.get(conf, mpm, mode)
            if server not in used:
                server.log.begin()
                used.append(server)
        return server

    yield serve
    if request.config.env.oracle and differences(request.node):
        return
    for server in used:
        lines = server.log.unexpected()
        assert not lines, "unexpected in the error log:\n" + "\n".join(map(str, lines))


@pytest.fixture
def private(servers, mpm, needs_module):
    """private(conf) is a running server of the test's own, in embedded mode but for its groups.

    `prepare(server)` is called before it starts.
    """

    def private(conf, prepare=lambda server: None):
        needs_module(*conf.modules)
        server = servers.make(conf, mpm, "embedded")
        prepare(server)
        server.start()
        return server

    return private


@pytest.fixture
def configtest(servers, mpm, mode):
    """configtest(conf) is (accepted?, what httpd printed)."""

    def configtest(conf):
        return servers.make(conf, mpm, mode).configtest()

    return configtest


@pytest.fixture(scope="session")
def certificate(servers):
    """(certificate, key): files that the parent httpd can read, for localhost."""
    folder = servers.base / "tls"
    folder.mkdir()
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="session")
def packages(servers, env):
    """Django's and Flask's site-packages, where Apache's user can read them."""
    if env.readable_by_children(env.site_packages):
        return env.site_packages
    # The whole virtual environment: an example names it as its python-home.
    venv, copy = env.site_packages.parents[2], servers.base / "venv"
    shutil.copytree(venv, copy, symlinks=True, ignore=shutil.ignore_patterns("pip", "ruff*"))
    return copy / env.site_packages.relative_to(venv)


@pytest.fixture
def uvloop(servers, env):
    """A folder with uvloop that Apache's user can read."""
    installed = "{}.{}".format(*sys.version_info)
    if env.python != installed:
        pytest.skip(f"the module has Python {env.python}, and uvloop is looked for in {installed}")
    source = Path(pytest.importorskip("uvloop").__file__).parent
    folder = servers.base / "uvloop"
    if not folder.exists():
        shutil.copytree(source, folder / source.name)
    return folder


@pytest.fixture(scope="session")
def installation(env, servers):
    """installation(version) is a copy of its Python that Apache's user can read."""

    def installation(version):
        program = pythons()[0][version]
        prefix = program.parents[1]
        if prefix == Path("/usr") or env.readable_by_children(prefix / "bin"):
            return program
        # At the same place the next time, so that cargo finds nothing to do.
        folder = REPO / "target/pythons"
        folder.mkdir(parents=True, exist_ok=True)
        if not env.readable_by_children(folder):
            folder = Path(tempfile.mkdtemp(dir=servers.base))
            folder.chmod(0o755)
        copy = folder / version / "python"
        if not copy.exists():
            for part in ("bin", "lib", "include"):
                shutil.copytree(prefix / part, copy / part, symlinks=True, ignore=UNNEEDED)
            subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
        return copy / "bin" / program.name

    return installation
