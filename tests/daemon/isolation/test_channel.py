"""A worker that writes to its manager what is no message."""

from pathlib import Path

import pytest
from harness import daemons, hostile
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("our own processes")

FLOOD = """
import struct
for name in os.listdir("/proc/self/fd"):
    try:
        found = socket.socket(fileno=os.dup(int(name)))
        peer = struct.unpack("3i", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    except OSError:
        continue
    if peer == os.getppid() and not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        def flood():
            while True:
                found.sendall(b"x" * 60_000)
        found.settimeout(None)
        threading.Thread(target=flood, daemon=True).start()
        result = "flooding"
        break
"""


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_message_without_an_end_costs_the_worker_its_life_and_the_manager_nothing(private):
    server = private(hostile.conf())
    assert server.get("/app").status == 200
    manager = daemons.manager(server)
    before, workers = resident(manager), set(daemons.workers(server))
    assert server.post("/app/exec", FLOOD.encode()).text == "flooding"
    wait_until(lambda: not workers & set(daemons.workers(server)), "the end of the worker", 20)
    assert resident(manager) < before + 3_000_000
    server.log.expect(r"worker \d+ lives on without its connection to the manager")
    server.log.expect(r"worker \d+ was killed by signal 9")
    daemons.settled(server, 1)
    assert server.get("/app").status == 200
