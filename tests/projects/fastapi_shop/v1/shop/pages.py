"""What is read by people."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates
from sqlalchemy import select

from .db import sessions
from .models import Item
from .settings import TITLE, settings

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")


@router.get("/")
def home(request: Request) -> Response:
    """The first page."""
    with sessions() as opened:
        names = list(opened.scalars(select(Item.name).order_by(Item.id)))
    return templates.TemplateResponse(
        request, "home.html", {"title": TITLE, "names": names, "currency": settings.currency}
    )
