"""Classes: what they are made from, and the state of their instances."""

from __future__ import annotations

import ast

from underway_runtime.release import code_tree

from ..edit import Making, ModuleDiff
from ..source import Function, Module, text
from ..values import Side, origin
from . import given, state, unmade
from .bases import is_data, is_generic, plain_bases, unknown_decorators
from .changing import effect
from .frameworks import classes_again
from .members import Members


def compare(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Tell what a class that is in both modules takes; `name` is its path in the module.

    What makes it may be said in other words, and come to the same.
    """
    same = (old is new or text(old) == text(new)) and not edit.annotates_otherwise
    if same and not edit.reads(new) and not _bodies_differ(edit, name):
        if not has_code_change(new if edit.world.up else old):
            _migrate(edit, name, old, new, len(edit.rows))  # other functions may set what its instances have
        return
    if not has_code_change(new if edit.world.up else old) and classes_again.compare(edit, name, old, new):
        return
    for change, before, after in (
        ("bases", old.bases, new.bases),
        ("decorator", old.decorator_list, new.decorator_list),
        ("keywords", [keyword.value for keyword in old.keywords], [keyword.value for keyword in new.keywords]),
        ("type parameters", getattr(old, "type_params", []), getattr(new, "type_params", [])),
    ):
        if text(before) != text(after) or any(edit.reads(node) for node in after):
            if not edit.unless_seen(name, change, f"a class that is there can't get other {change}", new):
                return
            edit.changes(name)
            if change == "bases":
                _arguments_of_bases(edit, name, old, new)
    rows = len(edit.rows)
    Members(edit, name, old, new, compare).compare()
    _migrate(edit, name, old, new, rows)
    return


def _arguments_of_bases(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Have a class whose bases differ in type arguments alone, `dict` and ``dict[str, int]``, say so as a fresh one does."""
    before, after = (
        [_base(side, module, base) for base in cls.bases]
        for side, module, cls in ((edit.world.old, edit.old, old), (edit.world.new, edit.new, new))
    )
    if before != after or not plain_bases(edit.world, edit.new, new) or new.decorator_list or new.keywords:
        return
    edit.made[name] = Making(bases=new.bases)
    edit.run(ast.copy_location(ast.Pass(), new), name)
    was, now = (any(isinstance(base, ast.Subscript) for base in cls.bases) for cls in (old, new))
    names = edit.replaced if was and now else edit.added if now else edit.removed
    names.append(f"{name}.__orig_bases__")
    if is_generic(edit.world, edit.new, new):
        edit.replaced.append(f"{name}.__parameters__")


def _base(side: Side, module: Module, base: ast.expr) -> str:
    """What a base is, without its type arguments, and whatever other name it has in a module."""
    source = origin(side, module, base.value if isinstance(base, ast.Subscript) else base)
    known = side.modules.get(source[0]) if source else None
    other = known.globals.get(source[1]) if known and source else None
    if known is not None and isinstance(other, ast.Name | ast.Subscript):
        return _base(side, known, other)
    return ast.unparse(base) if source is None else ".".join(source)


def add(edit: ModuleDiff, name: str, new: ast.ClassDef) -> None:
    """Add a class that only the new module has."""
    if new.keywords or not plain_bases(edit.world, edit.new, new) or unknown_decorators(edit, new):
        why = "making it may do more than define it: its bases, decorators or keywords are not known"
        if not is_data(edit.world, edit.new, new):
            return edit.restart(name, "added", why, new)
    edit.added.append(name)
    edit.changes(name)
    edit.run(new)
    edit.row(name, "added", "HOT", "new; nothing makes one yet", new)
    return None


def remove(edit: ModuleDiff, name: str, old: ast.ClassDef) -> None:
    """Remove a class that only the old module has."""
    if what := effect(edit.world, edit.old, old):
        reason = f"making it has changed something else ({what}), and nothing takes that back"
        return edit.restart(name, "removed", reason, old, gone=True)
    edit.removed.append(name)
    edit.changes(name)
    edit.guard("no_instances", name)
    edit.guard("no_holders", name)
    edit.row(name, "removed", "HOT", "removed, if it has no instances and nothing holds it by then", old, gone=True)
    return None


def _bodies_differ(edit: ModuleDiff, name: str) -> bool:
    """Whether code below a class differs although its source does not: never, but for what compiled it."""
    below = [path for path in edit.new.codes if path.startswith(f"{name}.")]
    return any(
        path not in edit.old.codes or code_tree.digest(edit.old.codes[path]) != code_tree.digest(edit.new.codes[path])
        for path in below
    )


def _migrate(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef, rows: int) -> None:
    """Tell what the change means for the instances that there are, and whether the class carries their state over."""
    needs, node = ("", None) if edit.is_same_text else state.needs(old, new, edit.old.body, edit.new.body)
    if has_code_change(new if edit.world.up else old):
        if len(edit.rows) > rows or needs:
            edit.code_change.append(name)
            if needs:
                edit.shapes.add(name.rpartition(".")[2])
            edit.changes(name)
            edit.row(name, "state", "MIGRATE", "its code_change carries the state of its instances over", new)
    elif needs:
        try:
            result = given.by_init(edit, old, new, state.fresh_attributes(old, new, edit.old.body, edit.new.body))
        except given.Unproven as error:
            way = "" if edit.world.up else " on the way back"
            reason = f"{needs}, and no code_change carries its instances over{way}: {error}"
            unmade.unless_made(edit, name, new, "state", reason, node or new)
            return
        edit.given.setdefault(name, {}).update(result.attributes)
        edit.taken.setdefault(name, []).extend(result.taken)
        edit.shapes.add(name.rpartition(".")[2])
        edit.changes(name)
        edit.row(name, "state", "MIGRATE", f"{result}, as all that the new version makes have it", new)
    return


def has_code_change(node: ast.ClassDef) -> bool:
    """Whether a class says how its instances are carried over."""
    return any(isinstance(statement, Function) and statement.name == "code_change" for statement in node.body)
