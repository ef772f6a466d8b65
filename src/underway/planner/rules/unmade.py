"""What nobody could carry over, and changes where it is not there: instances of a class, and what a function makes when first asked for it.

Only the process knows whether there is one, and looks when it is asked, by `check` too. Where the release itself makes one that is there
for certain by then, the plan says beforehand that a fresh interpreter takes over.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from ..edit import ModuleDiff
from ..source import Function, Module, Origin, functions_in, import_time, path_of, walk
from ..values import NotPlain
from . import entries, instances, regrown


def unless_made(edit: ModuleDiff, name: str, cls: ast.ClassDef, change: str, reason: str, node: ast.AST) -> bool:
    """Whether a change is for a process that has no instance of a class, nor of one derived from it, and have it look for that.

    False where the release makes some that stay, which is then written down; `reason` says why these could not be carried over.
    """
    if made := makes_its_own(edit, cls):
        edit.restart(name, change, f"{reason}; {made} makes some", node)
        return False
    edit.guard("no_instances", name)
    edit.shapes.add(name.rpartition(".")[2])
    edit.changes(name)
    edit.row(name, change, "HOT", f"{reason}: put in place if there are none by then", node)
    return True


def makes_its_own(edit: ModuleDiff, cls: ast.ClassDef, besides: Collection[int] = ()) -> str:
    """What of the release makes instances that are there by then, `besides` calls with these ids; empty for nothing that is seen."""
    if regrown.is_enumeration(edit.world, edit.new, cls):
        return "it"
    for side in (edit.old, edit.new):
        if others := entries.set_by_others(side.body, cls.name):
            return f"what sets {min(others)}"
    return _staying(edit, cls.name, besides=besides)


def _staying(edit: ModuleDiff, cls: str, seen: Collection[str] = (), besides: Collection[int] = ()) -> str:
    """Where the old release makes an instance, of this class or one derived from it, that is there for certain; empty for nowhere.

    That is at import, or where one is put into what is there for certain: a global, or an instance of such a class.
    """
    for module in filter(None, map(edit.world.old.modules.get, sorted(edit.world.compared))):
        names = {cls, *instances.made_of(module, cls)}
        for node in (inner for statement in module.body for inner in import_time(statement, annotations=False)):
            if _is_call_of(node, names) and id(node) not in besides:
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


def first_asked(module: Module) -> Iterator[tuple[str, str, ast.Assign]]:
    """The globals that functions bind to what they call: each with the name of its function, and the statement."""
    for name, function in module.functions.items():
        named = _global_names(function)
        for inner in walk(function):
            match inner:
                case ast.Assign([ast.Name(bound)], ast.Call() | ast.BoolOp() | ast.IfExp()) if bound in named:
                    yield bound, name, inner


def unless_asked(
    edit: ModuleDiff, edits: Mapping[str, ModuleDiff], bound: str, maker: str, reason: str, node: ast.AST, cause: Origin
) -> None:
    """Have the process look whether a global is made already, and who is about to make it; `reason` says of what."""
    paths = list(_makers(edit, bound))
    if not _is_empty(edit, bound) or not all(paths) or _called_at_import(edits, maker):
        return edit.restart(bound, "reached", reason, node, cause=cause)
    for path in paths:
        digest = code_tree.digest(edit.old.codes[path])
        edit.changed.setdefault(path, Changed(digest, digest))  # who is inside of it leaves it first
    edit.guard("not_made", bound)
    edit.row(bound, "made", "HOT", f"{reason}: put in place if it is not made by then", node, cause=cause)
    return None


def _makers(edit: ModuleDiff, bound: str) -> Iterator[str]:
    """The path, in both versions, of each function that binds a global; empty for one that can't be told."""
    for owner, function in functions_in(edit.old.body):
        if bound not in _global_names(function):
            continue
        path = path_of(edit.old, f"{owner}.{function.name}" if owner else function.name, function)
        same = path in edit.new.codes and code_tree.digest(edit.old.codes[path]) == code_tree.digest(
            edit.new.codes[path]
        )
        yield path if same or path in edit.changed else ""


def _global_names(function: Function) -> set[str]:
    return {name for inner in walk(function) if isinstance(inner, ast.Global) for name in inner.names}


def _is_empty(edit: ModuleDiff, name: str) -> bool:
    """Whether a global is bound to None, or to an empty container, in both versions until something is asked for."""
    try:
        values = [side.value((edit.new.name, name)) for side in (edit.world.old, edit.world.new)]
    except NotPlain:
        return False
    return all(value is None or value in ({}, [], set()) for value in values)


def _called_at_import(edits: Mapping[str, ModuleDiff], name: str) -> bool:
    """Whether anything is called by this name when modules are imported."""
    for edit in edits.values():
        for statement in edit.old.body:
            for node in import_time(statement, annotations=False):
                match node:
                    case ast.Call(ast.Name(called) | ast.Attribute(attr=called)) if called == name:
                        return True
    return False
