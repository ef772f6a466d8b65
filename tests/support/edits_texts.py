"""Edits of the till where all annotations are texts, which pydantic and FastAPI look up when they read them."""

from __future__ import annotations

import edits_till
from edits_till import COUNT, MAIN, MODELS, PARTS
from service_edits import Edit, Service

_FUTURE = "from __future__ import annotations\n"


class Texts(Service):
    """A service whose modules have the future of their annotations."""

    @property
    def files(self) -> dict[str, str]:
        """Those of its first version."""
        files = super().files
        for path in (MAIN, MODELS, PARTS):
            docstring, _, rest = files[path].partition("\n")
            files[path] = f"{docstring}\n\n{_FUTURE}{rest}"
        return files


SERVICE = Texts(**vars(edits_till.SERVICE))
_SAME = (
    *("field of a model within another", "required field and the handler that fills it", "type of a field"),
    *("validator added", "base of a model", "parameter of a dependency", "dependency of a dependency"),
    "parameter of a class that is depended on",
)

EDITS = (
    *(edit for edit in edits_till.EDITS if edit.name in _SAME),
    Edit(
        "model that comes, and a field of it",
        (
            (
                MODELS,
                "class Line(BaseModel):",
                'class Unit(BaseModel):\n    """Of what."""\n\n    name: str = "piece"\n\n\nclass Line(BaseModel):',
            ),
            (MODELS, COUNT, f"{COUNT}    unit: Unit | None = None\n"),
        ),
    ),
    Edit("field of the model itself", ((MODELS, COUNT, f"{COUNT}    parts: list[Line] = []\n"),)),
    Edit(
        "handler with what only type checkers import",
        (
            (MAIN, "from typing import Annotated\n", "from typing import TYPE_CHECKING, Annotated\n"),
            (MAIN, "\napp = FastAPI", "\nif TYPE_CHECKING:\n    from collections.abc import Sequence\n\napp = FastAPI"),
            (MAIN, "def receipt(lines: list[Line])", "def receipt(lines: Sequence[Line])"),
            (MODELS, COUNT, f'{COUNT}    unit: str = "piece"\n'),
        ),
    ),
)
