"""Values that don't change: what ``@dataclass(frozen=True)`` makes, for classes that are made at each start of a node.

`dataclasses` writes the methods of each class as text and compiles it. That is a third of a millisecond for a class, and a node that
is ready has sixty. One of these is a dataclass too, for `fields`, `replace` and `asdict`, and has the methods below instead.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Frozen:
    """A class is what it annotates, in that order; ``class NAME(Frozen, kw_only=True)`` is given it by name alone."""

    if TYPE_CHECKING:  # what a subclass annotates is a field, and is evaluated where data is read as one
        __match_args__: ClassVar[tuple[str, ...]]
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
        _names: ClassVar[tuple[str, ...]]
        _compared: ClassVar[tuple[str, ...]]
        _defaults: ClassVar[Mapping[str, Any]]
        _makers: ClassVar[Mapping[str, Callable[[], Any]]]
        """Of the fields whose default is made for each instance."""

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        every = fields(cls)
        cls._names = (*(field.name for field in every),)
        cls._compared = (*(field.name for field in every if field.compare),)
        cls._defaults = {field.name: field.default for field in every if field.default is not MISSING}
        cls._makers = {field.name: field.default_factory for field in every if field.default_factory is not MISSING}

    def __init__(self, *values: Any, **named: Any) -> None:
        """Take the value of each field, or its default. Raises TypeError."""
        kind = type(self)
        given = dict(zip(kind.__match_args__, values, strict=False)) | named
        content = {**kind._defaults, **given}
        for name, make in kind._makers.items():
            if name not in given:
                content[name] = make()
        if len(given) != len(values) + len(named) or content.keys() != {*kind._names}:
            what = ", ".join((f"{len(values)} in order", *named))
            raise TypeError(f"{kind.__name__} is made of {', '.join(kind._names) or 'nothing'}; it was given {what}")
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
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _key(self) -> tuple[Any, ...]:
        """What is compared."""
        return (*(getattr(self, name) for name in self._compared),)
