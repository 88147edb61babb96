"""The Apache that every contender but nginx has in front: the same one, to the letter."""

from bench.servers.server import Program

BASE = """\
ServerRoot "{room}"
ServerName localhost
DefaultRuntimeDir "{room}"
PidFile "{room}/httpd.pid"
ErrorLog "{room}/error_log"
LogLevel warn
Listen 127.0.0.1:{port}
ListenBacklog 1024
Timeout 60
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
{mpm}MaxConnectionsPerChild 0
DocumentRoot "{htdocs}"
<Directory />
    Require all granted
    AllowOverride None
</Directory>
"""
MPM = {
    # As many children from the start as there can be.
    "full": """\
StartServers {children}
ServerLimit {children}
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {workers}
MinSpareThreads 1
MaxSpareThreads {workers}
""",
    # mpm_event.conf of Debian.
    "debian": """\
StartServers 2
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
MinSpareThreads 25
MaxSpareThreads 75
""",
}


def httpd(site, room, port, shape, text, modules=(), loads=""):
    """The program: an Apache with this text at the end of its configuration."""
    env = site.env
    names = ("mpm_event", "authz_core", *modules)
    conf = "".join(env.load_module(name) for name in names) + loads
    mpm = MPM[shape.mpm].format(
        children=shape.children,
        threads=shape.threads_per_child,
        workers=shape.children * shape.threads_per_child,
    )
    conf += BASE.format(room=room, port=port, htdocs=site.htdocs, mpm=mpm)
    if env.user:
        conf += f"User #{env.user.pw_uid}\nGroup #{env.user.pw_gid}\n"
    path = room / "httpd.conf"
    path.write_text(conf + text)
    return Program((str(env.httpd), "-f", str(path), "-DFOREGROUND"), as_root=True)
