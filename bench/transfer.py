"""One client on one connection that moves 64 MB and counts every byte."""

import socket
import time

SIZE = 64 << 20
BUFFER = 1 << 20
TIMEOUT = 30


class TransferFailed(Exception):
    """The answer was not 200, or not whole."""


def _head(sock):
    """(the head of the answer, what of the body came with it)."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = sock.recv(65536)
        if not block:
            raise TransferFailed(f"the connection ended after {len(received)} bytes of the head")
        received += block
    head, _, rest = received.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if " 200 " not in f"{status} ":
        raise TransferFailed(status)
    return head, rest


def download(port, path):
    """Seconds for a GET of SIZE bytes."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    buffer = bytearray(BUFFER)
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(request)
        head, rest = _head(sock)
        if f"content-length: {SIZE}".encode() not in head.lower():
            raise TransferFailed("the answer has no Content-Length of 64 MB")
        got = len(rest)
        while got < SIZE and (count := sock.recv_into(buffer)):
            got += count
    if got != SIZE:
        raise TransferFailed(f"{got} of {SIZE} bytes came")
    return time.perf_counter() - began


def upload(port, path):
    """Seconds for a POST of SIZE bytes, until the answer is there."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {SIZE}\r\n\r\n"
    ).encode()
    block = memoryview(bytes(BUFFER))
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(head)
        for _ in range(SIZE // BUFFER):
            sock.sendall(block)
        _head(sock)
    return time.perf_counter() - began
