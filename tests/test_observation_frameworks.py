"""Pictures of real services: what an edit of each changes, and that nothing else differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictures import find_differences, fresh_picture_of
from underway_runtime.observation.compare import compare
from underway_runtime.release import code_tree

FASTAPI = """
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
VERSION = "1"
class Item(BaseModel):
    name: str
    price: float = Field(default=1.0, gt=0)
def session(): return 1
app = FastAPI(version=VERSION)
@app.get("/items/{number}")
def item(number: int, using: int = Depends(session)) -> Item: return Item(name=str(number))
@app.post("/items")
async def add(new: Item): return new
"""

STARLETTE = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
async def home(request): return PlainTextResponse("1")
async def other(request): return PlainTextResponse("2")
app = Starlette(routes=[Route("/", home), Mount("/sub", routes=[Route("/other", other)])], middleware=[Middleware(GZipMiddleware)])
"""

FLASK = """
from flask import Blueprint, Flask
pages = Blueprint("pages", __name__)
@pages.route("/")
def home(): return "1"
app = Flask(__name__)
app.config["LIMIT"] = 1
app.register_blueprint(pages)
@app.before_request
def before(): return None
"""

SQLALCHEMY = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
class Base(DeclarativeBase): pass
class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))
    def shown(self): return self.name
class Post(Base):
    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True)
    by: Mapped[int] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship()
"""

SERVICES = {"FastAPI": FASTAPI, "Starlette": STARLETTE, "Flask": FLASK}


@pytest.mark.parametrize("source", SERVICES.values(), ids=SERVICES)
def test_two_imports_of_a_service_are_the_same(source: str) -> None:
    """Nothing of a framework differs between two imports, and nothing of it is opaque."""
    assert find_differences(source, source) == []


EDITS = {
    "a handler of FastAPI": (FASTAPI, "return new", "return [new]", ["code .add"]),
    "a dependency of FastAPI": (FASTAPI, "session(): return 1", "session(): return 2", ["code .session"]),
    "a version of FastAPI": (FASTAPI, 'VERSION = "1"', 'VERSION = "2"', ["value .VERSION", "value .app.version"]),
    "a handler of Starlette": (STARLETTE, '"2"', '"3"', ["code .other"]),
    "a middleware's option": (
        STARLETTE,
        "GZipMiddleware)]",
        "GZipMiddleware, minimum_size=9)]",
        ["added .app.user_middleware[0].kwargs['minimum_size']"],
    ),
    "a route of Starlette": (
        STARLETTE,
        'routes=[Route("/", home)',
        'routes=[Route("/new", other), Route("/", home)',
        ["added .app.router.routes[0]"],
    ),
    "a view of Flask": (FLASK, '"1"', '"2"', ["code .home"]),
    "a setting of Flask": (FLASK, '"LIMIT"] = 1', '"LIMIT"] = 2', ["value .app.config['LIMIT']"]),
}


@pytest.mark.parametrize(("source", "old", "new", "expected"), EDITS.values(), ids=EDITS)
def test_an_edit_of_a_service_is_told_where_it_is(source: str, old: str, new: str, expected: list[str]) -> None:
    """What an edit changes is told once, and what a framework has kept of it as well."""
    after = source.replace(old, new)

    assert after != source
    assert sorted(find_differences(source, after)) == sorted(expected)


def test_a_method_of_a_mapped_class_is_its_code_alone(tmp_path: Path) -> None:
    """Mapped classes, whose columns are counted in each process, differ in what an edit has changed; a hash seed changes nothing."""
    edited = SQLALCHEMY.replace("return self.name", "return self.id")
    one, other, after = (
        fresh_picture_of(source, seed, tmp_path) for source, seed in ((SQLALCHEMY, 1), (SQLALCHEMY, 2), (edited, 3))
    )

    assert [str(each) for each in compare(one, other)] == []
    assert [f"{each.kind} {each.path}" for each in compare(one, after)] == ["code seen_shop.User.shown"]


def test_a_route_of_fastapi_is_one_element_more() -> None:
    """A route that is added in the middle does not make those behind it differ."""
    new = '@app.get("/new")\ndef fresh(): return 1\n@app.post("/items")'

    differences = find_differences(FASTAPI, FASTAPI.replace('@app.post("/items")', new))

    assert "added .fresh" in differences
    assert [each for each in differences if "routes[" in each] == ["added .app.router.routes[5]"]


@pytest.mark.in_place
def test_a_field_of_a_model_is_seen_where_it_is_kept() -> None:
    """A field of a pydantic model is in its fields and its core schema, which what is compiled is made of."""
    differences = find_differences(FASTAPI, FASTAPI.replace("    name: str", "    name: str\n    size: int = 1"))

    assert "added .Item.__pydantic_fields__['size']" in differences
    annotated = "code .Item.__annotate_func__" if code_tree.IS_LAZY else "added .Item.__annotations__['size']"
    assert annotated in differences
    assert any(each.startswith("added .Item.__pydantic_core_schema__") for each in differences)


def test_who_asks_for_the_attributes_of_a_container_of_c_changes_no_picture() -> None:
    """Since 3.13 they are within the object until somebody asks for its dict, which aiohttp's own lists have as well."""
    made = "from frozenlist import FrozenList\nclass Kept(FrozenList):\n    def __init__(self): self.names = []\nKEPT = Kept()\n"

    assert find_differences(made, f"{made}KEPT.__dict__\n") == []
