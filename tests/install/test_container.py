"""container/entrypoint without an engine: a random user, a read-only file system, no network.

A shell in namespaces of its own makes this machine's file system read-only at another place, with a
writable /tmp and the application, the module and the entry point in a read-only /srv.
"""

import re
import shutil
import subprocess

import pytest
from harness.env import REPO
from harness.namespaces import missing

pytestmark = pytest.mark.ours_only("runs ours")

UID = 54321
# Mounts exist in the namespace only: nothing outside of it is below them.
BEFORE = r"""
set -eu
mount --make-rprivate /
mkdir "$PLACE/root"
root=$PLACE/root
mount --bind / "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/srv"
cp -R "$PLACE/image/." "$root/srv/"
chmod -R a+rX "$root/srv"
mount -o remount,ro "$root/srv"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null:1:3 zero:1:5 random:1:8 urandom:1:9; do
    number=${device#*:}
    mknod -m 666 "$root/dev/${device%%:*}" c "${number%:*}" "${number#*:}"
done
mkdir -m 1777 "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
ip link set lo up
inside() {
    chroot "$root" setpriv --reuid "$UID_INSIDE" --regid 0 --clear-groups --inh-caps=-all \
        --bounding-set=-all env -i PATH=/usr/bin:/bin \
        APP_DIR=/srv/app MODULE=/srv/modules/mod_wsgi_rs.so MODULES="$MODULES" "$@"
}
"""
APPLICATION = """
import os

def app(environ, start_response):
    written = "no"
    for folder in ("/srv/app", "/var/tmp", os.getcwd()):
        try:
            open(os.path.join(folder, "written"), "w")
            written = folder
        except OSError:
            pass
    group = environ["mod_wsgi.process_group"]
    body = f"uid {os.getuid()} gid {os.getgid()} wrote {written} group {group}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
"""

ASGI_APPLICATION = """
import os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = f'{{"asgi": {scope["asgi"]["version"]}, "uid": {os.getuid()}}}'
    await send({"type": "http.response.body", "body": body.encode()})
"""


MISSING = missing("curl", "ip", "setpriv")


@pytest.fixture
def run(env, tmp_path):
    """run(commands) is what a shell prints that has inside(…), the entry point's world."""
    image = tmp_path / "image"
    (image / "app/static").mkdir(parents=True)
    (image / "app/app.py").write_text(APPLICATION)
    (image / "app/static/site.css").write_text("body {}\n")
    (image / "modules").mkdir()
    lines = (REPO / "container/Containerfile").read_text()
    (beside,) = re.findall(r"^COPY --chmod=755 (.*) /usr/local/bin/$", lines, re.M)
    for program in beside.split():
        shutil.copy(REPO / program, image)
    for built in (env.module, *env.module.parent.glob("wsgi-daemon-*")):
        if built.suffix != ".d":
            shutil.copy(built, image / "modules" / built.name)

    def run(commands):
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                BEFORE + commands,
            ],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "PLACE": str(tmp_path),
                "UID_INSIDE": str(UID),
                "MODULES": str(env.modules_dir),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_entry_point_serves_as_a_random_user_on_a_read_only_file_system(run):
    status, out, err = run(
        """
        inside PORT=8123 WEB_CONCURRENCY=2 /srv/entrypoint >"$root/tmp/log" 2>&1 &
        curl -sS --retry 60 --retry-connrefused --retry-delay 1 --max-time 60 http://127.0.0.1:8123/
        echo
        curl -sS http://127.0.0.1:8123/static/site.css
        kill -WINCH "$(cat "$root/tmp/httpd/httpd.pid")"
        wait && echo "all ended"
        echo "left: $(chroot "$root" ps -eo args | grep -c '[w]sgi-daemon' || true)"
        cat "$root/tmp/log"
        """
    )
    assert status == 0, out + err
    assert f"uid {UID} gid 0 wrote no group app" in out, out + err
    assert "body {}" in out
    assert "all ended" in out, out + err
    assert "left: 0" in out
    # The log is the container's output: what Apache says, and each request.
    assert re.search(r'127\.0\.0\.1 \[.*\] "GET / HTTP/1\.1" 200', out), out
    assert "resuming normal operations" in out


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_entry_point_serves_an_application_of_asgi_by_itself(run, tmp_path):
    app = tmp_path / "image/app"
    (app / "app.py").rename(app / "other.py")
    (app / "asgi.py").write_text(ASGI_APPLICATION)
    status, out, err = run(
        r"""
        begin() {
            port=$1
            shift
            inside PORT=$port RUN_DIR=/tmp/$port WEB_CONCURRENCY=1 "$@" \
                /srv/entrypoint >"$root/tmp/log$port" 2>&1 &
            curl -sS --retry 60 --retry-connrefused --retry-delay 1 --max-time 60 \
                http://127.0.0.1:$port/
            echo
            kill -TERM "$(cat "$root/tmp/$port/httpd.pid")"
        }
        begin 8123
        begin 8124 APP=/srv/app/other.py DAEMON_OPTIONS=warm-up=/
        wait
        cat "$root/tmp/log8123" "$root/tmp/log8124"
        """
    )
    assert status == 0, out + err
    asgi, wsgi = out.splitlines()[:2]
    assert asgi == f'{{"asgi": 3.0, "uid": {UID}}}', out + err
    # warm-up= is for WSGI alone, and is no error for an application of WSGI.
    assert wsgi.startswith(f"uid {UID} gid 0 "), out + err


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("APP_DIR=/srv/modules", "there is no application: name its script in APP"),
        ("APP=/srv/nothing.py", f"user {UID} cannot read /srv/nothing.py"),
        ("RUN_DIR=/var/httpd", f"user {UID} cannot write /var/httpd"),
    ],
)
def test_an_error_of_the_entry_point_is_one_line(run, settings, sentence):
    status, out, err = run(f"inside {settings} /srv/entrypoint")
    assert status == 1
    assert sentence in err
    assert len(err.splitlines()) == 1, out + err


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_a_command_runs_in_place_of_the_server(run):
    status, out, err = run("inside /srv/entrypoint id -u")
    assert (status, out) == (0, f"{UID}\n"), err
