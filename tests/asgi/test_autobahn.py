"""Autobahn's cases, run by kosoku; of those about compression, which take minutes, some."""

import asyncio

import pytest
from harness.asgi import WEBSOCKET_APP, conf

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


# Text (12.1) and an image (12.2) in messages of 1, 4 and 8 KiB, and of 8 KiB in fragments; each
# offer (13) with 256 bytes, and those that ask for no window of 512 bytes with 1 and 8 KiB. A
# thousand messages each. Where one comes back as it is, because it is short or longer than the
# window, kosoku fails by itself ("Strings must be encoded before hashing").
COMPRESSED = [f"12.{kind}.{size}" for kind in (1, 2) for size in (4, 5, 6, 11)]
COMPRESSED += [f"13.{kind}.3" for kind in range(1, 8)]
COMPRESSED += [f"13.{kind}.{size}" for kind in (1, 2, 4, 6) for size in (4, 6)]


def wrong_cases(url, cases):
    """Those of the cases that do not pass, each with its verdicts."""
    try:
        results = asyncio.run(kosoku.run_fuzzingclient(url, cases))
    except kosoku.FailureError as failure:
        results = failure.results
    assert results
    found = {it.case_id: (it.behavior.value, it.behavior_close.value) for it in results}
    return {case: it for case, it in found.items() if not {*it} <= {"OK", PERMITTED.get(case)}}


@pytest.mark.parametrize("group", [1, 2, 3, 4, 5, 6, 7, 9, 10])
def test_cases_of_autobahn_pass(serve, group):
    server = serve(conf("websocket-max-message=0", app=WEBSOCKET_APP))
    assert wrong_cases(f"ws://127.0.0.1:{server.port}/echo", [f"{group}.*"]) == {}


def test_cases_of_autobahn_about_compression_pass(serve):
    server = serve(conf("websocket-compression=on websocket-max-message=0", app=WEBSOCKET_APP))
    wrong = wrong_cases(f"ws://127.0.0.1:{server.port}/echo", COMPRESSED)
    assert wrong == {}
