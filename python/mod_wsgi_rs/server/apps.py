"""The label of the application, which leaves `server` to projects."""

from django.apps import AppConfig


class ServerConfig(AppConfig):
    name = "mod_wsgi_rs.server"
    label = "mod_wsgi_rs_server"
    verbose_name = "mod_wsgi_rs"
