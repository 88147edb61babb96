"""A clock that is set, by hand or by NTP, ends no request and no worker."""

import shutil
import subprocess
import threading

import pytest
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

# Only what this process sees of the machine's clock is set: ten days forward.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, time);
    if (id == CLOCK_REALTIME && access(SET, F_OK) == 0)
        time->tv_sec += 10 * 24 * 3600;
    return result;
}
"""


def test_a_clock_that_is_set_forward_ends_nothing(daemon, monkeypatch):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    root, set_forward = daemon.root, daemon.root / "set"
    (root / "clock.c").write_text(CLOCK)
    command = [compiler, "-shared", "-fPIC", f'-DSET="{set_forward}"', "-o", root / "clock.so"]
    subprocess.run([*command, root / "clock.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(root / "clock.so"))
    daemon.start("--request-timeout", "600", "--threads", "2")
    before = daemon.json()
    answers = []
    # Longer than the time between two looks at the clock.
    slow = threading.Thread(target=lambda: answers.append(daemon.json("/slow?3")))
    slow.start()
    daemon.wait_until_slow()
    set_forward.touch()
    after = daemon.json()
    began = [it["environ"]["mod_wsgi.daemon_start"] for it in (before, after)]
    assert began[1] - began[0] > 9 * 24 * 3600, "the clock is not set"
    slow.join()
    assert [it["pid"] for it in [before, after, *answers]] == [before["pid"]] * 3
    assert wait_until(daemon.json, "an answer")["pid"] == before["pid"]
    assert "request-timeout" not in daemon.log()
