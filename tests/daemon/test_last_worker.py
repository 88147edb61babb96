"""A request that kills its worker, while no other worker serves but one."""

import pytest
from harness import daemons
from harness.load import load_conf

pytestmark = pytest.mark.ours_only("our own processes")

# What start_warm(…) starts.
conf = load_conf

# Once there is a file, workers that are started wait until it is gone.
WAITS = """
import os, time
HOLD = os.path.join(os.path.dirname(__file__), "out/hold")
while os.path.exists(HOLD):
    time.sleep(0.02)
"""


def test_a_get_that_kills_its_worker_is_not_sent_to_the_last_one(start_warm):
    """The replacement is not ready: another try could kill the only worker that serves."""
    extra = """
    WSGIImportScript ${ROOT}/waits.py process-group=site application-group=%{GLOBAL}
    """
    server = start_warm(
        "processes=2 threads=2", extra, prepare=lambda server: server.write("waits.py", WAITS)
    )
    server.log.allow("was killed by signal 9", "WSGI0146")
    daemons.await_answers_of_all(server)
    before = set(daemons.settled(server, 2))
    hold, note = server.write("out/hold", ""), server.root / "out/note"
    assert server.get(f"/signal?number=9&for=5&note={note}").status in (502, 503)
    (killed,) = map(int, daemons.notes(server))
    (other,) = before - {killed}
    assert daemons.is_alive(other)
    assert daemons.pid_of(server.get("/")) == other
    hold.unlink()
    daemons.settled(server, 2, without=[killed])
