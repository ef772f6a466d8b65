"""Imports that go, and that nothing which stays has read: who used them has changed too."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from ..edit import ModuleDiff
from ..source import Module, walk


def imports(edits: Mapping[str, ModuleDiff], modules: Iterable[Module]) -> frozenset[str]:
    """The names that nothing but imports have bound in these modules, that go, and that lead to nothing that changes.

    What has the same name in another module that changes is something else; so it is where the newer version of the module reads
    that name, of Python itself then, or where any module of the newer release reads it as an attribute, or has it as a text.
    """
    every = [(edit, name) for edit in edits.values() for name in edit.own]
    gone = {name for edit, name in every if _goes(edit, name)}
    gone -= {name for edit, name in every if not _goes(edit, name) or _is_read(edit.new, name)}
    return frozenset(gone - _told(modules)) if gone else frozenset()


def _goes(edit: ModuleDiff, name: str) -> bool:
    return name in edit.old.imports and name not in edit.new.stored


def _is_read(module: Module, name: str) -> bool:
    nodes = (node for statement in module.body for node in walk(statement))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def _told(modules: Iterable[Module]) -> set[str]:
    """All that is read of something by its name."""
    names: set[str] = set()
    for node in (inner for module in modules for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names
