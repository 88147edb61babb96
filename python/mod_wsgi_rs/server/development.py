"""The application as Django's runserver wraps it, for a server that does not wrap it itself."""


class Decided:
    """An application about whose static files a choice has been made: the script that
    `mod_wsgi_rs start-server --reload` generates leaves it alone.
    """

    static_files_are_decided = True

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        return self.application(environ, start_response)


def make(static, insecure):
    """static: serve files of django.contrib.staticfiles without collectstatic. insecure: also where
    DEBUG is off.
    """
    from django.core.servers.basehttp import get_internal_wsgi_application

    application = get_internal_wsgi_application()
    from django.conf import settings

    installed = "django.contrib.staticfiles" in settings.INSTALLED_APPS
    if static and installed and (settings.DEBUG or insecure):
        from django.contrib.staticfiles.handlers import StaticFilesHandler

        application = StaticFilesHandler(application)
    return Decided(application)
