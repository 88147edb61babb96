"""mod_wsgi_rs top in a pseudo-terminal, at the sockets of a real server."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from harness import command, daemons
from harness.client import head
from harness.conf import Conf
from harness.httpd import wait_until
from harness.terminal import Terminal

pytestmark = pytest.mark.ours_only("mod_wsgi has no such command")

APP = r"""
import os, time
OUT = os.path.join(os.path.dirname(__file__), "out")

def hostile():
    open(os.path.join(OUT, "waits"), "w").close()
    while not os.path.exists(os.path.join(OUT, "finish")):
        time.sleep(0.01)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        exec(compile("hostile()", "\x1b[2J\x1b[31mevil", "exec"), globals())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
CONF = """
WSGIDaemonProcess shop processes=1 threads=2 shutdown-timeout=2
WSGIDaemonProcess blog processes=1 threads=5 shutdown-timeout=2
WSGIScriptAlias /shop ${ROOT}/app.py process-group=shop application-group=%{GLOBAL}
WSGIScriptAlias /blog ${ROOT}/app.py process-group=blog application-group=%{GLOBAL}
"""
# What a program must send to choose colours: 30 to 49 and 90 to 107 of "select graphic rendition".
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@pytest.fixture
def server(private):
    files = (("app.py", APP), ("out/README", "the application writes here"))
    conf = Conf(CONF, files=files, timeout=60)
    server = private(conf, lambda server: (server.root / "out").chmod(0o777))
    assert [server.get(path).status for path in ("/shop", "/blog")] == [200, 200]
    return server


@pytest.fixture
def top(env, server):
    """top(…): the command in a terminal."""
    if not Path(command.COMMAND).exists():
        pytest.skip(f"{command.COMMAND} is not built")

    def top(*words, **options):
        words = [command.COMMAND, "top", *words, "--runtime-dir", server.root]
        return Terminal(*words, **options)

    return top


def test_groups_and_workers_are_shown_sorted_and_filtered(server, top):
    with top() as shown:
        shown.wait_for(r"^2 groups, 2 workers .*by name")
        shown.wait_for(r"^shop +ready .*0/2")
        shown.wait_for(r"^blog +ready .*0/5")
        pids = [pid for manager in daemons.managers(server) for pid in daemons.workers_of(manager)]
        for pid in pids:
            shown.wait_for(rf"^  {pid} \(0\) +ready")
        shown.press("s")
        shown.wait_for("by rate")

        def rate_is_shown():
            assert server.get("/shop").status == 200
            return any(re.match(r"shop +ready +[1-9]\d*\.\d", line) for line in shown.lines())

        wait_until(rate_is_shown, "the rate", timeout=30)
        shown.press("/sho\r")
        wait_until(lambda: not any(line.startswith("blog") for line in shown.lines()), "the filter")
        shown.wait_for("^shop")
        shown.press("q")
        assert shown.wait_for_end() == 0


def test_percentiles_of_a_group_are_shown_where_there_is_room(server, top):
    with top("shop", columns=160) as shown:
        # Of duration and queue.
        shown.wait_for(r"^shop +ready .* \d+\.\d m?s +\d+\.\d m?s")
        assert "P95 QUEUE" in shown.wait_for("^GROUP / PROCESS")
        shown.press("q")
        assert shown.wait_for_end() == 0


def test_stack_of_the_selected_worker_is_shown_and_commands_no_terminal(server, top):
    with server.socket() as sock:
        sock.sendall(head("/shop/wait"))
        wait_until((server.root / "out/waits").exists, "the request")
        with top("shop", columns=140) as shown:
            shown.wait_for(r"^  \d+ \(0\) +ready .*1/2 .*GET /shop/wait")
            shown.press("j\r")
            shown.wait_for(r"^worker \d+ \(slot 0, ready\)")
            shown.wait_for(r"app.py:\d+ hostile$")
            assert "evil" in shown.wait_for("u001b")
            assert "\x1b[31mevil" not in shown.output
            assert "\x1b[2J\x1b[31m" not in shown.output
            shown.press("\x1b")
            shown.wait_for("^GROUP / PROCESS")
            shown.press("q")
            assert shown.wait_for_end() == 0
        (server.root / "out/finish").touch()
        assert b"200 OK" in sock.recv(1000)


ENDINGS = ["q", "\x03", signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


@pytest.mark.parametrize("how", ENDINGS)
def test_terminal_is_restored(top, how):
    with top() as shown:
        shown.wait_for("^shop")
        assert shown.is_alternate
        if isinstance(how, str):
            shown.press(how)
        else:
            os.kill(shown.process.pid, how)
        assert shown.wait_for_end() == 0


@pytest.mark.parametrize("part", ["\x1b[", "\x1bO", "\x1b[200~a"])
def test_part_of_a_key_keeps_no_signal_waiting(top, part):
    with top() as shown:
        shown.wait_for("^shop")
        shown.press(part)
        wait_until(lambda: shown.unread() == 0, "the bytes to be read")
        os.kill(shown.process.pid, signal.SIGTERM)
        assert shown.wait_for_end() == 0


@pytest.mark.parametrize("part", ["", "\x1b["])
def test_command_ends_with_its_terminal(top, part):
    with top() as shown:
        shown.wait_for("^shop")
        shown.press(part)
        shown.hang_up()
        shown.process.wait(timeout=30)


@pytest.mark.parametrize(("rows", "columns"), [(24, 30), (5, 20), (2, 10), (1, 1), (60, 200)])
def test_terminals_of_any_size_are_used(top, rows, columns):
    with top(rows=rows, columns=columns) as shown:
        # One row is that of the keys.
        text = "^blog" if rows > 4 else "^2 groups" if rows > 1 else "^q"
        assert len(shown.wait_for(text[: columns + 1])) <= columns
        shown.press("j\r")
        shown.press("q")
        assert shown.wait_for_end() == 0


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_there_are_no_colours_where_none_are_wanted(top, variables):
    with top(**variables) as shown:
        shown.wait_for("^shop")
        shown.press("q")
        shown.wait_for_end()
        assert bool(COLOUR.search(shown.output)) == (not variables)


def test_group_that_does_not_answer_is_said_not_to(env, server, top):
    words = ["status", "shop", "--json", "--runtime-dir", server.root]
    # Its exit status is that of a warning while a worker is still starting.
    done = command.run_command(*words, cwd="/", module=env.module, check=False)
    told = json.loads(done.stdout)
    manager = told["groups"][0]["manager"]["pid"]
    with top("shop", columns=140) as shown:
        shown.wait_for(r"^shop +ready")
        os.kill(manager, signal.SIGSTOP)
        try:
            shown.wait_for(r"^shop +\?.*has not answered")
        finally:
            os.kill(manager, signal.SIGCONT)
        shown.wait_for(r"^shop +ready")
        shown.press("q")
        assert shown.wait_for_end() == 0


def test_without_a_terminal_there_is_no_view(env, server):
    words = ["top", "--runtime-dir", server.root]
    done = command.run_command(*words, cwd="/", module=env.module, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "top needs a terminal" in done.stderr
