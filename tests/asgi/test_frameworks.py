"""Applications of real frameworks, each written to one contract: HTTP.

The same ones are run by ours, by uvicorn and by gunicorn.
"""

import pytest
from harness.asgi_contract import FRAMEWORKS
from harness.client import head, read_until, reset, split
from harness.httpd import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi knows no ASGI"),
    pytest.mark.embedded_only("each test names its own process group"),
    pytest.mark.parametrize("framework", FRAMEWORKS, indirect=True, scope="module"),
]


def test_path_leads_to_a_view(contract):
    assert contract.get(f"{contract.mount}/hello/world").text == "hello world"


def test_view_knows_the_request(contract):
    answer = contract.get(f"{contract.mount}/facts?x=1&y=%C3%BC", headers={"Cookie": "a=0"})
    assert answer.json() == {
        "path": f"{contract.mount}/facts",
        "root_path": contract.mount,
        "query": {"x": "1", "y": "ü"},
        "started": "yes",
        "cookie": "0",
        "host": "localhost",
    }
    cookies = [cookie.split(";")[0] for cookie in answer.header_values("Set-Cookie")]
    assert cookies == ["a=1", "b=2"]


@pytest.mark.parametrize("chunked", [False, True])
def test_upload_comes_back(contract, chunked):
    body = bytes(range(256)) * 8000
    answer = contract.post(f"{contract.mount}/echo", [body] if chunked else body, chunked=chunked)
    assert answer.body == body


def test_stream_is_complete(contract):
    text = contract.get(f"{contract.mount}/stream").text
    assert text == "".join(f"line {number}\n" for number in range(100))


def test_event_reaches_the_client_before_the_stream_goes_on(contract):
    with contract.socket() as sock:
        sock.sendall(head(f"{contract.mount}/events", "Connection: close"))
        raw = read_until(sock, b"data: first\n\n")
        assert b"data: second" not in raw
        assert b"content-type: text/event-stream" in split(raw)[0].lower()
        assert contract.get(f"{contract.mount}/go").text == "gone on"
        read_until(sock, b"data: second\n\n")


def test_view_of_a_client_that_has_left_ends(contract):
    def ended():
        return contract.get(f"{contract.mount}/done").json().count("left")

    before = ended()
    with contract.socket() as sock:
        sock.sendall(head(f"{contract.mount}/endless"))
        read_until(sock, b"data: more\n\n")
        read_until(sock, b"data: more\n\n")
        assert ended() == before
        reset(sock)
    wait_until(lambda: ended() == before + 1, "the end of the view", timeout=30)


def test_view_that_blocks_has_a_thread(contract):
    assert contract.get(f"{contract.mount}/blocking").text == "from a thread"


def test_background_task_is_run(contract):
    assert contract.get(f"{contract.mount}/background").text == "later"
    wait_until(lambda: "done" in contract.get(f"{contract.mount}/done").json(), "the task")


def test_exception_of_a_view_is_a_500_with_its_traceback(contract):
    assert contract.get(f"{contract.mount}/fails").status == 500
    contract.log.wait_for("ValueError: on purpose")
    contract.log.allow_traceback("ValueError: on purpose")
    contract.log.allow("WSGI0174|Exception on request|Exception in ASGI|Internal Server Error")
    contract.log.allow("Unhandled exception - ", "Uncaught exception")


def test_page_that_is_not_there_is_a_404_of_the_framework(contract):
    assert contract.get(f"{contract.mount}/nothing").status == 404
    contract.log.allow("Not Found")
