"""Imports that come or go, and that nothing which stays has read: who uses them has changed too."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from ..edit import ModuleDiff
from ..source import Module, walk


def imports(edits: Mapping[str, ModuleDiff], modules: Iterable[Module]) -> frozenset[str]:
    """The names that only imports bind or bind no more in these modules, and that lead from nothing to anything that changes.

    What has the same name in another module that changes is something else; so it is where the other version of the module reads
    that name, of Python itself then, or where any module of the newer release reads it as an attribute, or has it as a text.
    """
    every = [(edit, name) for edit in edits.values() for name in edit.own]
    imported = {name for edit, name in every if _comes_or_goes(edit, name)}
    imported -= {name for edit, name in every if not _comes_or_goes(edit, name) or _is_read(edit, name)}
    return frozenset(imported - _names_read(modules)) if imported else frozenset()


def _comes_or_goes(edit: ModuleDiff, name: str) -> bool:
    comes = name in edit.new.imports and name not in edit.old.stored
    return comes or (name in edit.old.imports and name not in edit.new.stored)


def _is_read(edit: ModuleDiff, name: str) -> bool:
    """Whether the version that has not got the import names it all the same."""
    without = edit.old if name in edit.new.imports else edit.new
    nodes = (node for statement in without.body for node in walk(statement))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def _names_read(modules: Iterable[Module]) -> set[str]:
    """All that is read of something by its name."""
    names: set[str] = set()
    for node in (inner for module in modules for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names
