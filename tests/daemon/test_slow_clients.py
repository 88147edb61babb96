"""A client that is slow to send its body or to read its response holds no thread of a worker."""

import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.client import head, read_all, read_until, split
from harness.conf import Conf, tls_host
from harness.conversation import Stream
from harness.httpd import wait_until

pytestmark = pytest.mark.embedded_only("the test names its own process group")
OURS = pytest.mark.ours_only("mod_wsgi keeps nothing for slow clients")

APP = """
import hashlib, os, threading, time
lock, serving, begun = threading.Lock(), 0, 0
PIECE = bytes(range(256)) * 256

def count(by):
    global serving, begun
    with lock:
        serving += by
        begun += by > 0

def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def pieces(environ):
    count(1)
    try:
        for number in range(int(environ["QUERY_STRING"] or 480)):
            yield PIECE[number % 256:] + PIECE[:number % 256]
        if "HTTP_X_GO" in environ:
            open(environ["HTTP_X_GO"] + "-produced", "w").close()
            for number in range(3):
                await_file(environ["HTTP_X_GO"] + str(number))
                yield b"piece %d" % number
    finally:
        count(-1)

def application(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if path == "/big":
        return pieces(environ)
    if path == "/serving":
        return [b"%d of %d" % (serving, begun)]
    if path == "/echo":
        count(1)
        line = environ["wsgi.input"].readline()
        count(-1)
        return iter([line])
    if path == "/upload":
        count(1)
        body = environ["wsgi.input"].read()
        once = environ.get("HTTP_X_ONCE")
        if once and not os.path.exists(once):
            open(once, "w").close()
            os._exit(3)
        count(-1)
        return [b"%d %s" % (len(body), hashlib.sha1(body).hexdigest().encode())]
    return [b"hello"]
"""
PIECE = bytes(range(256)) * 256
BODY = PIECE * 5
# More than sockets and httpd hold, and more than one child has threads for.
CLIENTS = 40


def conf(options="processes=1 threads=2", extra="", **others):
    text = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    {extra}
    """
    files = (("app.py", APP), ("out/README", "the application waits for files here"))
    return Conf(text, files=files, **{"threads": 16, "timeout": 60} | others)


def pieces(count=480):
    """What /big answers."""
    digest = hashlib.sha1()
    for number in range(count):
        digest.update(PIECE[number % 256 :] + PIECE[: number % 256])
    return digest.hexdigest()


def serving(server):
    """How many requests the application has begun and not ended."""
    return int(server.get("/serving").text.split()[0])


def await_end_of(server, count, what="the application to be done with them"):
    """Returns once the application has ended all requests, after it has begun so many."""
    wait_until(lambda: server.get("/serving").text == f"0 of {count}", what, 30)


def answers_at_once(server):
    """Ordinary requests do not wait for anything: not for the threads, nor behind the slow ones."""
    for _ in range(20):
        assert server.get("/").text == "hello"


def files_of(server):
    """The temporary files that Apache's children and the workers have open."""
    pids = [*daemons.httpd_children(server), *daemons.workers(server)]
    names = [name for pid in pids for name in server.open_files(pid)]
    return [name for name in names if re.search(r"/tmp/(?!valgrind).*\(deleted\)", name)]


def spooled(server):
    """{child of Apache: the bytes of its temporary files}."""
    found = {}
    for pid in daemons.httpd_children(server):
        files = {}
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if re.search(r"/tmp/(?!valgrind).*\(deleted\)", os.readlink(link)):
                    status = link.stat()
                    files[status.st_ino] = status.st_size
        found[pid] = sum(files.values())
    return found


class Reader:
    """A client that asks for a response and does not read it until it is told to."""

    def __init__(self, stack, port, path, *fields, tls=False):
        self.sock = stack.enter_context(socket.socket())
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.sock.settimeout(30)
        self.sock.connect(("127.0.0.1", port))
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = stack.enter_context(context.wrap_socket(self.sock))
        self.sock.sendall(head(path, *(fields or ["Connection: close"])))
        self.reply = None

    def read(self, size=None):
        """All of the body, or as much of it."""
        if not self.reply:
            self.reply = http.client.HTTPResponse(self.sock)
            self.reply.begin()
        return self.reply.read() if size is None else self.reply.read(size)

    def digest(self):
        return hashlib.sha1(self.read()).hexdigest()


def uploads(stack, server, count, sent, path="/upload"):
    """Clients that have sent so much of their bodies."""
    clients = []
    for _ in range(count):
        sock = stack.enter_context(server.socket())
        fields = ("Connection: close", f"Content-Length: {len(BODY)}")
        sock.sendall(head(path, *fields, method="POST") + BODY[:sent])
        clients.append(sock)
    return clients


@pytest.mark.differs("daemon-body-first", "mod_wsgi's daemons read from slow clients")
@pytest.mark.parametrize("sent", [1000, 100_000])
def test_forty_clients_that_send_slowly_hold_no_thread_of_a_worker(start, sent):
    server = start(threads=CLIENTS + 8)
    answers_at_once(server)
    with contextlib.ExitStack() as stack:
        clients = uploads(stack, server, CLIENTS, sent)
        answers_at_once(server)
        assert serving(server) == 0
        expected = f"{len(BODY)} {hashlib.sha1(BODY).hexdigest()}"
        for sock in clients[:20]:
            sock.sendall(BODY[sent:])
            assert split(read_all(sock))[1].decode() == expected
    # The others have left.
    wait_until(lambda: not files_of(server), "temporary files to be closed")
    answers_at_once(server)


@OURS
@pytest.mark.parametrize("size", [10, 60_000, 70_000, 1 << 20, (1 << 20) + 1, 20_000_000])
def test_a_body_of_any_length_arrives_as_sent(serve, size):
    server = serve(conf("processes=2 threads=3"))
    body = (BODY * 62)[:size]
    for _ in range(3):
        answer = server.post("/upload", body).text
        assert answer == f"{size} {hashlib.sha1(body).hexdigest()}"


@OURS
def test_a_client_that_waits_for_100_continue_is_not_made_to_send_its_body_first(start):
    server = start("threads=1")
    with server.socket() as sock:
        fields = ("Content-Length: 300000", "Expect: 100-continue", "Connection: close")
        sock.sendall(head("/echo", *fields, method="POST"))
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue")
        sock.sendall(b"first\n")
        assert b"first" in read_until(sock, b"first")


@OURS
@pytest.mark.parametrize("limit", [0, len(BODY) - 1])
def test_no_part_of_a_body_beyond_the_limit_is_gathered(start, limit):
    """The application answers what it has, while the client waits for that."""
    server = start(f"threads=2 request-buffer-size={limit}")
    with contextlib.ExitStack() as stack:
        uploads(stack, server, 1, 0)
        (sock,) = uploads(stack, server, 1, 0, "/echo")
        sock.sendall(b"first\n" + b"x" * 100_000)
        assert b"first" in read_until(sock, b"first")
        wait_until(lambda: serving(server) == 1, "the first upload to be begun")


@pytest.mark.differs("daemon-slow-readers", "mod_wsgi's daemons write to slow clients")
def test_forty_clients_that_do_not_read_hold_no_thread(start):
    """Neither of the worker nor of Apache's child, which has fewer than there are clients."""
    server = start()
    answers_at_once(server)
    with contextlib.ExitStack() as stack:
        clients = [Reader(stack, server.port, "/big") for _ in range(CLIENTS)]
        answers_at_once(server)
        await_end_of(server, CLIENTS)
        answers_at_once(server)
        expected = pieces()
        assert [reader.digest() for reader in clients[:-5]] == [expected] * (CLIENTS - 5)
    # Five have left.
    wait_until(lambda: not files_of(server), "temporary files to be closed")
    answers_at_once(server)


@OURS
@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_a_connection_is_kept_after_a_response_that_had_to_wait(private, mpm):
    server = private(conf("threads=2"))
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big", "Connection: keep-alive")
        if mpm != "prefork":
            await_end_of(server, 1, "the application to be done")
        assert reader.digest() == pieces()
        reader.sock.sendall(head("/upload", f"Content-Length: {len(BODY)}", method="POST"))
        reader.sock.sendall(BODY)
        expected = f"{len(BODY)} {hashlib.sha1(BODY).hexdigest()}"
        reader.reply = None
        assert reader.read().decode() == expected


@OURS
def test_a_gathered_body_is_sent_again_with_a_get_that_its_worker_did_not_survive(start):
    server = start("processes=1 threads=2")
    server.log.allow("exited with status 3")
    fields = {"X-Once": str(server.root / "out/once")}
    answer = server.request("GET", "/upload", body=BODY, headers=fields)
    assert answer.text == f"{len(BODY)} {hashlib.sha1(BODY).hexdigest()}"
    assert (server.root / "out/once").exists()


@OURS
def test_requestreadtimeout_holds_while_a_body_is_gathered(start):
    extra = "RequestReadTimeout header=0 body=1\n"
    server = start("processes=1 threads=1", extra, modules=("reqtimeout",))
    with contextlib.ExitStack() as stack:
        (sock,) = uploads(stack, server, 1, 100_000)
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: not files_of(server), "temporary files to be closed")


@OURS
def test_clients_that_leave_while_their_response_is_made_leave_nothing(start):
    server = start("threads=2")
    go = server.root / "out/go"
    with contextlib.ExitStack() as stack:
        fields = ("Connection: close", f"X-Go: {go}")
        for _ in range(2):
            Reader(stack, server.port, "/big?64", *fields)
        wait_until(lambda: files_of(server), "the response to be kept")
    for number in range(3):
        (server.root / f"out/go{number}").touch()
    wait_until(lambda: serving(server) == 0, "the application to be done")
    wait_until(lambda: not files_of(server), "temporary files to be closed")


@OURS
@pytest.mark.parametrize("spool", [1 << 20, 1 << 26])
def test_each_piece_reaches_a_client_that_has_caught_up(start, spool):
    """The first megabytes wait for the client; what is yielded then does not wait for more."""
    server = start(f"threads=2 response-spool-size={spool}")
    go = server.root / "out/go"
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big?128", "Connection: close", f"X-Go: {go}")
        wait_until(lambda: files_of(server), "the response to be kept")
        body = reader.read(128 * len(PIECE))
        assert hashlib.sha1(body).hexdigest() == pieces(128)
        for number in range(3):
            assert serving(server) == 1
            (server.root / f"out/go{number}").touch()
            assert reader.read(7) == b"piece %d" % number
        assert reader.read() == b""


@OURS
@pytest.mark.parametrize("spool", [0, 1000, 1 << 20, 5_000_000])
def test_a_worker_waits_for_the_client_where_no_more_may_be_kept(start, spool):
    server = start(f"threads=3 response-spool-size={spool}")
    with contextlib.ExitStack() as stack:
        clients = [Reader(stack, server.port, "/big") for _ in range(2)]
        answers_at_once(server)
        wait_until(lambda: serving(server) == 2, "both responses to begin")
        expected = pieces()
        # In small steps and in one.
        assert clients[0].digest() == expected
        digest = hashlib.sha1()
        while piece := clients[1].read(100_000):
            digest.update(piece)
        assert digest.hexdigest() == expected
    wait_until(lambda: not files_of(server), "temporary files to be closed")


ALLOWANCE = r"WSGI0221.* pace .* bytes in files, and may have {}"


@OURS
def test_responses_of_a_group_have_no_more_in_files_than_its_total(start):
    """In all children of Apache; those beyond it go on at the pace of their clients."""
    total = 40 << 20
    server = start(f"threads=6 response-spool-total={total}", children=2, start=2)
    with contextlib.ExitStack() as stack:
        clients = [Reader(stack, server.port, "/big")]
        await_end_of(server, 1, "the first response to be kept")
        for count in (1, 2, 3):
            clients.append(Reader(stack, server.port, "/big"))
            server.log.wait_for(ALLOWANCE.format(total), count=count)
            assert serving(server) == count
        assert len(PIECE) * 480 < sum(spooled(server).values()) <= total
        answers_at_once(server)
        assert {reader.digest() for reader in clients} == {pieces()}
        server.log.expect(ALLOWANCE.format(total))
    wait_until(lambda: not files_of(server), "temporary files to be closed")
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big")
        await_end_of(server, 5, "a response to be kept again")
        assert reader.digest() == pieces()


@OURS
def test_bytes_that_a_killed_child_had_in_files_are_free_for_others(start):
    server = start(f"threads=2 response-spool-total={32 << 20}", children=2, start=2)
    with contextlib.ExitStack() as stack:
        Reader(stack, server.port, "/big")
        await_end_of(server, 1, "the response to be kept")
        (child,) = [pid for pid, size in spooled(server).items() if size]
        os.kill(child, 9)
        wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")
        reader = Reader(stack, server.port, "/big")
        await_end_of(server, 2, "another response to be kept")
        assert reader.digest() == pieces()


@OURS
def test_a_client_that_takes_nothing_for_timeout_is_given_up(start):
    server = start("threads=2 response-spool-size=1048576", timeout=2)
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big")
        await_end_of(server, 1, "the worker to be free again")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            reader.read()


@OURS
def test_a_response_that_breaks_off_is_truncated_for_a_slow_client_too(start):
    server = start("processes=1 threads=2")
    server.log.allow("WSGI0119", "killed by signal")
    go = server.root / "out/go"
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big?64", "Connection: close", f"X-Go: {go}")
        wait_until(lambda: files_of(server), "the response to be kept")
        wait_until(go.with_name("go-produced").exists, "all pieces to be sent to Apache")
        (worker,) = daemons.workers(server)
        os.kill(worker, 9)
        server.log.wait_for("WSGI0119")
        with pytest.raises(http.client.IncompleteRead) as caught:
            reader.read()
        assert hashlib.sha1(caught.value.partial).hexdigest() == pieces(64)


@OURS
@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("kind", ["tls", "deflate", "mmap", "sendfile off"])
def test_every_byte_arrives_through_the_filters_of_apache(private, certificate, mpm, kind):
    """Slow ones hold threads of Apache there, but none of the worker."""
    extra, modules = "", ()
    if kind == "tls":
        modules = ("ssl", "socache_shmcb")
        extra = tls_host(certificate)
    if kind == "deflate":
        modules, extra = ("deflate", "filter"), "SetOutputFilter DEFLATE\n"
    if kind == "sendfile off":
        extra = "EnableSendfile Off\nEnableMMAP Off\n"
    server = private(conf("threads=2", extra, modules=modules))
    server.log.allow("AH01873|AH01882|AH01906")
    with contextlib.ExitStack() as stack:
        port = server.port2 if kind == "tls" else server.port
        fields = ("Connection: close", "Accept-Encoding: identity")
        clients = [Reader(stack, port, "/big", *fields, tls=kind == "tls") for _ in range(6)]
        await_end_of(server, 6)
        assert {reader.digest() for reader in clients} == {pieces()}
    wait_until(lambda: not files_of(server), "temporary files to be closed")


@OURS
def test_slow_streams_of_http_2_hold_no_thread_of_a_worker(private):
    extra = "Protocols h2c http/1.1\nWSGIChunkedRequest On\n"
    # mod_http2 keeps a connection whose client has left in the middle of an answer for Timeout.
    server = private(conf("threads=2", extra, modules=("http2",), timeout=20))
    server.log.allow("AH10159")
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(6):
            streams.append(Stream(stack.enter_context(server.socket()), "/big"))
            streams[-1].say(b"", last=True)
        await_end_of(server, 6)
        answers_at_once(server)
        for stream in streams[:3]:
            digest = hashlib.sha1()
            while piece := stream.hear():
                digest.update(piece)
                for number in (0, 1):
                    stream.frame(8, 0, number, len(piece).to_bytes(4, "big"))
            assert digest.hexdigest() == pieces()
    wait_until(lambda: not files_of(server), "temporary files to be closed")
    answers_at_once(server)


@pytest.fixture
def small_disk(start):
    """start(…) with TMPDIR on a file system of a few megabytes."""
    with contextlib.ExitStack() as stack:

        def begin(*arguments, megabytes=2):
            def mount(server):
                folder = server.root / "tmp"
                folder.mkdir()
                size = f"size={megabytes}m,mode=1777"
                command = ["mount", "-t", "tmpfs", "-o", size, "none", folder]
                if os.getuid() or subprocess.run(command, check=False).returncode:
                    pytest.skip("only root may mount a file system")
                stack.callback(subprocess.run, ["umount", "-l", folder], check=True)

            environment = (("TMPDIR", "${ROOT}/tmp"),)
            return start(*arguments, prepare=mount, environment=environment, threads=32)

        yield begin


def free(server):
    found = os.statvfs(server.root / "tmp")
    return found.f_bavail / found.f_blocks


@OURS
def test_a_body_that_finds_no_space_is_refused_with_its_cause(small_disk):
    server = small_disk()
    with contextlib.ExitStack() as stack:
        clients = uploads(stack, server, 10, 300_000)
        server.log.wait_for("WSGI0221.* body .*/tmp is free")
        answers = []
        for sock in clients:
            with contextlib.suppress(OSError):
                sock.sendall(BODY[300_000:])
            answers.append(int(read_all(sock).split(b" ")[1]))
        assert set(answers) == {200, 503}
        server.log.expect("WSGI0221")
    wait_until(lambda: free(server) == 1, "the space to be free again")
    assert not list((server.root / "tmp").iterdir())
    assert server.post("/upload", BODY).status == 200


@OURS
def test_a_body_is_streamed_where_no_file_can_be_made(start):
    environment = (("TMPDIR", "/proc"),)
    server = start(environment=environment)
    with contextlib.ExitStack() as stack:
        (sock,) = uploads(stack, server, 1, 100_000)
        wait_until(lambda: serving(server) == 1, "the application to read the body")
        sock.sendall(BODY[100_000:])
        expected = f"{len(BODY)} {hashlib.sha1(BODY).hexdigest()}"
        assert split(read_all(sock))[1].decode() == expected
        assert server.post("/upload", BODY).text == expected
        assert Reader(stack, server.port, "/big").digest() == pieces()
    server.log.expect("WSGI0221.* not gathered.*/proc")
    server.log.allow("WSGI0221.* pace .*/proc")


@OURS
def test_a_response_that_finds_no_space_goes_on_at_the_pace_of_its_client(small_disk):
    server = small_disk("threads=2 response-spool-total=1073741824")
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big")
        server.log.wait_for("WSGI0221.* pace .*/tmp is free")
        assert serving(server) == 1
        assert reader.digest() == pieces()
        server.log.expect("WSGI0221")
    wait_until(lambda: free(server) == 1, "the space to be free again")


@OURS
def test_a_group_takes_no_more_space_than_remains_free(small_disk):
    # What is free is looked at once in each megabyte.
    server = small_disk("threads=2", megabytes=3)
    with contextlib.ExitStack() as stack:
        reader = Reader(stack, server.port, "/big")
        server.log.wait_for("WSGI0221.* pace .* bytes in files, and others would have less")
        assert serving(server) == 1
        assert 0.3 < free(server) < 0.4
        assert reader.digest() == pieces()
        server.log.expect("WSGI0221")
    wait_until(lambda: free(server) == 1, "the space to be free again")
