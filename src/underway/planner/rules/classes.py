"""Classes: what they are made from, and the state of their instances."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from underway_runtime.release import code_tree

from .. import order
from ..edit import Making, ModuleDiff
from ..source import Function, Module, text
from ..values import Side, origin
from . import given, hashed, replaced_classes, state, unmade
from .bases import is_data, is_generic, plain_bases, unknown_decorators
from .changing import effect
from .frameworks import classes_again
from .members import Members

_GENERIC = "typing.Generic"


def compare(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Tell what a class that is in both modules takes; `name` is its path in the module.

    What makes it may be said in other words, and come to the same.
    """
    hashed.compare(edit, name, old, new)
    same = (old is new or text(old) == text(new)) and not edit.annotates_otherwise
    if same and not edit.reads(new) and not _bodies_differ(edit, name):
        if not has_code_change(new if edit.world.up else old):
            _migrate(edit, name, old, new, len(edit.rows))  # other functions may set what its instances have
        return
    carried = has_code_change(new if edit.world.up else old)
    if not carried and classes_again.compare(edit, name, old, new):
        return
    order.of_class(edit, name, old, new)
    rows, take_back = len(edit.rows), edit.saved()
    _changed(edit, name, old, new)
    if carried or "." in name:
        return
    if problem := _must_go(edit, old, new, rows):
        if what := replaced_classes.lost(edit, name, old, new):
            _add_reason(edit, rows, f"another in its place would lose {what}")
        else:
            take_back()
            if edit.annotates_otherwise:
                edit.leave_out(name)  # which has all of the module annotated again
            replaced_classes.put(edit, name, new, problem)


def _must_go(edit: ModuleDiff, old: ast.ClassDef, new: ast.ClassDef, rows: int) -> str:
    """Why a class can't stay, whoever looks at what becomes of it, by the rows beyond the first `rows`; empty if it can."""
    sides = (edit.world.old, edit.old, old), (edit.world.new, edit.new, new)
    for change, was, now in (
        ("bases", *(_bases(*side) for side in sides)),
        ("decorators", *(_made_by(*side) for side in sides)),
        ("keywords", *([*map(text, cls.keywords)] for *_, cls in sides)),
    ):
        if was != now:
            return f"a class that is there can't get other {change}"
    refused = [row for row in edit.rows[rows:] if row.verdict == "RESTART"]
    if any(row.change == "state" for row in refused):
        return ""  # instances are there by then, as far as the release tells
    return next((row.reason for row in refused if (row.definition, row.change) not in edit.asked), "")


def _add_reason(edit: ModuleDiff, rows: int, reason: str) -> None:
    """Say more in the first row that is RESTART, of those beyond the first `rows`."""
    for number in range(rows, len(edit.rows)):
        if edit.rows[number].verdict == "RESTART":
            edit.rows[number] = replace(edit.rows[number], reason=f"{edit.rows[number].reason}; {reason}")
            return


def _changed(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Tell what a class takes that stays, and changes in its source, or in what that reads."""
    for change, before, after in (
        ("bases", old.bases, new.bases),
        ("decorator", old.decorator_list, new.decorator_list),
        ("keywords", old.keywords, new.keywords),
        ("type parameters", getattr(old, "type_params", []), getattr(new, "type_params", [])),
    ):
        if [*map(text, before)] != [*map(text, after)] or any(edit.reads(node) for node in after):
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
    """Have a class whose bases differ in type arguments alone, `dict` and ``dict[str, int]``, say so as a fresh one does.

    `typing.Generic` next to a base that has it is no more: the class has it in the same place already.
    """
    before, after = _bases(edit.world.old, edit.old, old), _bases(edit.world.new, edit.new, new)
    if before != after or not plain_bases(edit.world, edit.new, new) or new.decorator_list or new.keywords:
        return
    edit.made[name] = Making(bases=new.bases)
    edit.run(ast.copy_location(ast.Pass(), new), name)
    was, now = (any(isinstance(base, ast.Subscript) for base in cls.bases) for cls in (old, new))
    names = edit.replaced if was and now else edit.added if now else edit.removed
    names.append(f"{name}.__orig_bases__")
    if is_generic(edit.world, edit.new, new):
        edit.replaced.append(f"{name}.__parameters__")
    sides = (edit.world.old, edit.old, old), (edit.world.new, edit.new, new)
    if len({_GENERIC in (_base(side, module, base) for base in cls.bases) for side, module, cls in sides}) > 1:
        edit.replaced.append(f"{name}.__bases__")


def _bases(side: Side, module: Module, cls: ast.ClassDef) -> list[str]:
    """What a class comes from, but for `typing.Generic` where another base has that."""
    bases = [_base(side, module, base) for base in cls.bases]
    others = [base for base in cls.bases if _base(side, module, base) != _GENERIC]
    return [base for base in bases if base != _GENERIC] if _are_generic(side, module, others) else bases


def _are_generic(side: Side, module: Module, bases: Sequence[ast.expr]) -> bool:
    """Whether one of some bases is a class of the release that comes from `typing.Generic`."""
    for base in bases:
        source = side.resolve(module, base.value if isinstance(base, ast.Subscript) else base)
        known = side.modules.get(source[0]) if source else None
        cls = known.classes.get(source[1]) if known and source else None
        above = cls.bases if cls is not None else []
        if known is not None and (
            _GENERIC in (_base(side, known, one) for one in above) or _are_generic(side, known, above)
        ):
            return True
    return False


def _made_by(side: Side, module: Module, cls: ast.ClassDef) -> list[str]:
    """The decorators of a class, but for one that leaves nothing but a mark."""
    of = ((decorator, ".".join(origin(side, module, decorator) or ())) for decorator in cls.decorator_list)
    return [text(decorator) for decorator, dotted in of if dotted not in ("typing.final", "typing_extensions.final")]


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
    needs, node = ("", None) if edit.is_same_text else state.needs(edit, old, new, given.made_alike)
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
