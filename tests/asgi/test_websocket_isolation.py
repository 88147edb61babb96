"""The socket of a client goes to the worker that has accepted its WebSocket, and nowhere else."""

import os
import socket

import pytest
from harness import daemons, hostile
from harness.asgi import WEBSOCKET_APP, conf
from harness.conf import tls_host
from harness.httpd import wait_until
from harness.websocket import Refused, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]


def sockets_of(server, pid):
    """The inodes of the sockets that a process has open."""
    return {name[8:-1] for name in server.open_files(pid) if name.startswith("socket:[")}


def inode_of_server_side(client):
    """That of the other end of a TCP connection over the loopback interface."""

    def address(name):
        host, port = name
        return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"

    local, remote = address(client.getpeername()), address(client.getsockname())
    with open("/proc/net/tcp") as table:
        lines = [line.split() for line in list(table)[1:]]
    return next((line[9] for line in lines if line[1:3] == [local, remote]), None)


def test_socket_of_a_client_is_in_its_own_worker_alone(private):
    more = """
    WSGIDaemonProcess other
    ASGIScriptAlias /other ${ROOT}/app.py process-group=other
    """
    text = conf("processes=2", app=WEBSOCKET_APP)
    server = private(type(text)(more + text.text, files=text.files, threads=16))
    with websocket(server.port, "/pid") as ws, websocket(server.port, "/other/pid") as elsewhere:
        own, other = int(ws.receive()), int(elsewhere.receive())
        inode = inode_of_server_side(ws.sock)
        assert own != other
        assert inode not in (None, "0")
        managers = daemons.managers(server)
        workers = [pid for manager in managers for pid in daemons.workers_of(manager)]
        processes = {*managers, *workers, server.process.pid}
        # Apache closes its own once it has logged the request.
        children = daemons.httpd_children(server)
        assert children
        wait_until(
            lambda: not any(inode in sockets_of(server, pid) for pid in children),
            "Apache to let it go",
        )
        assert {pid for pid in processes if inode in sockets_of(server, pid)} == {own}


@pytest.mark.parametrize("why", ["encrypted", "examined"])
def test_socket_that_apache_encrypts_or_another_module_examines_stays_with_apache(
    private, certificate, why
):
    is_encrypted = why == "encrypted"
    if is_encrypted:
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        more, module = tls_host(certificate, alias), "ssl"
    else:
        # Its filters see each byte.
        more, module = "DumpIOInput On\nDumpIOOutput On\nLogLevel dumpio:trace7\n", "dumpio"
    server = private(conf("", more, app=WEBSOCKET_APP, modules=(module,), threads=16))
    # Of mod_ssl, for the certificate of the tests.
    server.log.allow("AH01873|AH01882|AH01906")
    port = server.port2 if is_encrypted else server.port
    with websocket(port, "/pid", tls=is_encrypted) as ws:
        worker = int(ws.receive())
        inode = inode_of_server_side(ws.sock)
        assert inode not in (None, "0")
        assert inode not in sockets_of(server, worker)
        (child,) = daemons.httpd_children(server)
        assert inode in sockets_of(server, child)


def test_refused_handshake_leaves_no_socket_with_the_worker(private):
    server = private(conf(app=WEBSOCKET_APP))
    assert server.get("/").status == 200
    (worker,) = daemons.workers(server)
    before = len(os.listdir(f"/proc/{worker}/fd"))
    for path in ("/refuse", "/respond"):
        with pytest.raises(Refused), websocket(server.port, path):
            pass
    with server.socket() as sock:
        inode = inode_of_server_side(sock)
        assert inode not in sockets_of(server, worker)
    wait_until(
        lambda: len(os.listdir(f"/proc/{worker}/fd")) <= before + 1, "descriptors to be closed"
    )


def test_ordinary_request_is_no_websocket_whatever_the_worker_says(private):
    server = private(hostile.conf())
    code = """
found = connection()
head = b"Status: 101 Switching Protocols\\r\\n\\r\\n"
found.sendall(record(6, head) + record(3, struct.pack("!IB3x", 4, 0)))
os._exit(0)
"""
    answer = hostile.run(server, code)
    server.log.expect("WSGI0148: .*malformed answer")
    server.log.allow(hostile.EXITED)
    assert answer is not None
    assert answer.status == 502
    wait_until(lambda: hostile.is_up(server), "another worker")
