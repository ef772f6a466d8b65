"""Orders, by FastAPI: what is made at import is the application, its routes, a model and a dependency."""

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

VERSION = "0.2.0"
LIMIT = 20

app = FastAPI(title="orders", version=VERSION)


class Order(BaseModel):
    """What somebody orders."""

    name: str
    count: int = 1

    def line(self) -> str:
        """As it is shown."""
        return f"{self.count} times {self.name}"


taken: list[Order] = []


def page(size: int = 5) -> int:
    """How many orders are shown."""
    return min(size, LIMIT)


@app.get("/orders")
async def orders(size: Annotated[int, Depends(page)]) -> dict[str, object]:
    """The last orders."""
    return {"orders": [each.line() for each in taken[-size:]], "size": size, "of": len(taken)}


@app.post("/orders", status_code=201)
async def order(wanted: Order) -> dict[str, object]:
    """Take an order."""
    taken.append(wanted)
    return {"taken": len(taken)}


@app.get("/orders/{number}")
async def one(number: int) -> Order:
    """One order."""
    return taken[number]
