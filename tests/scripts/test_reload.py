"""A changed script is loaded anew; everything about how a script becomes a module."""

import concurrent.futures
import hashlib
import itertools
import os
import signal

import pytest
from harness.conf import Conf

pytestmark = pytest.mark.embedded_only("a daemon is replaced instead; tests/daemon has its reloads")

RELOAD = Conf(
    """
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias /scripts ${ROOT}/scripts
    WSGIScriptAlias /kept ${ROOT}/scripts
    <Location /kept>
        WSGIScriptReloading Off
    </Location>
    """,
    files=(("scripts/README", "the tests write their scripts here"),),
)

ANSWER = """
def application(environ, start_response):
    body = str({value}).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""

numbers = itertools.count()


class Script:
    """A script file of the test's own, of which each version is newer than the one before."""

    def __init__(self, server):
        self.server = server
        self.name = f"script{next(numbers)}.wsgi"
        self.path = server.root / "scripts" / self.name
        self.mtime = 1_000_000_000

    def says(self, value, before=""):
        """The script answers with an expression's value."""
        self.holds(before + ANSWER.format(value=value))

    def holds(self, source):
        # Renamed into place: no request sees half a script.
        written = self.server.write(f"scripts/{self.name}.new", source)
        self.mtime += 10
        os.utime(written, (self.mtime, self.mtime))
        written.rename(self.path)

    def get(self, mount="/scripts"):
        return self.server.get(f"{mount}/{self.name}")

    def text(self, mount="/scripts"):
        response = self.get(mount)
        assert response.status == 200
        return response.text


@pytest.fixture
def server(serve):
    return serve(RELOAD)


@pytest.fixture
def script(server):
    return Script(server)


@pytest.mark.all_mpms
def test_a_changed_script_is_loaded_anew_in_the_same_process(script):
    script.says("'one'")
    children = script.server.children()
    assert script.text() == "one"
    script.says("'two'")
    assert script.text() == "two"
    assert script.server.children() == children
    script.server.log.expect(f"Loading WSGI script '{script.path}'")
    script.server.log.expect(f"Reloading WSGI script '{script.path}'")


def test_an_unchanged_script_keeps_its_state(script):
    script.says("next(count)", before="import itertools\ncount = itertools.count()\n")
    assert [script.text() for _ in range(3)] == ["0", "1", "2"]
    assert len(script.server.log.find(f"oading WSGI script '{script.path}'")) == 1


def test_an_older_file_is_a_change_too(script):
    script.says("'new'")
    assert script.text() == "new"
    script.mtime -= 1_000_000
    script.says("'restored from a backup'")
    assert script.text() == "restored from a backup"


def test_a_change_within_a_second_is_seen(script):
    script.says("'one'")
    assert script.text() == "one"
    script.mtime -= 10 - 0.001
    script.says("'two'")
    assert script.text() == "two"


@pytest.mark.differs("file-versions", "mod_wsgi compares the time only")
def test_another_file_of_the_same_time_and_size_is_a_change(script):
    script.says("'one'")
    assert script.text() == "one"
    script.mtime -= 10
    script.says("'two'")
    assert script.text() == "two"


@pytest.mark.differs("file-versions", "mod_wsgi compares the time only")
def test_a_file_of_the_same_time_and_another_size_is_a_change(script):
    script.says("'one'")
    assert script.text() == "one"
    with script.path.open("w") as file:
        file.write(ANSWER.format(value="'another size'"))
    os.utime(script.path, (script.mtime, script.mtime))
    assert script.text() == "another size"


def test_no_reload_until_restart_when_reloading_is_off(serve):
    script = Script(serve(RELOAD, private=True))
    script.says("'one'")
    assert script.text("/kept") == "one"
    script.says("'two'")
    assert script.text("/kept") == "one"
    script.server.reload(signal.SIGUSR1)
    assert script.text("/kept") == "two"


def test_imported_modules_survive_a_reload(script):
    state = (
        "import sys, types\nlibrary = sys.modules.setdefault('library', types.ModuleType('l'))\n"
    )
    count = "library.count = getattr(library, 'count', 0) + 1\n"
    script.says("library.count", before=state + count)
    assert script.text() == "1"
    script.says("library.count", before=state + count)
    assert script.text() == "2"


def test_a_failed_load_is_reported_and_tried_again(script):
    script.holds("raise ValueError('not yet')\n")
    assert script.get().status == 500
    assert script.get().status == 500
    script.server.log.expect("WSGI0109: ", "WSGI0174: ", "^ValueError: not yet", count=2)
    script.server.log.allow("^Traceback ", r"^\s")
    script.says("'well'")
    assert script.text() == "well"


def test_a_script_that_breaks_and_is_mended(script):
    script.says("'one'")
    assert script.text() == "one"
    script.holds("this is no Python\n")
    assert script.get().status == 500
    script.server.log.expect("WSGI0105: ", "^SyntaxError: ")
    script.server.log.allow("WSGI0174: ", "^Traceback ", r"^\s")
    script.says("'two'")
    assert script.text() == "two"


def test_failed_load_is_retried_without_a_change(script):
    flag = script.server.root / "ready"
    script.says("'ready'", before=f"import os\nassert os.path.exists({str(flag)!r}), 'not ready'\n")
    assert script.get().status == 500
    script.server.log.expect("WSGI0109: ", "^AssertionError: not ready")
    script.server.log.allow("WSGI0174: ", "^Traceback ", r"^\s")
    flag.write_text("")
    assert script.text() == "ready"


def test_a_script_that_vanishes_and_returns(script):
    script.says("'one'")
    assert script.text() == "one"
    script.path.unlink()
    assert script.get().status == 404
    script.server.log.expect("WSGI0135: ")
    script.says("'back'")
    assert script.text() == "back"


# --- the script as a module -----------------------------------------------------------------------


def test_the_modules_name_is_made_of_the_paths_md5(script):
    script.says("(__name__, __file__, __import__('sys').modules[__name__].__file__)")
    name = "_mod_wsgi_" + hashlib.md5(str(script.path).encode()).hexdigest()
    assert script.text() == str((name, str(script.path), str(script.path)))


def test_the_modules_mtime_is_the_files_in_microseconds(script):
    script.says("(type(__mtime__).__name__, __mtime__)")
    assert script.text() == str(("int", script.mtime * 1_000_000))


def test_a_script_is_no_main_program(script):
    script.says("__name__ == '__main__'")
    assert script.text() == "False"


@pytest.mark.parametrize(
    "name", ["app", "app.txt", "app with space.wsgi", "caf\xe9.wsgi", "app.py"]
)
def test_any_file_name_will_do(server, name):
    server.write(f"scripts/{name}", ANSWER.format(value="'named'"))
    path = name.replace(" ", "%20").replace("\xe9", "%C3%A9")
    assert server.get(f"/scripts/{path}").text == "named"


@pytest.mark.parametrize(
    "source",
    [
        b"# -*- coding: latin-1 -*-\nword = 'caf\xe9'\n",
        b"\xef\xbb\xbfword = 'caf\xc3\xa9'\n",
        b"from __future__ import annotations\nword = 'caf\xc3\xa9'\n",
    ],
)
def test_source_is_decoded_as_python_does(script, source):
    script.holds(source + ANSWER.format(value="word.encode('latin-1')").encode())
    assert script.text() == str(b"caf\xe9")


def test_no_bytecode_is_left_beside_a_script(script):
    script.says("'one'")
    assert script.text() == "one"
    assert [p.name for p in script.path.parent.iterdir() if p.name.startswith(script.name)] == [
        script.name
    ]
    assert not (script.path.parent / "__pycache__").exists()


# --- reload_required ------------------------------------------------------------------------------


def test_a_script_may_ask_for_its_own_reload(script):
    flag = script.server.root / f"{script.name}.wanted"
    script.says(
        "next(count)",
        before="import itertools, os\ncount = itertools.count()\n"
        f"def reload_required(path):\n    assert path == {str(script.path)!r}\n"
        f"    return os.path.exists({str(flag)!r})\n",
    )
    assert [script.text(), script.text()] == ["0", "1"]
    flag.write_text("")
    assert script.text() == "0"
    flag.unlink()
    assert script.text() == "1"


def test_a_reload_required_that_raises_is_logged_and_reloads_nothing(script):
    script.says(
        "next(count)",
        before="import itertools\ncount = itertools.count()\n"
        "def reload_required(path):\n    raise ValueError('undecided')\n",
    )
    assert [script.text(), script.text()] == ["0", "1"]
    script.server.log.expect("WSGI0174: ", "^ValueError: undecided")
    script.server.log.allow("^Traceback ", r"^\s")


# --- many at once ---------------------------------------------------------------------------------


def test_requests_that_arrive_while_a_script_loads_wait_for_the_one_load(script):
    # The sleep holds the door open for the others; nothing depends on its length.
    script.says("len(loads)", before="import time\nloads = []\ntime.sleep(0.3)\nloads.append(1)\n")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: script.text(), range(4)))
    assert answers == ["1"] * 4
    assert len(script.server.log.find(f"oading WSGI script '{script.path}'")) == 1


def test_another_script_is_served_while_one_is_being_changed(script):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for version in range(5):
            script.says(f"'{version}'")
            assert set(pool.map(lambda _: script.text(), range(8))) == {str(version)}
