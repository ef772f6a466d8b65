"""Starlette builds its stack of middleware at the first request, of what it was told until then, and refuses more."""

from __future__ import annotations

from . import Rule

_MADE_OF = ("user_middleware", "exception_handlers", "debug")

_APPLICATIONS = ("starlette.applications.Starlette", "fastapi.applications.FastAPI")

RULES = tuple(
    rule
    for application in _APPLICATIONS
    for rule in (
        Rule(application, "middleware_stack", None, "meanwhile"),
        Rule(application, "middleware_stack", None, "forgotten", below=_MADE_OF),
    )
)
