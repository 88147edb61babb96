"""A Django application with the commands runserver_apache and runmodwsgi: for INSTALLED_APPS."""
