"""What instances that there are get, or lose, to be as if the new version had made them: where that is the same for all of them.

An attribute is given where ``__init__``, or a dataclass, sets it to one value that nobody can change, for each instance that the
old version could make; where nothing else in the release sets it, so that it would still be that; and where it can't be an attribute
of another name. What else it may be only a ``code_change`` knows.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from ..edit import ModuleDiff
from ..source import Function, Module
from ..values import NotPlain
from .bases import plain_bases
from .state import attributes, makers, stateful

_IN_THE_WAY = ("__setattr__", "__getattribute__", "__delattr__")
"""Methods of a class that decide what setting an attribute does."""


@dataclass(frozen=True)
class Given:
    """What becomes of the instances of a class."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What they get, with the values."""
    taken: tuple[str, ...] = ()
    """What they lose."""

    def __str__(self) -> str:
        """What it says in a plan."""
        gets = ", ".join(f"{name} = {value!r}" for name, value in self.attributes.items())
        return f"its instances get {gets}" if gets else f"its instances lose {', '.join(self.taken)}"


class Unproven(Exception):
    """It can't be told what instances would have. The text says why."""


def by_init(edit: ModuleDiff, old: ast.ClassDef, new: ast.ClassDef, fresh: Collection[str]) -> Given:
    """What ``__init__`` sets in the new version alone, `fresh`, and what it sets no more. Raises Unproven."""
    was, now = makers(old), makers(new)
    if was.keys() != now.keys() or "__init__" not in now or now["__init__"].decorator_list:
        raise Unproven("what makes an instance is another")
    before, after = was["__init__"], now["__init__"]
    gone = attributes(old).keys() - attributes(new).keys()
    gives, takes = dict(_setting(after, fresh)), dict(_setting(before, gone))
    if missing := sorted({*fresh} - gives.keys()):
        raise Unproven(f"{missing[0]} is set under a condition, or elsewhere")
    if _without(before, takes.values()) != _without(after, gives.values()):
        raise Unproven("it does more than set attributes to values")
    values = {name: _value(edit, new, before, after, statement) for name, statement in gives.items()}
    _check(edit, new, values, tuple(takes), stores=1)
    return Given(values, tuple(sorted(takes)))


def by_fields(edit: ModuleDiff, old: ast.ClassDef, new: ast.ClassDef) -> Given:
    """What fields of a dataclass come with, or go. Raises Unproven."""
    before, after = _fields(old), _fields(new)
    for name in before.keys() & after.keys():
        if _text(before[name].value) != _text(after[name].value):
            raise Unproven(
                f"{name} has another default, and whether an instance has that, or was made with it, is not known"
            )
    fresh = {name: each for name, each in after.items() if name not in before}
    for name, each in fresh.items():
        if any(word in ast.unparse(each.annotation) for word in ("InitVar", "ClassVar")):
            raise Unproven(f"{name} is not an ordinary field")
    values = {name: _plain(edit, edit.new, _default(each)) for name, each in fresh.items()}
    if passed := _passed(edit, new.name, fresh, len(before)):
        raise Unproven(f"{passed} makes one with another value")
    gone = tuple(sorted(before.keys() - after.keys()))
    _check(edit, new, values, gone, stores=0)
    return Given(values, gone)


def _setting(init: Function, names: Collection[str]) -> Iterator[tuple[str, ast.stmt]]:
    """The statements of its own by which a function sets these attributes of the instance."""
    me = [each.arg for each in (*init.args.posonlyargs, *init.args.args)][:1]
    for statement in init.body:
        match statement:
            case ast.Assign([ast.Attribute(ast.Name(name), attribute)]) | ast.AnnAssign(
                ast.Attribute(ast.Name(name), attribute), _, ast.expr()
            ) if [name] == me and attribute in names:
                yield attribute, statement


def _without(init: Function, statements: Collection[ast.stmt]) -> list[str]:
    """What a function does to an instance besides these statements."""
    rest = copy(init)
    rest.body = [each for each in init.body if not any(each is other for other in statements)]
    return stateful(rest)


def _value(edit: ModuleDiff, cls: ast.ClassDef, before: Function, after: Function, statement: ast.stmt) -> Any:
    """What a statement sets an attribute to, for each instance that the old version could make."""
    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    value = statement.value
    assert value is not None
    own = {each.id for each in ast.walk(after) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    old, new = _parameters(before), _parameters(after)
    if isinstance(value, ast.Name) and value.id in new and value.id not in {*old, *own} and new[value.id] is not None:
        if passed := _passed(edit, cls.name, [value.id], len(old) - 1):
            raise Unproven(f"{passed} makes one with another value")
        value = new[value.id]
    if value is None or any(isinstance(each, ast.Name) and each.id in {*own, *new} for each in ast.walk(value)):
        raise Unproven(f"`{ast.unparse(statement)}` depends on what it is made with")
    return _plain(edit, edit.new, value)


def _plain(edit: ModuleDiff, module: Module, value: ast.expr | None) -> Any:
    """The value of an expression, which nobody can change. Raises Unproven."""
    if value is None:
        raise Unproven("there is no value for those that there are")
    try:
        found: Any = edit.world.new.evaluate(module, value)
        hash(found)
    except (NotPlain, TypeError):
        reason = f"`{ast.unparse(value)}` is not one value that nobody can change, so that it may be another by now"
        raise Unproven(reason) from None
    return found


def _parameters(function: Function) -> dict[str, ast.expr | None]:
    """The parameters of a function, each with its default."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults = [*missing, *args.defaults, *args.kw_defaults]
    return {arg.arg: default for arg, default in zip((*positional, *args.kwonlyargs), defaults, strict=True)}


def _passed(edit: ModuleDiff, cls: str, names: Collection[str], most: int) -> str:
    """Who in the new release makes an instance with these arguments, or with more than `most` without a name; empty for nobody."""
    for module in _modules(edit):
        known = {cls, "__init__", "cls", *_made_of(module, cls)}
        for call in (each for each in _walked(edit, module, cls) if isinstance(each, ast.Call)):
            called = {each.id for each in [call.func] if isinstance(each, ast.Name)}
            called |= {each.attr for each in [call.func] if isinstance(each, ast.Attribute)}
            given = {each.id for each in call.args if isinstance(each, ast.Name)}
            replaces = called == {"replace"} and any(word.arg in names for word in call.keywords)
            if not (called & known or known & given or replaces):  # `partial(Room, ...)` too
                continue
            starred = any(isinstance(each, ast.Starred) for each in call.args)
            if starred or len(call.args) > most or any(word.arg is None or word.arg in names for word in call.keywords):
                return f"{module.name}, line {call.lineno},"
    return ""


def _walked(edit: ModuleDiff, module: Module, cls: str) -> Iterator[ast.AST]:
    """What is in a module, without functions that the old one lacks: what there is was made by others.

    Unless one that has made instances is gone; it may have got another name.
    """
    old = edit.world.old.modules.get(module.name)
    before = {} if old is None else old.codes
    gone = [code for path, code in before.items() if path not in module.codes and cls in code.co_names]
    waiting: list[tuple[str, ast.AST]] = [("", each) for each in module.body]
    for prefix, node in waiting:
        if isinstance(node, Function):
            if not gone and f"{prefix}{node.name}" not in before:
                continue
            yield from ast.walk(node)
            continue
        yield node
        inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix
        waiting += [(inner, each) for each in ast.iter_child_nodes(node)]


def _made_of(module: Module, cls: str) -> Iterator[str]:
    """By which names else a module has a class, or what is derived from it."""
    for statement in module.body:
        for each in ast.walk(statement):
            match each:
                case ast.alias(name, str(other)) if name.rpartition(".")[2] == cls:
                    yield other
                case ast.Assign([ast.Name(other)], ast.Name(name) | ast.Attribute(attr=name)) if name == cls:
                    yield other
                case ast.ClassDef(other, bases) if any(ast.unparse(base).endswith(cls) for base in bases):
                    yield other


def _check(
    edit: ModuleDiff, cls: ast.ClassDef, given: Mapping[str, Any], taken: Collection[str], *, stores: int
) -> None:
    """Raise Unproven where setting these attributes does something else, or more than so many statements set one of them."""
    if given and taken:
        raise Unproven(f"{min(given)} may be what {min(taken)} was")
    if not plain_bases(edit.world, edit.new, cls):
        raise Unproven("what its bases do with attributes is not known")
    for node in _with_bases(edit, edit.new, cls):
        for each in node.body:
            if isinstance(each, Function) and each.name in (*_IN_THE_WAY, *given):
                raise Unproven(f"{each.name} of {node.name} decides what is set")
            match each:
                case ast.Assign([ast.Name("__slots__")], value):
                    if {*given} - {*_plain(edit, edit.new, value)}:
                        raise Unproven(f"{node.name} has slots, and none for that")
    for module in _modules(edit):
        for inner in (inner for statement in module.body for inner in ast.walk(statement)):
            match inner:
                case ast.Call(ast.Name("setattr") | ast.Attribute(attr="__setattr__"), [_, by, *_]):
                    if not isinstance(by, ast.Constant) or by.value in given:
                        raise Unproven(f"{module.name}, line {inner.lineno}, sets attributes by name")
    for attribute in given:
        if len([store for module in _modules(edit) for store in _stores(module, attribute)]) > stores:
            raise Unproven(f"{attribute} is set elsewhere too, and may be another by now")


def _stores(module: Module, name: str) -> Iterator[ast.Attribute]:
    for statement in module.body:
        for each in ast.walk(statement):
            if isinstance(each, ast.Attribute) and each.attr == name and not isinstance(each.ctx, ast.Load):
                yield each


def _with_bases(edit: ModuleDiff, module: Module, cls: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """A class, and those of the release that it comes from."""
    yield cls
    for base in cls.bases:
        found = edit.world.new.resolve(module, base)
        known = edit.world.new.modules.get(found[0]) if found else None
        inner = known.classes.get(found[1]) if known and found else None
        if known is not None and inner is not None and inner is not cls:
            yield from _with_bases(edit, known, inner)


def _modules(edit: ModuleDiff) -> Iterator[Module]:
    """The modules of the new release that may know of a class that changes."""
    known = edit.world.new.modules
    yield from (known[name] for name in sorted(edit.world.compared) if known.get(name) is not None)


def _fields(cls: ast.ClassDef) -> dict[str, ast.AnnAssign]:
    return {
        each.target.id: each
        for each in cls.body
        if isinstance(each, ast.AnnAssign)
        if isinstance(each.target, ast.Name)
    }


def _default(each: ast.AnnAssign) -> ast.expr | None:
    match each.value:
        case ast.Call(ast.Name("field") | ast.Attribute(attr="field"), [], keywords):
            return next((word.value for word in keywords if word.arg == "default"), None)
    return each.value


def _text(value: ast.expr | None) -> str:
    return "" if value is None else ast.dump(value)
