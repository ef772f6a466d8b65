"""Modules that come, go, or are another; and what they define."""

from __future__ import annotations

import ast

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed, Guard
from underway_runtime.release.relup import Row

from .. import annotated, order
from ..edit import ModuleDiff, PlannerContext
from ..source import ANNOTATIONS, Function, Module, names_bound, rebound_class, text, walk
from ..values import Side
from . import classes, entries, functions, state, unseen
from . import globals as bindings
from .changing import effect


def compare(edit: ModuleDiff) -> None:
    """Tell all changes of a module that is in both releases."""
    old, new = edit.old, edit.new
    if new.name in edit.world.pinned:
        rows = len(edit.rows)
        _compare(edit)
        if len(edit.rows) > rows:
            edit.restart("", "pinned", "the appup says that this module is never changed in place", None)
        return None
    if old.future != new.future:
        if old.future ^ new.future != ANNOTATIONS:
            return edit.restart("", "future", "`from __future__` changes how all of it is compiled", None)
        if code_tree.IS_LAZY and any(map(annotated.has_annotated_names, (old, new))):
            reason = "annotations become texts, or are none any more, which Python keeps in another way since 3.14"
            return edit.restart("", "future", reason, None)
        _annotations_otherwise(edit)
    _lazy_imports(edit)
    _compare(edit)
    newer = new if edit.world.up else old
    if "code_change" in newer.functions and edit.rows:
        edit.code_change.append("")
        node = newer.functions["code_change"]
        edit.row(
            "", "state", "MIGRATE", "its code_change carries the state of the module over", node, gone=not edit.world.up
        )
    return None


def _lazy_imports(edit: ModuleDiff) -> None:
    """Leave to a fresh interpreter what is imported when it is first used, before or after: to bind it would be to use it."""
    before, after = map(_imported_lazily, (edit.old, edit.new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            edit.restart(
                name, "import", "a lazy import: what it stands for is imported when somebody first uses it", None
            )


def _imported_lazily(module: Module) -> dict[str, str]:
    """The names that lazy imports bind, since Python 3.15 (PEP 810), each with its statement.

    Where a module has ``__lazy_modules__`` every import of it counts: which of them are lazy is known when it is imported.
    """
    statements = [node for statement in module.body for node in walk(statement) if isinstance(node, ast.stmt)]
    every = _LAZY_MODULES in module.stored
    lazy = [
        statement
        for statement in statements
        if getattr(statement, "is_lazy", 0) or (every and isinstance(statement, ast.Import | ast.ImportFrom))
    ]
    listing = [text(statement) for statement in module.body if _LAZY_MODULES in names_bound(statement)]
    return {name: "".join((text(statement), *listing)) for statement in lazy for name in names_bound(statement)}


_LAZY_MODULES = "__lazy_modules__"
"""The name by which a module says of which modules all its imports are lazy."""


def _annotations_otherwise(edit: ModuleDiff) -> None:
    """Compare who has annotations as if each had changed: all become texts, or are no texts any more."""
    name = "annotations"
    edit.changes("__annotations__")
    if edit.new.future & ANNOTATIONS:
        edit.rebind[name] = "__future__", name
        if name not in edit.old.stored:
            edit.added.append(name)
    elif name not in edit.new.stored:
        edit.removed.append(name)
    for path in edit.old.codes.keys() & edit.new.codes.keys():
        was, now = edit.old.codes[path], edit.new.codes[path]
        if ".<locals>" not in path and functions.is_same_code(was, now):
            edit.changed[path] = Changed(code_tree.digest(was), code_tree.digest(now))
    edit.row("", "future", "HOT", "its annotations are made again", None)


def _compare(edit: ModuleDiff) -> None:
    bindings.compare(edit)
    order.compare(edit)
    _global_state(edit)
    old, new = edit.old, edit.new
    for name in {**old.stored, **new.stored}:
        if (new.name, name) in edit.world.kept:
            continue
        before, after = rebound_class(old, new, name) or (_definition(old, name), _definition(new, name))
        if before is None and after is None:
            continue
        match before, after:
            case None, (ast.FunctionDef() | ast.AsyncFunctionDef()) as function if name not in old.stored:
                functions.add(edit, name, function)
            case None, ast.ClassDef() as node if name not in old.stored:
                classes.add(edit, name, node)
            case (ast.FunctionDef() | ast.AsyncFunctionDef()) as function, None if name not in new.stored:
                functions.remove(edit, name, function)
            case ast.ClassDef() as node, None if name not in new.stored:
                classes.remove(edit, name, node)
            case (ast.FunctionDef() | ast.AsyncFunctionDef()) as one, (
                ast.FunctionDef() | ast.AsyncFunctionDef()
            ) as other:
                functions.compare(edit, name, functions.paired(edit, name, one, other), one, other)
            case ast.ClassDef() as one, ast.ClassDef() as other if _several(old, name) or _several(new, name):
                if text(one) != text(other):
                    edit.restart(
                        name, "body", "its compiled code can't be told from that of others with its name", other
                    )
            case ast.ClassDef() as one, ast.ClassDef() as other:
                classes.compare(edit, name, one, other)
            case ((ast.FunctionDef() | ast.AsyncFunctionDef()), None) if name in new.imports:
                _moved_away(edit, name)
            case None, (ast.FunctionDef() | ast.AsyncFunctionDef()) as function if name in old.imports:
                _moved_here(edit, name, function)
            case None, ast.ClassDef() as node if _is_module(edit.world.old, old, name):
                _instead_of_module(edit, name, node)
            case ast.ClassDef() as node, None if _is_module(edit.world.new, new, name):
                _module_instead(edit, name, node)
            case _:
                edit.restart(name, "kind", "it becomes something else, and the old one may be in use", after or before)
    if not edit.is_same_text:
        unseen.compare(edit)
        annotated.compare(edit)


def _moved_away(edit: ModuleDiff, name: str) -> None:
    """Bind a function that is imported from another module now."""
    origin = edit.world.new.resolve(edit.new, ast.Name(name))
    known = edit.world.new.modules.get(origin[0]) if origin else None
    node = edit.old.functions[name]
    if origin is None or known is None or origin[0] not in edit.world.compared or origin[1] not in known.functions:
        return edit.restart(name, "kind", "it becomes something else, and the old one may be in use", node, gone=True)
    edit.rebind[name] = origin
    edit.guard("no_holders", name)
    edit.renamed.add(name)
    edit.changes(name)
    reason = f"bound to {'.'.join(origin)} instead, if nothing else holds it by then"
    return edit.row(name, "moved", "HOT", reason, node, gone=True)


def _moved_here(edit: ModuleDiff, name: str, function: Function) -> None:
    """Bind a function that was imported from another module before."""
    if function.decorator_list:
        return edit.restart(name, "kind", "it becomes something else, and the old one may be in use", function)
    edit.replaced.append(name)
    edit.renamed.add(name)
    edit.changes(name)
    edit.run(function)
    return edit.row(name, "moved", "HOT", "defined here now, and bound to that", function)


def _is_module(side: Side, module: Module, name: str) -> bool:
    """Whether a name stands for a module: who has that has it by itself."""
    origin = side.resolve(module, ast.Name(name)) if name in module.imports else None
    return origin is not None and not origin[1]


def _instead_of_module(edit: ModuleDiff, name: str, node: ast.ClassDef) -> None:
    """Bind a class to a name that stood for a module: all that reads the name asks for it when it runs."""
    rows = len(edit.rows)
    classes.add(edit, name, node)
    if _takes_its_place(edit, name, edit.added, rows):
        edit.guard("no_holders", name)
        reason = "bound to what is defined here now instead of a module, if nothing but modules holds that by then"
        edit.row(name, "kind", "HOT", reason, node)


def _module_instead(edit: ModuleDiff, name: str, node: ast.ClassDef) -> None:
    """Bind a module to the name of a class that goes, if it has no instances and nothing else holds it by then."""
    rows = len(edit.rows)
    classes.remove(edit, name, node)
    if _takes_its_place(edit, name, edit.removed, rows):
        module, _ = edit.new.imports[name]
        [importing] = (statement for statement in edit.new.body if name in names_bound(statement))
        edit.run(bindings.only(importing, name))
        reason = f"bound to {module}, if the class has no instances and nothing holds it by then"
        edit.row(name, "kind", "HOT", reason, node, gone=True)


def _takes_its_place(edit: ModuleDiff, name: str, names: list[str], rows: int) -> bool:
    """Have what was to come, or go, replace what the other release has under its name; returns whether it was to.

    `names` are those of all that come, or go; of the rows, so many were there before it was looked at.
    """
    if name not in names:
        return False
    names.remove(name)
    edit.replaced.append(name)
    edit.renamed.add(name)
    edit.rows[rows:] = []
    return True


def _global_state(edit: ModuleDiff) -> None:
    """Globals that functions bind later on hold what the old functions made."""
    if edit.is_same_text:
        return
    before, after = (state.global_assignments(module.body) for module in (edit.old, edit.new))
    newer = edit.new if edit.world.up else edit.old
    name = state.lost_kinds(before, after)
    if name and (edit.new.name, name) not in edit.world.kept and "code_change" not in newer.functions:
        reason = "functions assign another kind of value to it than it may have, and no code_change carries that over"
        edit.restart(name, "state", reason, after[name][0])
    if "code_change" in newer.functions:
        return
    sides = (edit.old.body, edit.new.body)
    classes = {*edit.old.classes} & {*edit.new.classes}
    for before, after in (map(entries.held, sides), (entries.given(body, classes) for body in sides)):
        if name := state.lost_kinds(before, after):
            reason = f"{name} is made another kind of value than it may be, and no code_change carries that over"
            edit.restart("", "state", reason, after[name][0])


def _several(module: Module, name: str) -> bool:
    """Whether the code of a module has several classes of a name, of which one stands where it never runs."""
    return any(path.startswith(f"{name}#") for path in module.codes)


def _definition(module: Module, name: str) -> Function | ast.ClassDef | None:
    return module.functions.get(name) or module.classes.get(name)


def added(world: PlannerContext, new: Module) -> Row:
    """A module that only the new release has."""
    return Row(new.name, "", "added", "HOT", "new; imported when something asks for it", new.file, 1)


def removed(world: PlannerContext, old: Module) -> tuple[Row, tuple[Guard, ...]]:
    """A module that only the old release has, and what must hold for it to go."""
    for statement in old.body:
        if what := effect(world, old, statement):
            reason = f"its import has changed something else ({what}), and nothing takes that back"
            return Row(old.name, "", "removed", "RESTART", reason, old.file, statement.lineno), ()
    guards = [Guard("no_holders", name) for name in (*old.functions, *old.classes)]
    guards += [Guard("no_instances", name) for name in old.classes]
    reason = "removed, if nothing holds what it defined by then"
    return Row(old.name, "", "removed", "HOT", reason, old.file, 1), tuple(guards)
