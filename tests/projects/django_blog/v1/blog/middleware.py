"""What is done to each request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

BY = "blog"


class Stamped:
    """Says who has answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.count = 0

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with a header more."""
        self.count += 1
        response = self.get_response(request)
        response["X-By"] = BY
        return response
