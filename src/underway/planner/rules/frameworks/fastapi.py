"""FastAPI makes its OpenAPI document when it is asked for it, and keeps it; its routers count what has been done to their routes."""

from __future__ import annotations

from . import Rule

RULES = (
    Rule("fastapi.applications.FastAPI", "openapi_schema", None, "forgotten"),
    Rule("fastapi.routing.APIRouter", "_routes_version", None, "counted", below=("routes",)),
)
