"""The socket of a client goes to the worker that has accepted its WebSocket, and nowhere else."""

import os
import socket

import pytest
from harness import daemons, hostile
from harness.asgi import WEBSOCKET_APP, conf
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
