"""conf-examples/front-ends: nginx, HAProxy and systemd with wsgi-daemon, as the files say."""

import contextlib
import csv
import http.client
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import daemons, frontends
from harness import fastcgi_client as fastcgi
from harness.env import REPO
from harness.httpd import free_ports, ports_locked, wait_until
from harness.standalone import PROGRAM, Daemon

pytestmark = pytest.mark.ours_only("mod_wsgi has no such program")

FOLDER = REPO / "conf-examples/front-ends"
UNIT = FOLDER / "wsgi-daemon@.service"


@pytest.fixture
def site(daemon):
    """The daemon of a site whose socket and static files every front end may open."""
    daemon.root.chmod(0o755)
    (daemon.root / "static").mkdir()
    (daemon.root / "static/site.css").write_text("body {}\n")
    daemon.start("--processes", "2", "--socket-mode", "666")
    return daemon


def changed(name, site, port, listen):
    """The file of the example, with this machine's port and paths."""
    text = (FOLDER / name).read_text()
    assert text.startswith("# ")
    for old, new in (
        (listen, re.sub(r"(\S*?)80", rf"\g<1>{port}", listen)),
        ("/run/wsgi/blog/socket", str(site.socket)),
        ("/srv/blog/", f"{site.root}/"),
    ):
        text = text.replace(old, new)
    return text


def assert_served(client):
    """The whole URL reaches the application as its PATH_INFO, and connections are kept."""
    environ = client.get("/a/b%20c?d=e").json()["environ"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a/b c")
    assert environ["QUERY_STRING"] == "d=e"
    assert client.get("/").json()["environ"]["PATH_INFO"] == "/"
    assert client.post("/", b"x" * 200_000).json()["body"] == 200_000
    assert client.get("/log").status == 200
    assert client.get("/raise").status == 500
    assert all(client.get("/").status == 200 for _ in range(20))


def assert_nothing_is_lost_in_a_reload(site, client):
    """SIGUSR1 replaces every worker, while requests go on."""
    before = set(site.workers())
    site.process.send_signal(signal.SIGUSR1)

    def replaced():
        assert client.get("/").status == 200
        return len(site.workers()) == 2 and not before & set(site.workers())

    wait_until(replaced, "other workers")


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_serves_the_site_of_its_example(site):
    def conf(port):
        return changed("nginx.conf", site, port, "listen 80").replace(
            "listen ", "listen 127.0.0.1:"
        )

    with frontends.nginx_with(site.root, conf) as client:
        assert client.get("/static/site.css").text == "body {}\n"
        assert_served(client)
        assert_nothing_is_lost_in_a_reload(site, client)


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_serves_the_site_of_its_example(site):
    def conf(port):
        return changed("haproxy.cfg", site, port, "bind :80").replace("bind :", "bind 127.0.0.1:")

    with frontends.haproxy_with(site.root, conf) as client:
        assert_served(client)
        # It would crash at them up to 2.6.12 (its issue 2150).
        wait_until(lambda: "RuntimeError: on purpose" in site.log(), "the lines of the application")
        assert "a line for the log" in site.log()
        assert client.get("/").json()["environ"]["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
        assert_nothing_is_lost_in_a_reload(site, client)


def unit(site):
    """The text of the unit of a site, with this machine's paths and the test's own user."""
    text = UNIT.read_text().replace("%i", "blog")
    home = f"--python-home {site.root}/venv "
    for old, new in (
        (re.search(r"/\S+/wsgi-daemon-\S+", text)[0], str(PROGRAM)),
        ("/run/wsgi/blog/socket", str(site.socket)),
        ("/srv/blog/app.wsgi", str(site.script)),
        ("/srv/blog", str(site.root)),
        (home, ""),
    ):
        assert old in text
        text = text.replace(old, new)
    return re.sub(r"^(User|Group)=.*\n", "", text, flags=re.M)


def values(text, key):
    """The values of a key, with continued lines joined."""
    return re.findall(rf"^{key}=(.*)$", text.replace("\\\n", " "), re.M)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
@pytest.mark.parametrize("kind", ["service", "socket"])
def test_systemd_has_no_complaint_about_the_unit(tmp_path, kind):
    service = unit(Daemon(tmp_path))
    if kind == "socket":
        # As the head of the file says.
        socket_options = re.search(r"--listen \S+ --socket-mode \d+ ", service)[0]
        service = service.replace(socket_options, "")
        text = (FOLDER / "wsgi-daemon@.socket").read_text().replace("%i", "blog")
        (tmp_path / "blog.socket").write_text(text.replace("www-data", "root"))
    (tmp_path / "blog.service").write_text(service)
    file = tmp_path / f"blog.{kind}"
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        verified.returncode,
        [it for it in verified.stderr.splitlines() if file.name in it],
    ) == (
        0,
        [],
    )


def test_command_of_the_unit_serves_and_its_reload_replaces_workers(daemon):
    (start,) = values(unit(daemon), "ExecStart")
    program, *arguments = shlex.split(start)
    assert program == str(PROGRAM)
    assert arguments[:2] == ["--listen", f"unix:{daemon.socket}"]
    application = arguments.index("--application")
    assert arguments[application + 1] == str(daemon.script)
    daemon.start(*arguments[2:application], *arguments[application + 2 :])
    assert daemon.get("/").status == 200
    assert daemon.socket.stat().st_mode & 0o777 == 0o660
    wait_until(lambda: len(daemon.workers()) == 2, "two workers")
    before = set(daemon.workers())
    (reload,) = values(unit(daemon), "ExecReload")
    command = reload.replace("$MAINPID", str(daemon.process.pid))
    subprocess.run(shlex.split(command), check=True)
    wait_until(
        lambda: len(daemon.workers()) == 2 and not before & set(daemon.workers()), "other workers"
    )
    os.kill(daemon.process.pid, signal.SIGTERM)
    assert daemon.process.wait(15) == 0


SEVERAL = FOLDER / "several-machines"
LISTEN = {
    "haproxy.cfg": ("bind :80", "bind 127.0.0.1:{port}"),
    "nginx.conf": ("listen 80", "listen 127.0.0.1:{port}"),
    "Caddyfile": ("http://blog.example.com:80 {", "http://:{port} {{\n\tbind 127.0.0.1"),
    "apache.conf": ("<VirtualHost *:80>", "<VirtualHost *>"),
}


@pytest.fixture
def three_hosts(tmp_path):
    with hosts_of_an_example(tmp_path) as hosts:
        yield hosts


class Hosts(dict):
    """The machines of the examples: each a daemon and its port, by the address in the example."""

    def __init__(self, stack, tmp_path, options=()):
        super().__init__()
        self.options = ["--drain-delay", "3", *options]
        for number in (11, 12, 13):
            daemon = self.daemon(stack, tmp_path / str(number))
            with ports_locked():
                port, daemon.admin_port = free_ports(2)
                self.start(daemon, port)
            self[f"10.1.0.{number}:9000"] = (daemon, port)
        # One that is not there yet: its ports refuse connections, and no other program gets them.
        self.held = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in self.held:
            one.bind(("127.0.0.1", 0))
        daemon = self.daemon(stack, tmp_path / "14")
        port, daemon.admin_port = (one.getsockname()[1] for one in self.held)
        self.absent = {"10.1.0.14:9000": (daemon, port)}

    @staticmethod
    def daemon(stack, root):
        root.mkdir()
        daemon = Daemon(root)
        stack.callback(daemon.stop)
        return daemon

    def start(self, daemon, port):
        options = ["--admin", f"tcp:127.0.0.1:{daemon.admin_port}", *self.options]
        daemon.start_at(f"tcp:127.0.0.1:{port}", options=options)
        wait_until(lambda: answers(port), "the daemon")

    def start_absent(self):
        """The machine that was not there; its daemon."""
        ((daemon, port),) = self.absent.values()
        with ports_locked():
            for one in self.held:
                one.close()
            self.start(daemon, port)
        return daemon


@contextlib.contextmanager
def hosts_of_an_example(tmp_path, *more):
    with contextlib.ExitStack() as stack:
        yield Hosts(stack, tmp_path, more)


def answers(port):
    with contextlib.suppress(OSError):
        return fastcgi.get(("127.0.0.1", port), "/-/ready").status == 200
    return False


def for_hosts(name, hosts, port):
    """The file of an example for several machines, with this machine's ports."""
    text = (SEVERAL / name).read_text()
    old, new = LISTEN[name]
    assert old in text
    text = text.replace(old, new.format(port=port))
    machines = {**hosts, **hosts.absent}
    if name == "haproxy.cfg":
        for address, (daemon, _) in machines.items():
            check = f"{address} check port 9001"
            assert check in text
            text = text.replace(check, f"{address} check port {daemon.admin_port}")
    for address, (_, own) in machines.items():
        assert address in text
        text = text.replace(address, f"127.0.0.1:{own}")
    if name == "Caddyfile":
        for address, (daemon, _) in machines.items():
            admin = address.replace(":9000", ":9001")
            assert admin in text
            text = text.replace(admin, f"127.0.0.1:{daemon.admin_port}")
        # Those of its sites on loopback.
        others = [own for own in free_ports(5) if own != port][:4]
        for site, own in zip((9011, 9012, 9013, 9014), others, strict=True):
            assert f"http://:{site} {{" in text
            text = text.replace(f":{site}", f":{own}")
    return text


def balancing(servers, text):
    """A client of an Apache with mod_proxy_balancer and mod_proxy_hcheck."""
    modules = ("proxy_balancer", "slotmem_shm", "lbmethod_byrequests", "rewrite")
    modules += ("proxy_hcheck", "watchdog")
    return frontends.apache_with(servers, text, *modules, allowed=[r"\bAH0\d{4}: "])


def front_of(name, hosts, tmp_path, servers):
    """A client of the front end of an example, before these machines."""
    starts = {
        "haproxy.cfg": ("haproxy", frontends.haproxy_with),
        "nginx.conf": ("nginx", frontends.nginx_with),
        "Caddyfile": ("caddy", frontends.caddy_with),
    }
    program, start = starts.get(name, (None, None))
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    if not program and not servers.env.has_module("proxy_balancer"):
        pytest.skip("this Apache has no mod_proxy_balancer")
    if program:
        return start(tmp_path, lambda port: for_hosts(name, hosts, port))
    return balancing(servers, for_hosts(name, hosts, 0))


@pytest.mark.parametrize("name", LISTEN)
def test_nothing_is_lost_while_a_machine_of_the_example_drains(
    three_hosts, tmp_path, servers, name
):
    with front_of(name, three_hosts, tmp_path, servers) as client:
        pids = set()

        def each_host_has_answered():
            # A front end whose first checks came before a host was seen asks it from the next on.
            pids.update(client.get(f"/{number}").json()["pid"] for number in range(12))
            return len(pids) == 3

        wait_until(each_host_has_answered, "an answer of each host", timeout=30)
        leaving, _ = next(iter(three_hosts.values()))
        leaving.process.terminate()
        found = {"GET": set(), "POST": set()}
        while leaving.process.poll() is None:
            found["GET"].add(client.get("/").status)
            found["POST"].add(client.post("/", b"x" * 1000).status)
        found["GET"].add(client.get("/").status)
        assert found == {"GET": {200}, "POST": {200}}


@pytest.mark.parametrize("name", LISTEN)
def test_machine_that_was_not_there_is_used_without_a_reload_of_the_example(
    three_hosts, tmp_path, servers, name
):
    with front_of(name, three_hosts, tmp_path, servers) as client:
        found, pids = {"GET": set(), "POST": set()}, set()

        def ask():
            """The status of a GET. Of four hosts in turn, GETs alone would reach two."""
            answers = {"GET": client.get("/"), "POST": client.post("/", b"x" * 1000)}
            for method, answer in answers.items():
                found[method].add(answer.status)
                if answer.status == 200:
                    pids.add(answer.json()["pid"])
            return answers["GET"].status

        # Until its absence is known: until the first checks Caddy may send it a POST.
        wait_until(lambda: {ask() for _ in range(12)} == {200}, "the machines", timeout=30)
        for statuses in found.values():
            statuses.clear()
        for _ in range(12):
            assert ask() == 200
        added = three_hosts.start_absent()

        def has_answered():
            ask()
            return pids & set(added.workers())

        wait_until(has_answered, "an answer of the machine that was added", timeout=40)
        assert found == {"GET": {200}, "POST": {200}}


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_machines_of_the_example_for_haproxy_stay_up_while_every_thread_is_busy(tmp_path):
    control = tmp_path / "haproxy.sock"
    control_conf = f"global\n    stats socket {control} mode 600 level user\n"

    def states():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control))
            client.sendall(b"show stat\n")
            said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        rows = list(csv.DictReader(io.StringIO(said.removeprefix("# "))))
        # Without that of the machine which is not there.
        names = {f"blog{number}" for number in (1, 2, 3)}
        return {row["svname"]: row["status"] for row in rows if row["svname"] in names}

    with hosts_of_an_example(tmp_path, "--threads", "1") as hosts, contextlib.ExitStack() as stack:

        def conf(port):
            return control_conf + for_hosts("haproxy.cfg", hosts, port)

        client = stack.enter_context(frontends.haproxy_with(tmp_path, conf))
        wait_until(lambda: set(states().values()) == {"UP"}, "a check of each machine")
        busy = []
        for daemon, port in hosts.values():
            busy.append(stack.enter_context(fastcgi.connection(("127.0.0.1", port))))
            # Longer than so many checks that fail as take a host out.
            busy[-1].send(fastcgi.request("/slow?6"))
            daemon.wait_until_slow()
        found, seen = [], set()
        waiting = threading.Thread(target=lambda: found.append(client.get("/").status))
        waiting.start()
        while waiting.is_alive():
            seen.update(state.split()[0] for state in states().values())
            time.sleep(0.05)
        waiting.join()
        assert (found, seen) == ([200], {"UP"})
        assert [one.answer().status for one in busy] == [200] * 3


@pytest.mark.skipif(not shutil.which("caddy"), reason="caddy is not installed")
def test_address_and_scheme_behind_the_example_for_caddy_are_those_of_its_client(
    three_hosts, tmp_path
):
    made = []

    def conf(port):
        made.append(for_hosts("Caddyfile", three_hosts, port))
        return made[-1]

    def environ_at(port, source, headers):
        client = http.client.HTTPConnection("127.0.0.1", port, 20, source_address=(source, 0))
        with contextlib.closing(client):
            client.request("GET", "/", headers=headers)
            return json.loads(client.getresponse().read())["environ"]

    claims = {"X-Client-Address": "192.0.2.1", "X-Client-Scheme": "https"}
    with frontends.caddy_with(tmp_path, conf) as client:
        environ = environ_at(client.port, "127.0.0.9", claims)
        # What the client claims is overwritten.
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.9", "http")
        assert not [name for name in environ if name.startswith("HTTP_X_CLIENT_")]
        # As the public site asks the site of a machine for a client of its own that uses TLS.
        port = int(re.search(r"^http://:(\d+) \{\n\timport machine ", made[-1], re.M)[1])
        environ = environ_at(port, "127.0.0.1", claims)
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("192.0.2.1", "https")
        assert not [name for name in environ if name.startswith("HTTP_X_CLIENT_")]


@pytest.mark.skipif(not shutil.which("caddy"), reason="caddy is not installed")
def test_machine_of_the_example_for_caddy_that_was_killed_costs_one_post(three_hosts, tmp_path):
    """The first one that it refuses: the next health check is seconds away."""

    def conf(port):
        text = for_hosts("Caddyfile", three_hosts, port)
        for name, value, other in (("health_interval", "1s", 20), ("fail_duration", "2s", 60)):
            assert text.count(f"\t{name} {value}\n") == 1
            text = text.replace(f"\t{name} {value}\n", f"\t{name} {other}s\n")
        return text

    with frontends.caddy_with(tmp_path, conf) as client:

        def post():
            return client.post("/", b"x" * 1000).status

        # Until a check of each, and that of the machine which is not there. The first checks may
        # come before Caddy listens at the sites of the machines.
        wait_until(lambda: {post() for _ in range(12)} == {200}, "the machines", timeout=90)
        killed, _ = next(iter(three_hosts.values()))
        killed.kill()
        found = [post() for _ in range(30)]
        assert sorted(found) == [200] * 29 + [502]


def test_machine_of_the_example_for_apache_that_was_killed_costs_no_post_after_the_check(
    three_hosts, servers
):
    if not servers.env.has_module("proxy_balancer"):
        pytest.skip("this Apache has no mod_proxy_balancer")
    with balancing(servers, for_hosts("apache.conf", three_hosts, 0)) as client:

        def are_served():
            return {client.post("/", b"x" * 1000).status for _ in range(12)} == {200}

        wait_until(are_served, "the machines", timeout=30)
        killed, _ = next(iter(three_hosts.values()))
        killed.kill()
        wait_until(are_served, "the check", timeout=30)
        # Longer than retry=, after which a host that only a failed request took out is tried.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert are_served()


def test_machine_of_the_example_for_apache_that_stands_still_costs_no_more_than_timeout(
    three_hosts, servers
):
    """That of a request that it has got, and that of the check which takes it out."""
    if not servers.env.has_module("proxy_balancer"):
        pytest.skip("this Apache has no mod_proxy_balancer")
    text = for_hosts("apache.conf", three_hosts, 0)
    members = re.findall(r"^ *BalancerMember .*", text, re.M)
    assert [it for it in members if " timeout=10 " not in it] == []
    took = []
    with balancing(servers, text.replace(" timeout=10 ", " timeout=2 ")) as client:

        def is_answered():
            began = time.monotonic()
            status = client.get("/").status
            took.append(time.monotonic() - began)
            return status == 200

        assert all(is_answered() for _ in range(12))
        stopped, _ = next(iter(three_hosts.values()))
        pids = [stopped.process.pid, *stopped.workers()]
        for pid in pids:
            daemons.freeze(pid)
        try:
            assert not all(is_answered() for _ in range(6))
            # Each of the three has its turn.
            wait_until(lambda: all(is_answered() for _ in range(6)), "the others alone", 30)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    # And time for a busy machine; without the example's `timeout` it is Apache's, 60 s.
    assert max(took) < 2 + 20


def test_each_example_for_several_machines_is_one_of_a_test():
    """Here, in the two tests below, and in tests/command/test_load_balancer.py."""
    elsewhere = {"kubernetes.yaml", "haproxy-http.cfg", "start-server.conf"}
    assert {path.name for path in SEVERAL.iterdir()} == {*LISTEN, *elsewhere}
    text = (REPO / "tests/command/test_load_balancer.py").read_text()
    assert 'FOLDER / "haproxy-http.cfg"' in text
    assert 'FOLDER / "start-server.conf"' in text


def test_kubernetes_deployment_is_one_that_the_api_takes():
    """By the schemas of the package kubernetes-validate, where that is installed."""
    validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    text = (SEVERAL / "kubernetes.yaml").read_text()
    for document in yaml.safe_load_all(text):
        validate.validate(document, "1.31", strict=True)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_of_the_kubernetes_example_is_served_by_its_command_line(daemon):
    """Both as they are in the file, but for addresses and paths."""
    yaml = pytest.importorskip("yaml")
    secret = "0f1e2d3c4b5a"
    documents = list(yaml.safe_load_all((SEVERAL / "kubernetes.yaml").read_text()))
    named = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    (container,) = named["Deployment", "blog"]["spec"]["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    (variable,) = named["Deployment", "blog-nginx"]["spec"]["template"]["spec"]["containers"][0][
        "env"
    ]
    (template,) = named["ConfigMap", "blog-nginx"]["data"].values()
    volumes = named["Deployment", "blog"]["spec"]["template"]["spec"]["volumes"]
    # One secret, of one name: the file that the daemon reads and the variable of nginx.
    source = variable["valueFrom"]["secretKeyRef"]
    assert [source["name"]] == [one["secret"]["secretName"] for one in volumes]
    file = f"{mount['mountPath']}/{source['key']}"
    (daemon.root / "secret").write_text(secret)
    with ports_locked():
        port, admin = free_ports(2)
        changes = {
            "tcp:0.0.0.0:9000": f"tcp:127.0.0.1:{port}",
            "tcp:0.0.0.0:9001": f"tcp:127.0.0.1:{admin}",
            "10.0.0.0/8": "127.0.0.0/8",
            file: str(daemon.root / "secret"),
            "unix:/tmp/admin": f"unix:{daemon.root}/admin",
            "/srv/blog/app.wsgi": str(daemon.script),
        }
        options = dict(option.split("=", 1)[::-1] for option in container["command"][1:])
        assert set(changes) < set(options)
        words = [f"{name}={changes.get(value, value)}" for value, name in options.items()]
        daemon.start_at(options=words)
        wait_until(lambda: answers(port), "the daemon")

    def site(own):
        text = template.replace(f"${{{variable['name']}}}", secret)
        assert text != template
        return text.replace("listen 80;", f"listen 127.0.0.1:{own};").replace(
            "server blog:9000 ", f"server 127.0.0.1:{port} "
        )

    with frontends.nginx_with(daemon.root, site) as client:
        assert_served(client)
        assert secret not in client.get("/").text
    assert not fastcgi.get(("127.0.0.1", port)).complete
    probes = {
        probe["httpGet"]["path"]
        for probe in (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
    }
    for path in probes:
        asked = http.client.HTTPConnection("127.0.0.1", admin, 20)
        with contextlib.closing(asked):
            asked.request("GET", path)
            assert asked.getresponse().status == 200


def test_command_lines_of_the_kubernetes_example_are_the_programs(daemon):
    """Each option is one that the program knows."""
    known = subprocess.check_output([PROGRAM, "--help"], text=True)
    text = (SEVERAL / "kubernetes.yaml").read_text()
    options = re.findall(r"(--[a-z-]+)=", text)
    assert {"--drain", "--admin", "--allow", "--drain-delay"} <= set(options)
    assert [option for option in options if option not in known] == []
