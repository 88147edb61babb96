"""A client of WebSockets that can also break the rules (RFC 6455)."""

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct

from .client import TIMEOUT, head, read_until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(Exception):
    """The server has closed: with a frame (code, reason), or without one (1006)."""

    def __init__(self, code, reason=""):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


def frame(opcode, data=b"", *, fin=True, mask=b"\1\2\3\4", reserved=0):
    """One frame of a client; `mask` None: against the rules."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    masked = 0 if mask is None else 0x80
    if len(data) < 126:
        start = struct.pack("!BB", first, masked | len(data))
    elif len(data) < 1 << 16:
        start = struct.pack("!BBH", first, masked | 126, len(data))
    else:
        start = struct.pack("!BBQ", first, masked | 127, len(data))
    if mask is None:
        return start + data
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")
    return start + mask + number.to_bytes(len(data), "big")


def closing(code, reason=""):
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


def handshake(path, key, *fields, version=13, method="GET"):
    fields = [
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        *([f"Sec-WebSocket-Key: {key}"] if key is not None else []),
        *([f"Sec-WebSocket-Version: {version}"] if version is not None else []),
        *fields,
    ]
    return head(path, *fields, method=method)


class WebSocket:
    """An open WebSocket. It answers pings, as a browser does, while it receives."""

    def __init__(self, sock, received, fields):
        self.sock, self.received, self.fields = sock, received, fields
        self.pings = 0

    def send(self, *frames):
        self.sock.sendall(b"".join(frames))

    def send_text(self, text):
        self.send(frame(TEXT, text.encode()))

    def send_bytes(self, data):
        self.send(frame(BINARY, data))

    def receive_frame(self):
        """The opcode and the data of the next frame, which is neither masked nor a fragment."""
        first, data = self.receive_any_frame()
        assert first & 0xF0 == 0x80, f"fragment, or reserved bits: {first:#x}"
        return first & 15, data

    def receive_any_frame(self):
        """The first byte and the data of the next frame."""
        first, second = self._read(2)
        length = second
        if second == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif second == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        return first, self._read(length)

    def receive(self, *, answers_pings=True):
        """The next message, str or bytes."""
        while True:
            opcode, data = self.receive_frame()
            if opcode == PING:
                self.pings += 1
                if answers_pings:
                    self.send(frame(PONG, data))
            elif opcode == CLOSE:
                code = struct.unpack("!H", data[:2])[0] if data else 1005
                raise Closed(code, data[2:].decode())
            elif opcode == TEXT:
                return data.decode()
            elif opcode == BINARY:
                return data
            else:
                assert opcode == PONG, opcode

    def close(self, code=1000, reason=""):
        """Closes it, and waits for the answer and the end of the connection; the answer."""
        self.send(closing(code, reason))
        answer = self.await_close()
        assert self.at_end()
        return answer

    def await_close(self):
        """What the server closes with; messages before that are passed over."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.code, closed.reason

    def at_end(self):
        """Waits for the end of the connection; whether nothing came before it."""
        with contextlib.suppress(ConnectionResetError):
            return self.received == b"" and self.sock.recv(1) == b""
        return True

    def _read(self, count):
        while len(self.received) < count:
            try:
                piece = self.sock.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Closed(1006)
            self.received += piece
        data, self.received = self.received[:count], self.received[count:]
        return data


def open_on(sock, path, *fields, early=b"", key=None, **how):
    """Opens one on a connected socket; `early` is sent together with the handshake."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    sock.sendall(handshake(path, key, *fields, **how) + early)
    reply = read_until(sock, b"\r\n\r\n")
    start, received = reply.split(b"\r\n\r\n", 1)
    line, *lines = start.decode("latin-1").split("\r\n")
    status = int(line.split()[1])
    fields = [tuple(line.split(": ", 1)) for line in lines]
    if status != 101:
        raise Refused(status, (start + b"\r\n\r\n" + received).decode("latin-1"))
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    named = {name.lower(): value for name, value in fields}
    assert named["sec-websocket-accept"] == accept
    assert (named["upgrade"], named["connection"]) == ("websocket", "Upgrade")
    return WebSocket(sock, received, fields)


@contextlib.contextmanager
def websocket(port, path="/echo", *fields, tls=False, buffer=None, **how):
    """An open WebSocket to a port of the loopback interface."""
    with socket.socket() as sock:
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(TIMEOUT)
        sock.connect(("127.0.0.1", port))
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        with sock:
            yield open_on(sock, path, *fields, **how)
