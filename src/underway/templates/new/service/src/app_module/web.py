"""The service: ``uvicorn app_module.web:app`` runs it in the project, ``bin/app-name start`` in a release."""

from __future__ import annotations

import os
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

VERSION = version("app-name")

visits: dict[str, int] = {}
"""How often each has been here, in the memory of this process."""


async def health(request: Request) -> JSONResponse:
    """Which version answers, from which process."""
    return JSONResponse({"status": "ok", "version": VERSION, "pid": os.getpid()})


async def visit(request: Request) -> JSONResponse:
    """Count a visitor."""
    name = request.path_params["name"]
    visits[name] = visits.get(name, 0) + 1
    return JSONResponse({"name": name, "visits": visits[name]})


app = Starlette()
app.add_route("/health", health)
app.add_route("/visit/{name}", visit, methods=["POST"])
