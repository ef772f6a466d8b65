"""Starlette builds its stack of middleware at the first request, of what it was told until then."""

from __future__ import annotations

from . import Rule

_MADE_OF = ("user_middleware", "exception_handlers", "debug")

RULES = (Rule("starlette.applications.Starlette", "middleware_stack", None, "forgotten", below=_MADE_OF),)
