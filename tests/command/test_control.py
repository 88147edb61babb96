"""Commands to a server of start-server: it is found without a word about where it is."""

import json
import os
import signal

import pytest
from harness.httpd import wait_until

pytestmark = pytest.mark.ours_only("runs ours")


def groups_of(run, *arguments, **variables):
    done = run("status", "--json", *arguments, check=False, **variables)
    return done.returncode, json.loads(done.stdout)


def ready_groups(run, folder, **variables):
    """What `status` says once all is well."""

    def answer():
        # The page comes from the first worker; the others may still be starting.
        status, answer = groups_of(run, TMPDIR=str(folder), **variables)
        assert status in (0, 1), answer
        return answer if status == 0 else None

    return wait_until(answer, "all workers of the server")


def test_server_of_start_server_is_found_and_reloaded(start, run, short, site):
    server = start(TMPDIR=str(short))
    assert server.get()[0] == 200
    answer = ready_groups(run, short)
    [group] = [it for it in answer["groups"] if it["socket"].startswith(str(short))]
    assert group["condition"] == "ready"
    # Another size, because Python takes the bytecode for that of a file saved in the same second.
    (site / "app.py").write_text((site / "app.py").read_text().replace("one", "another"))
    pid = str(group["server_pid"])
    done = run("reload", group["name"], "--server", pid, TMPDIR=str(short))
    assert done.stdout.startswith(f"process group '{group['name']}' is reloaded\n")
    assert server.get() == (200, "<html><body>another</body></html>")


def test_ordinary_user_commands_the_own_server(start, run, ordinary_user, short):
    if ordinary_user is None:
        pytest.skip("the other tests run as an ordinary user already")
    os.chown(short, ordinary_user.pw_uid, ordinary_user.pw_gid)
    server = start(user=ordinary_user, TMPDIR=str(short), HOME="/")
    assert server.get()[0] == 200
    answer = ready_groups(run, short, user=ordinary_user, HOME="/")
    [group] = [it for it in answer["groups"] if it["socket"].startswith(str(short))]
    assert (group["condition"], group["uid"]) == ("ready", ordinary_user.pw_uid)
    [worker, *_] = [it for it in group["workers"] if it["state"] == "ready"]
    done = run("recycle", worker["pid"], user=ordinary_user, TMPDIR=str(short), HOME="/")
    assert f"in place of {worker['pid']}\n" in done.stdout
    assert server.get()[0] == 200
    # A server of another user is none that root is to trust.
    folder = group["socket"].rpartition("/")[0]
    status, answer = groups_of(run, "--runtime-dir", folder)
    assert status == 3
    assert "is not trusted" in answer["groups"][0]["problem"]


def test_status_without_a_server_is_unknown(start, run, short):
    server = start(TMPDIR=str(short))
    [folder] = short.glob("mod_wsgi_rs-*")
    status, answer = groups_of(run, "--runtime-dir", folder)
    assert status in (0, 1), answer
    server.signal(signal.SIGTERM)
    server.wait()
    folder.mkdir()
    status, answer = groups_of(run, "--runtime-dir", folder)
    assert (status, answer["severity"]) == (3, "unknown")
    assert groups_of(run, "--runtime-dir", folder / "none")[0] == 3


def test_commands_take_options_from_variables_and_pyproject(start, run, short, site):
    # No command looks in this folder unless an option names it.
    server = start("--processes", "1", TMPDIR=str(short))
    [folder] = short.glob("mod_wsgi_rs-*")
    assert server.get()[0] == 200

    def of_folder():
        return groups_of(run, MOD_WSGI_RS_RUNTIME_DIR=str(folder))

    answer = wait_until(
        lambda: (told := of_folder())[0] == 0 and told[1], "the worker of the server", timeout=30
    )
    [name] = [group["name"] for group in answer["groups"]]
    commands = [["status"], ["ps"], ["stacks", name], ["log-level", name]]
    for words in commands:
        assert name not in run(*words, check=False).stdout
        done = run(*words, MOD_WSGI_RS_RUNTIME_DIR=str(folder))
        assert name in done.stdout or words[0] == "stacks"
    done = run("status", check=False, MOD_WSGI_RS_TIMEOUT="many")
    assert done.returncode == 2
    assert "the variable MOD_WSGI_RS_TIMEOUT: 'many' is no value for --timeout" in done.stderr
    # One file for all commands: each takes from it what it has.
    project = site / "pyproject.toml"
    project.write_text(f"[tool.mod_wsgi_rs]\nthreads = 7\nruntime-dir = '{folder}'\n")
    # The reload last: a worker that leaves may not tell its stacks any more.
    for words in [*commands, ["reload", name]]:
        assert name in run(*words).stdout or words[0] == "stacks"
    run("setup-server", "--server-root", short / "root")
    assert "threads=7 " in (short / "root/httpd.conf").read_text()
    project.write_text("[tool.mod_wsgi_rs]\nruntime-folder = '/run'\n")
    done = run("status", check=False)
    assert "tool.mod_wsgi_rs.runtime-folder is no option" in done.stderr


def test_pyproject_of_another_user_names_no_program_that_root_runs(run, short, site):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    program, ran = short / "httpd", short / "ran"
    program.write_text(f"#!/bin/sh\necho x >>{ran}\n")
    program.chmod(0o755)
    project = site / "pyproject.toml"
    project.write_text(f"[tool.mod_wsgi_rs]\nhttpd-executable = '{program}'\n")
    commands = ["status", "ps", "doctor", "module-config"]
    os.chown(project, 65534, 65534)
    for command in commands:
        done = run(command, check=False)
        assert f"{project} is another user's: its options are not used" in done.stderr, command
    assert not ran.exists()
    os.chown(project, 0, 0)
    for command in commands:
        assert "another user" not in run(command, check=False).stderr, command
    assert ran.exists()
