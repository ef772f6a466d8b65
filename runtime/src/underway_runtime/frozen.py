"""Values that don't change: what ``@dataclass(frozen=True)`` makes, for classes that are made at each start of a node.

`dataclasses` writes the methods of each class as text and compiles it. That is a third of a millisecond for a class, and a node that
is ready has sixty. One of these is a dataclass too, for `fields`, `replace` and `asdict`, and has the methods below instead.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Frozen:
    """A class is what it annotates, in that order; ``class NAME(Frozen, kw_only=True)`` is given it by name alone."""

    if TYPE_CHECKING:
        __match_args__: ClassVar[tuple[str, ...]]
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)

    def __init__(self, *values: Any, **named: Any) -> None:
        """Take the value of each field, or its default. Raises TypeError."""
        kind = type(self)
        given = dict(zip(kind.__match_args__, values, strict=False)) | named
        content = _defaults(kind) | given
        names = [field.name for field in fields(kind)]
        if len(given) != len(values) + len(named) or content.keys() != {*names}:
            what = ", ".join((f"{len(values)} in order", *named))
            raise TypeError(f"{kind.__name__} is made of {', '.join(names) or 'nothing'}; it was given {what}")
        self.__dict__.update(content)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Refuse what does not go together. Raises ValueError."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"{type(self).__name__} does not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"{type(self).__name__} does not change: {name}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _defaults(kind: type[Frozen]) -> dict[str, Any]:
    defaults = {}
    for field in fields(kind):
        if field.default is not MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not MISSING:
            defaults[field.name] = field.default_factory()
    return defaults


def _compared(value: Frozen) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in fields(value) if field.compare)
