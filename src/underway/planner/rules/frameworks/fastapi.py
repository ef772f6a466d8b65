"""FastAPI makes its OpenAPI document when it is asked for it, and keeps it."""

from __future__ import annotations

from . import Rule

RULES = (Rule("fastapi.applications.FastAPI", "openapi_schema", None, "forgotten"),)
