"""What was made with a function or a class that is made once more, and what is not: models, dependencies, types, annotations."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from plans import compare
from underway.planner.rules.frameworks import texts

MODELS = """
from typing import ClassVar, Generic, TypeVar
from pydantic import BaseModel, Field, PrivateAttr
T = TypeVar("T")
class Line(BaseModel):
    name: str
    count: int = Field(default=1, gt=0)
    def text(self): return self.name
class Receipt(BaseModel):
    lines: list[Line]
Lines = list[Line]
"""
MAIN = """
from typing import Annotated
from fastapi import Depends, FastAPI
from models import Line, Lines, Receipt
app = FastAPI()
def page(size: int = 2): return size
Page = Annotated[int, Depends(page)]
def first(lines: Lines) -> Line: return lines[0]
@app.get("/")
def home(part: Page): return part
class Limits:
    def __init__(self, most: int = 1): self.most = most
@app.get("/limits")
def limits(of: Limits = Depends(Limits)): return of.most
@app.get("/other")
def other(): return 1
@app.post("/")
def buy(bought: Receipt) -> Line: return first(bought.lines)
"""
FIELD = ("    name: str\n", "    name: str\n    unit: str = ''\n")


def planned(
    tmp_path: Path, *edits: tuple[str, str], also: tuple[str, str] = ("", ""), observed: bool = True
) -> dict[str, str]:
    """What becomes of each definition: its change and its verdict; `also` is in both versions."""
    old = {"models": MODELS, "main": MAIN}
    old = {name: text.replace(*also, 1) if also[0] else text for name, text in old.items()}
    new = dict(old)
    for before, after in edits:
        assert any(before in text for text in new.values()), before
        new = {name: text.replace(before, after, 1) for name, text in new.items()}
    answer = compare(tmp_path, old, new, observed=observed)
    return {f"{row['module']}:{row['definition']}": f"{row['change']} {row['verdict']}" for row in answer["changes"]}


def test_all_that_was_made_with_a_model_is_made_once_more(tmp_path: Path) -> None:
    """Models that have it, types, handlers and annotations; who has nothing of it is left alone."""
    assert planned(tmp_path, FIELD) == {
        "models:Line": "field HOT",
        "models:Receipt": "reached HOT",
        "models:Lines": "reached HOT",
        "main:Line": "import HOT",
        "main:Lines": "import HOT",
        "main:Receipt": "import HOT",
        "main:first": "annotation HOT",
        "main:buy": "reached HOT",
    }


def test_all_that_depends_on_a_function_is_made_once_more(tmp_path: Path) -> None:
    """A type that says so, and handlers of that type; their own bodies may change with it."""
    rows = planned(tmp_path, ("size: int = 2", "size: int = 3"), ("return part\n", "return part + 1\n"))
    assert rows == {"main:page": "default HOT", "main:Page": "reached HOT", "main:home": "reached HOT"}


def test_a_class_that_is_depended_on_is_made_once_more_where_it_is_called_otherwise(tmp_path: Path) -> None:
    """With another parameter, and its handler with it; a body alone is put in place."""
    assert planned(tmp_path, ("most: int = 1", "most: int = 2")) == {
        "main:Limits": "field HOT",
        "main:limits": "reached HOT",
    }
    assert planned(tmp_path, ("return of.most", "return -of.most")) == {"main:limits": "body HOT"}


def test_an_annotation_that_names_a_dependency_is_made_with_nothing(tmp_path: Path) -> None:
    """A class that is depended on changes in place, also where a function that nothing decorates depends on it."""
    other = '@app.get("/other")'
    also = other, f"def most(of: Annotated[Limits, Depends(Limits)]): return of.most\n{other}"
    rows = planned(tmp_path, ("self.most = most", "self.most = most, 1"), also=also)
    assert {verdict.split()[1] for verdict in rows.values()} == {"HOT"}
    assert "main:most" not in rows


def test_a_look_is_asked_for_before(tmp_path: Path) -> None:
    """Unless it is looked what becomes of it, a model or a dependency takes a fresh interpreter."""
    assert planned(tmp_path, FIELD, observed=False)["models:Line"] == "field RESTART"
    assert planned(tmp_path, ("size: int = 2", "size: int = 3"), observed=False)["main:page"] == "default RESTART"


@pytest.mark.parametrize(
    "also",
    [
        pytest.param(
            ("Lines = list[Line]\n", "Lines = list[Line]\nevery = [Line(name='')]\n"), id="there is an instance"
        ),
        pytest.param(
            ("Lines = list[Line]\n", "Lines = list[Line]\nfirst = Line(name=str(1))\n"), id="a call makes an instance"
        ),
        pytest.param(
            ("    def text(", "    seen: ClassVar[dict[str, int]] = {}\n    def text("), id="it holds something"
        ),
        pytest.param(("default=1, gt=0", "default_factory=print, default=dict(a=1)"), id="a default is made by a call"),
        pytest.param(("class Line(BaseModel)", "@print\nclass Line(BaseModel)"), id="it is decorated"),
        pytest.param(("class Line(BaseModel)", "class Line(BaseModel, Generic[T])"), id="there are classes made of it"),
        pytest.param(
            ("class Line(BaseModel)", "every = BaseModel.__subclasses__\nclass Line(BaseModel)"),
            id="it is among all models",
        ),
    ],
)
def test_a_model_that_would_lose_something_takes_a_fresh_interpreter(tmp_path: Path, also: tuple[str, str]) -> None:
    """The smallest things that keep a model from being made once more: what only the one before has."""
    assert planned(tmp_path, FIELD, also=also)["models:Line"] == "field RESTART"


GLOBAL = "Lines = list[Line]\n", "Lines = list[Line]\nfirst = Line(name='')\n"


def test_a_global_that_is_an_instance_is_made_once_more(tmp_path: Path) -> None:
    """It is made with its class, as settings are; one that is another's is, too, and imports are bound to it."""
    assert planned(tmp_path, FIELD, also=GLOBAL)["models:first"] == "reached HOT"
    derived = GLOBAL[0], f"{GLOBAL[0]}class Long(Line): size: int = 2\nlong = Long(name='', size=3)\n"
    assert planned(tmp_path, FIELD, also=derived)["models:long"] == "reached HOT"
    imported = "from models import Line,", "from models import Line\nmade = Line(name='')\nfrom models import"
    assert planned(tmp_path, FIELD, also=imported)["main:made"] == "reached HOT"


@pytest.mark.parametrize(
    "method",
    [
        "def model_post_init(self, _): print(self)",
        "def __init__(self, **given): super().__init__(**given)",
        "@field_validator('name')\n    def checked(cls, value): return value + str(count())",
        "@field_validator('name')\n    def checked(cls, value): return cls.checked(value)",
        "@field_validator('name')\n    def checked(cls, value): return value + open(value).read()",
        "when: float = Field(default_factory=lambda: count())",
        "_kept: list = PrivateAttr(default_factory=count)",
    ],
)
def test_a_global_that_may_be_another_each_time_keeps_its_class(tmp_path: Path, method: str) -> None:
    """Where making an instance does, or asks for, more than it is given, none is made once more."""
    text = MODELS.replace(*GLOBAL).replace("PrivateAttr", "PrivateAttr, field_validator\nfrom itertools import count")
    also = MODELS, text.replace("    def text(", f"    {method}\n    def text(")
    rows = planned(tmp_path, FIELD, also=also)
    assert rows["models:Line"] == "field RESTART"
    assert "models:first" not in rows or rows["models:first"] == "reached RESTART"


FORMS = """
from django import forms
from django.core.validators import MinLengthValidator
class Post(forms.Form):
    text = forms.CharField(max_length=9, validators=[MinLengthValidator(2)], widget=forms.Textarea(attrs={"rows": 3}))
    class Meta:
        fields = ["text"]
"""


@pytest.mark.parametrize(
    ("also", "verdict"),
    [
        pytest.param("text", "field HOT", id="as it is"),
        pytest.param("kept = []\n    text", "field RESTART", id="it holds something"),
        pytest.param("of = forms.ModelChoiceField(queryset=all())\n    text", "field RESTART", id="a call that asks"),
        pytest.param("class Media:\n        js = print()\n    text", "field RESTART", id="another class in it"),
    ],
)
def test_a_form_is_made_once_more_with_other_fields(tmp_path: Path, also: str, verdict: str) -> None:
    """Fields, widgets and validators of Django keep nothing of who makes them; what else a form has would be lost."""
    before = {"forms": FORMS.replace("text", also, 1)}
    answer = compare(
        tmp_path, before, {"forms": before["forms"].replace("max_length=9", "max_length=8")}, observed=True
    )
    assert [f"{row['change']} {row['verdict']}" for row in answer["changes"] if row["definition"] == "Post"] == [
        verdict
    ]


def test_a_method_of_a_model_changes_in_place(tmp_path: Path) -> None:
    """What pydantic has not read takes no other class: instances stay."""
    assert planned(tmp_path, ("return self.name", "return self.name.upper()")) == {"models:Line.text": "body HOT"}


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        ("list['Line']", "list[Line]"),
        ("'list[Line]'", "list[Line]"),
        ("'Line | None'", "Line | None"),
        ("dict[str, 'Line'] | None", "dict[str, Line] | None"),
        ("Callable[['Line'], 'Line']", "Callable[[Line], Line]"),
        ("Annotated['Line', Field(description='Line')]", "Annotated[Line, Field(description='Line')]"),
        ("Literal['Line']", "Literal['Line']"),
        ("'Literal[\"Line\"]'", "Literal['Line']"),
        ("Annotated[int, 'Line']", "Annotated[int, 'Line']"),
        ("'not a type'", "'not a type'"),
        ("list[Line]", "list[Line]"),
    ],
)
def test_texts_in_annotations_say_types_where_they_stand_for_some(annotation: str, named: str) -> None:
    """What describes a type, and a literal, is not a type; an annotation without a text is left alone."""
    given = ast.parse(annotation, mode="eval").body
    assert ast.unparse(texts.of_texts(given)) == named
    assert (texts.of_texts(given) is given) == (annotation == named)
