"""The pages of the site."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from . import __version__
from .posts.models import Post


def home(request: HttpRequest) -> HttpResponse:
    """The last posts."""
    return render(request, "home.html", {"posts": Post.objects.all()[: settings.POSTS_ON_A_PAGE]})


def about(request: HttpRequest) -> HttpResponse:
    """What it is."""
    return JsonResponse({"version": __version__, "name": settings.SITE_NAME})
