"""Classes whose instances nobody could carry over: they change where there are none.

Only the process knows whether there is one, and looks when it is asked, by `check` too. Where the release itself makes one that is there
for certain by then, the plan says beforehand that a fresh interpreter takes over.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

from ..edit import ModuleDiff
from ..source import import_time
from . import entries, instances, regrown


def unless_made(edit: ModuleDiff, name: str, cls: ast.ClassDef, change: str, reason: str, node: ast.AST) -> bool:
    """Whether a change is for a process that has no instance of a class, nor of one derived from it, and have it look for that.

    False where the release makes some that stay, which is then written down; `reason` says why these could not be carried over.
    """
    if made := _makes_its_own(edit, cls):
        edit.restart(name, change, f"{reason}; {made} makes some", node)
        return False
    edit.guard("no_instances", name)
    edit.shapes.add(name.rpartition(".")[2])
    edit.changes(name)
    edit.row(name, change, "HOT", f"{reason}: put in place if there are none by then", node)
    return True


def _makes_its_own(edit: ModuleDiff, cls: ast.ClassDef) -> str:
    """What of the release makes instances that are there by then; empty for nothing that is seen."""
    if regrown.is_enumeration(edit.world, edit.new, cls):
        return "it"
    for side in (edit.old, edit.new):
        if others := entries.set_by_others(side.body, cls.name):
            return f"what sets {min(others)}"
    return _staying(edit, cls.name)


def _staying(edit: ModuleDiff, cls: str, seen: Collection[str] = ()) -> str:
    """Where the old release makes an instance, of this class or one derived from it, that is there for certain; empty for nowhere.

    That is at import, or where one is put into what is there for certain: a global, or an instance of such a class.
    """
    for module in filter(None, map(edit.world.old.modules.get, sorted(edit.world.compared))):
        names = {cls, *instances.made_of(module, cls)}
        for node in (inner for statement in module.body for inner in import_time(statement, annotations=False)):
            if _is_call_of(node, names):
                return f"{module.name}, line {getattr(node, 'lineno', 0)},"
        for holder, owner, node in entries.outliving_instances(module.body, names):
            of_instance = bool(owner) and owner not in {cls, *seen}
            if not holder or (of_instance and _staying(edit, owner, (*seen, cls))):
                return f"{module.name}, line {getattr(node, 'lineno', 0)},"
    return ""


def _is_call_of(node: ast.AST, names: Collection[str]) -> bool:
    match node:
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name)):
            return name in names
    return False
