//! The text of `--help`. What the options do is in `arguments`.
#![forbid(unsafe_code)]

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Hosts a Python WSGI application and serves it over FastCGI.

Usage:
  wsgi-daemon --listen ADDRESS --application FILE [OPTION]…
  wsgi-daemon --drain unix:PATH [--drain-timeout SEC]
  wsgi-daemon --config-fd N        (started by Apache)

Options:
  --listen unix:PATH      the socket that nginx, HAProxy, Caddy, Apache … connect to
  --listen tcp:IP:PORT    the same for other machines; may be given more than once, as unix: may.
                          Not needed where systemd passes sockets (LISTEN_FDS)
  --allow CIDR            addresses that may connect over TCP, such as 10.1.0.0/16; may be given
                          more than once; required unless every address is a loopback one. It
                          holds for --admin tcp: as well
  --secret-file FILE      every request has to bring the text of the file, without the end of its last line,
                          as MOD_WSGI_RS_SECRET
  --application FILE      the script that holds the application
  --front NAME            whose idea of a path: auto, apache, nginx, haproxy, caddy [auto]
  --script-name PATH      where the application is mounted, such as /blog [what the web server says]
  --admin ADDRESS         where /-/healthy, /-/ready and /-/metrics are answered over HTTP and FastCGI,
                          whatever the workers do; unix:PATH also takes --drain, from root and the user
                          of the daemon; may be given more than once
  --drain-delay SEC       how long TERM or --drain lets requests come while /-/ready says no [0]
  --probes on|off         answer /-/healthy and /-/ready at the sockets for requests, too [on]
  --callable NAME         its name in the script, or a call such as create_app() [application]
  --processes N           worker processes [1]
  --threads N             threads in each of them [15]
  --python-home DIR       a virtual environment, or where Python is installed
  --python-path DIR       a directory to import from; may be given more than once
  --user NAME             run as this user (NAME or #UID; only root can)
  --group NAME            run with this primary group (NAME or #GID)
  --home DIR              working directory
  --umask MODE            permission bits new files do not get, octal
  --socket-mode MODE      permissions of the socket, octal [600]
  --maximum-requests N    replace a worker after so many requests
  --request-timeout SEC   replace a worker when a request takes longer
  --graceful-timeout SEC  how long a replaced worker may finish its requests [15]
  --shutdown-timeout SEC  how long a stop may take; 0: as long as the requests take [5]
  --log-level N           0 (emergencies) to 8 (trace) [5]
  --help, --version

--drain has the daemon with this admin socket drain, waits until it serves nothing more, and exits with
0; with 1 where there is none, with 3 after --drain-timeout.

Signals: TERM stops it after --drain-delay, INT without the delay; requests may take --shutdown-timeout.
WINCH does the same with --graceful-timeout. USR1 replaces every worker by a new one without losing
a request.
";
