"""The posts, as JSON."""

import logging
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from . import signals
from .forms import PostForm
from .models import Post

logger = logging.getLogger(__name__)


@method_decorator(csrf_exempt, name="dispatch")
class Posts(View):
    """All of them."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """What there is."""
        return JsonResponse({"posts": [str(each) for each in Post.objects.all()], "saved": len(signals.saved)})

    def post(self, request: HttpRequest, *args: Any) -> HttpResponse:
        """Write one."""
        form = PostForm(request.GET)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        made = Post.objects.create(**form.cleaned_data)
        return JsonResponse({"id": made.pk, "title": made.title}, status=201)


def post(request: HttpRequest, number: int) -> HttpResponse:
    """One of them."""
    found = get_object_or_404(Post, pk=number)
    return JsonResponse({"title": found.title, "summary": found.summary(), "likes": found.likes})


@csrf_exempt
@require_POST
def like(request: HttpRequest, number: int) -> HttpResponse:
    """Like one."""
    found = Post.objects.filter(pk=number).first()
    if found is None:
        raise Http404
    found.likes += 1
    found.save()
    return JsonResponse({"likes": found.likes})
