"""What a daemon process is and holds, read back from /proc."""

import base64
import contextlib
import grp
import os
import pwd
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from harness import daemons
from harness.conf import Conf, tls_host
from harness.env import TESTS
from harness.httpd import READY

pytestmark = [
    pytest.mark.ours_only("our own processes"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

APP = (TESTS / "apps/faults.py").read_text()
# Accounts that every Debian and Fedora has.
USER = pwd.getpwnam("games")
GROUP = grp.getgrnam("mail")
MORE = [grp.getgrnam("bin"), grp.getgrnam("sys")]


def conf(options="", *, text="", files=(), modules=(), **more):
    group = f"""
    WSGIRestrictEmbedded On
    WSGIDaemonProcess site threads=2 {options}
    WSGIScriptAlias / ${{ROOT}}/app.py process-group=site application-group=%{{GLOBAL}}
    """
    files = (("app.py", APP), ("out/README", "the application writes here"), *files)
    return Conf(text + group, files=files, modules=modules, **more)


def processes(server):
    """The manager and its workers: what holds for one holds for all."""
    return [daemons.manager(server), *daemons.workers(server)]


# --- who ------------------------------------------------------------------------------------------


def identity(pid):
    status = daemons.status_of(pid)
    return (
        set(status["Uid"].split()),
        set(status["Gid"].split()),
        set(status["Groups"].split()),
    )


def test_daemons_run_as_the_user_of_apache_by_default(start_warm, env):
    server = start_warm()
    gids = os.getgrouplist(env.user.pw_name, env.user.pw_gid)
    for pid in processes(server):
        uids, groups, more = identity(pid)
        assert uids == {str(env.user.pw_uid)}
        assert groups == {str(env.user.pw_gid)}
        assert more == {str(gid) for gid in gids}


@pytest.mark.parametrize(
    ("options", "gid", "groups"),
    [
        ("user={user}", None, None),
        ("user=#{uid} group={group}", GROUP.gr_gid, None),
        ("user={user} group=#{gid} supplementary-groups={more}", GROUP.gr_gid, MORE),
    ],
)
def test_daemons_run_as_the_user_of_the_group(start_warm, env, options, gid, groups):
    options = options.format(
        user=USER.pw_name,
        uid=USER.pw_uid,
        group=GROUP.gr_name,
        gid=GROUP.gr_gid,
        more=",".join(group.gr_name for group in MORE),
    )
    server = start_warm(options)
    gid = env.user.pw_gid if gid is None else gid
    if groups is None:
        wanted = set(os.getgrouplist(USER.pw_name, gid))
    else:
        wanted = {gid, *(group.gr_gid for group in groups)}
    for pid in processes(server):
        uids, gids, more = identity(pid)
        assert uids == {str(USER.pw_uid)}
        assert gids == {str(gid)}
        assert more == {str(number) for number in wanted}
    assert daemons.evaluate(server, "__import__('os').environ['HOME']") == USER.pw_dir


@pytest.mark.parametrize("user", ["root", "#0"])
def test_root_is_refused(servers, mpm, user):
    accepted, printed = servers.make(conf(f"user={user}"), mpm, "embedded").configtest()
    assert not accepted
    assert "a daemon process may not run as root" in printed


def test_daemons_have_no_way_back_to_root(start_warm):
    server = start_warm(f"user={USER.pw_name}")
    for pid in processes(server):
        status = daemons.status_of(pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, f"{name} of {pid}"
    what = "__import__('subprocess').run(['id','-u'],capture_output=True).stdout.decode()"
    assert daemons.evaluate(server, what).strip() == str(USER.pw_uid)


# --- how ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "mask"), [("umask=0027", "0027"), ("umask=077", "0077")])
def test_umask_is_that_of_the_group(start_warm, options, mask):
    server = start_warm(options)
    for pid in processes(server):
        assert daemons.status_of(pid)["Umask"] == mask


def test_without_umask_the_one_of_apache_holds(start_warm):
    server = start_warm()
    for pid in processes(server):
        assert daemons.status_of(pid)["Umask"] == daemons.status_of(server.process.pid)["Umask"]


def limits_of(pid):
    """{name: (soft, hard)} of /proc/PID/limits."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    rows = (re.split(r"\s{2,}", line.strip()) for line in lines)
    return {row[0]: (row[1], row[2]) for row in rows}


def test_limits_are_those_of_the_group(start_warm):
    server = start_warm(
        "memory-limit=4000000000 virtual-memory-limit=8000000000 cpu-time-limit=100"
        " shutdown-timeout=7 cpu-priority=5"
    )
    for pid in daemons.workers(server):
        limits = limits_of(pid)
        assert limits["Max data size"] == ("4000000000", "4000000000")
        assert limits["Max address space"] == ("8000000000", "8000000000")
        # The hard limit leaves time to shut down.
        assert limits["Max cpu time"] == ("100", "108")
        assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    assert os.getpriority(os.PRIO_PROCESS, daemons.manager(server)) == 5
    assert os.getpriority(os.PRIO_PROCESS, server.process.pid) == os.getpriority(os.PRIO_PROCESS, 0)


def test_priority_above_that_of_apache_is_set_by_root(start_warm):
    server = start_warm("cpu-priority=-3")
    for pid in processes(server):
        assert os.getpriority(os.PRIO_PROCESS, pid) == -3


@pytest.mark.parametrize("same_user", [False, True])
def test_without_home_and_user_processes_stay_where_apache_was_started(start_warm, env, same_user):
    server = start_warm(f"user={env.user.pw_name}" if same_user else "")
    started = os.readlink(f"/proc/{server.process.pid}/cwd")
    assert {os.readlink(f"/proc/{pid}/cwd") for pid in processes(server)} == {started}
    assert daemons.evaluate(server, "__import__('os').environ['HOME']") == env.user.pw_dir


STACK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.pthread_self.restype = ctypes.c_ulong
attributes = ctypes.create_string_buffer(256)
libc.pthread_getattr_np(ctypes.c_ulong(libc.pthread_self()), attributes)
size = ctypes.c_size_t()
libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
def application(environ, start_response):
    measured = ctypes.create_string_buffer(256)
    libc.pthread_getattr_np(ctypes.c_ulong(libc.pthread_self()), measured)
    libc.pthread_attr_getstacksize(measured, ctypes.byref(size))
    start_response("200 OK", [])
    return [str(size.value).encode()]
"""


def test_stack_size_is_that_of_the_serving_threads(start_warm):
    server = start_warm("stack-size=524288", files=(("app.py", STACK),))
    assert 524_288 <= int(server.get("/").text) < 600_000


def test_home_is_the_working_directory_and_the_first_place_to_import_from(start_warm):
    files = (("out/inside.py", "A = 1"), ("known.pth", "out"))
    server = start_warm("home=${ROOT}/out python-path=${ROOT}", files=files)
    home = str(server.root / "out")
    for pid in processes(server):
        assert os.readlink(f"/proc/{pid}/cwd") == home
    assert daemons.evaluate(server, "__import__('sys').path[0]") == home
    assert daemons.evaluate(server, "__import__('inside').A") == 1


def test_default_home_is_that_of_the_user_or_the_root_directory(start_warm):
    server = start_warm(f"user={USER.pw_name}")
    wanted = USER.pw_dir if os.path.isdir(USER.pw_dir) else "/"
    for pid in processes(server):
        assert os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(wanted)


def test_display_name_is_shown_by_ps(start_warm):
    server = start_warm("display-name=%{GROUP}")
    for pid in processes(server):
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"(wsgi:site)"
        assert daemons.status_of(pid)["Name"] == "(wsgi:site)"


def test_a_display_name_may_be_longer_than_the_command_line(start_warm):
    name = "x" * 500
    server = start_warm(f"display-name={name}")
    for pid in processes(server):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
        assert shown
        assert name.startswith(shown)


# --- the environment ------------------------------------------------------------------------------


def test_an_environment_that_is_no_utf_8_does_no_harm(start_warm):
    value = os.fsdecode(b"caf\xe9")
    server = start_warm(environment=(("CAFE", value), ("LC_NAME", value), ("TZ", "UTC")))
    assert daemons.evaluate(server, "__import__('os').environ['TZ']") == "UTC"


def test_lang_and_locale_are_set_and_in_force(start_warm):
    server = start_warm("lang=C locale=C.UTF-8")
    found = daemons.evaluate(server, "dict(__import__('os').environ)")
    assert (found["LANG"], found["LC_ALL"]) == ("C", "C.UTF-8")
    assert daemons.evaluate(server, "__import__('locale').setlocale(6)") == "C.UTF-8"


def test_a_locale_the_system_has_not_is_a_warning(start_warm):
    server = start_warm("locale=xx_XX.UTF-8")
    server.log.expect("WSGI0079: this system has no locale 'xx_XX.UTF-8'")


# --- descriptors ----------------------------------------------------------------------------------

VHOSTS = """
Listen 127.0.0.1:${PORT2}
CustomLog ${ROOT}/access_log "%h"
<VirtualHost 127.0.0.1:${PORT2}>
    ServerName other
    ErrorLog ${ROOT}/other_error_log
    CustomLog ${ROOT}/other_access_log "%h"
    CustomLog "|/bin/cat" "%h"
</VirtualHost>
"""


def descriptors(pid):
    """{number: (target, flags)}."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(path)
            info = Path(f"/proc/{pid}/fdinfo/{path.name}").read_text()
            found[int(path.name)] = (target, int(re.search(r"flags:\s+(\d+)", info).group(1), 8))
    return found


def inodes(table, keep):
    # A socket of another test may have a name that is not UTF-8.
    lines = os.fsdecode(Path(f"/proc/net/{table}").read_bytes()).splitlines()[1:]
    return {inode for line in lines if (inode := keep(line.split()))}


def test_daemons_hold_only_needed_descriptors(start_warm):
    server = start_warm(
        f"user={USER.pw_name} processes=2", text=VHOSTS, modules=("log_config",), children=2
    )
    # While the script is loaded it is open.
    daemons.await_answers_of_all(server)
    tcp = inodes("tcp", lambda fields: fields[9])
    unix = inodes("unix", lambda fields: fields[6])
    for pid in processes(server):
        for number, (target, flags) in descriptors(pid).items():
            said = f"{number} -> {target} of {pid}"
            writable = flags & os.O_ACCMODE != os.O_RDONLY
            if target.startswith("socket:["):
                inode = target[len("socket:[") : -1]
                assert inode not in tcp, said
                assert inode in unix, said
            elif target.startswith(("anon_inode:", "pipe:", "/memfd:")):
                pass
            elif number <= 2:
                assert target == "/dev/null", said
            else:
                assert not writable, said
                assert not target.startswith(str(server.root)), said
        assert descriptors(pid)[0][0] == "/dev/null"
        # One for each worker is enough; no worker holds the sockets of the others.
        listening = [
            target
            for target, _ in descriptors(pid).values()
            if target[len("socket:[") : -1] in listeners()
        ]
        if pid != daemons.manager(server):
            assert len(listening) == 1, descriptors(pid)


def listeners():
    """The inodes of Unix sockets that listen."""
    return inodes("unix", lambda fields: fields[6] if fields[3] == "00010000" else None)


def test_children_of_applications_inherit_nothing(start_warm):
    server = start_warm()
    what = (
        "__import__('subprocess').run(['ls','-l','/proc/self/fd'],capture_output=True,"
        "close_fds=False).stdout.decode()"
    )
    inherited = re.findall(r" (\d+) -> (.*)", daemons.evaluate(server, what))
    # 0, 1, 2, and the directory that ls reads.
    assert [number for number, target in inherited if int(number) > 3] == []


# --- the socket -----------------------------------------------------------------------------------


def socket_files(server):
    return sorted(Path(server.root).glob("wsgi.*.sock"))


def test_the_socket_is_for_apaches_user_only(start_warm, env):
    server = start_warm()
    (file,) = socket_files(server)
    found = file.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == env.user.pw_uid


CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(5)
try:
    sock.connect(sys.argv[1])
except PermissionError:
    sys.exit(13)
# GET_VALUES of FastCGI: every server must answer it.
sock.sendall(bytes([1, 9, 0, 0, 0, 0, 0, 0]))
try:
    sys.exit(0 if sock.recv(8) else 1)
except ConnectionResetError:
    sys.exit(1)
"""


def connect_as(uid, file):
    """0: answered; 1: closed without an answer; 13: not let in by the file system."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CONNECT, str(file), str(uid)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in (0, 1, 13), done.stderr
    return done.returncode


def test_other_users_cannot_connect(start_warm, env):
    server = start_warm()
    (file,) = socket_files(server)
    assert connect_as(env.user.pw_uid, file) == 0
    assert connect_as(USER.pw_uid, file) == 13
    # Even where the file is open to all: the kernel names the user of the client.
    file.chmod(0o666)
    assert connect_as(USER.pw_uid, file) == 1
    server.log.expect(f"a connection was refused: uid {USER.pw_uid} is not allowed to connect")
    assert server.get("/").status == 200


def test_socket_user_may_connect(start, env):
    """For MPMs whose children run as another user than Apache's User."""
    server = start(f"socket-user={USER.pw_name}")
    (file,) = socket_files(server)
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (USER.pw_uid, 0o600)
    assert connect_as(env.user.pw_uid, file) == 13
    assert connect_as(USER.pw_uid, file) == 0
    assert server.get("/").status == 503
    server.log.expect(f"WSGI0117: .*{file.name}: Permission denied .*WSGISocketPrefix")


@pytest.mark.parametrize("put", [os.symlink, os.link])
def test_a_graceful_restart_gives_no_file_away(start, env, put):
    """Apache's user may put anything into a directory of that user's."""

    def prepare(server):
        os.chown(server.root / "run", env.user.pw_uid, -1)
        server.write("secret", "of root").chmod(0o600)

    text = "WSGISocketPrefix ${ROOT}/run/wsgi\n"
    server = start(text=text, files=(("run/README", ""),), prepare=prepare)
    secret = server.root / "secret"
    (file,) = (server.root / "run").glob("*.sock")
    file.unlink()
    put(secret, file)
    server.process.send_signal(signal.SIGUSR1)
    server.log.wait_for(READY, count=2)
    server.log.expect("its socket .* has been removed")
    assert (secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)) == (0, 0o600)
    assert secret.read_text() == "of root"


def test_daemons_of_one_group_cannot_connect_to_another(start_warm):
    """An application must not get at its neighbour past Apache's access rules."""
    server = start_warm(
        f"user={USER.pw_name}", text="WSGIDaemonProcess neighbour user=nobody threads=1\n"
    )
    for file in socket_files(server):
        assert connect_as(USER.pw_uid, file) == 13


# --- memory ---------------------------------------------------------------------------------------


def memory_holds(pid, needle):
    """Whether the bytes stand anywhere in the memory of the process."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights, *_ = line.split()
            if "r" not in rights or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            begin, end = (int(number, 16) for number in area.split("-"))
            with contextlib.suppress(OSError):
                memory.seek(begin)
                left, tail = end - begin, b""
                while left > 0:
                    piece = memory.read(min(left, 1 << 24))
                    if not piece:
                        break
                    if needle in tail + piece:
                        return True
                    left -= len(piece)
                    tail = piece[-len(needle) :]
    return False


def test_no_page_of_apaches_memory_is_in_a_daemon(start_warm, certificate):
    """Neither a line of its configuration nor the key of its certificate."""
    text = "".join(certificate[1].read_text().split("\n")[1:-2])
    # The private number stands in the DER at a fixed place of a P-256 key in PKCS #8.
    der = base64.b64decode(text)
    mark = der.index(b"\x02\x01\x01\x04\x20") + 5
    key = der[mark : mark + 32]
    secret = b"a-secret-of-another-virtual-host"
    text = f"Define PASSWORD {secret.decode()}\n"
    text += tls_host(certificate, "SetEnvIf Remote_Addr . HIDDEN=${PASSWORD}")
    server = start_warm(
        "environment=none",
        text=text,
        modules=("setenvif", "ssl", "socache_shmcb"),
        environment=(("TOKEN", "t0k3n-"),),
    )
    server.log.allow("AH01882", "AH01906", "AH01873")
    parent = server.process.pid
    # So the search works. OpenSSL keeps the number with its least significant word first.
    assert memory_holds(parent, secret)
    assert memory_holds(parent, key) or memory_holds(parent, key[::-1])
    for pid in processes(server):
        assert not memory_holds(pid, secret)
        assert not memory_holds(pid, key)
        assert not memory_holds(pid, key[::-1])
        assert not memory_holds(pid, b"t0k3n-")
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "apache" not in mapped
        assert "mod_ssl" not in mapped


# --- whose script ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "change", "refused"),
    [
        ("script-user={user}", None, None),
        ("script-user={user}", ("app.py", "uid"), "does not belong to the user"),
        ("script-user={user}", (".", "uid"), "does not belong to the user"),
        ("script-user={user}", ("app.py", 0o664), "can be written by its group"),
        ("script-user={user}", (".", 0o775), "can be written by its group"),
        ("script-user={user}", ("app.py", 0o646), "can be written by any user"),
        ("script-user={user}", (".", 0o757), "can be written by any user"),
        ("script-group={group}", None, None),
        ("script-group={group}", ("app.py", 0o664), None),
        ("script-group={group}", ("app.py", "gid"), "does not belong to the group"),
        ("script-group={group}", (".", "gid"), "does not belong to the group"),
        ("script-group={group}", ("app.py", 0o646), "can be written by any user"),
        ("script-group={group}", (".", 0o757), "can be written by any user"),
    ],
)
def test_a_script_that_others_could_have_written_is_not_run(private, option, change, refused):
    option = option.format(user=USER.pw_name, group=GROUP.gr_name)
    text = f"""
    WSGIDaemonProcess site threads=1 {option}
    WSGIScriptAlias / ${{ROOT}}/site/app.py process-group=site
    """

    def prepare(server):
        folder = server.root / "site"
        for path, mode in [(folder, 0o755), (folder / "app.py", 0o644)]:
            os.chown(path, USER.pw_uid, GROUP.gr_gid)
            path.chmod(mode)
        if change:
            path = folder / change[0]
            match change[1]:
                case "uid":
                    os.chown(path, 0, GROUP.gr_gid)
                case "gid":
                    os.chown(path, USER.pw_uid, 0)
                case mode:
                    path.chmod(mode)

    server = private(Conf(text, files=(("site/app.py", APP),)), prepare)
    assert server.get("/").status == (403 if refused else 200)
    if refused:
        server.log.expect(f"WSGI01.*{refused}")
