"""Reads data from outside into the dataclass that says what it may be: the value, or everything that is wrong with it.

A field is a key; one without a default must be there. What its annotation may be, and what data it takes:

=============================================  ========================================================================
``str``, ``int``, ``bool``, ``None``, ``Any``  as they are; ``True`` is not an ``int``
``float``                                      a number, read as a float
``Literal[...]``                               one of these
``A | B``                                      the first that the value fits at one look
``list[T]``, ``tuple[T, ...]``                 a list
``dict[str, T]``, ``Mapping[str, T]``          a table
a dataclass                                    a table, or an instance's `__post_init__` refuses it
``Annotated[T, Rule("a port", is_port)]``      a T of which more must be true, with the words for it
``Annotated[T, Reader(read)]``                 data of a form of its own
``Annotated[T, Choice(choose)]``               a table, of which `choose` tells which dataclass it is
=============================================  ========================================================================

A field with ``metadata={"key": "worker-port"}`` has that key. Defaults are not checked.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from ..frozen import Frozen
from .errors import did_you_mean

T = TypeVar("T")
Path: TypeAlias = tuple[str, ...]


class Rule(Frozen):
    """What must be true of a value besides its type: words for a person, and the test."""

    wanted: str
    test: Callable[[Any], object]


class Reader(Frozen):
    """What makes a value of data in a form of its own; raises ValueError, or Invalid, with what is wrong."""

    read: Callable[[Any], Any]


class Choice(Frozen):
    """What tells by a table which dataclass it is; raises ValueError, or Invalid, for one that is none."""

    choose: Callable[[Any], type]


class Problem(Frozen):
    """One thing that is wrong, and where: a path of keys and positions, empty for the whole."""

    path: Path
    fault: Literal["missing", "unknown", "wrong", "refused"]
    value: Any = None
    """What was found there; for what is refused, all that was given."""
    wanted: str = ""
    """What it must be, in words, after "it must be"; for what is refused, the reason."""
    known: tuple[str, ...] = ()
    """Where a key is unknown, those that there are; where a dataclass refused, its name."""
    error: Exception | None = None
    """Where a dataclass refused what it was given: what it raised."""

    def __str__(self) -> str:
        where = ".".join(self.path)
        match self.fault:
            case "missing":
                return f"{where} is missing; it must be {self.wanted}"
            case "unknown":
                others = did_you_mean(self.path[-1], self.known) or f"; there are {', '.join(self.known)}"
                return f"unknown key {where!r}{others}"
            case "wrong":
                return f"{where or 'it'} is {self.value!r}; it must be {self.wanted}"
        return f"{where}: {self.wanted}" if where else self.wanted


class Invalid(ValueError):
    """The data is not what was asked for; `problems` are all that is wrong with it, each once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class Field(Frozen):
    """One key of a dataclass or a model."""

    name: str
    """The key, and what the field is called."""
    kind: Any
    """The annotation."""
    default: Callable[[], Any] | None
    """Makes the value of a key that is not given; None for a key that must be."""
    secret: bool = False


def decode(kind: type[T], data: Any, path: Path = (), *, ignore_unknown: bool = False) -> T:
    """Read `data`, found at `path`, as a `kind`. Raises Invalid with everything that is wrong.

    Keys that `kind` does not know are an error, unless `ignore_unknown`: for a file that a newer underway may have written.
    """
    decoder = _Decoder(ignore_unknown)
    value: T = decoder.value(data, kind, path)
    if decoder.problems:
        raise Invalid(decoder.problems)
    return value


def content_of(document: Any, form: int) -> dict[str, Any]:
    """Return what a file of ours holds besides its ``format``. Raises ValueError where that is not the one that is read here."""
    if not isinstance(document, Mapping):
        raise ValueError(f"it is not an object: {str(document)[:80]!r}")
    if "format" not in document:
        raise ValueError("it has no 'format'")
    if document["format"] != form:
        raise ValueError(f"its format is {document['format']!r}; this runtime reads format {form}")
    return {key: value for key, value in document.items() if key != "format"}


def problems_of(kind: Any, data: Any, path: Path = ()) -> tuple[Problem, ...]:
    """Return what is wrong with `data` as a `kind`; nothing where `decode` reads it."""
    try:
        decode(kind, data, path)
    except Invalid as error:
        return error.problems
    return ()


def fields_of(kind: Any) -> Mapping[str, Field]:
    """Return the fields of a dataclass that its constructor takes, by the name that they have there."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {}
    for field in dataclasses.fields(kind):
        default: Callable[[], Any] | None = None
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory
        elif field.default is not dataclasses.MISSING:
            default = partial(copy, field.default)
        if field.init:
            key = field.metadata.get("key", field.name)
            fields[field.name] = Field(key, hints[field.name], default, bool(field.metadata.get("secret")))
    return fields


class _Decoder:
    """One reading of data."""

    def __init__(self, ignore_unknown: bool) -> None:
        self._ignore_unknown = ignore_unknown
        self._fields: dict[
            Any, Mapping[str, Field]
        ] = {}  # of this reading only: a cache would hold classes that upgrades replace
        self.problems: list[Problem] = []

    def value(self, data: Any, kind: Any, path: Path) -> Any:
        """The value; None where a problem was noted."""
        if type(data) is kind and kind in (str, int, bool):
            return data  # as most are, which are not to be looked at any longer
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self._annotated(data, arguments, path)
        if origin in (typing.Union, types.UnionType):
            if arms := [arm for arm in arguments if fits(data, arm)]:
                return self.value(data, arms[0], path)
        elif not fits(data, kind):
            pass
        elif is_dataclass(kind):
            return self._dataclass(data, kind, path)
        elif origin in (list, tuple):
            items = [self.value(item, arguments[0], (*path, str(i))) for i, item in enumerate(data)]
            return tuple(items) if origin is tuple else items
        elif origin is not None and _is_table(origin):
            return {key: self.value(item, arguments[1], (*path, str(key))) for key, item in data.items()}
        else:
            return float(data) if kind is float else data
        self.problems.append(Problem(path, "wrong", data, wanted(kind)))
        return None

    def _annotated(self, data: Any, arguments: tuple[Any, ...], path: Path) -> Any:
        kind, *notes = arguments
        for note in notes:
            if isinstance(note, (Reader, Choice)):
                return self._read(note, data, path)
        rules = [note for note in notes if isinstance(note, Rule)]
        if rules and not fits(data, kind):
            self.problems.append(Problem(path, "wrong", data, rules[0].wanted))
            return None
        before = len(self.problems)
        value = self.value(data, kind, path)
        if len(self.problems) == before:
            self.problems += [Problem(path, "wrong", data, rule.wanted) for rule in rules if not rule.test(value)]
        return value

    def _read(self, note: Reader | Choice, data: Any, path: Path) -> Any:
        try:
            return note.read(data) if isinstance(note, Reader) else self.value(data, note.choose(data), path)
        except Invalid as error:
            self.problems += [dataclasses.replace(problem, path=(*path, *problem.path)) for problem in error.problems]
        except ValueError as error:
            self.problems.append(Problem(path, "refused", data, str(error)))
        return None

    def _dataclass(self, data: Mapping[str, Any], kind: Any, path: Path) -> Any:
        """An instance, made so that ``__post_init__`` has its say."""
        before = len(self.problems)
        fields = self._fields.get(kind) or self._fields.setdefault(kind, fields_of(kind))
        keys = tuple(field.name for field in fields.values())
        if not self._ignore_unknown:
            self.problems += [
                Problem((*path, str(key)), "unknown", value, known=keys)
                for key, value in data.items()
                if key not in keys
            ]
        values = {}
        for name, field in fields.items():
            field_path = (*path, field.name)
            if field.name in data:
                values[name] = self.value(data[field.name], field.kind, field_path)
            elif field.default is None:
                self.problems.append(Problem(field_path, "missing", wanted=wanted(field.kind)))
        if len(self.problems) > before:
            return None
        try:
            return kind(**values)
        except Exception as error:  # a dataclass may be the user's
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            self.problems.append(Problem(path, "refused", data, reason, (kind.__name__,), error))
            return None


def fits(data: Any, kind: Any) -> bool:
    """Return whether data is of a type as far as one look tells; what is inside is looked at afterwards."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(data, arm) for arm in arguments)
    if origin is typing.Annotated:
        return any(isinstance(note, (Reader, Choice)) for note in arguments) or fits(data, arguments[0])
    if origin is Literal:
        return any(type(data) is type(choice) and data == choice for choice in arguments)
    if is_dataclass(kind) or _is_table(origin or kind):
        return isinstance(data, Mapping)
    if kind is None or kind is types.NoneType:
        return data is None
    if kind is float:
        return type(data) in (int, float)
    if origin is tuple:
        return type(data) in (list, tuple)
    if origin is list or kind in (str, int, bool, list):
        return type(data) is (origin or kind)
    return False


def wanted(kind: Any) -> str:
    """Return a type in words: ``int``, ``one of "red", "blue"``, ``int or None``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(wanted, arguments))
    if origin is typing.Annotated:
        rules = [note.wanted for note in arguments[1:] if isinstance(note, Rule)]
        return rules[0] if rules else wanted(arguments[0])
    if origin is Literal:
        return f"one of {', '.join(map(_quoted, arguments))}"
    if origin is tuple:
        return f"list[{wanted(arguments[0])}]"
    if origin is not None and (origin is list or _is_table(origin)):
        return f"{'list' if origin is list else 'dict'}[{', '.join(map(wanted, arguments))}]"
    if kind is types.NoneType:
        return "None"
    if kind in (str, int, float, bool, list, dict, Any) or is_dataclass(kind):
        return "anything" if kind is Any else kind.__name__
    return f"{kind}, which is not a type of plain data and can't be checked"


def is_dataclass(kind: Any) -> bool:
    """Return whether this is a dataclass, and not an instance of one."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _quoted(choice: Any) -> str:
    return f'"{choice}"' if isinstance(choice, str) else str(choice)
