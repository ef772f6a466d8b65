"""What makes a class, as far as its bases, decorators and keywords tell."""

from __future__ import annotations

import ast
import builtins

from ..edit import ModuleDiff, PlannerContext
from ..source import Function, Module
from ..values import origin

MADE_ONCE = {
    *("__slots__", "__init_subclass__", "__set_name__", "__class_getitem__", "__eq__", "__hash__", "__prepare__"),
    *("__classcell__", "__mro_entries__", "__new__", "__match_args__", "__dict__", "__weakref__", "__getstate__"),
}
"""Members that are looked at when a class, or an instance, is made, or that live instances rely on."""

_PLAIN_BASES = {
    *("abc.ABC", "typing.Generic", "typing.Protocol", "underway_runtime.Application"),
    *("underway_runtime.application.Application", "threading.Thread", "logging.Handler", "logging.Formatter"),
    *("json.JSONEncoder", "collections.abc.Mapping", "collections.abc.Sequence", "collections.abc.Iterator"),
}
_ABSTRACT = ("abc.ABC", "typing.Protocol")
DATACLASS = "dataclasses.dataclass"
_HARMLESS = {DATACLASS, "typing.final", "typing.runtime_checkable", "functools.total_ordering"}


def plain_bases(world: PlannerContext, module: Module, node: ast.ClassDef) -> bool:
    """Whether nothing but `type` or `abc.ABCMeta` makes a class, and nothing is told of its making."""
    return all(_plain(world, module, base, ()) for base in node.bases) and not _hooks(node)


def is_data(world: PlannerContext, module: Module, node: ast.ClassDef) -> bool:
    """Whether it is an Enum, a NamedTuple or the like: bases of the standard library that register nothing."""
    known = {"enum.Enum", "enum.StrEnum", "enum.IntEnum", "enum.Flag", "typing.NamedTuple", "typing.TypedDict"}
    known |= {"pydantic.BaseModel", "pydantic.main.BaseModel"}
    return (
        not node.keywords
        and not node.decorator_list
        and all((of := origin(world.new, module, base)) is not None and ".".join(of) in known for base in node.bases)
    )


def _plain(world: PlannerContext, module: Module, base: ast.expr, seen: tuple[str, ...], side_new: bool = True) -> bool:
    side = world.new if side_new else world.old
    found = origin(side, module, base)
    if found is None:
        return False
    if found[0] == "builtins":
        return isinstance(getattr(builtins, found[1], None), type)
    if ".".join(found) in _PLAIN_BASES:
        return True
    known = side.modules.get(found[0])
    node = known.classes.get(found[1]) if known else None
    if known is None or node is None or ".".join(found) in seen or node.keywords or _hooks(node):
        return False
    return all(_plain(world, known, each, (*seen, ".".join(found))) for each in node.bases)


def _hooks(node: ast.ClassDef) -> bool:
    return any(isinstance(each, Function) and each.name == "__init_subclass__" for each in node.body)


def is_abstract(world: PlannerContext, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    """Whether a class, or one that it comes from, knows which of its methods are missing."""
    for base in node.bases:
        found = origin(world.new, module, base)
        dotted = ".".join(found) if found else ""
        if dotted in _ABSTRACT or dotted.startswith("collections.abc."):
            return True
        known = world.new.modules.get(found[0]) if found else None
        inner = known.classes.get(found[1]) if known and found else None
        if known and inner and dotted not in seen and is_abstract(world, known, inner, (*seen, dotted)):
            return True
    return any(keyword.arg == "metaclass" for keyword in node.keywords)


def unknown_decorators(edit: ModuleDiff, node: ast.ClassDef) -> bool:
    """Whether a class has a decorator of which it is not known what it does."""
    of = (origin(edit.world.new, edit.new, each) for each in node.decorator_list)
    return any(found is None or ".".join(found) not in _HARMLESS for found in of)
