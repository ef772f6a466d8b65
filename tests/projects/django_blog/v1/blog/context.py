"""What all templates find."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    """The name of the site."""
    return {"site": settings.SITE_NAME}
