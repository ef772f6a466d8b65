"""Edits of a till, by FastAPI: models within models, dependencies of dependencies, types that name either, of several modules."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "fastapi_till",
    {"asgi": "till.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("fastapi", "uvicorn"),
    before=(("POST", "/receipts", {"lines": [{"name": " tea "}]}),),
    requests=(
        ("GET", "/page", None),
        ("GET", "/page?size=5&start=1", None),
        ("GET", "/sold", None),
        ("GET", "/limits?most=3&least=2", None),
        ("POST", "/receipts", {"lines": [{"name": "tea", "count": 0, "for": "me"}]}),
        ("GET", "/noted?text=%5B%7B%22name%22:%22tea%22%7D%5D", None),
        ("GET", "/openapi.json", None),
    ),
    kept="from till.main import sold; print(id(sold), sold)",
)

MAIN, MODELS, PARTS = (f"till/{name}.py" for name in ("main", "models", "parts"))
COUNT = "    count: int = Field(default=1, gt=0)\n"
SAID = 'return Answer(said=f"{by}: '

EDITS = (
    Edit("field of a model within another", ((MODELS, COUNT, f'{COUNT}    unit: str = "piece"\n'),)),
    Edit(
        "required field and the handler that fills it",
        (
            (MODELS, "    said: str\n", "    said: str\n    by: str\n"),
            (MAIN, SAID, 'return Answer(by=by, said=f"{by}: '),
        ),
    ),
    Edit(
        "field removed",
        (
            (MODELS, "    total: int = 0\n", ""),
            (MAIN, "Receipt(lines=lines, total=sum(line.count for line in lines))", "Receipt(lines=lines)"),
        ),
    ),
    Edit("type of a field", ((MODELS, "    total: int = 0\n", "    total: float = 0\n"),)),
    Edit("constraint of a field", ((MODELS, COUNT, COUNT.replace("gt=0", "gt=0, le=99")),)),
    Edit(
        "validator added",
        (
            (
                MODELS,
                '    @field_validator("name")',
                (
                    '    @field_validator("count", mode="before")\n'
                    "    @classmethod\n"
                    "    def counted(cls, value: object) -> object:\n"
                    '        """Nothing is not bought."""\n'
                    "        if value == 0:\n"
                    '            raise ValueError("nothing is not bought")\n'
                    "        return value\n"
                    "\n"
                    '    @field_validator("name")'
                ),
            ),
        ),
    ),
    Edit(
        "configuration of a model",
        (
            (MODELS, "import BaseModel, Field", "import BaseModel, ConfigDict, Field"),
            (MODELS, "    name: str\n", '    model_config = ConfigDict(extra="forbid")\n\n    name: str\n'),
        ),
    ),
    Edit(
        "base of a model",
        (
            (
                MODELS,
                "class Line(BaseModel):",
                'class Noted(BaseModel):\n    """With a note."""\n\n    note: str = ""\n\n\nclass Line(Noted):',
            ),
        ),
    ),
    Edit("default of a dependency", ((PARTS, "size: int = 2", "size: int = 3"),)),
    Edit(
        "parameter of a dependency",
        (
            (PARTS, "start: int = 0)", "start: int = 0, loud: bool = False)"),
            (PARTS, '"start": start}', '"start": start, "loud": loud}'),
        ),
        (("GET", "/page?loud=1", None),),
    ),
    Edit(
        "header of a dependency of a dependency",
        (
            (PARTS, 'x_user: Annotated[str, Header()] = "nobody"', 'x_name: Annotated[str, Header()] = "no one"'),
            (PARTS, "return x_user", "return x_name"),
        ),
    ),
    Edit(
        "dependency of a dependency",
        (
            (
                PARTS,
                "def page(asks: User,",
                (
                    "def limit(most: int = 4) -> int:\n"
                    '    """How much is shown at most."""\n'
                    "    return most\n"
                    "\n"
                    "\n"
                    "def page(most: Annotated[int, Depends(limit)], asks: User,"
                ),
            ),
            (PARTS, '"size": size', '"size": min(size, most)'),
        ),
        (("GET", "/page?size=9&most=8", None),),
    ),
    Edit(
        "parameter of a class that is depended on",
        (
            (PARTS, "most: int = 10)", "most: int = 20, least: int = 1)"),
            (PARTS, "        self.most = most\n", "        self.most = most\n        self.least = least\n"),
        ),
    ),
    Edit(
        "field of a type that is a text",
        ((MODELS, "    total: int = 0\n", '    total: int = 0\n    first: "Line | None" = None\n'),),
    ),
    Edit(
        "text of a model that comes later",
        ((MODELS, "    total: int = 0\n", '    total: int = 0\n    then: "Answer | None" = None\n'),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("type of an adapter", ((MAIN, "TypeAdapter(list[Line])", "TypeAdapter(tuple[Line, ...])"),)),
    Edit("dependency becomes a coroutine", ((PARTS, "def user(", "async def user("),)),
)
