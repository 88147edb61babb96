"""Modules of Apache that only a test wants, from their text in C."""

import shlex
import shutil
import subprocess

import pytest

# The client of a request with "broken" in its query is gone once the handler has returned: the MPM
# finds the connection aborted.
BROKEN = r"""
#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"

static int handler(request_rec *r)
{
    int status;
    if (!r->args || !strstr(r->args, "broken") || apr_table_get(r->notes, "broken"))
        return DECLINED;
    apr_table_setn(r->notes, "broken", "1");
    status = ap_run_handler(r);
    if (status == SUSPENDED)
        r->connection->aborted = 1;
    return status;
}

static void hooks(apr_pool_t *pool)
{
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

module AP_MODULE_DECLARE_DATA broken = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks
};
"""


def build(env, folder, name, text):
    """Makes folder/NAME.so; the test is skipped where there is no compiler."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")

    def asked(what):
        return subprocess.check_output([env.apxs, "-q", what], text=True).strip()

    source = folder / f"{name}.c"
    source.write_text(text)
    flags = shlex.split(asked("CFLAGS") + " " + asked("EXTRA_CPPFLAGS"))
    includes = [f"-I{asked(what)}" for what in ("INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR")]
    command = [compiler, "-w", "-shared", "-fPIC", *flags, *includes]
    subprocess.run([*command, "-o", folder / f"{name}.so", source], check=True)
