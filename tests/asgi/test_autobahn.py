"""Autobahn's cases, run by kosoku; of those about compression, which take minutes, some.

All of them with LIMITS=1 (`make soak`).
"""

import asyncio
import contextlib
import os
import ssl

import pytest
from harness.asgi import WEBSOCKET_APP, conf
from harness.conf import tls_host

kosoku = pytest.importorskip("kosoku", reason="not installed (tests/requirements.txt)")

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
]
# Of a case: what is permitted beside OK. Of messages and a wrong frame that come together the
# application need not have answered the messages when the frame is found wrong (3.2 to 3.4,
# 4.1.3 to 4.1.5, 4.2.3 to 4.2.5, 5.15). Data that is split within a frame is looked at when the
# frame is complete (6.4.3, 6.4.4). What RFC 6455 leaves open has no verdict (7.1.6, 7.13).
NON_STRICT = "3.2 3.3 3.4 4.1.3 4.1.4 4.1.5 4.2.3 4.2.4 4.2.5 5.15 6.4.3 6.4.4"
INFORMATIONAL = "7.1.6 7.13.1 7.13.2"
PERMITTED = dict.fromkeys(NON_STRICT.split(), "NON-STRICT")
PERMITTED |= dict.fromkeys(INFORMATIONAL.split(), "INFORMATIONAL")


LONG = bool(os.environ.get("LIMITS"))
# Of each kind of data (12) and each offer (13): a thousand messages of 16 bytes, of 256, of 8 KiB,
# and of 8 KiB in fragments. All sizes go up to 128 KiB.
SIZES = ["*"] if LONG else [1, 3, 6, 11]
COMPRESSED = [f"12.{kind}.{size}" for kind in range(1, 6) for size in SIZES]
COMPRESSED += [f"13.{kind}.{size}" for kind in range(1, 8) for size in SIZES]


async def results_of(port, cases, tls):
    async with forwarded(port) if tls else contextlib.nullcontext(port) as plain:
        url = f"ws://127.0.0.1:{plain}/echo"
        return await kosoku.run_fuzzingclient(url, cases, concurrency=2)


def wrong_cases(port, cases, tls=False):
    """Those of the cases that do not pass, each with its verdicts."""
    try:
        results = asyncio.run(results_of(port, cases, tls))
    except kosoku.FailureError as failure:
        results = failure.results
    assert results
    found = {it.case_id: (it.behavior.value, it.behavior_close.value) for it in results}
    return {case: it for case, it in found.items() if not {*it} <= {"OK", PERMITTED.get(case)}}


@contextlib.asynccontextmanager
async def forwarded(port):
    """A port whose connections go on to the other one over TLS, which kosoku does not speak."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    async with await asyncio.start_server(forward, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def messages_as_bytes(monkeypatch):
    """kosoku hands what came uncompressed to a case as a str of bytes; the cases expect bytes."""
    from kosoku.cases import CASES

    def encoding(on_message):
        def encoded(case, message, binary):
            message = message.encode("latin-1") if isinstance(message, str) else message
            on_message(case, message, binary)

        return encoded

    for name, case in CASES.items():
        if name.startswith(("12.", "13.")):
            monkeypatch.setattr(case, "onMessage", encoding(case.onMessage))


@pytest.mark.parametrize("group", [1, 2, 3, 4, 5, 6, 7, 9, 10])
def test_cases_of_autobahn_pass(serve, group):
    server = serve(conf("websocket-max-message=0", app=WEBSOCKET_APP))
    assert wrong_cases(server.port, [f"{group}.*"]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True], ids=["passed", "carried"])
def test_cases_of_autobahn_about_compression_pass(private, certificate, messages_as_bytes, tls):
    alias = "ASGIScriptAlias / ${ROOT}/app.py process-group=site"
    more = tls_host(certificate, alias)
    options = "websocket-compression=on websocket-max-message=0"
    server = private(conf(options, more, app=WEBSOCKET_APP, modules=("ssl",)))
    # Of mod_ssl, for the certificate of the tests.
    server.log.allow("AH01873|AH01882|AH01906")
    port = server.port2 if tls else server.port
    assert wrong_cases(port, COMPRESSED, tls) == {}
