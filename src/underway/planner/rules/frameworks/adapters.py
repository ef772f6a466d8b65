"""Adapters of pydantic that are globals, ``lines = TypeAdapter(list[Line])``: compiled of a type, and made once more with it.

Nothing is kept in one but what it was compiled to, so another is as good where nobody else holds it.
"""

from __future__ import annotations

import ast

from ...edit import ModuleDiff
from ...source import Module, text
from ...values import Side, origin

_ADAPTERS = ("pydantic.TypeAdapter", "pydantic.type_adapter.TypeAdapter")


def of(side: Side, module: Module, value: ast.expr | None) -> ast.expr | None:
    """The type that an adapter is made of with nothing else; None where it is none."""
    match value:
        case ast.Call(called, [type_], []) if ".".join(origin(side, module, called) or ()) in _ADAPTERS:
            return type_
    return None


def changed(edit: ModuleDiff) -> list[str]:
    """The globals of a module that are adapters in both releases, of types that are written otherwise."""
    names = []
    for name, value in edit.new.globals.items():
        before, after = of(edit.world.old, edit.old, edit.old.globals.get(name)), of(edit.world.new, edit.new, value)
        if before is not None and after is not None and text(before) != text(after):
            names.append(name)
    return names
