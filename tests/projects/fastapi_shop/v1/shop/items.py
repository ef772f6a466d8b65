"""What is on sale."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from .db import session
from .models import Item, Order
from .schemas import ItemIn, ItemOut
from .settings import settings

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/items", tags=["items"])
Opened = Annotated[Session, Depends(session)]


def page(size: int = settings.page_size, start: int = 0) -> tuple[int, int]:
    """Which part of a list is asked for."""
    return start, size


@router.get("")
def items(opened: Opened, part: Annotated[tuple[int, int], Depends(page)]) -> list[ItemOut]:
    """What there is."""
    start, size = part
    found = opened.scalars(select(Item).order_by(Item.id).offset(start).limit(size))
    return [ItemOut(id=each.id, name=each.name, price=each.price) for each in found]


@router.post("", status_code=201)
def sell(item: ItemIn, opened: Opened) -> ItemOut:
    """Put something on sale."""
    made = Item(name=item.name, price=item.price)
    opened.add(made)
    opened.commit()
    return ItemOut(id=made.id, name=made.name, price=made.price)


@router.get("/{number}/label")
def label(number: int, opened: Opened) -> dict[str, str]:
    """How it is shown."""
    found = opened.get(Item, number)
    if found is None:
        raise HTTPException(404, "there is no such item")
    return {"label": found.label()}


@router.post("/{number}/orders")
def buy(number: int, opened: Opened, count: int = 1) -> dict[str, int]:
    """Buy something."""
    opened.add(Order(item_id=number, count=count))
    opened.commit()
    return {"orders": opened.query(Order).count()}
