"""What instances that there are get, or lose, to be as if the new version had made them: where that is the same for all of them.

An attribute is given where ``__init__``, or a dataclass, sets it to one value that nobody can change, for each instance that the
old version could make; where nothing else in the release sets it, so that it would still be that; and where it can't be an attribute
of another name. What else it may be only a ``code_change`` knows.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any

from ..edit import ModuleDiff
from ..source import Function, Module, import_time, names_bound, walk
from ..values import NotPlain, Side, origin
from . import instances, state
from .bases import plain_bases
from .changing import changed_by_functions
from .state import attributes, makers, other_default, parameters, stateful

_MAKING_TEXT = ("os.fsdecode", "builtins.str", "builtins.repr", "builtins.ascii")
"""Functions that return a text of Python's own, or raise."""
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
        raise Unproven("instances are made in another way")
    before, after = was["__init__"], now["__init__"]
    gone = attributes(old).keys() - attributes(new).keys()
    gives, takes = dict(_setting(after, fresh)), dict(_setting(before, gone))
    for init, statements in ((after, gives), (before, takes)):
        if left := _is_left_before(init, statements.values()):
            raise Unproven(f"__init__ may have returned before, in line {left.lineno}")
    if missing := sorted({*fresh} - gives.keys()):
        raise Unproven(f"{missing[0]} is set under a condition, or elsewhere")
    if _without(before, takes.values()) != _without(after, gives.values()):
        raise Unproven("it does more than set attributes to values")
    if parameter := other_default(before, after):
        raise Unproven(f"whether an instance has the default of {parameter}, or was made with it, is not known")
    values = {name: _value(edit, new, before, after, statement) for name, statement in gives.items()}
    if _is_between(after, gives.values()) and instances.lists_attributes(edit):
        raise Unproven("who lists its attributes would find them in another order")
    result = Given(values, tuple(sorted(takes)))
    _check(edit, old, new, result, stores=1)
    return result


def by_fields(edit: ModuleDiff, old: ast.ClassDef, new: ast.ClassDef) -> Given:
    """What fields of a dataclass come with, or go. Raises Unproven."""
    before, after = _fields(old), _fields(new)
    for name in before.keys() & after.keys():
        if _text(before[name].value) != _text(after[name].value):
            raise Unproven(
                f"{name} has another default, and whether an instance has that, or was made with it, is not known"
            )
    fresh = {name: statement for name, statement in after.items() if name not in before}
    for name, statement in fresh.items():
        if any(word in ast.unparse(statement.annotation) for word in ("InitVar", "ClassVar")):
            raise Unproven(f"{name} is not an ordinary field")
    values = {name: _plain(edit, edit.new, _default(statement)) for name, statement in fresh.items()}
    if {*fresh, *before.keys() - after.keys()} and _is_hashed(new):
        raise Unproven(
            "its hash is made with all of its fields, and sets and dictionaries would not find those any more that they have"
        )
    if passed := instances.passed(edit, new.name, fresh, len(before)):
        raise Unproven(f"{passed} makes one with another value")
    result = Given(values, tuple(sorted(before.keys() - after.keys())))
    if "__init__" in makers(new):
        raise Unproven("its own __init__ says what an instance has")
    _check(edit, old, new, result, stores=0)
    return result


def made_alike(edit: ModuleDiff, cls: ast.ClassDef, old: Function, new: Function, stored: Collection[str]) -> bool:
    """Whether two makers of instances that say something else give them the same.

    They may set attributes to what they were given one after the other in any order, where nobody could tell by which, and ask a
    text for its beginning or its end in other words.
    """
    before = _asked_by_method(edit.world.old, edit.old, state.statements_of(old, stored))
    after = _asked_by_method(edit.world.new, edit.new, state.statements_of(new, stored))
    if [*map(ast.dump, before)] == [*map(ast.dump, after)]:
        return True
    if [*map(ast.dump, _sorted(old, before))] != [*map(ast.dump, _sorted(new, after))]:
        return False
    named = {*attributes(cls)}
    if not plain_bases(edit.world, edit.new, cls) or instances.lists_those_of(edit, cls):
        return False
    related = [*instances.with_bases(edit, edit.new, cls), *instances.derived_from(edit, cls)]
    bound = {name for node in related for inner in node.body for name in names_bound(inner)}
    return bound.isdisjoint((*named, *_IN_THE_WAY))


def _sorted(init: Function, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Statements, of which those that follow each other and set an attribute to a name or a constant are in one order."""
    me = [argument.arg for argument in (*init.args.posonlyargs, *init.args.args)][:1]
    result: list[ast.stmt] = []
    run: dict[str, ast.stmt] = {}
    for statement in (*statements, ast.Pass()):
        match statement:
            case ast.Assign([ast.Attribute(ast.Name(name), attribute)], ast.Name(value)) if (
                [name] == me and value not in me and attribute not in run
            ):
                run[attribute] = statement
            case ast.Assign([ast.Attribute(ast.Name(name), attribute)], ast.Constant()) if [
                name
            ] == me and attribute not in run:
                run[attribute] = statement
            case _:
                result += [*(run[attribute] for attribute in sorted(run)), statement]
                run = {}
    return result


def _asked_by_method(side: Side, module: Module, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Statements in which a text is asked for its first and its last character by methods, where it surely is a text."""
    result: list[ast.stmt] = []
    for statement in map(deepcopy, statements):
        last = result[-1] if result else None
        if isinstance(statement, ast.If):
            statement.body, statement.orelse = (
                _asked_by_method(side, module, part) for part in (statement.body, statement.orelse)
            )
            match last, statement.test:
                case (
                    ast.If(
                        ast.Compare(ast.Name(tested), [ast.IsNot()], [ast.Constant(None)]),
                        [ast.Assign([ast.Name(made)], ast.Call(called))],
                        [],
                    ),
                    ast.BoolOp(ast.And(), [ast.Name(name), *others]),
                ) if tested == made == name and ".".join(origin(side, module, called) or ()) in _MAKING_TEXT:
                    parts = [_by_method(part, name) for part in others]
                    statement.test = ast.BoolOp(ast.And(), [ast.Name(name, ast.Load()), *parts])
        result.append(statement)
    return result


def _by_method(test: ast.expr, name: str) -> ast.expr:
    """Return how a text that is not empty is asked for a character by a method; the test itself where it asks something else."""
    match test:
        case ast.Compare(ast.Subscript(ast.Name(of), at), [ast.Eq()], [ast.Constant(str(character))]) if of == name:
            method = {"0": "startswith", "-1": "endswith"}.get(ast.unparse(at))
            if method is not None and len(character) == 1:
                return ast.Call(
                    ast.Attribute(ast.Name(name, ast.Load()), method, ast.Load()), [ast.Constant(character)], []
                )
    return test


def _setting(init: Function, names: Collection[str]) -> Iterator[tuple[str, ast.stmt]]:
    """The statements of its own by which a function sets these attributes of the instance."""
    me = [argument.arg for argument in (*init.args.posonlyargs, *init.args.args)][:1]
    for statement in init.body:
        match statement:
            case ast.Assign([ast.Attribute(ast.Name(name), attribute)]) | ast.AnnAssign(
                ast.Attribute(ast.Name(name), attribute), _, ast.expr()
            ) if [name] == me and attribute in names:
                yield attribute, statement


def _is_left_before(init: Function, statements: Collection[ast.stmt]) -> ast.Return | None:
    """A ``return`` that stands before the last of these statements; None for none."""
    left: list[ast.Return] = []
    for statement in init.body:
        if left and any(statement is other for other in statements):
            return left[0]
        left += [inner for inner in import_time(statement, annotations=False) if isinstance(inner, ast.Return)]
    return None


def _is_between(init: Function, statements: Collection[ast.stmt]) -> bool:
    """Whether other statements that may set attributes follow these."""
    following = init.body[::-1]
    while following and any(following[0] is statement for statement in statements):
        following = following[1:]
    return any(statement is other for statement in following for other in statements)


def _without(init: Function, statements: Collection[ast.stmt]) -> list[str]:
    """What a function does to an instance besides these statements."""
    rest = copy(init)
    rest.body = [statement for statement in init.body if not any(statement is other for other in statements)]
    return stateful(rest)


def _value(edit: ModuleDiff, cls: ast.ClassDef, before: Function, after: Function, statement: ast.stmt) -> Any:
    """What a statement sets an attribute to, for each instance that the old version could make."""
    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    value = statement.value
    assert value is not None
    local = {inner.id for inner in walk(after) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
    old, new = parameters(before), parameters(after)
    if isinstance(value, ast.Name) and value.id in new and value.id not in {*old, *local} and new[value.id] is not None:
        if passed := instances.passed(edit, cls.name, [value.id], len(old) - 1):
            raise Unproven(f"{passed} makes one with another value")
        value = new[value.id]
    if value is None or any(isinstance(inner, ast.Name) and inner.id in {*local, *new} for inner in walk(value)):
        raise Unproven(f"`{ast.unparse(statement)}` depends on what it is made with")
    return _plain(edit, edit.new, value)


def _plain(edit: ModuleDiff, module: Module, value: ast.expr | None) -> Any:
    """The value of an expression, which nobody can change. Raises Unproven."""
    if value is None:
        raise Unproven("there is no value for those that there are")
    for name in (inner for inner in walk(value) if isinstance(inner, ast.Name | ast.Attribute)):
        origin = edit.world.new.resolve(module, name)
        known = edit.world.new.modules.get(origin[0]) if origin else None
        if known is not None and origin is not None and origin[1] in changed_by_functions(known.body):
            raise Unproven(f"{ast.unparse(name)} is not the same all the time")
    try:
        result: Any = edit.world.new.evaluate(module, value)
        hash(result)
    except (NotPlain, TypeError):
        reason = f"`{ast.unparse(value)}` is not one value that nobody can change, so that it may be another by now"
        raise Unproven(reason) from None
    return result


def _check(edit: ModuleDiff, old: ast.ClassDef, cls: ast.ClassDef, result: Given, *, stores: int) -> None:
    """Raise Unproven where setting these attributes does something else, or more than so many statements set one of them."""
    given, taken = result.attributes, result.taken
    if given and taken:
        raise Unproven(f"{min(given)} may be what {min(taken)} was")
    if not plain_bases(edit.world, edit.new, cls):
        raise Unproven("what its bases do with attributes is not known")
    for node in (*instances.with_bases(edit, edit.new, cls), old):
        for statement in node.body:
            if isinstance(statement, Function) and statement.name in (*_IN_THE_WAY, *given):
                raise Unproven(f"{statement.name} of {node.name} decides what is set")
            if isinstance(statement, Function) and statement.name == "__hash__" and _reads_any(statement, given):
                raise Unproven(f"the hash of a {node.name} depends on what it has")
            match statement:
                case ast.Assign([ast.Name("__slots__")], value):
                    if {*given} - {*_plain(edit, edit.new, value)}:
                        raise Unproven(f"{node.name} has slots, and none for that")
    if problem := instances.made_or_set_otherwise(edit, cls.name, given):
        raise Unproven(problem)
    for attribute, most in (*((name, stores) for name in given), *((name, 0) for name in taken)):
        if instances.stores(edit, attribute) > most:
            raise Unproven(f"{attribute} is set elsewhere too, and may be another by now")


def _reads_any(function: Function, given: Collection[str]) -> bool:
    names = {inner.attr for inner in walk(function) if isinstance(inner, ast.Attribute)}
    names |= {inner.id for inner in walk(function) if isinstance(inner, ast.Name)}
    return bool(names & {"__dict__", "vars", *given})


def _is_hashed(cls: ast.ClassDef) -> bool:
    """Whether ``dataclass`` makes a hash of the fields."""
    options = [
        word for decorator in cls.decorator_list if isinstance(decorator, ast.Call) for word in decorator.keywords
    ]
    return any(
        word.arg in ("frozen", "unsafe_hash") and not (isinstance(word.value, ast.Constant) and not word.value.value)
        for word in options
    )


def _fields(cls: ast.ClassDef) -> dict[str, ast.AnnAssign]:
    return {
        statement.target.id: statement
        for statement in cls.body
        if isinstance(statement, ast.AnnAssign)
        if isinstance(statement.target, ast.Name)
    }


def _default(statement: ast.AnnAssign) -> ast.expr | None:
    match statement.value:
        case ast.Call(ast.Name("field") | ast.Attribute(attr="field"), [], keywords):
            return next((word.value for word in keywords if word.arg == "default"), None)
    return statement.value


def _text(value: ast.expr | None) -> str:
    return "" if value is None else ast.dump(value)
