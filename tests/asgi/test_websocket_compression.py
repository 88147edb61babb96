"""Compression of the messages of WebSockets (permessage-deflate, RFC 7692)."""

import asyncio
import contextlib
import os
import zlib

import pytest
from harness import daemons
from harness.asgi import WEBSOCKET_APP, conf
from harness.browser import Browser, find_browser
from harness.conf import tls_host
from harness.websocket import BINARY, PING, PONG, TEXT, frame, websocket

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
MEGABYTE = 1 << 20
MOST = 64 * 1024
ON = f"websocket-compression=on websocket-max-message={MOST} websocket-ping-interval=0"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TAIL = b"\0\0\xff\xff"
JSON = b'{"user": "name", "text": "what was said"}' * 25
# Of mod_ssl, for the certificate of the tests.
TLS = "AH01873|AH01882|AH01906"


def deflated(data, level=6):
    codec = zlib.compressobj(level, wbits=-15)
    payload = codec.compress(data) + codec.flush(zlib.Z_SYNC_FLUSH)
    return payload.removesuffix(TAIL)


def inflated(payload, wbits=-15):
    return zlib.decompressobj(wbits=wbits).decompress(payload + TAIL)


def compressed(opcode, data, **how):
    return frame(opcode, deflated(data), reserved=4, **how)


def extensions(ws):
    return [value for name, value in ws.fields if name.lower() == "sec-websocket-extensions"]


@pytest.fixture
def server(serve):
    """A server that tests share."""
    return serve(conf(ON, app=WEBSOCKET_APP))


@pytest.fixture(params=[False, True], ids=["passed", "carried"])
def ws(request, private, serve, certificate):
    """An open WebSocket with compression, the client's own socket or one that the hub carries."""
    tls = request.param
    if tls:
        alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
        more = tls_host(certificate, alias)
        server = private(conf(ON, more, app=WEBSOCKET_APP, modules=("ssl",)))
        server.log.allow(TLS)
    else:
        server = serve(conf(ON, app=WEBSOCKET_APP))
    port = server.port2 if tls else server.port
    with websocket(port, "/echo", OFFER, tls=tls) as ws:
        assert extensions(ws) == [ANSWER]
        yield ws


def test_nothing_is_compressed_unless_the_option_is_on(serve):
    server = serve(conf(app=WEBSOCKET_APP))
    with websocket(server.port, "/echo", OFFER) as ws:
        assert extensions(ws) == []
        ws.send_bytes(JSON)
        assert ws.receive() == JSON
        ws.send(compressed(TEXT, JSON))
        assert ws.await_close()[0] == 1002


def test_nothing_is_compressed_without_an_offer_of_the_client(server):
    with websocket(server.port) as ws:
        assert extensions(ws) == []
        ws.send_bytes(JSON)
        assert ws.receive() == JSON
        ws.send(compressed(TEXT, JSON))
        assert ws.await_close()[0] == 1002


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], ANSWER),
        (["permessage-deflate; server_max_window_bits=9"], f"{ANSWER}; server_max_window_bits=9"),
        (["x-webkit-deflate-frame", "permessage-deflate"], ANSWER),
        (["permessage-deflate; unknown, permessage-deflate; client_max_window_bits"], ANSWER),
        (['permessage-deflate; client_max_window_bits="10"'], ANSWER),
        (["permessage-deflate; client_max_window_bits=7"], None),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; unknown"], None),
        (['permessage-deflate; client_max_window_bits="10'], None),
        (["x" * 8000], None),
        ([";" * 1500] * 5, None),
    ],
)
def test_first_offer_that_can_be_kept_to_is_accepted(server, offers, answer):
    fields = [f"Sec-WebSocket-Extensions: {offer}" for offer in offers]
    with websocket(server.port, "/echo", *fields) as ws:
        assert extensions(ws) == ([answer] if answer else [])
        ws.send_bytes(b"plain")
        assert ws.receive() == b"plain"


def test_other_modules_do_not_say_that_messages_are_compressed(private):
    more = "Header always set Sec-WebSocket-Extensions permessage-deflate"
    server = private(conf(ON, more, app=WEBSOCKET_APP, modules=("headers",)))
    with websocket(server.port) as ws:
        assert extensions(ws) == []
    with websocket(server.port, "/echo", OFFER) as ws:
        assert extensions(ws) == [ANSWER]


def test_messages_of_both_kinds_come_back_compressed(ws):
    text = "a line with ü and 😀; ".encode() * 40
    for opcode, data in [(TEXT, text), (BINARY, JSON), (BINARY, b"\0" * MOST), (TEXT, text)]:
        ws.send(compressed(opcode, data))
        first, payload = ws.receive_any_frame()
        assert first == 0xC0 | opcode
        assert len(payload) < len(data) / 3
        # Each with a codec of its own: nothing refers to the message before it.
        assert inflated(payload) == data


def test_short_and_incompressible_messages_are_sent_plain(ws):
    for data in [b"", b"short", os.urandom(3000)]:
        ws.send(compressed(BINARY, data))
        assert ws.receive() == data
        ws.send_bytes(data)
        assert ws.receive() == data


def test_fragments_of_a_compressed_message_are_put_together(ws):
    payload = deflated(JSON)
    ws.send(frame(TEXT, payload[:1], fin=False, reserved=4))
    ws.send(frame(PING, b"within"))
    assert ws.receive_frame() == (PONG, b"within")
    for byte in payload[1:-1]:
        ws.send(frame(0, bytes([byte]), fin=False))
    ws.send(frame(0, payload[-1:]))
    first, payload = ws.receive_any_frame()
    assert (first, inflated(payload)) == (0xC1, JSON)


def test_frame_that_comes_with_the_handshake_is_inflated(server):
    with websocket(server.port, "/echo", OFFER, early=compressed(TEXT, JSON)) as ws:
        first, payload = ws.receive_any_frame()
        assert (first, inflated(payload)) == (0xC1, JSON)


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_window_that_the_client_asks_for_is_kept_to(server, bits):
    offer = f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}"
    with websocket(server.port, "/echo", offer) as ws:
        # What repeats lies as far apart as the messages are long.
        for size in [1 << (bits - 1), 1 << bits, (1 << bits) + 1]:
            half = os.urandom(size // 4).hex().encode()[: size // 2]
            data = (half + half).ljust(size, b"x")
            ws.send_bytes(data)
            first, payload = ws.receive_any_frame()
            assert (first == 0xC2) == (size <= 1 << bits)
            assert (inflated(payload, -bits) if first == 0xC2 else payload) == data


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        # A block of a type that there is not, a truncated one, one that refers to no byte.
        ([frame(BINARY, b"\7", reserved=4)], 1007),
        ([frame(BINARY, deflated(JSON)[:-9], reserved=4)], 1007),
        ([frame(BINARY, b"\x1a\x05\0\0", reserved=4)], 1007),
        ([compressed(TEXT, b"\xff\xfe" * 60)], 1007),
        ([compressed(PING, b"x")], 1002),
        ([frame(TEXT, b"a", fin=False), frame(0, b"b", reserved=4)], 1002),
        ([frame(TEXT, deflated(JSON), reserved=6)], 1002),
        ([frame(BINARY, b"x" * (MOST + 1))], 1009),
        ([compressed(BINARY, b"x" * (MOST + 1))], 1009),
    ],
    ids=["type", "truncated", "refers", "utf-8", "ping", "fragment", "rsv2", "plain", "inflated"],
)
def test_message_that_breaks_the_rules_closes_with_its_code(ws, frames, code):
    ws.send(*frames)
    assert ws.await_close()[0] == code


def test_longest_message_may_have_a_longer_payload(ws):
    data = os.urandom(MOST)
    payload = deflated(data, level=0)
    assert len(payload) > MOST
    ws.send(frame(BINARY, payload, reserved=4))
    assert ws.receive() == data


def test_message_that_would_fill_the_memory_is_not_inflated(server):
    codec = zlib.compressobj(9, wbits=-15)
    piece = bytes(MEGABYTE)
    payload = b"".join(codec.compress(piece) for _ in range(64))
    payload += codec.flush(zlib.Z_SYNC_FLUSH).removesuffix(TAIL)
    assert len(payload) < MOST * 1.1
    (worker,) = daemons.workers(server)
    with websocket(server.port, "/echo", OFFER) as ws:
        ws.send(compressed(TEXT, JSON))
        ws.receive_any_frame()
    before = peak(worker)
    for _ in range(3):
        with websocket(server.port, "/echo", OFFER) as ws:
            ws.send(frame(BINARY, payload, reserved=4))
            assert ws.await_close()[0] == 1009
    assert peak(worker) - before < 16 * MEGABYTE


@pytest.mark.parametrize("option", ["on", "off"])
def test_open_websockets_have_no_codec_each(private, record_property, option):
    count, kib = 200, 1 << 10
    server = private(conf(ON.replace("=on", f"={option}"), app=WEBSOCKET_APP))
    with contextlib.ExitStack() as stack:

        def use(number):
            for _ in range(number):
                ws = stack.enter_context(websocket(server.port, "/echo", OFFER))
                ws.send(compressed(TEXT, JSON) if option == "on" else frame(TEXT, JSON))
                assert ws.receive_any_frame()[0] == (0xC1 if option == "on" else 0x81)

        # What the first ones bring with them is no cost of each.
        use(20)
        (worker,) = daemons.workers(server)
        before = daemons.pss(worker)
        use(count)
        each = (daemons.pss(worker) - before) / count
    record_property("memory", f"{option}: {each / kib:.1f} KiB of the worker for each WebSocket")
    # A codec and a window in each direction would take 300 KiB.
    assert each < 64 * kib


def peak(pid):
    return int(daemons.status_of(pid)["VmHWM"].split()[0]) * 1024


def test_client_of_websockets_sends_and_receives_compressed(server):
    websockets = pytest.importorskip("websockets")

    async def talk():
        url = f"ws://127.0.0.1:{server.port}/echo"
        async with websockets.connect(url) as ws:
            (extension,) = ws.protocol.extensions
            assert extension.remote_no_context_takeover
            assert extension.local_no_context_takeover
            for data in ["", "short", JSON.decode() * 3, os.urandom(2000), bytes(MOST)]:
                await ws.send(data)
                assert await ws.recv() == data

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(talk())


def test_browser_agrees_on_compression(server, tmp_path):
    program = find_browser()
    if program is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    browser = Browser(program, tmp_path / "profile")
    try:
        browser.open(f"http://127.0.0.1:{server.port}/events")
        text = "what was said; " * 1000
        script = f"""
            const socket = new WebSocket("ws://127.0.0.1:{server.port}/echo");
            socket.onopen = () => socket.send({text!r});
            socket.onmessage = event => document.body.append(
                `${{event.data.length}} with ${{socket.extensions}}`);
            """
        browser.evaluate(script)
        browser.wait_for_text(f"{len(text)} with {ANSWER}")
    finally:
        browser.close()
