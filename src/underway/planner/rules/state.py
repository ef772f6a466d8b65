"""The state of instances: when those that there are would not be what the new code expects."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TypeAlias

from .. import annotated
from ..edit import Making, ModuleDiff
from ..source import Function, root_of, text, walk
from . import entries
from .nested import stored_only

MAKERS = ("__init__", "__new__", "__post_init__")
_SPEAKING = ("log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER", "warnings", "print")


_KEYS = "dict:"
_LOWER_CASE = {
    "deque",
    "defaultdict",
    "array",
    "bytearray",
    "frozenset",
    "frozendict",
    "memoryview",
    "count",
    "partial",
    "object",
}
"""Types that are not called with a capital."""


Alike: TypeAlias = Callable[[ModuleDiff, ast.ClassDef, Function, Function, Collection[str]], bool]


def needs(
    edit: ModuleDiff, old: ast.ClassDef, new: ast.ClassDef, alike: Alike = lambda *_: False
) -> tuple[str, ast.AST | None]:
    """Why live instances would not do for the new class, and where; empty when they do.

    Functions of their modules may set attributes too. `alike` tells of two makers that say something else whether they make
    instances alike.
    """
    before, after = edit.old.body, edit.new.body
    return _needs(
        edit,
        old,
        new,
        {**entries.set_by_others(before, old.name), **attributes(old)},
        {**entries.set_by_others(after, new.name), **attributes(new)},
        alike,
    )


def _needs(
    edit: ModuleDiff,
    old: ast.ClassDef,
    new: ast.ClassDef,
    before: Mapping[str, ast.AST],
    after: Mapping[str, ast.AST],
    alike: Alike,
) -> tuple[str, ast.AST | None]:
    on_the_class = {target.id for statement in new.body for target in _assigned(statement)}
    fresh = [name for name in after if name not in before and name not in on_the_class]
    if fresh:
        return f"instances get new attributes ({', '.join(fresh)})", after[fresh[0]]
    if other := lost_kinds(_assignments(old), _assignments(new)):
        return f"{other} is assigned another kind of value than instances have", after.get(other)
    was, now = makers(old), makers(new)
    for name, node in now.items():
        if name not in was:
            return f"{name} is new, so instances are made in another way", node
        stored = stored_only(edit, (old, was[name]), (new, node))
        if stateful(was[name], stored) != stateful(node, stored) and not alike(edit, new, was[name], node, stored):
            return f"{name} makes instances in another way", node
        if parameter := other_default(was[name], node):
            return f"{name} has another default of {parameter}, which instances may have been made with", node
    if gone := [name for name in was if name not in now]:
        return f"{gone[0]} is gone, so instances are made in another way", new
    return "", None


def lost_kinds(old: Mapping[str, list[ast.expr]], new: Mapping[str, list[ast.expr]]) -> str:
    """A name to which something is assigned that the newer code never assigns to it: a list, where that makes dictionaries."""
    for name, values in old.items():
        kinds = {_kind(value) for value in new.get(name, ())}
        if kinds and "" not in kinds and any(kind and not _serves(kind, kinds) for kind in map(_kind, values)):
            return name
    return ""


def _serves(kind: str, kinds: Iterable[str]) -> bool:
    """Whether an object of this kind does where those are made: the same, or a dictionary that has the keys of one of them."""
    return any(other == kind or _has_keys_of(kind, other) for other in kinds)


def _has_keys_of(kind: str, other: str) -> bool:
    if "dict" in (kind, other):
        return kind.startswith("dict") and other.startswith("dict")
    one, two = ({*keys.removeprefix(_KEYS).split("|")} if keys.startswith(_KEYS) else None for keys in (kind, other))
    return one is not None and two is not None and two <= one


def _kind(value: ast.expr) -> str:
    """What kind of object an expression makes, of a dictionary with its keys; empty where that can't be told."""
    match value:
        case ast.Dict(keys) if keys and all(isinstance(key, ast.Constant) for key in keys):
            return _KEYS + "|".join(sorted(ast.unparse(key) for key in keys if key is not None))
        case ast.Tuple(elts) if not any(isinstance(element, ast.Starred) for element in elts):
            return f"tuple:{len(elts)}"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _LOWER_CASE:
            return name
        case ast.Constant(value=constant):
            return type(constant).__name__
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Tuple():
            return "tuple"
        case ast.JoinedStr():
            return "str"
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)) if name[:1].isupper():
            return name
        case ast.Call(func=ast.Name(id="list" | "dict" | "set" | "tuple" | "str" | "int" | "float" as name)):
            return name
    return ""


def _assignments(node: ast.ClassDef) -> dict[str, list[ast.expr]]:
    """What the methods of a class assign to the attributes of their instance."""
    values: dict[str, list[ast.expr]] = {}
    for method, me in _methods(node):
        for inner in walk(method):
            match inner:
                case ast.Assign(targets, value):
                    of: list[ast.expr] = targets
                case ast.AnnAssign(target, _, ast.expr() as value):
                    of = [target]
                case _:
                    continue
            for assigned in of:
                if (
                    isinstance(assigned, ast.Attribute)
                    and isinstance(assigned.value, ast.Name)
                    and assigned.value.id == me
                ):
                    values.setdefault(assigned.attr, []).append(value)
    return values


def global_assignments(functions: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What functions assign to names that they declare ``global``."""
    values: dict[str, list[ast.expr]] = {}
    for function in functions:
        names = {name for inner in walk(function) if isinstance(inner, ast.Global) for name in inner.names}
        for inner in walk(function):
            if isinstance(inner, ast.Assign):
                for target in inner.targets:
                    if isinstance(target, ast.Name) and target.id in names:
                        values.setdefault(target.id, []).append(inner.value)
    return values


def _methods(node: ast.ClassDef) -> Iterator[tuple[Function, str]]:
    """The methods that have an instance, each with what it calls that."""
    for method in node.body:
        if not isinstance(method, Function) or any(map(_is_static, method.decorator_list)):
            continue
        if every := [*method.args.posonlyargs, *method.args.args]:
            yield method, every[0].arg


def makers(node: ast.ClassDef) -> dict[str, Function]:
    """The functions that make an instance."""
    return {
        statement.name: statement
        for statement in node.body
        if isinstance(statement, Function) and statement.name in MAKERS
    }


def attributes(node: ast.ClassDef) -> dict[str, ast.AST]:
    """The attributes that the methods of a class assign to their instance, each with where."""
    places: dict[str, ast.AST] = {}
    for method, me in _methods(node):
        for inner in walk(method):
            match inner:
                case ast.Attribute(ast.Name(id), attribute, ast.Store()) if id == me:
                    places.setdefault(attribute, inner)
    return places


def fresh_attributes(
    old: ast.ClassDef, new: ast.ClassDef, before: Iterable[ast.stmt], after: Iterable[ast.stmt]
) -> list[str]:
    """The attributes that instances of the new class have, and those of the old one have not."""
    was = {**entries.set_by_others(before, old.name), **attributes(old)}
    now = {**entries.set_by_others(after, new.name), **attributes(new)}
    on_the_class = {target.id for statement in new.body for target in _assigned(statement)}
    return [name for name in now if name not in was and name not in on_the_class]


def fields(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Make the methods of a dataclass again of its fields, which change."""
    edit.guard("plain_class", name)
    edit.made[name] = Making(new.decorator_list, new.bases)
    edit.shapes.add(name.rpartition(".")[2])
    before, after = (
        {text(statement.target): statement for statement in node.body if isinstance(statement, ast.AnnAssign)}
        for node in (old, new)
    )
    for field in after.values():
        edit.run(field, name)
    was, now = ({key for key, field in of.items() if _on_the_class(field)} for of in (before, after))
    for maker in makers(new).values():
        edit.run(maker, name)  # what `dataclass` makes calls it, if it is there
    defined = {statement.name for statement in new.body if isinstance(statement, Function)}
    edit.replaced += [
        f"{name}.{member}" for member in (*_generated(new), "__dataclass_fields__") if member not in defined
    ]
    if ast.get_docstring(new) is None:
        edit.replaced.append(f"{name}.__doc__")  # the signature of __init__
    edit.replaced += [
        f"{name}.{member}" for member in annotated.values(edit.new)
    ]  # as a whole: what is gone must not stay
    for key, node in {**before, **after}.items():
        attribute = f"{name}.{ast.unparse(node.target)}"
        if key in now - was:
            edit.added.append(attribute)
        elif key in was - now:
            edit.removed.append(attribute)
        elif key in now and (text(before[key]) != text(after[key]) or edit.reads(after[key])):
            edit.replaced.append(attribute)
    edit.changes(name)


def _generated(node: ast.ClassDef) -> list[str]:
    """The methods that `dataclass` makes of the fields."""
    [decorator] = node.decorator_list
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    off = {
        keyword.arg for keyword in keywords if isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    }
    on = {
        keyword.arg for keyword in keywords if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    }
    compared = ("__lt__", "__le__", "__gt__", "__ge__") if "order" in on else ()
    made = [name for name in ("__init__", "__repr__", "__eq__", "__match_args__") if name.strip("_") not in off]
    return [*made, *compared]


def _on_the_class(field: ast.AnnAssign) -> bool:
    """Whether the class has an attribute of this name: the default of the field."""
    match field.value:
        case None:
            return False
        case ast.Call(ast.Name("field") | ast.Attribute(attr="field"), [], keywords):
            return any(keyword.arg == "default" for keyword in keywords)
    return True


def changed_fields(old: ast.ClassDef, new: ast.ClassDef) -> str:
    before, after = (
        {text(statement.target): statement for statement in node.body if isinstance(statement, ast.AnnAssign)}
        for node in (old, new)
    )
    every = {**before, **after}
    return (
        ", ".join(
            ast.unparse(node.target)
            for key, node in every.items()
            if key not in before or key not in after or text(before[key]) != text(after[key])
        )
        or "their order"
    )


def stateful(maker: Function, stored: Collection[str] = ()) -> list[str]:
    """What a maker of instances does to them, as text."""
    return [*map(text, statements_of(maker, stored))]


def statements_of(maker: Function, stored: Collection[str] = ()) -> list[ast.stmt]:
    """What a maker of instances does to them: all its statements but those that only check, or speak.

    Of functions in it that are only `stored` the bodies don't count.
    """
    names: dict[str, str] = {}
    renamed = [_Renamed(names, _own_names(maker)).visit(deepcopy(statement)) for statement in _effective(maker.body)]
    for statement in renamed:
        if isinstance(statement, Function) and statement.name in stored:
            statement.body = [ast.Pass()]
    return renamed


def other_default(old: Function, new: Function) -> str:
    """A parameter whose default differs, and that a maker of instances does something to them with; empty for none."""
    used = {inner.id for statement in _effective(new.body) for inner in walk(statement) if isinstance(inner, ast.Name)}
    before = parameters(old)
    for name, now in parameters(new).items():
        was = before.get(name)
        if name in used and was is not None and now is not None and text(was) != text(now):
            return name
    return ""


def parameters(function: Function) -> dict[str, ast.expr | None]:
    """The parameters of a function, each with its default."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults = [*missing, *args.defaults, *args.kw_defaults]
    return {arg.arg: default for arg, default in zip((*positional, *args.kwonlyargs), defaults, strict=True)}


class _Renamed(ast.NodeTransformer):
    """Calls local variables by the order in which they come, and leaves annotations out: neither is anything to an instance."""

    def __init__(self, names: dict[str, str], local: set[str]) -> None:
        self.names, self.local = names, local

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.local:
            node.id = self.names.setdefault(node.id, f"local {len(self.names)}")
        return node


def _own_names(function: Function) -> set[str]:
    """The variables of a function that nothing but it sees: no parameters, and none if it looks at them all."""
    names = [inner for inner in walk(function) if isinstance(inner, ast.Name)]
    if any(name.id in ("locals", "eval", "exec", "vars") for name in names):
        return set()
    shared = {n for inner in walk(function) if isinstance(inner, ast.Global | ast.Nonlocal) for n in inner.names}
    return {name.id for name in names if isinstance(name.ctx, ast.Store)} - shared


def _effective(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        match statement:
            case ast.Raise() | ast.Assert() | ast.Pass() | ast.Expr(ast.Constant()):
                continue
            case ast.If(body=inner, orelse=[]) if all(isinstance(part, ast.Raise) or _speaks(part) for part in inner):
                continue
            case _ if _speaks(statement):
                continue
        yield statement


def _speaks(statement: ast.stmt) -> bool:
    """Whether a statement does nothing but log, print or warn."""
    match statement:
        case ast.Expr(ast.Call(func)):
            return root_of(func, ast.Attribute) in _SPEAKING
    return False


def _assigned(statement: ast.stmt) -> Iterator[ast.Name]:
    match statement:
        case ast.Assign(targets):
            yield from (target for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr()):
            yield target


def _is_static(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
