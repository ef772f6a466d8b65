"""The application."""

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import TypeAdapter

from .models import Answer, Line, Receipt
from .parts import Limits, User, page

app = FastAPI(title="till")
sold: list[str] = []
noted = TypeAdapter(list[Line])


def receipt(lines: list[Line]) -> Receipt:
    """What some lines come to."""
    return Receipt(lines=lines, total=sum(line.count for line in lines))


@app.post("/receipts")
def receipts(bought: "Receipt") -> "Receipt":
    """What somebody has bought, added up."""
    sold.extend(line.text() for line in bought.lines)
    return receipt(bought.lines)


@app.get("/page")
async def asked(part: Annotated[dict[str, object], Depends(page)]) -> dict[str, object]:
    """Which part is asked for."""
    return part


@app.get("/sold")
def answer(by: User) -> Answer:
    """What was sold."""
    return Answer(said=f"{by}: {', '.join(sold)}")


@app.get("/limits")
def limits(of: Annotated[Limits, Depends(Limits)]) -> dict[str, int]:
    """How much is shown."""
    return vars(of)


@app.get("/noted")
def note(text: str) -> list[Line]:
    """What somebody has noted, as lines."""
    return list(noted.validate_json(text))
