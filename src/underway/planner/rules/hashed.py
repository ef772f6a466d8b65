"""What sets and dictionaries find instances by, and heaps and sorted lists: it must stay what it is while one may be in there."""

from __future__ import annotations

import ast

from ..edit import ModuleDiff
from ..source import Module, text, walk
from ..values import Side
from . import unmade

_HASH, _ORDER = "__hash__", "__lt__"


def compare(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Ask for no instances where what their hash or order is made with changes: nothing would find them where they are."""
    for method, what, holders in (
        (_HASH, "hash", "sets and dictionaries"),
        (_ORDER, "order", "heaps and sorted lists"),
    ):
        before = _Reading(edit.world.old).of(edit.old, old, method)
        after = _Reading(edit.world.new).of(edit.new, new, method)
        if before and after and before != after:
            changed = min(path for path in {*before, *after} if before.get(path) != after.get(path))
            reason = f"their {what} is made with {changed}, and {holders} would not find those any more that they have"
            unmade.unless_made(edit, name, new, "state", reason, new)


class _Reading:
    """What a release makes a hash, or an order, with: each function, or value, by its name, with what it says."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._known: dict[str, str] = {}
        self._owners: list[tuple[Module, ast.ClassDef]] = []

    def of(self, module: Module, cls: ast.ClassDef, method: str) -> dict[str, str]:
        """Read a class, and those of its own package that it comes from; empty where none of them has this method."""
        self._bases(module, cls)
        self._member(method)
        return self._known

    def _bases(self, module: Module, cls: ast.ClassDef) -> None:
        if any(known is cls for _, known in self._owners):
            return
        self._owners.append((module, cls))
        for base in cls.bases:
            source = self._side.resolve(module, base)
            if source is None or source[0].partition(".")[0] != module.name.partition(".")[0]:
                continue  # of a library, which changes with its version
            other = self._side.modules.get(source[0])
            if other is not None and source[1] in other.classes:
                self._bases(other, other.classes[source[1]])

    def _member(self, name: str) -> None:
        """Read what the first class that has it binds to a name."""
        for module, cls in self._owners:
            for statement in cls.body:
                if name in _bound(statement):
                    return self._read(name, module, statement)
        return None

    def _read(self, name: str, module: Module, node: ast.AST) -> None:
        if name in self._known:
            return
        self._known[name] = text(node)
        for inner in walk(node):
            if isinstance(inner, ast.Attribute):
                self._member(inner.attr)
            if isinstance(inner, ast.Name | ast.Attribute):
                self._anywhere(module, inner)

    def _anywhere(self, module: Module, node: ast.Name | ast.Attribute) -> None:
        source = self._side.resolve(module, node)
        other = self._side.modules.get(source[0]) if source else None
        if source is not None and other is not None:
            made = other.functions.get(source[1]) or other.globals.get(source[1])
            if made is not None:
                self._read(".".join(source), other, made)


def _bound(statement: ast.stmt) -> tuple[str, ...]:
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
            return (name,)
        case ast.Assign(targets):
            return tuple(target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(ast.Name(name), _, ast.expr()):
            return (name,)
    return ()
