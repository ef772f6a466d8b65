"""What is read of settings that change, and stays: ``settings.log_level``, where only ``page_size`` differs by now.

Who reads nothing else of them is not concerned, whatever it has done with it at the start. A field stays where what makes it is
the same, and nothing that it is made with changes.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from ...edit import ModuleDiff, PlannerContext
from ...source import Function, Module, Origin, children, text, walk, with_body
from ...values import Side, origin
from ..bases import DATACLASS
from . import cached_makers, classes_again

Node = TypeVar("Node", bound=ast.AST)
Fields: TypeAlias = dict[str, list[ast.AST]]
"""By the name of a field: what it is made of, in the classes that have it."""

_TAKES_ITS_VALUE = {"field_validator", "field_serializer"}
"""Decorators of pydantic for what is given the value of a field, and no other where it takes no more."""
_WITH_ITS_CLASS = 2
_SAID_OF_ITSELF = ("__str__", "__repr__")
_ONLY_ASKED = {"property", "computed_field", "cached_property", "classmethod", "staticmethod"}
"""Decorators of methods that somebody must ask for."""
_MAKING = ("model_post_init", "settings_customise_sources")
_WHOLE = ""
"""The name of what all fields are made with."""


@dataclass(frozen=True)
class Staying:
    """Fields that stay, of classes whose other fields change, and how they are read."""

    world: PlannerContext
    edits: Mapping[str, ModuleDiff]
    fields: Mapping[Origin, Collection[str]]
    _reads: dict[str, set[int]] = field(default_factory=dict)

    def without(self, module: Module) -> Module:
        """A module that does not read these."""
        if not self.fields or not self._reads_in(module):
            return module
        return with_body(module, (self.within(module, statement) for statement in module.body))

    def within(self, module: Module, node: Node) -> Node:
        """A node of a module that does not read these: the same where it reads none."""
        return _replaced(node, self._reads_in(module)) if self.fields else node

    def _reads_in(self, module: Module) -> set[int]:
        """The ids of the nodes in a module that read one."""
        if module.name not in self._reads:
            self._reads[module.name] = {id(node) for statement in module.body for node in self._of(module, statement)}
        return self._reads[module.name]

    def _of(self, module: Module, statement: ast.stmt) -> Iterator[ast.AST]:
        bound = _bound(statement)
        for node in walk(statement):
            if isinstance(node, ast.Attribute) and self._is_read(node, self._made(module, node.value, bound)):
                yield node
        for function in (node for node in walk(statement) if isinstance(node, Function)):
            yield from self._of_variables(module, function, bound)

    def _of_variables(self, module: Module, function: Function, bound: Mapping[str, int]) -> Iterator[ast.AST]:
        """Reads of a variable that is bound to settings, and of which nothing else is read; and what it is bound to.

        A generator may be begun, and hold them.
        """
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in walk(function)):
            return
        for statement in walk(function):
            match statement:
                case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), value=ast.expr() as value):
                    of = self._made(module, value, bound) if bound[name] == 1 else None
                    reads = _uses(function, name)
                    if of is not None and all(
                        isinstance(read, ast.Attribute) and self._is_read(read, of) for read in reads
                    ):
                        yield from (value, *reads)
                        yield from [statement.annotation] if isinstance(statement, ast.AnnAssign) else ()

    def _is_read(self, node: ast.AST, of: Origin | None) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node.attr in self.fields.get(of or ("", ""), ())
        )

    def _made(self, module: Module, node: ast.expr, bound: Collection[str] = (), depth: int = 4) -> Origin | None:
        """The class of the settings that an expression gives; None where that can't be told."""
        called = node.func if isinstance(node, ast.Call) else node
        root = called.id if isinstance(called, ast.Name) else None
        if not isinstance(called, ast.Name | ast.Attribute) or (root in bound) or not depth:
            return None
        source = self.world.new.resolve(module, called)
        edit = self.edits.get(source[0]) if source else None
        if source is None or edit is None or source in self.world.reset or self.world.changed_reads(module, node):
            return None
        if isinstance(node, ast.Call) and source in self.fields:
            given = [*node.args, *(word.value for word in node.keywords)]
            return source if all(isinstance(value, ast.Constant | ast.Name) for value in given) else None
        made = _what_makes(edit.new, source[1], isinstance(node, ast.Call))
        before = _what_makes(edit.old, source[1], isinstance(node, ast.Call))
        if made is None or before is None or text(made) != text(before) or source[1] in edit.own:
            return None
        if isinstance(node, ast.Call) and (node.args or node.keywords):
            return None
        return self._made(edit.new, made, (), depth - 1)


def of(world: PlannerContext, edits: Mapping[str, ModuleDiff], leads: Callable[[Iterable[str]], object]) -> Staying:
    """The fields that stay; `leads` says whether one of some names leads to something that changes."""
    fields: dict[Origin, Collection[str]] = {}
    for edit in edits.values():
        for name, cls in edit.new.classes.items():
            old = edit.old.classes.get(name)
            if name in edit.own and old is not None:
                before, after = _fields(world, world.old, edit.old, old), _fields(world, world.new, edit.new, cls)
                if stay := _staying(before, after, leads):
                    fields[edit.new.name, name] = stay
    return Staying(world, edits, fields)


def _staying(before: Fields | None, after: Fields | None, leads: Callable[[Iterable[str]], object]) -> set[str]:
    if before is None or after is None or not _is_same(before, after, _WHOLE) or leads({*_names(after[_WHOLE])}):
        return set()
    named = (name for name in before if name != _WHOLE)
    stay = {name for name in named if _is_same(before, after, name) and not leads({*_names(after[name])})}
    while gone := {name for name in stay if {*_of_itself(after[name])} - stay}:
        stay -= gone
    return stay


def _is_same(before: Fields, after: Fields, name: str) -> bool:
    return [*map(text, before[name])] == [*map(text, after.get(name, ()))]


def _fields(world: PlannerContext, side: Side, module: Module, cls: ast.ClassDef) -> Fields | None:
    """What each field of a class is made of, and under no name what all are made with; None where that can't be told."""
    is_model = classes_again.is_model(world, module, cls)
    by = [".".join(origin(side, module, decorator) or ()) for decorator in cls.decorator_list]
    if not is_model and (by not in ([], [DATACLASS]) or cls.keywords):
        return None
    fields: Fields = {_WHOLE: [*cls.decorator_list, *cls.bases, *cls.keywords]}
    for base in cls.bases:
        source = origin(side, module, base)
        if ".".join(source or ()) not in cached_makers.OF_OTHERS:
            known = side.modules.get(source[0]) if source and source[0] in world.compared else None
            above = known.classes.get(source[1]) if known and source else None
            inherited = _fields(world, side, known, above) if known and above and above is not cls else None
            if inherited is None:
                return None
            _add(fields, inherited)
    for statement in cls.body:
        more = _of_model(statement) if is_model else _of_plain(statement)
        if more is None:
            return None
        _add(fields, more)
    return fields


def _add(fields: Fields, more: Fields) -> None:
    for name, nodes in more.items():
        fields[name] = [*fields.get(name, ()), *nodes]


def _of_model(statement: ast.stmt) -> Fields | None:
    match statement:
        case ast.AnnAssign(ast.Name(name), annotation, value):
            return {name: [annotation, *filter(None, [value])]}
        case ast.Assign([ast.Name("model_config")], value):
            return {_WHOLE: [value]}
        case ast.FunctionDef(args=args, decorator_list=by) if len([*args.args, *args.kwonlyargs]) == _WITH_ITS_CLASS:
            calls = [decorator.func for decorator in by if isinstance(decorator, ast.Call)]
            if {ast.unparse(called).rpartition(".")[2] for called in calls} & _TAKES_ITS_VALUE:
                return {_WHOLE: [statement]}
    return _of_other(statement)


def _of_plain(statement: ast.stmt) -> Fields | None:
    match statement:
        case ast.AnnAssign(ast.Name(name), annotation, value):
            return {name: [annotation, *filter(None, [value])]}
        case ast.Assign([ast.Name(name)], value):
            return {name: [value]}
        case ast.FunctionDef("__init__"):
            return _filled(statement)
    return _of_other(statement)


def _of_other(statement: ast.stmt) -> Fields | None:
    """A method that somebody must ask for, which may read all fields; or what is none."""
    match statement:
        case ast.FunctionDef(name, decorator_list=by) | ast.AsyncFunctionDef(name, decorator_list=by):
            is_asked = {ast.unparse(decorator).rpartition(".")[2] for decorator in by} <= _ONLY_ASKED
            is_harmless = name in _SAID_OF_ITSELF or (not name.startswith("__") and name not in _MAKING)
            return {name: [ast.Name("self", ast.Load())]} if is_asked and is_harmless else None
    return {} if _is_nothing(statement) else None


def _filled(method: ast.FunctionDef) -> Fields | None:
    """What each attribute is made of that a method sets, where it does nothing else."""
    args = [*method.args.posonlyargs, *method.args.args]
    defaults = dict(zip([arg.arg for arg in args][::-1], method.args.defaults[::-1], strict=False))
    if method.decorator_list or method.args.vararg or method.args.kwonlyargs or method.args.kwarg:
        return None
    fields: Fields = {}
    for statement in method.body:
        match statement:
            case ast.Assign([ast.Attribute(ast.Name("self"), name)], value) | ast.AnnAssign(
                ast.Attribute(ast.Name("self"), name), value=ast.expr() as value
            ):
                used = {inner.id for inner in walk(value) if isinstance(inner, ast.Name)}
                _add(fields, {name: [value, *(default for of, default in defaults.items() if of in used)]})
            case _ if not _is_nothing(statement):
                return None
    return fields


def _is_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names by which something else is read."""
    for inner in (inner for node in nodes for inner in walk(node)):
        match inner:
            case ast.Attribute(ast.Name("self")):
                continue
            case ast.Name(name) | ast.Attribute(attr=name) | ast.Constant(str(name)):
                yield name


def _of_itself(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The attributes of an instance of which another one is made; an empty text for the instance."""
    every = [inner for node in nodes for inner in walk(node)]
    known = {id(inner.value) for inner in every if isinstance(inner, ast.Attribute)}
    for inner in every:
        match inner:
            case ast.Attribute(ast.Name("self"), attribute):
                yield attribute
            case ast.Name("self") if id(inner) not in known:
                yield ""


def _what_makes(module: Module, name: str, called: bool) -> ast.expr | None:
    """What a global is bound to, or a function returns that does nothing else."""
    function = module.functions.get(name)
    if not called or function is None:
        return None if called else module.globals.get(name)
    return cached_makers.made_by(function) if isinstance(function, ast.FunctionDef) else None


def _bound(statement: ast.stmt) -> Counter[str]:
    """How often names are bound within a statement, and not where it stands; of a name that is not its own alone, more than once."""
    bound: Counter[str] = Counter()
    for inner in walk(statement):
        match inner:
            case ast.Name(name, ast.Store() | ast.Del()) | ast.arg(name) | ast.ExceptHandler(name=str(name)):
                bound[name] += 1
            case ast.MatchAs(name=str(name)) | ast.MatchStar(str(name)) | ast.MatchMapping(rest=str(name)):
                bound[name] += 1
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name) if inner is not statement:
                bound[name] += 1
            case ast.alias(name, other):
                bound[(other or name).partition(".")[0]] += 1
            case ast.Global(names) | ast.Nonlocal(names):
                bound.update(dict.fromkeys(names, 2))
    return bound


def _uses(function: Function, name: str) -> list[ast.AST]:
    """The attributes that are read of a variable, and the variable where it is used by itself."""
    return [
        holder if isinstance(holder, ast.Attribute) else inner
        for holder in walk(function)
        for inner in children(holder)
        if isinstance(inner, ast.Name) and inner.id == name and isinstance(inner.ctx, ast.Load)
    ]


def _replaced(node: Node, gone: Collection[int]) -> Node:
    """A node with a constant in the place of expressions below it, by their ids; itself where none of these is."""
    if id(node) in gone:
        return ast.copy_location(ast.Constant(None), node)  # type: ignore[return-value]
    changes: dict[str, object] = {}
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            after: object = _replaced(value, gone)
        elif isinstance(value, list):
            after = [_replaced(item, gone) if isinstance(item, ast.AST) else item for item in value]
            after = value if all(one is other for one, other in zip(value, after, strict=True)) else after
        else:
            continue
        if after is not value:
            changes[name] = after
    if not changes:
        return node
    result = copy(node)
    vars(result).update(changes)
    return result
