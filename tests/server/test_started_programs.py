"""Programs and processes that applications start find the signals of a fresh program."""

import pytest
from harness.conf import Conf

pytestmark = [
    pytest.mark.all_mpms,
    pytest.mark.differs("child-signals", "the signals of Apache's threads", mode="embedded"),
    pytest.mark.ours_only("with mod_wsgi it depends on the MPM which of them fail"),
]

APP = """
import json, multiprocessing, os, signal, subprocess, time

def run(kind):
    if kind == "blocked":
        text = subprocess.run(
            ["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=True
        ).stdout
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        # Signals 32 and 33 are the C library's own: its posix_spawn, which make uses, ignores them.
        own = 1 << 31 | 1 << 32
        return [int(fields[name], 16) & ~own for name in ("SigBlk", "SigIgn")]
    if kind == "terminate":
        with subprocess.Popen(["/bin/sleep", "600"]) as process:
            process.terminate()
            return process.wait(20)
    if kind == "system":
        return os.waitstatus_to_exitcode(os.system("kill -TERM $$"))
    if kind.startswith("forkserver"):
        # How Python 3.14 starts processes.
        context = multiprocessing.get_context("forkserver")
        seconds = 0 if kind == "forkserver" else 600
        process = context.Process(target=time.sleep, args=(seconds,))
        process.start()
        if seconds:
            process.terminate()
        process.join(20)
        return process.exitcode
    if kind == "fork":
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def application(environ, start_response):
    result = json.dumps(run(environ["PATH_INFO"].strip("/")))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [result.encode()]
"""
EXPECTED = {
    "blocked": [0, 0],
    "terminate": -15,
    "system": -15,
    "fork": -15,
    "forkserver": 0,
    "forkserver-terminate": -15,
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_started_programs_and_processes_have_fresh_signals(serve, kind):
    text = "WSGIScriptAlias / ${ROOT}/app.py application-group=%{GLOBAL}\n"
    server = serve(Conf(text, files=(("app.py", APP),)))
    server.log.allow("mod_wsgi")
    assert server.get(f"/{kind}").json() == EXPECTED[kind]


def test_a_program_of_a_sub_interpreter_too(serve):
    text = "WSGIScriptAlias / ${ROOT}/app.py application-group=other\n"
    text += "WSGIScriptAlias /more ${ROOT}/app.py application-group=%{GLOBAL}\n"
    server = serve(Conf(text, files=(("app.py", APP),)))
    assert server.get("/terminate").json() == -15
    assert server.get("/blocked").json() == [0, 0]
