"""A graceful restart that no client notices: new children take over at once."""

import contextlib
import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf
from harness.httpd import READY, wait_until
from harness.load import APP, Load
from harness.restarts import PATHS, SLOTS, allow_full, restarts_conf

pytestmark = pytest.mark.ours_only("mod_wsgi leaves the moment of new children to httpd")

# Seconds. httpd's own pause is one second, or two, or three; the limit of 100 ms is in soak.py.
PAUSE = 0.9
WAITED = r"waited \d+ ms for \d+ of \d+ old children"
NO_SLOT = "ServerLimit leaves no slot for new children"


# Under prefork each client needs a child of its own, and how soon these have started depends on the
# processors: that is left to soak.py.
@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("answers", PATHS)
@pytest.mark.parametrize("slots", SLOTS)
def test_requests_under_load_do_not_notice_graceful_restarts(private, mpm, slots, answers):
    server = private(restarts_conf(mpm, slots, answers))
    allow_full(server, slots)
    assert server.get("/app").status == 200
    with Load(server.port, PATHS[answers]) as load:
        for count in range(2, 6):
            server.process.send_signal(signal.SIGUSR1)
            server.log.wait_for(READY, count=count)
            # httpd looks at its children once a second.
            daemons.pause(1.2)
    assert load.total.failed == []
    assert load.total.slowest < PAUSE


FEW_SPARES = """
    <IfModule mpm_prefork_module>
        MinSpareServers 1
        MaxSpareServers 8
    </IfModule>
    <IfModule !mpm_prefork_module>
        MinSpareThreads 1
        MaxSpareThreads 64
    </IfModule>
"""


def one_child(limit):
    """One child of several threads, and slots for `limit` children."""
    text = f"""
    {FEW_SPARES}
    WSGIScriptAlias / ${{ROOT}}/app.py application-group=%{{GLOBAL}}
    """
    files = (("app.py", APP), ("out/README", "notes of the application"))
    return Conf(text, files=files, children=limit, start=1, timeout=30)


def full(serve):
    """A server that has no slot for another child."""
    server = serve(one_child(1), private=True)
    allow_full(server)
    assert server.get("/").status == 200
    return server


def restart_during(server, pool, seconds):
    """A graceful restart during a request of that length; (its answer to come, when it began)."""
    note = server.root / "out/note"
    # The application may have another user.
    note.parent.chmod(0o777)
    answer = pool.submit(server.get, f"/sleep?for={seconds}&note={note}")
    daemons.wait_for_notes(server)
    began = time.monotonic()
    server.process.send_signal(signal.SIGUSR1)
    return answer, began


def now():
    """Seconds since the machine was started, by the clock of `forks_after`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def forks_after(server, old):
    """When each child was forked that is none of `old`: how soon one serves is not httpd's."""
    stats = [
        Path(f"/proc/{pid}/stat").read_text()
        for pid in daemons.httpd_children(server)
        if pid not in old
    ]
    tick = os.sysconf("SC_CLK_TCK")
    return [int(stat.rpartition(")")[2].split()[19]) / tick for stat in stats]


def first_child_after(server, old):
    """When the first of them was."""
    # An old one may have answered what came before there is a new one.
    return min(wait_until(lambda: forks_after(server, old), "a new child"))


@pytest.mark.all_mpms
def test_a_child_with_a_request_delays_no_other_request_where_there_is_a_slot(serve):
    server = serve(one_child(4), private=True)
    assert server.get("/").status == 200
    old = daemons.httpd_children(server)
    with ThreadPoolExecutor(1) as pool:
        long, _ = restart_during(server, pool, 3)
        server.log.wait_for(READY, count=2)
        began = now()
        assert server.get("/").status == 200
        assert not long.done(), "the old child had no request any more"
        assert first_child_after(server, old) - began < PAUSE
        assert long.result().status == 200
    assert not server.log.find(NO_SLOT)


@pytest.mark.all_mpms
def test_the_slot_of_a_child_that_finishes_its_request_is_taken_at_once(serve):
    server = full(serve)
    old = daemons.httpd_children(server)
    with ThreadPoolExecutor(1) as pool:
        short, _ = restart_during(server, pool, 0.15)
        server.log.wait_for(READY, count=2)
        began = now()
        assert server.get("/").status == 200
        assert first_child_after(server, old) - began < PAUSE
        assert short.result().status == 200


@pytest.mark.parametrize("mpm", ["prefork"])
def test_each_slot_of_a_child_that_leaves_late_is_taken_at_once(private, mpm):
    """Each client needs a child, also where one is idle while others still have slots."""
    server = private(restarts_conf(mpm, "full", "daemon"))
    allow_full(server)
    (server.root / "out").chmod(0o777)
    for count in range(2, 6):
        note = f"note{count}"
        path = f"/app/sleep?for=0.4&note={server.root}/out/{note}"
        with ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as clients:
            late = [pool.submit(server.get, path) for _ in range(2)]
            daemons.wait_for_notes(server, 2, note)
            old = daemons.httpd_children(server)
            server.process.send_signal(signal.SIGUSR1)
            server.log.wait_for(READY, count=count)

            # A connection that is kept takes up its child. One child stays idle.
            for _ in range(7):
                client = http.client.HTTPConnection("127.0.0.1", server.port)
                clients.enter_context(contextlib.closing(client))
                client.request("GET", "/static/file")
                assert client.getresponse().read() == b"a file"
            assert {answer.result().status for answer in late} == {200}
            began = now()
            wait_until(lambda o=old: len(forks_after(server, o)) == 10, "ten new children")
            assert max(forks_after(server, old)) - began < PAUSE / 2


@pytest.mark.all_mpms
def test_idle_children_of_the_new_configuration_are_not_ended_one_after_the_other(private):
    """The parent ends one child a second where more are idle than may be."""
    text = """
    <IfModule mpm_prefork_module>
        MinSpareServers 1
        MaxSpareServers 20
    </IfModule>
    <IfModule !mpm_prefork_module>
        MinSpareThreads 1
        MaxSpareThreads 40
    </IfModule>
    WSGIScriptAlias / ${ROOT}/app.py application-group=%{GLOBAL}
    """
    files = (("app.py", APP),)
    server = private(Conf(text, files=files, children=40, start=12, threads=2, timeout=30))
    # Fewer than there are, so that the parent looks for more; and more than may be idle.
    path = server.root / "httpd.conf"
    text = path.read_text().replace("StartServers 12", "StartServers 8")
    text = text.replace("MaxSpareServers 20", "MaxSpareServers 3")
    path.write_text(text.replace("MaxSpareThreads 40", "MaxSpareThreads 6"))
    wait_until(lambda: len(daemons.httpd_children(server)) == 12, "the children")
    old, seen = set(daemons.httpd_children(server)), set()

    def alive():
        found = set(daemons.httpd_children(server)) - old
        seen.update(found)
        # One that has exited is a child until httpd looks.
        return set(filter(daemons.is_alive, found))

    server.process.send_signal(signal.SIGUSR1)
    # Of eight; one a second may end before the others are seen.
    wait_until(lambda: alive() and len(seen) >= 6, "the new children")
    began = now()
    wait_until(lambda: alive() and now() - began > PAUSE, "httpd's next look")
    # It may look once more for each interruption that is on its way.
    assert len(seen - alive()) <= 2 + (now() - began)


@pytest.mark.all_mpms
def test_a_restart_does_not_wait_long_for_children_that_stay(serve):
    server = full(serve)
    with ThreadPoolExecutor(1) as pool:
        long, began = restart_during(server, pool, 2)
        server.log.wait_for(READY, count=2)
        took = time.monotonic() - began
        assert not long.done(), "the old child had no request any more"
        assert long.result().status == 200
    assert took < 2
    server.log.expect(NO_SLOT)
    assert server.get("/").status == 200


@pytest.mark.all_mpms
def test_no_child_is_waited_for_at_a_start_or_at_an_ungraceful_restart(serve):
    server = serve(one_child(1), private=True)
    assert server.get("/").status == 200
    server.send_signal(signal.SIGHUP)
    server.log.wait_for(READY, count=2)
    assert server.get("/").status == 200
    assert not server.log.find(f"{WAITED}|{NO_SLOT}")
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for(READY, count=3)
    assert server.get("/").status == 200
    server.log.expect(WAITED)


@pytest.mark.all_mpms
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGWINCH])
def test_a_stop_while_new_children_are_slow_to_serve_is_no_crash_of_the_parent(private, signum):
    """The parent still looks whether they are enough, at a scoreboard that it gives up."""
    text = f"""
    {FEW_SPARES}
    WSGIImportScript ${{ROOT}}/slow.py process-group=%{{GLOBAL}} application-group=%{{GLOBAL}}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=%{{GLOBAL}} application-group=%{{GLOBAL}}
    """
    # The parent looks for two seconds at most.
    slow = "import os, time\ntime.sleep(0.7 if os.path.exists(__file__ + '.slow') else 0)\n"
    files = (("app.py", APP), ("slow.py", slow))
    server = private(Conf(text, files=files, children=8, start=3, timeout=30))
    wait_until(lambda: len(server.children()) == 3, "three children")
    assert server.get("/").status == 200
    (server.root / "slow.py.slow").touch()
    path = server.root / "httpd.conf"
    path.write_text(path.read_text().replace("StartServers 3", "StartServers 1"))
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for(READY, count=2)
    server.process.send_signal(signum)
    server.process.wait(30)
    assert server.process.returncode == 0
