"""Django alone, imported at once: what the memory cases load."""

from django_site import application  # noqa: F401
