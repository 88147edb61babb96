"""Behaviour tests with httpd and the daemon programs under valgrind: `make sanitize`.

The tests are those that go through the code that touches C: requests and responses of all kinds in
both modes, files as descriptors, interpreters and their ends, events, reloading and replacement,
connections that no thread of Apache serves.
A process that the system ends by a fault fails its test; an error that valgrind finds counts when
the project's code made it or had the memory in question.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

TESTS = Path(__file__).resolve().parent
# pytest arguments: which files, and an expression.
SELECTED = [
    "wsgi/test_environ.py",
    "wsgi/test_request_body.py",
    "wsgi/test_response.py",
    "wsgi/test_headers.py",
    "wsgi/test_errors.py",
    "wsgi/test_file_wrapper.py",
    "wsgi/test_edge_cases.py",
    "scripts/test_interpreters.py",
    "scripts/test_dispatch.py",
    "access/test_access_script.py",
    "observe/test_python_module.py",
    "observe/test_events.py",
    "observe/test_metrics.py",
    "daemon/isolation/test_records.py",
    "daemon/test_warm_up.py",
    "asgi/test_extensions.py",
    "asgi/test_streams.py",
    "asgi/test_websocket.py",
    "asgi/test_websocket_parked.py",
]
# What measures time, or takes minutes at this pace.
LEFT_OUT = ["large", "long_line", "recursion", "configtest", "100_000", "without_end"]


def install_valgrind():
    if shutil.which("valgrind"):
        return
    manager = next((m for m in ("apt-get", "dnf") if shutil.which(m)), None)
    if manager is None or os.geteuid() != 0:
        sys.exit("valgrind is missing: install the package valgrind")
    if manager == "apt-get":
        subprocess.run([manager, "update", "-q"], check=True)
    subprocess.run([manager, "install", "-y", "valgrind"], check=True)


def main():
    install_valgrind()
    folder = Path(tempfile.mkdtemp(prefix="mod_wsgi_rs-valgrind-"))
    # Reports are written by Apache's user, too.
    folder.chmod(0o777)
    os.environ["UNDER_VALGRIND"] = str(folder)
    from harness import valgrind

    began = time.monotonic()
    arguments = sys.argv[1:] or [
        *(TESTS / name for name in SELECTED),
        "-k",
        " and ".join(f"not {name}" for name in LEFT_OUT),
    ]
    options = ["-q", "-n2", "--mpm=event", "--mode=embedded,daemon", "--tb=short", "-m", "not slow"]
    passed = subprocess.run([sys.executable, "-m", "pytest", *options, *arguments], check=False)
    ours, others, processes = valgrind.judge(folder)
    for text, count in ours.most_common():
        print(f"{count} x {text}")
    seen = ", ".join(f"{count} of {name}" for name, count in sorted(processes.items()))
    print(f"{sum(processes.values())} processes in {time.monotonic() - began:.0f} s: {seen}")
    print(f"valgrind: {len(ours)} errors of ours, {others} of Python's and Apache's own")
    if not ours and not passed.returncode:
        shutil.rmtree(folder)
    else:
        print(f"the reports are in {folder}")
    sys.exit(bool(ours) or passed.returncode or processes.total() < 2)


if __name__ == "__main__":
    main()
