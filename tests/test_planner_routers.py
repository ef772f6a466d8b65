"""What routers of FastAPI give to their routes, and adapters of pydantic: made once more with what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, verdicts

MODULES = {
    "models": """
from pydantic import BaseModel, TypeAdapter
class Line(BaseModel):
    name: str
lines = TypeAdapter(list[Line])
words = TypeAdapter(list[str])
""",
    "routes": """
from fastapi import APIRouter, Depends
from models import Line, lines
def known(): pass
router = APIRouter(prefix="/a")
other = APIRouter()
@router.get("/")
def first(): return lines.validate_python([])
@other.get("/")
def second(): return 1
""",
    "main": """
from fastapi import FastAPI
import routes
app = FastAPI()
@app.get("/")
def home(): return 1
@app.exception_handler(404)
async def nothing(request, error): return None
app.include_router(routes.router)
app.include_router(routes.other)
""",
}
FIELD = ("name: str", "name: str\n    size: int = 1")


def planned(tmp_path: Path, edit: tuple[str, str], also: tuple[str, str] = ("", "")) -> dict[str, str]:
    """What becomes of each definition where one text becomes another; `also` is in both versions."""
    before = {name: text.replace(*also, 1) if also[0] else text for name, text in MODULES.items()}
    after = {name: text.replace(*edit, 1) for name, text in before.items()}
    assert before != after
    return verdicts(compare(tmp_path, before, after, observed=True))


def test_an_adapter_follows_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    """Who has imported it is bound to the next one; one of something else is left alone."""
    found = planned(tmp_path, FIELD)
    assert (found["models:lines"], found["routes:lines"]) == ("HOT reached", "HOT import")
    assert "models:words" not in found


@pytest.mark.parametrize("type_", ["tuple[Line, ...]", "dict[str, Line]", "Line | None"])
def test_an_adapter_of_another_type_is_made_once_more(tmp_path: Path, type_: str) -> None:
    """With who has imported it."""
    found = planned(tmp_path, ("(list[Line])", f"({type_})"))
    assert (found["models:lines"], found["routes:lines"]) == ("HOT value", "HOT import")


@pytest.mark.parametrize(
    "adapter",
    [
        "TypeAdapter(list[Line], config={})",
        "TypeAdapter(type_of(Line))",
        "print(TypeAdapter(list[Line]))",
        "[TypeAdapter(Line)]",
    ],
)
def test_an_adapter_that_is_made_of_more_is_not_made_once_more(tmp_path: Path, adapter: str) -> None:
    """It is left as it is, and looked at: where that was made with the model, it differs from a fresh start."""
    assert "models:lines" not in planned(tmp_path, FIELD, ("TypeAdapter(list[Line])", adapter))


@pytest.mark.parametrize(
    ("edit", "made"),
    [
        pytest.param(('prefix="/a"', 'prefix="/a", dependencies=[Depends(known)]'), {"routes:first"}, id="a router"),
        pytest.param(
            ("FastAPI()", "FastAPI(dependencies=[routes.Depends(routes.known)])"), {"main:home"}, id="an application"
        ),
        pytest.param(('prefix="/a"', 'prefix="/b", dependencies=[Depends(known)]'), set(), id="more of it"),
        pytest.param(('prefix="/a"', 'prefix="/a", dependencies=list()'), set(), id="a call"),
        pytest.param(('prefix="/a"', 'prefix="/a", tags=["a"]'), set(), id="something else"),
    ],
)
def test_routes_are_made_once_more_whose_router_gets_other_dependencies(
    tmp_path: Path, edit: tuple[str, str], made: set[str]
) -> None:
    """Those of no other router, and no handler of exceptions, which has none."""
    found = planned(tmp_path, edit)
    assert {name for name, verdict in found.items() if verdict == "HOT reached"} == made
