"""What functions leave behind that lives on: closures with what these hold, and caches."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping

from ..source import Function, nodes_of, text, walk

_PLAIN_CALLS = {*("str", "int", "float", "bool", "bytes", "len", "repr", "sum", "abs", "round", "hash", "ord", "chr")}
_PLAIN_METHODS = {*dir(str), *("hexdigest", "digest", "isoformat", "timestamp", "total_seconds")}
_PLAIN = (ast.Constant, ast.JoinedStr, ast.Compare)


def captured(old: Function, new: Function) -> str:
    """Why closures that a function has returned, and that are alive, are not what it would make now; empty if they are."""
    before, after = _returned(old), _returned(new)
    if not before:
        return ""
    names = {name for inner in before.values() for name in _read(inner)}
    was, now = _assigned(old), _assigned(new)
    for name in sorted(names & was.keys() & now.keys()):
        if was[name] != now[name]:
            return f"what it has returned holds {name} as the old version made it"
    for name, inner in before.items():
        other = after.get(name)
        if isinstance(inner, Function) and isinstance(other, Function) and _defaults(inner) != _defaults(other):
            return f"what it has returned, {name}, has the defaults of the old version"
    return ""


def cached(function: Function) -> str:
    """Why the results that a function has cached can't be let go of; empty if they can."""
    args = function.args
    if not (args.args or args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg):
        return "its cache holds the one object that it has made, and others may hold that"
    plain = _plain_names(function)
    for inner in nodes_of(function):
        if isinstance(inner, ast.Return) and inner.value is not None and not _is_plain(inner.value, plain):
            return f"its cache holds what it has made, `{ast.unparse(inner.value)[:40]}`, and others may hold that too"
    return ""


def _is_plain(value: ast.expr, names: set[str]) -> bool:
    """Whether nobody could tell what an expression gives from another like it."""
    match value:
        case ast.Name(name):
            return name in names
        case ast.Tuple(elts):
            return all(_is_plain(element, names) for element in elts)
        case ast.UnaryOp(operand=operand):
            return _is_plain(operand, names)
        case ast.BinOp(left, _, right):
            return _is_plain(left, names) or _is_plain(right, names)
        case ast.BoolOp(values=values):
            return all(_is_plain(operand, names) for operand in values)
        case ast.IfExp(_, one, other):
            return _is_plain(one, names) and _is_plain(other, names)
        case ast.Call(ast.Name(name)):
            return name in _PLAIN_CALLS
        case ast.Call(ast.Attribute(_, name)):
            return name in _PLAIN_METHODS
    return isinstance(value, _PLAIN)


def _plain_names(function: Function) -> set[str]:
    """Parameters, which can be hashed where there is a cache, and what is made of such; without what may be anything else."""
    plain = {inner.arg for inner in walk(function) if isinstance(inner, ast.arg)}
    stores: dict[str, list[ast.expr | None]] = {}
    for statement in nodes_of(function):
        match statement:
            case ast.Assign([ast.Name(name)], value):
                stores.setdefault(name, []).append(value)
            case ast.AugAssign(ast.Name(name), _, value):
                stores.setdefault(name, []).append(value)
            case ast.For(target=ast.Name(name)):
                stores.setdefault(name, []).append(ast.Constant(0))
            case ast.Assign([ast.Tuple(elts)], ast.Tuple(values)) if len(elts) == len(values):
                for target, value in zip(elts, values, strict=True):
                    if isinstance(target, ast.Name):
                        stores.setdefault(target.id, []).append(value)
    for _ in stores:
        plain |= {name for name, values in stores.items() if all(v is not None and _is_plain(v, plain) for v in values)}
    return plain


def _returned(function: Function) -> Mapping[str, Function | ast.Lambda]:
    """The functions that a function makes, and returns, by name."""
    nested = {inner.name: inner for inner in nodes_of(function) if isinstance(inner, Function)}
    returned: dict[str, Function | ast.Lambda] = {}
    for statement in nodes_of(function):
        if isinstance(statement, ast.Return) and statement.value is not None:
            for inner in walk(statement.value):
                if isinstance(inner, ast.Name) and inner.id in nested:
                    returned[inner.id] = nested[inner.id]
            if isinstance(statement.value, ast.Lambda):
                returned["<lambda>"] = statement.value
    return returned


def _assigned(function: Function) -> dict[str, list[str]]:
    """What a function binds its names to."""
    values: dict[str, list[str]] = {}
    for statement in nodes_of(function):
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(text(statement.value))
    return values


def _read(function: Function | ast.Lambda) -> set[str]:
    names = {inner.id for inner in walk(function) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}
    return {name for name in names if not hasattr(builtins, name)}


def _defaults(function: Function) -> str:
    return "|".join(map(text, [*function.args.defaults, *function.args.kw_defaults]))
