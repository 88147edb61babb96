"""The contenders, in the order in which they are measured and shown."""

from bench.servers.asgi import ApacheUvicorn, NginxUvicorn, OursAsgi
from bench.servers.contender import Unavailable
from bench.servers.floor import Null, Static
from bench.servers.http import Granian, Gunicorn
from bench.servers.modules import (
    OursDaemon,
    OursEmbedded,
    TheirsDaemon,
    TheirsEmbedded,
    UncountedDaemon,
    UncountedEmbedded,
)
from bench.servers.uwsgi import ApacheUwsgi, NginxUwsgi

__all__ = ["CONTENDERS", "Unavailable"]

CONTENDERS = [
    Null,
    Static,
    OursEmbedded,
    TheirsEmbedded,
    OursDaemon,
    TheirsDaemon,
    ApacheUwsgi,
    NginxUwsgi,
    Gunicorn,
    Granian,
    OursAsgi,
    ApacheUvicorn,
    NginxUvicorn,
    UncountedEmbedded,
    UncountedDaemon,
]
