"""start-server behind a load balancer: PROXY protocol, what is believed of whom, the example."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import struct
import threading

import pytest
from harness import frontends
from harness.env import REPO
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("runs ours")

FOLDER = REPO / "conf-examples/front-ends/several-machines"
# Loopback addresses of this machine: the load balancer, and a peer that is none.
BALANCER, OTHER = "127.0.0.1", "127.0.0.2"
APP = """
import json

def app(environ, start_response):
    names = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "wsgi.url_scheme")
    body = environ["wsgi.input"].read()
    found = {name: environ.get(name) for name in names} | {"body": len(body), "version": VERSION}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT, CLIENT_6 = "192.0.2.7", "2001:db8::7"
HEADERS = {
    "version 1": (b"PROXY TCP4 192.0.2.7 10.0.0.1 5555 80\r\n", CLIENT),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 ::1 5555 80\r\n", CLIENT_6),
    "version 2": (
        SIGNATURE
        + b"\x21\x11"
        + struct.pack("!H", 12)
        + socket.inet_aton(CLIENT)
        + socket.inet_aton("10.0.0.1")
        + struct.pack("!HH", 5555, 80),
        CLIENT,
    ),
    "version 2, IPv6": (
        SIGNATURE
        + b"\x21\x21"
        + struct.pack("!H", 36)
        + socket.inet_pton(socket.AF_INET6, CLIENT_6)
        + socket.inet_pton(socket.AF_INET6, "::1")
        + struct.pack("!HH", 5555, 80),
        CLIENT_6,
    ),
    # The load balancer itself, as in a health check.
    "version 2, LOCAL": (SIGNATURE + b"\x20\x00\x00\x00", BALANCER),
}
SPOOFED = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}


def ask(port, begin=b"", peer=BALANCER, headers=()):
    """(status, JSON) of a request whose connection begins with these bytes; (0, None) where the
    server closes it.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(peer, 0))
    with contextlib.closing(connection):
        connection.connect()
        connection.sock.sendall(begin)
        try:
            connection.request("GET", "/", headers=dict(headers))
            response = connection.getresponse()
        except (http.client.HTTPException, ConnectionError):
            return 0, None
        body = response.read()
        return response.status, json.loads(body) if response.status == 200 else None


@pytest.fixture
def site(site):
    (site / "app.py").write_text("VERSION = 1\n" + APP)
    return site


@pytest.fixture
def behind(start, env):
    """A server behind a load balancer at 127.0.0.1, with these further options."""
    if not env.has_module("remoteip"):
        pytest.skip("this Apache has no mod_remoteip")

    def behind(*options, **keywords):
        return start("--proxy-protocol", "--trust-proxy", BALANCER, *options, **keywords)

    return behind


@pytest.mark.parametrize("name", HEADERS)
def test_address_of_the_proxy_protocol_reaches_the_application_and_the_access_log(
    behind, site, name
):
    header, address = HEADERS[name]
    server = behind("--access-log", "--log-directory", site / "logs")
    status, found = ask(server.port, header, headers=SPOOFED)
    assert (status, found["REMOTE_ADDR"]) == (200, address)
    # What no proxy vouches for is what the client has sent, and nothing that the server believes.
    assert found["HTTP_X_FORWARDED_FOR"] == "6.6.6.6"
    log = site / "logs/access_log"
    wait_until(lambda: log.read_text().startswith(f"{address} "), "a line of this address")


def test_peer_that_is_no_trusted_proxy_speaks_for_itself_alone(behind):
    server = behind()
    header, _ = HEADERS["version 1"]
    assert ask(server.port, header, peer=OTHER) == (400, None)
    header, _ = HEADERS["version 2"]
    assert ask(server.port, header, peer=OTHER) == (400, None)
    status, found = ask(server.port, peer=OTHER, headers=SPOOFED)
    assert (status, found["REMOTE_ADDR"]) == (200, OTHER)
    # A trusted proxy has to say who the client is.
    assert ask(server.port) == (0, None)


def test_trusted_proxy_may_be_named_by_its_address_mapped_into_ipv6(start, env, site):
    if not env.has_module("remoteip"):
        pytest.skip("this Apache has no mod_remoteip")
    server = start("--proxy-protocol", "--trust-proxy", f"::ffff:{BALANCER}")
    header, address = HEADERS["version 1"]
    status, found = ask(server.port, header)
    assert (status, found["REMOTE_ADDR"]) == (200, address)
    assert ask(server.port, header, peer=OTHER) == (400, None)


def test_scheme_is_believed_of_a_trusted_proxy_alone(behind):
    server = behind("--trust-proxy-header", "X-Forwarded-Proto")
    header, _ = HEADERS["version 2"]
    for sent, scheme in (("https", "https"), ("http", "http")):
        _, found = ask(server.port, header, headers={"X-Forwarded-Proto": sent})
        assert (found["wsgi.url_scheme"], found["HTTP_X_FORWARDED_PROTO"]) == (scheme, sent)
    _, found = ask(server.port, peer=OTHER, headers={"X-Forwarded-Proto": "https"})
    assert (found["wsgi.url_scheme"], found["HTTP_X_FORWARDED_PROTO"]) == ("http", None)


# Options, and what is wrong with them together with --proxy-protocol.
REFUSED = {
    "no trusted proxy": ([], "needs --trust-proxy"),
    "a name": (["--trust-proxy", "proxy.example"], "must be an address"),
    "another header": (
        ["--trust-proxy", "10.1.0.5", "--trust-proxy-header", "X-Forwarded-For"],
        "--trust-proxy-header X-Forwarded-For: the PROXY protocol says who the client is",
    ),
    "development": (["--trust-proxy", "10.1.0.5", "--reload"], "--reload and --debug"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_proxy_protocol_is_refused_with(run, short, name):
    options, why = REFUSED[name]
    root = short / "root"
    done = run("setup-server", "--server-root", root, "--proxy-protocol", *options, check=False)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (root / "httpd.conf").exists()


class Machine:
    """One of the machines of the example."""

    def __init__(self, start, folder):
        self.start, self.folder, self.server = start, folder, None
        folder.mkdir()
        folder.chmod(0o755)
        text = (FOLDER / "start-server.conf").read_text()
        assert "/srv/blog/draining" in text
        (folder / "start-server.conf").write_text(text.replace("/srv/blog", str(folder)))

    def run(self, version, port=None):
        (self.folder / "app.py").write_text(f"VERSION = {version}\n" + APP)
        command = re.search(
            r"(start-server .*?)\n#\n", (FOLDER / "haproxy-http.cfg").read_text(), re.S
        )[1]
        words = command.replace("#", " ").replace("\\\n", " ").split()[1:]
        assert words[:2] == ["--port", "8080"]
        words = [word.replace("/srv/blog", str(self.folder)) for word in words[2:]]
        words = [word.replace("10.1.0.5", BALANCER) for word in words]
        self.server = self.start(*words, "--processes", "1", cwd=self.folder, port=port)

    def stop(self):
        self.server.signal(signal.SIGTERM)
        assert self.server.wait(60) == 0


class Clients:
    """Ask with GET and POST in turn, on kept connections, until they are stopped."""

    def __init__(self, port, count=4):
        self.port, self.stopped, self.wrong = port, threading.Event(), []
        self.versions = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(count)]

    def ask(self):
        connection, count = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), 0
        with contextlib.closing(connection):
            while not self.stopped.is_set():
                method, count = ("GET", "POST")[count % 2], count + 1
                try:
                    connection.request(method, "/", b"x" * 1000 if method == "POST" else None)
                    response = connection.getresponse()
                    body = response.read()
                    if response.status != 200:
                        self.wrong.append(f"{method} {response.status}")
                        continue
                    self.versions.append(json.loads(body)["version"])
                except (OSError, http.client.HTTPException) as error:
                    self.wrong.append(f"{method} {error!r}")
                    connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait_for(self, condition, what):
        wait_until(lambda: condition(self.versions), what, timeout=60)


def state(path):
    """The states of HAProxy's servers, by name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        connection.sendall(b"show stat\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    rows = [line.split(",") for line in text.splitlines() if line.startswith("blog,")]
    return {row[1]: row[17] for row in rows}


def conf_of(machines, change=lambda text: text):
    """The example for HAProxy with the ports of these machines; conf(port)."""
    text = change((FOLDER / "haproxy-http.cfg").read_text())
    for number, machine in zip((11, 12, 13), machines, strict=False):
        assert f"10.1.0.{number}:8080" in text
        text = text.replace(f"10.1.0.{number}:8080", f"127.0.0.1:{machine.server.port}")
    # A machine that is not there yet: its port refuses connections, and no other program gets it.
    absent = socket.socket()
    absent.bind(("127.0.0.1", 0))
    text = text.replace("10.1.0.14:8080", f"127.0.0.1:{absent.getsockname()[1]}")
    return lambda port, held=absent: text.replace("bind :80", f"bind 127.0.0.1:{port}")


@pytest.fixture
def machines(start, env, short):
    """machines(2): the first machines of the example."""
    if not env.has_module("remoteip"):
        pytest.skip("this Apache has no mod_remoteip")
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")

    def machines(count):
        made = [Machine(start, short / str(number)) for number in range(count)]
        for machine in made:
            machine.run(1)
        return made

    return machines


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_address_of_the_client_is_that_which_haproxy_sends(machines, short, version):
    def change(text):
        assert "send-proxy-v2 " in text
        text = re.sub(r"\n +server blog[234] .*", "", text)
        return text.replace("send-proxy-v2 ", f"{version} ")

    with frontends.haproxy_with(short, conf_of(machines(1), change)) as client:
        connection = http.client.HTTPConnection(
            "127.0.0.1", client.port, timeout=30, source_address=("127.0.0.3", 0)
        )
        with contextlib.closing(connection):
            headers = {"X-Forwarded-Proto": "https", **SPOOFED}
            connection.request("GET", "/", headers=headers)
            found = json.loads(connection.getresponse().read())
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.3", "http")
    assert found["HTTP_X_FORWARDED_PROTO"] == "http"


def test_new_version_on_all_machines_of_the_example_loses_nothing(machines, short):
    machines = machines(3)
    control = short / "control"

    def change(text):
        return f"global\n    stats socket {control} mode 600 level user\n" + text

    conf = conf_of(machines, change)
    with frontends.haproxy_with(short, conf) as client, Clients(client.port) as clients:

        def wait_for(number, word):
            name = f"blog{number}"
            wait_until(lambda: state(control)[name].startswith(word), f"{name} {word}", timeout=60)

        for number, machine in enumerate(machines, 1):
            wait_for(number, "UP")
            (machine.folder / "draining").touch()
            wait_for(number, "DOWN")
            port = machine.server.port
            machine.stop()
            machine.run(2, port)
            (machine.folder / "draining").unlink()
            wait_for(number, "UP")
        begun = len(clients.versions)
        clients.wait_for(lambda found: len(found) > begun + 100, "requests to the new version")
        assert set(clients.versions[begun + 20 :]) == {2}
    assert clients.wrong == []
