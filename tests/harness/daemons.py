"""The processes of daemon mode as /proc shows them, faults to be brought about, and questions."""

import concurrent.futures
import contextlib
import os
import re
import signal
import time
from pathlib import Path
from urllib.parse import quote

from .httpd import READY, START_TIMEOUT, wait_until


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_daemon(pid):
    """Whether the process runs wsgi-daemon, whatever it calls itself."""
    with contextlib.suppress(OSError):
        program = os.readlink(f"/proc/{pid}/exe")
        if "valgrind" in program:
            program = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        return "wsgi-daemon" in program
    return False


def manages(pid):
    """Whether a manager has begun to manage its group.

    Before, it forks a process that looks up the group's user, with the program, the arguments and
    the descriptors of a worker that the same program runs in. It waits for the end of that process,
    and then handles SIGCHLD for those of its workers.
    """
    with contextlib.suppress(OSError, KeyError):
        return bool(int(status_of(pid)["SigCgt"], 16) >> (signal.SIGCHLD - 1) & 1)
    return False


def is_worker(pid):
    """Whether a child of a manager runs a worker's program; one just forked has the manager's."""
    with contextlib.suppress(OSError):
        return "wsgi-daemon-manager" not in os.readlink(f"/proc/{pid}/exe")
    return False


def managers(server):
    """The managers of all groups, in the order of the configuration at the server's start."""
    return sorted(pid for pid in server.children() if is_daemon(pid))


def manager(server):
    """The manager of the only group."""
    (pid,) = wait_until(lambda: managers(server), "the manager")
    return pid


def workers_of(pid):
    """The workers of a manager, those included that start or leave."""
    # In this order: a process that looks up a user is gone before the manager manages.
    there = children(pid) if manages(pid) else []
    return [child for child in there if is_alive(child) and is_worker(child)]


def workers(server):
    """The workers of the only group, those included that start or leave."""
    return workers_of(manager(server))


def httpd_children(server):
    """Apache's own children."""
    return [pid for pid in server.children() if not is_daemon(pid) and is_alive(pid)]


def settled(server, count, without=()):
    """Waits for `count` workers, none of them of `without`; returns them."""

    def there():
        now = workers(server)
        return len(now) == count and not set(now) & set(without) and now

    return wait_until(there, f"{count} workers, none of {sorted(without)}", timeout=30)


def await_all_workers(server):
    """Returns once every worker of the only group that always runs has been started.

    One may answer before the next one has been forked. Of several groups none is waited for.
    """
    text = (server.root / "httpd.conf").read_text()
    groups = re.findall(r"^\s*WSGIDaemonProcess\s(.*)", text, re.MULTILINE)
    if len(groups) != 1:
        return
    processes = re.search(r"\bprocesses=(\d+)", groups[0])
    count = int(processes[1]) if processes else 1
    count += "preload=On" in groups[0]
    wait_until(lambda: len(workers(server)) >= count, f"{count} workers", timeout=30)


def await_answers_of_all(server):
    """Returns once each worker of the only group has answered a request.

    A worker that has never loaded the script has no older state of it, and a change of the file is
    none to it. The application is tests/apps/faults.py.
    """
    served, count = set(), len(workers(server))

    def all_have_answered():
        served.update(pid_of(answer) for answer in pool.map(server.get, [path] * count))
        return set(workers(server)) <= served

    path = "/sleep?for=0.05"
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        wait_until(all_have_answered, "an answer of each worker", timeout=30)


def restart(server, count, signum=signal.SIGUSR1):
    """A graceful restart, up to the moment when the last old process is gone."""
    old, old_children = workers(server), httpd_children(server)
    before = len(server.log.find(READY))
    server.send_signal(signum)
    server.log.wait_for(READY, count=before + 1, timeout=START_TIMEOUT)
    settled(server, count, without=old)
    wait_until(
        lambda: httpd_children(server) and not set(old_children) & set(httpd_children(server)),
        "Apache's old children to leave",
        timeout=30,
    )


def touch(server, count, script="app.py"):
    """What a deployment does: the script has another date; the workers are replaced."""
    old = workers(server)
    path = server.root / script
    before = path.stat().st_mtime_ns
    wait_until(lambda: os.utime(path) or path.stat().st_mtime_ns != before, "another date")
    settled(server, count, without=old)


def signal_each_worker(server, count, signum):
    """Sends the signal to each worker in turn, always waiting for the replacement."""
    for victim in workers(server):
        os.kill(victim, signum)
        wait_until(lambda pid=victim: not is_alive(pid), f"worker {victim} to leave", timeout=30)
        settled(server, count, without=[victim])


def kill_manager(server, count):
    """kill -9; then there is another one, with workers of its own."""
    first, orphans = manager(server), workers(server)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: managers(server) not in ([], [first]), "another manager")
    wait_until(lambda: not any(map(is_alive, orphans)), "the orphans to leave", timeout=30)
    settled(server, count, without=orphans)


def serves(server, path="/"):
    """Whether a GET is answered with 200."""
    with contextlib.suppress(OSError):
        return server.get(path).status == 200
    return False


def pid_of(response):
    """The worker that answered: the first word of what many applications of the tests answer."""
    assert response.status == 200, response.text
    return int(response.text.split()[0])


def evaluate(server, expression, path=""):
    """The value of a Python expression in a worker; tests/apps/faults.py is at `path`."""
    answer = server.get(f"{path}/eval?what={quote(expression)}")
    assert answer.status == 200, answer.text
    return eval(answer.text)


def notes(server, name="note"):
    """The lines in a file that applications write to, one a request they have begun."""
    path = server.root / "out" / name
    return path.read_text().splitlines() if path.exists() else []


def wait_for_notes(server, count=1, name="note"):
    """Returns once the application has begun that many requests."""
    wait_until(lambda: len(notes(server, name)) >= count, f"{count} requests to begin")


def meet(server, count, name, seconds=10):
    """The workers of so many requests if all were in the application at the same time, else none.

    `name` is a file of this meeting alone; the first requests wait for the last one so long. The
    application is tests/apps/faults.py.
    """
    path = f"/meet?count={count}&for={seconds}&note={server.root}/out/{name}"
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(server.get, [path] * count))
    pids = {pid_of(answer) for answer in answers}
    return pids if all(answer.text.endswith(" met") for answer in answers) else set()


def under_load(server, action):
    """The statuses other than 200 of what four clients asked for while `action` ran."""
    done = concurrent.futures.Future()

    def load():
        statuses = []
        while not done.done():
            statuses.append(server.get("/").status)
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load) for _ in range(4)]
        try:
            action()
        finally:
            done.set_result(None)
        return [status for client in clients for status in client.result() if status != 200]


def status_of(pid):
    """/proc/PID/status as a dict."""
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def freeze(pid):
    """Stops a process; after SIGSTOP one on another processor goes on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: status_of(pid)["State"].startswith("T"), "the process to stop")


def connections(server):
    """How many connections of Apache's children the workers have accepted, or will."""
    return connections_below(server.root)


def connections_below(path):
    """How many connections there are to Unix sockets whose name begins so, accepted or not."""
    # The paths of other servers' sockets may be no UTF-8.
    table = os.fsdecode(Path("/proc/net/unix").read_bytes())
    lines = [line.split() for line in table.splitlines()]
    # SS_CONNECTING is one that has yet to be accepted.
    connected = [fields for fields in lines if fields[5] in ("02", "03")]
    return sum(fields[-1].startswith(str(path)) for fields in connected)


def pss(pid):
    """Proportional set size in bytes; 0 for a process that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def pause(seconds):
    """Lets load run for a while; not to wait for something that can be seen."""
    time.sleep(seconds)


def has_hub(server):
    """Whether Apache's child has the hub, a thread that is woken by an eventfd."""
    (child,) = httpd_children(server)
    for link in Path(f"/proc/{child}/fd").iterdir():
        # One may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if "eventfd" in str(link.readlink()):
                return True
    return False
