"""Classes that a fragment makes once more, whole, where the live one takes what it lacks: enumerations and typed dictionaries."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypedDict

from underway_runtime.release import code_tree

from .. import annotated
from ..edit import Making, ModuleDiff, PlannerContext
from ..source import Function, Module, text
from ..values import origin

_ENUMERATIONS = ("enum.Enum", "enum.IntEnum", "enum.StrEnum")
_MIXED_IN = ("builtins.str", "builtins.int")
_TYPED = ("typing.TypedDict", "typing_extensions.TypedDict")


class _Empty(Enum):
    pass


class _EmptyDict(TypedDict):
    pass


_OF_ENUMERATIONS = [name for name, value in vars(_Empty).items() if isinstance(value, dict | list)]
"""What an enumeration holds its members in, in this Python."""
_OF_TYPED = [name for name in vars(_EmptyDict) if name.endswith("_keys__")]


def is_enumeration(world: PlannerContext, module: Module, cls: ast.ClassDef) -> bool:
    """Whether a class has members that are its instances: an enumeration, or what comes from one of the release."""
    for base in cls.bases:
        source = origin(world.new, module, base)
        known = world.new.modules.get(source[0]) if source else None
        inner = known.classes.get(source[1]) if known and source else None
        if source is not None and source[0] == "enum":
            return True
        if known is not None and inner is not None and inner is not cls and is_enumeration(world, known, inner):
            return True
    return False


def new_members(
    edit: ModuleDiff,
    old: ast.ClassDef,
    new: ast.ClassDef,
    before: Mapping[str, list[ast.stmt]],
    after: Mapping[str, list[ast.stmt]],
) -> list[str]:
    """The members that come to an enumeration, where nothing but functions changes besides; empty for any other change."""
    bases = [".".join(origin(edit.world.new, edit.new, base) or ()) for base in new.bases]
    decorators = [".".join(origin(edit.world.new, edit.new, decorator) or ()) for decorator in new.decorator_list]
    if not bases or bases[-1] not in _ENUMERATIONS or any(base not in _MIXED_IN for base in bases[:-1]):
        return []
    if new.keywords or any(decorator != "enum.unique" for decorator in decorators):
        return []
    was, now = _values(before), _values(after)
    if any(name not in now or text(now[name]) != text(node) for name, node in was.items()):
        return []
    if any(map(edit.reads, now.values())):
        return []
    return [name for name in now if name not in was and not name.startswith("_")]


def enumeration(edit: ModuleDiff, name: str, new: ast.ClassDef, members: Sequence[str], node: ast.stmt) -> None:
    """Have an enumeration made whole, and the live one take these members of it."""
    edit.changes(name)
    reason = "an enumeration is made whole: what was made of its members, and which it has, only a look tells"
    if not edit.unless_seen(name, "member", reason, node):
        return
    edit.made[name] = Making(new.decorator_list, new.bases)
    for statement in new.body:
        edit.run(statement, name)
    edit.added += [f"{name}.{member}" for member in members]
    edit.replaced += [f"{name}.{attribute}" for attribute in _OF_ENUMERATIONS]
    edit.row(name, "member", "HOT", f"{', '.join(members)} come to it; those that are there stay", node)


def typed_dictionary(edit: ModuleDiff, name: str, new: ast.ClassDef, names: str) -> bool:
    """Whether a class is a typed dictionary; if so have its keys made again, which are nothing to dictionaries that there are."""
    bases = [".".join(origin(edit.world.new, edit.new, base) or ()) for base in new.bases]
    if len(bases) != 1 or bases[0] not in _TYPED or new.decorator_list:
        return False
    edit.made[name] = Making((), new.bases, new.keywords)
    for statement in (statement for statement in new.body if isinstance(statement, ast.AnnAssign)):
        edit.run(statement, name)
    values = annotated.values(edit.new)
    if values and code_tree.IS_LAZY:
        reason = f"its keys change ({names}), which are texts that it has been made with"
        edit.restart(name, "field", reason, new)
        return True
    edit.replaced += [f"{name}.{attribute}" for attribute in (*values, *_OF_TYPED)]
    edit.shapes.add(name.rpartition(".")[2])
    edit.changes(name)
    edit.row(name, "field", "HOT", f"its keys change ({names}), which a dictionary does not know of", new)
    return True


def _values(members: Mapping[str, list[ast.stmt]]) -> dict[str, ast.stmt]:
    """What a class binds to values, the last for each name."""
    return {name: nodes[-1] for name, nodes in members.items() if not isinstance(nodes[-1], Function | ast.ClassDef)}
