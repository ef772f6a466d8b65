"""What a schema consists of, be it a dataclass or a pydantic model: its fields, what is secret in it, its defaults."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ..release.decode import Field, fields_of, is_dataclass
from .config import not_plain


def is_model(schema: Any) -> bool:
    """Whether it is a pydantic model; the runtime itself never imports pydantic."""
    return isinstance(schema, type) and hasattr(schema, "model_validate") and hasattr(schema, "model_fields")


def fields(schema: Any) -> dict[str, Field]:
    """The fields of a schema, by the key that they have in the configuration."""
    if not is_model(schema):
        return {field.name: field for field in fields_of(schema).values()}
    known = {}
    for name, info in schema.model_fields.items():
        default = None if info.is_required() else partial(info.get_default, call_default_factory=True)
        extra = info.json_schema_extra
        secret = isinstance(extra, Mapping) and bool(extra.get("secret"))
        known[info.alias or name] = Field(info.alias or name, info.annotation, default, secret)
    return known


def secrets(schema: Any, seen: frozenset[Any] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Where a schema has secrets: the path of each, or of the list or dict that it is somewhere in."""
    if schema in seen:
        return
    for field in fields(schema).values():
        if field.secret:
            yield (field.name,)
        for kind, direct in _classes(field.kind):
            if kind.__module__.startswith("pydantic") and kind.__name__.startswith("Secret"):
                yield (field.name,)
            elif is_dataclass(kind) or is_model(kind):
                for path in secrets(kind, seen | {schema}):
                    yield (field.name, *path) if direct else (field.name,)


def defaults(schema: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain defaults of what `values` lacks, also within what it has of another schema."""
    defaults_of: dict[str, Any] = {}
    for field in fields(schema).values():
        if field.name not in values:
            value = field.default() if field.default else dataclasses.MISSING
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = dataclasses.asdict(value)
            if not not_plain(value):
                defaults_of[field.name] = value
        elif isinstance(values[field.name], Mapping):
            for kind, direct in _classes(field.kind):
                if direct and (is_dataclass(kind) or is_model(kind)):
                    defaults_of[field.name] = defaults(kind, values[field.name])
    return {name: value for name, value in defaults_of.items() if value != {} or name not in values}


def _classes(kind: Any, *, direct: bool = True) -> Iterator[tuple[type, bool]]:
    """The classes in an annotation, and whether a value of each is the value itself rather than a part of it."""
    if isinstance(kind, type) and not typing.get_args(kind):
        yield kind, direct
    itself = typing.get_origin(kind) in (typing.Union, types.UnionType, typing.Annotated)
    for argument in typing.get_args(kind):
        yield from _classes(argument, direct=direct and itself)
