"""What an expression is when it is plain on the face of it: computed without running anything."""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from underway_runtime.release import plain_values
from underway_runtime.upgrade.hot import statements

from .source import Function, Module, Origin, names_bound

_VERSION = "importlib.metadata.version"

LARGEST = 100_000
"""Bits, characters or items of what is computed; nobody writes a larger constant by hand."""

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.RShift: operator.rshift,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "frozenset": frozenset,
    "set": set,
    "tuple": tuple,
    "list": list,
    "dict": dict,
    **({} if plain_values.FROZEN_DICT is None else {"frozendict": plain_values.FROZEN_DICT}),
}

_CONVERSIONS: Mapping[int, Callable[[Any], Any]] = {-1: lambda value: value, 115: str, 114: repr, 97: ascii}


class NotPlain(Exception):
    """The value can't be told from the source."""


@dataclass(frozen=True)
class Side:
    """One of the two releases, as far as it was read."""

    modules: Mapping[str, Module]
    versions: Mapping[str, str] = field(default_factory=dict)
    """Application, as metadata names it, -> version."""
    opaque: frozenset[Origin] = frozenset()
    """Globals of which the source does not say what they are."""

    def origin(self, module: Module, name: str) -> Origin:
        """Where what a module calls `name` is made: through imports, to the module that binds it otherwise."""
        seen = set()
        while (here := (module.name, name)) not in seen:
            seen.add(here)
            target = module.imports.get(name)
            if target is None:
                return here
            inner = f"{target[0]}.{target[1]}" if target[1] else target[0]
            if not target[1] or (inner in self.modules and target[1] not in self._stored(target[0])):
                return inner, ""
            if target[0] not in self.modules:
                return target
            module, name = self.modules[target[0]], target[1]
        if (submodule := f"{module.name}.{name}") in self.modules:
            return submodule, ""  # a package that imports its own: `from . import rooms`
        raise NotPlain(name)

    def resolve(self, module: Module, node: ast.AST) -> Origin | None:
        """Tell what a name, or a dotted name, stands for; None where that can't be told."""
        match node:
            case ast.Name(id=name):
                try:
                    return self.origin(module, name)
                except NotPlain:
                    return None
            case ast.Attribute(value=value, attr=attribute):
                base = self.resolve(module, value)
                if base is None or base[1]:
                    return (base[0], f"{base[1]}.{attribute}") if base else None
                if f"{base[0]}.{attribute}" in self.modules and attribute not in self._stored(base[0]):
                    return f"{base[0]}.{attribute}", ""
                known = self.modules.get(base[0])
                return self.resolve(known, ast.Name(attribute)) if known else (base[0], attribute)
        return None

    def value(self, origin: Origin) -> Any:
        """The plain value of a global. Raises NotPlain."""
        module = self.modules.get(origin[0])
        if module is None or origin[1] not in module.globals or origin in self.opaque:
            raise NotPlain(".".join(origin))
        return self.evaluate(module, module.globals[origin[1]], (origin,))

    def evaluate(self, module: Module, node: ast.expr, within: tuple[Origin, ...] = ()) -> Any:
        """Compute the plain value of an expression of a module. Raises NotPlain when there is none to be told."""
        try:
            value = self._evaluate(module, node, within)
            plain_values.encode(value)
        except NotPlain:
            raise
        except Exception as error:  # whatever the expression would raise when it is run
            raise NotPlain(str(error)) from None
        return value

    def _evaluate(self, module: Module, node: ast.expr, within: tuple[Origin, ...]) -> Any:
        def of(inner: ast.expr) -> Any:
            return self._evaluate(module, inner, within)

        match node:
            case ast.Constant(value):
                return value
            case ast.Tuple(elts):
                return tuple(map(of, elts))
            case ast.List(elts):
                return list(map(of, elts))
            case ast.Set(elts):
                return set(map(of, elts))
            case ast.Dict(keys, values) if None not in keys:
                return {of(key): of(value) for key, value in zip(keys, values, strict=True) if key is not None}
            case ast.UnaryOp(op, operand):
                return _UNARY[type(op)](of(operand))
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return _bounded(op, of(left), of(right))
            case ast.Call(ast.Name(name), args, []) if name in _MAKERS and name not in module.stored:
                values = list(map(of, args))
                return _MAKERS[name](*values if name.endswith("set") else map(_ordered, values))
            case ast.Call(ast.Name("frozendict"), [], keywords) if (
                "frozendict" in _MAKERS.keys() - module.stored.keys()
            ):
                if all(keyword.arg for keyword in keywords):
                    return _MAKERS["frozendict"]({keyword.arg: of(keyword.value) for keyword in keywords})
            case ast.Call(func, [argument], []) if ".".join(self.resolve(module, func) or ()) == _VERSION:
                if (name := of(argument)) in self.versions:
                    return self.versions[name]
            case ast.JoinedStr(parts):
                return "".join(map(of, parts))
            case ast.FormattedValue(inner, conversion, spec):
                written = _spec("" if spec is None else of(spec))
                return format(_CONVERSIONS[conversion](_ordered(of(inner))), written)
            case ast.Name("__name__") if "__name__" not in module.stored:
                return module.name
            case ast.Name() | ast.Attribute():
                origin = self.resolve(module, node)
                known = self.modules.get(origin[0]) if origin else None
                if origin and known and origin[1] in known.globals and origin not in {*within, *self.opaque}:
                    value = self._evaluate(known, known.globals[origin[1]], (*within, origin))
                    hash(value)  # who can say what a list holds by the time it is read
                    return value
        raise NotPlain(ast.unparse(node)[:80])

    def _stored(self, name: str) -> Mapping[str, int]:
        return self.modules[name].stored if name in self.modules else {}


def origin(side: Side, module: Module, node: ast.expr) -> Origin | None:
    """Where a decorator, or a base, comes from, called or subscripted or not; builtins included."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name) and node.id not in module.stored:
        return "builtins", node.id
    return side.resolve(module, node)


def same(one: Any, other: Any) -> bool:
    """Whether two plain values are the same, types, signs and order included."""
    return json.dumps(plain_values.encode(one)) == json.dumps(plain_values.encode(other))


def is_shared(value: object) -> bool:
    """Whether a plain value is a list or a dict: who has it sees what is done to it."""
    return isinstance(value, list | dict)


def literal(value: Any) -> ast.expr:
    """An expression for a plain value."""
    match value:
        case list():
            return ast.List([literal(item) for item in value], ast.Load())
        case tuple():
            return ast.Tuple([literal(item) for item in value], ast.Load())
        case set() if value:
            return ast.Set([literal(item) for item in _settled(value)])
        case set():
            return _call("set")
        case frozenset():
            return _call("frozenset", ast.Tuple([literal(item) for item in _settled(value)], ast.Load()))
        case _ if type(value) is plain_values.FROZEN_DICT:
            return _call("frozendict", literal(dict(value)))
        case dict():
            return ast.Dict([literal(key) for key in value], [literal(item) for item in value.values()])
        case float() if not math.isfinite(value):
            return _call("float", ast.Constant(repr(value)))
        case complex():
            return _call("complex", literal(value.real), literal(value.imag))
    return ast.Constant(value)


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _settled(value: Any) -> list[Any]:
    return sorted(value, key=lambda item: json.dumps(plain_values.encode(item)))


def _spec(text: str) -> str:
    """A format that makes nothing large; raises NotPlain for any that might."""
    if re.search(r"\d{4}|\*", text):
        raise NotPlain("it may be too large")
    return text


def _ordered(value: Any) -> Any:
    """A value whose text, and whose items, come in one order; raises NotPlain where a set has them in another in each process."""
    is_dict = isinstance(value, dict) or type(value) is plain_values.FROZEN_DICT
    inner = [*value, *value.values()] if is_dict else value if isinstance(value, tuple | list) else ()
    if isinstance(value, set | frozenset) and len(value) > 1:
        raise NotPlain("the order of a set differs from process to process")
    for element in inner:
        _ordered(element)
    return value


def _bounded(op: ast.operator, left: Any, right: Any) -> Any:
    def size(value: Any) -> int:
        return value.bit_length() if isinstance(value, int) else len(value) if hasattr(value, "__len__") else 1

    if isinstance(op, ast.Mod) and isinstance(left, str | bytes):
        _spec(left if isinstance(left, str) else left.decode("latin-1"))
        _ordered(right)
    if isinstance(op, ast.Pow | ast.LShift | ast.Mult) and isinstance(right, int | str | bytes | tuple | list):
        count = abs(right) if isinstance(right, int) else len(right)
        if isinstance(op, ast.Mult) and isinstance(left, int) and not isinstance(right, int):
            left, right, count = right, left, abs(left)
        numbers = isinstance(op, ast.Mult) and isinstance(left, int)
        if (size(left) + count.bit_length() if numbers else max(1, size(left)) * max(count, 1)) > LARGEST:
            raise NotPlain("it is too large")
    return _BINARY[type(op)](left, right)


class _Change(Protocol):
    """What is known of the whole change."""

    @property
    def new(self) -> Side:
        """The release that comes."""

    @property
    def values(self) -> Mapping[Origin, Any]:
        """Globals whose value changes."""


class NewValues(ast.NodeTransformer):
    """Asks for values that change, each the very one that it will be, wherever a fragment would read the old ones."""

    def __init__(self, world: _Change, module: Module) -> None:
        self.world, self.module = world, module
        self.hidden: frozenset[str] = frozenset()
        """Names that mean something else where this has come to: the targets of comprehensions."""
        self.of_class: frozenset[str] = frozenset()
        """Those of the class whose body this is in; they hide nothing from what is nested in it."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        outside = self.of_class
        self.of_class = frozenset(name for statement in node.body for name in names_bound(statement))
        node.body = [self.visit(statement) for statement in node.body]
        self.of_class = outside
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        first = node.generators[0]
        first.iter = self.visit(first.iter)  # what is outside of its scope
        iterated, first.iter = first.iter, ast.Constant(None)
        targets = (inner for generator in node.generators for inner in ast.walk(generator.target))
        outside = self.hidden, self.of_class
        self.hidden |= {target.id for target in targets if isinstance(target, ast.Name)}
        self.of_class = frozenset()
        self.generic_visit(node)
        (self.hidden, self.of_class), first.iter = outside, iterated
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node if self.module.future else self.generic_visit(node)  # a text that nothing is put into

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = None if node.value is None else self.visit(node.value)
        node.annotation = node.annotation if self.module.future else self.visit(node.annotation)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit(node.args)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._value(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        value = self._value(node)
        return self.generic_visit(node) if value is node else value

    def _function(self, node: Function) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args = self.visit(node.args)
        if node.returns is not None and not self.module.future:
            node.returns = self.visit(node.returns)
        return node

    def _value(self, node: ast.Name | ast.Attribute) -> ast.AST:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in self.hidden | self.of_class:
            return node
        origin = self.world.new.resolve(self.module, node) if isinstance(node.ctx, ast.Load) else None
        if origin is None or origin not in self.world.values:
            return node
        return _becomes(*origin, node)


def _becomes(module: str, name: str, at: ast.AST) -> ast.expr:
    """Make what reads what a name will be bound to, in the place of a node."""
    return _hidden_call(statements.BECOMES, [ast.Constant(module), ast.Constant(name)], at)


class Placed(ast.NodeTransformer):
    """Has each function that a statement makes go through `statements.LIVE`; those that functions make are of what these are of."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit(node.args)
        return _hidden_call(statements.LIVE, [node], node)

    def _function(self, node: Function) -> ast.AST:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args = self.visit(node.args)
        node.decorator_list.append(ast.copy_location(ast.Name(statements.LIVE, ast.Load()), node))
        return node


def _hidden_call(name: str, arguments: list[ast.expr], at: ast.AST) -> ast.expr:
    made = ast.Call(ast.Name(name, ast.Load()), arguments, [])
    for part in (made, made.func, *arguments):
        ast.copy_location(part, at)
    return made
