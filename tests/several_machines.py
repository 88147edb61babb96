"""Three daemon hosts and a front end in network namespaces, for `make several-machines` (root):
what 8 clients notice while a host stops, dies, is cut off, replaced or has no room on its disk.
Prints the tables of docs/several-machines.md, and ends with 1 where an event has lost more than it
may. `--figures` prints what one host needs.

Each host runs wsgi-daemon in a namespace of its own, behind HAProxy, nginx, Caddy and Apache in
turn, and `mod_wsgi_rs start-server` behind a HAProxy that speaks HTTP and the PROXY protocol
(`server`). Each POST has a number of its own, which the application writes down: what is carried
out twice is there twice. The files of a host (script, log, sockets, temporary files) are on a small
file system of its own.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from harness.balancers import (
    APACHE,
    APACHE_MODULES,
    CADDY,
    CADDY_MACHINE,
    CLIENTS,
    COLUMNS,
    EVENTS,
    FRONT_ENDS,
    HAPROXY,
    HAPROXY_FASTCGI,
    HAPROXY_HTTP,
    INCLUDED,
    NGINX,
    faults,
    label,
    most_failed,
)
from harness.one_host import figures

REPO = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("WSGI_DAEMON", REPO / "target/release/wsgi-daemon"))
COMMAND = Path(os.environ.get("MOD_WSGI_RS_COMMAND", REPO / "target/release/mod_wsgi_rs"))
NAME = f"wsgi{os.getpid() % 10000}"
FRONT = f"{NAME}f"
NETWORK = "10.77.0"
HOSTS = (1, 2, 3, 4)
# Those that are there from the beginning.
FIRST = HOSTS[:3]
PORT = 9000
# Of the disk of a host.
MIB = 1 << 20
DISK = 8 * MIB
SECONDS = float(os.environ.get("SECONDS_EACH", "8"))
APPLICATION = """
import os, time

def application(environ, start_response):
    time.sleep(0.01)
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
        record = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(record, (environ["PATH_INFO"] + "\\n").encode())
        os.close(record)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"{version:>8}"]
"""


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def in_namespace(namespace, *words):
    return ["ip", "netns", "exec", namespace, *map(str, words)]


def wait_until(condition, what, timeout=20):
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


class Host:
    """A machine with a daemon."""

    def __init__(self, number, root):
        self.number, self.root = number, root
        self.namespace, self.link = f"{NAME}h{number}", f"{NAME}v{number}"
        self.address = f"{NETWORK}.{10 + number}"
        self.disk = root / f"host-{number}"
        self.process = None

    def connect(self):
        run("ip", "netns", "add", self.namespace)
        run(
            *("ip", "link", "add", self.link, "netns", FRONT, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.namespace),
        )
        run("ip", "-n", FRONT, "link", "set", self.link, "master", "br0", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "disk", self.disk)

    def disconnect(self):
        run("ip", "netns", "del", self.namespace, check=False)

        def is_unmounted():
            """Not while a process that was killed is still ending."""
            return not self.disk.is_mount() or not run("umount", self.disk, check=False).returncode

        wait_until(is_unmounted, f"the disk of host {self.number}")

    def set_link(self, state):
        run("ip", "-n", FRONT, "link", "set", self.link, state)

    def fill_disk(self):
        """Leaves not a byte on it."""
        with (self.disk / "filler").open("wb", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass
        assert os.statvfs(self.disk).f_bavail == 0

    def write(self, version):
        """The application of this version."""
        text = APPLICATION.format(version=version, record=str(self.root / "posts"))
        (self.disk / "site.py").write_text(text)

    def command(self):
        """What runs the application."""
        command = [PROGRAM, "--listen", f"tcp:{self.address}:{PORT}", "--allow", f"{NETWORK}.1"]
        command += ["--application", self.disk / "site.py", "--processes", "2", "--threads", "8"]
        command += ["--admin", f"unix:{self.disk}/admin", "--admin", f"tcp:{self.address}:9001"]
        return [*command, "--drain-delay", "2"]

    def start(self, version):
        self.write(version)
        with (self.disk / "log").open("ab") as log:
            self.process = subprocess.Popen(
                in_namespace(self.namespace, *self.command()),
                stdout=log,
                stderr=log,
                cwd=self.disk,
                env=os.environ | {"TMPDIR": str(self.disk)},
                start_new_session=True,
            )
        wait_until(self.listens, f"host {self.number}")

    def listens(self):
        found = run("ip", "netns", "exec", self.namespace, "ss", "-tlnH", check=False).stdout
        return f"{self.address}:{PORT}" in found

    def signal(self, number):
        os.kill(self.process.pid, number)

    def signal_all(self, number):
        """The manager and its workers: as a machine that loses its power, or stands still."""
        os.killpg(self.process.pid, number)

    def replace_workers(self):
        self.signal(signal.SIGUSR1)

    def terminate(self):
        self.signal(signal.SIGTERM)
        self.process.wait(30)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.signal_all(signal.SIGKILL)
            self.process.wait(10)


class ServerHost(Host):
    """A machine with `mod_wsgi_rs start-server`: Apache and all."""

    def write(self, version):
        super().write(version)
        (self.disk / "included.conf").write_text(INCLUDED.format(disk=self.disk))

    def command(self):
        command = [COMMAND, "start-server", "site.py", "--host", self.address, "--port", PORT]
        command += ["--proxy-protocol", "--trust-proxy", f"{NETWORK}.1"]
        command += ["--include-file", "included.conf", "--server-root", self.disk / "server"]
        return [*command, "--processes", "2", "--threads", "8"]

    def signal_all(self, number):
        """Each process of the server: managers and workers have process groups of their own."""
        for pid in run("ip", "netns", "pids", self.namespace).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def terminate(self):
        """As docs/several-machines.md has it: first no new requests, then the end."""
        (self.disk / "draining").touch()
        time.sleep(2)
        super().terminate()
        (self.disk / "draining").unlink()


class FrontEnd:
    """HAProxy, nginx or Apache in its namespace."""

    def __init__(self, name, root, hosts):
        self.name, self.root, self.hosts, self.process = name, root, hosts, None

    def write(self):
        """The configuration; the command that runs it."""
        root = self.root
        servers = self.servers()
        if self.name in ("haproxy", "server"):
            speech = HAPROXY_HTTP if self.name == "server" else HAPROXY_FASTCGI
            text = HAPROXY.format(root=root, servers=servers, **speech)
            (root / "haproxy.cfg").write_text(text)
            return ["haproxy", "-db", "-f", root / "haproxy.cfg"]
        if self.name == "nginx":
            (root / "nginx.conf").write_text(NGINX.format(root=root, servers=servers))
            return ["nginx", "-p", root, "-c", root / "nginx.conf"]
        if self.name == "caddy":
            machines = "".join(
                CADDY_MACHINE.format(port=9010 + it.number, address=it.address) for it in self.hosts
            )
            text = CADDY.format(root=root, servers=servers, machines=machines)
            (root / "Caddyfile").write_text(text)
            return ["caddy", "run", "--config", root / "Caddyfile", "--adapter", "caddyfile"]
        folder = Path("/usr/lib/apache2/modules")
        files = ((name, folder / f"mod_{name}.so") for name in APACHE_MODULES)
        # What is not there is compiled in.
        modules = "\n".join(
            f"LoadModule {name}_module {file}" for name, file in files if file.exists()
        )
        once = servers.replace("hcinterval=1 ", "hcinterval=200ms status=+I ")
        text = APACHE.format(root=root, servers=servers, servers_once=once, modules=modules)
        (root / "httpd.conf").write_text(text)
        return ["apache2", "-f", root / "httpd.conf", "-DFOREGROUND"]

    def servers(self):
        """All hosts, also the one that is not there yet: it fails its check, or its connections."""
        if self.name in ("haproxy", "server"):
            lines = [f"    server h{it.number} {it.address}:{PORT}" for it in self.hosts]
        elif self.name == "caddy":
            lines = [" ".join(f"127.0.0.1:{9010 + it.number}" for it in self.hosts)]
        elif self.name == "nginx":
            lines = [
                f"        server {it.address}:{PORT} max_fails=1 fail_timeout=2s;"
                for it in self.hosts
            ]
        else:
            lines = [
                f'    BalancerMember "fcgi://{it.address}:{PORT}" enablereuse=on retry=1 timeout=4 '
                "connectiontimeout=1 hcmethod=GET hcuri=/-/ready hcinterval=1 hcfails=1 hcpasses=1"
                f"{'' if it.number in FIRST else ' status=+C'}"
                for it in self.hosts
            ]
        return "\n".join(lines)

    def start(self):
        command = self.write()
        with (self.root / f"{self.name}.out").open("ab") as out:
            self.process = subprocess.Popen(
                in_namespace(FRONT, *command),
                stdout=out,
                stderr=out,
                env=os.environ | {"HOME": str(self.root)},
                start_new_session=True,
            )
        wait_until(
            lambda: "127.0.0.1:8080" in run(*in_namespace(FRONT, "ss", "-tlnH")).stdout, self.name
        )

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


class Load:
    """The clients, in the namespace of the front end."""

    def __init__(self, prefix):
        command = in_namespace(FRONT, sys.executable, __file__, "--load", prefix)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def finish(self):
        said, _ = self.process.communicate("stop", timeout=60)
        return json.loads(said)


def load(prefix):
    """Asks until the end of standard input, with GET and POST in turn on kept connections."""
    stopped = threading.Event()
    results = {method: {"sent": 0, "failed": 0, "slowest": 0.0} for method in ("GET", "POST")}
    lock, failures, moments = threading.Lock(), Counter(), []

    def connect():
        return http.client.HTTPConnection("127.0.0.1", 8080, timeout=15)

    def ask(number):
        connection, count = None, 0
        while not stopped.is_set():
            method, count = ("GET", "POST")[count % 2], count + 1
            began, body, outcome = time.monotonic(), None, ""
            connection = connection or connect()
            sent = b"x" * 100 if method == "POST" else None
            try:
                # Never sent anew, also where the front end closes a kept connection meanwhile.
                connection.request(method, f"/{prefix}-{number}-{count}", sent)
                answer = connection.getresponse()
                body = answer.read()
                is_served = answer.status == 200 and len(body) == 8
                outcome = str(answer.status)
            except (OSError, http.client.HTTPException) as why:
                is_served, outcome = False, repr(why)
            if not is_served:
                connection.close()
                connection = None
            took = time.monotonic() - began
            with lock:
                found = results[method]
                found["sent"] += 1
                found["failed"] += not is_served
                found["slowest"] = max(found["slowest"], took)
                if not is_served:
                    failures[f"{method}: {outcome}"] += 1
                    moments.append(time.monotonic())

    threads = [threading.Thread(target=ask, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()
    span = max(moments) - min(moments) if moments else 0
    print(json.dumps(results | {"failures": failures, "span": span}))


def stop_by_term(site):
    site.hosts[0].terminate()


def kill(site):
    site.hosts[0].signal_all(signal.SIGKILL)
    site.hosts[0].process.wait(10)


def cut_link(site):
    site.hosts[0].set_link("down")


def stand_still(site):
    site.hosts[0].signal_all(signal.SIGSTOP)


def fill_disk(site):
    host = site.hosts[0]
    host.fill_disk()
    # What a full disk keeps from starting is seen as well.
    host.replace_workers()


def roll(site):
    for host in site.hosts[: len(FIRST)]:
        host.terminate()
        host.start("v2")
        # A health check has to see it.
        time.sleep(1)


def add_one(site):
    """The front end has its address from the beginning, and is not told."""
    site.hosts[3].set_link("up")
    site.hosts[3].start("v1")


ACTS = dict(
    zip(
        EVENTS,
        (stop_by_term, roll, add_one, kill, cut_link, stand_still, fill_disk),
        strict=True,
    )
)


class Site:
    """Three hosts and a front end."""

    def __init__(self, name, root):
        self.root = root
        kind = ServerHost if name == "server" else Host
        self.hosts = [kind(number, root) for number in HOSTS]
        self.front = FrontEnd(name, root, self.hosts)

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self):
        run("ip", "netns", "add", FRONT)
        run("ip", "-n", FRONT, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", FRONT, "addr", "add", f"{NETWORK}.1/24", "dev", "br0")
        for device in ("br0", "lo"):
            run("ip", "-n", FRONT, "link", "set", device, "up")
        for host in self.hosts:
            host.connect()
        for host in self.hosts:
            if host.number in FIRST:
                host.start("v1")
            else:
                # Its address answers nothing, as that of a machine which is not there.
                host.set_link("down")
        self.front.start()

    def __exit__(self, *_):
        if self.front.process:
            self.front.stop()
        for host in self.hosts:
            host.stop()
            host.disconnect()
        run("ip", "netns", "del", FRONT, check=False)


def measure(name, event):
    root = Path(tempfile.mkdtemp(prefix="several-machines-"))
    root.chmod(0o755)
    # Applications of start-server are not root's.
    (root / "posts").touch()
    (root / "posts").chmod(0o666)
    try:
        with Site(name, root) as site:
            # Checks have to see which hosts are there.
            time.sleep(3)
            clients = Load(event.encode().hex()[:12])
            time.sleep(1.5)
            began = time.monotonic()
            ACTS[event](site)
            time.sleep(max(0, SECONDS - (time.monotonic() - began)))
            results = clients.finish()
            found = [*root.glob("*.log"), *root.glob("*.out"), *root.glob("host-*/log")]
            logs = {str(file.relative_to(root)): file.read_text() for file in found}
        counted = Counter((root / "posts").read_text().split())
        results["twice"] = sum(count > 1 for count in counted.values())
        if os.environ.get("KEEP_LOGS"):
            for name, text in logs.items():
                print(name, text[-2000:], file=sys.stderr)
            print(results["failures"], file=sys.stderr)
        return results
    finally:
        # Nothing is mounted below it any more, or this fails.
        if not any(path.is_mount() for path in root.glob("host-*")):
            shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", metavar="PREFIX", help=argparse.SUPPRESS)
    parser.add_argument("fronts", nargs="*", default=list(FRONT_ENDS))
    parser.add_argument("--only", help="events whose label holds this text")
    parser.add_argument("--figures", action="store_true", help="what one host needs, nothing else")
    options = parser.parse_args()
    if unknown := set(options.fronts) - set(FRONT_ENDS):
        parser.error(f"no such front end: {', '.join(sorted(unknown))} ({', '.join(FRONT_ENDS)})")
    if options.load:
        return load(options.load)
    if options.figures:
        for name, value in figures().items():
            print(f"{name}: {value}")
        return 0
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    wrong = []
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for front in options.fronts:
        if not shutil.which({"apache": "apache2", "server": "haproxy"}.get(front, front)):
            print(f"{front} is not installed", file=sys.stderr)
            continue
        for event in EVENTS:
            if options.only and options.only not in event:
                continue
            found = measure(front, event)
            cells = [FRONT_ENDS[front], label(front, event)]
            for method in ("GET", "POST"):
                one = found[method]
                cells += [one["sent"], one["failed"], f"{one['slowest']:.2f} s"]
            print("|", " | ".join(map(str, [*cells, found["twice"]])), "|", flush=True)
            most = most_failed(front, event)
            if most is not None:
                failed = found["GET"]["failed"] + found["POST"]["failed"]
                print(f"{front}, {event}: {failed} failed, at most {most} may", file=sys.stderr)
            wrong += [f"{front}, {event}: {what}" for what in faults(front, event, found)]
    for sentence in wrong:
        print(f"WRONG: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
