"""State that no method assigns to its instance: what containers hold, what instances are given, what other functions set on them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence

from ..source import Function, functions_in, names_stored, root_of, walk

_ADDING = {
    *("append", "appendleft", "add", "put", "put_nowait", "insert", "setdefault", "push", "send_nowait"),
}
"""Methods by which something is put into a container; it is their last argument."""

Kinds = dict[str, list[ast.expr]]
"""What is assigned, or put, somewhere; by where."""


def held(body: Iterable[ast.stmt]) -> Kinds:
    """What functions put into containers that outlive them, by the text of the container."""
    values: Kinds = {}
    for path, function in functions_in(body):
        owner = path.rpartition(".")[2]
        local = _locals(function) - set(_first(function) if owner else ())
        for node in walk(function):
            for container, value in _put(node):
                if root_of(container, ast.Attribute, ast.Subscript, ast.Call) not in local:
                    values.setdefault(f"what {ast.unparse(container)} holds", []).append(value)
    return values


def outliving_instances(body: Iterable[ast.stmt], classes: Collection[str]) -> Iterator[tuple[str, str, ast.AST]]:
    """Where functions put an instance of these classes, made by them, into something that outlives them.

    Each with the name of the parameter that holds it, empty for a global; the class whose instance that is, if so; and the node.
    """
    for path, function in functions_in(body):
        owner = path.rpartition(".")[2]
        me, local = _first(function) if owner else [], _locals(function)
        made = {*_made(function, classes)}
        for node in walk(function):
            for container, value in (*_put(node), *_set(node)):
                root = root_of(container, ast.Attribute, ast.Subscript, ast.Call)
                if root not in local - {*me} and any(_is_made(inner, classes, made) for inner in walk(value)):
                    yield root if root in me else "", owner if root in me else "", node


def _set(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is assigned to attributes, with whose they are."""
    match node:
        case ast.Assign(targets, value):
            yield from ((target.value, value) for target in targets if isinstance(target, ast.Attribute))
        case ast.AnnAssign(ast.Attribute(of), _, ast.expr() as value):
            yield of, value


def _is_made(node: ast.AST, classes: Collection[str], made: Collection[str]) -> bool:
    match node:
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name)):
            return name in classes
        case ast.Name(name):
            return name in made
    return False


def given(body: Sequence[ast.stmt], classes: Collection[str]) -> Kinds:
    """What instances of these classes are made with, by position and name of the argument."""
    values: Kinds = {}
    for statement in body:
        for node in walk(statement):
            match node:
                case ast.Call(ast.Name(name) | ast.Attribute(attr=name), args, keywords) if name in classes:
                    named = [*((str(number), argument) for number, argument in enumerate(args, 1))]
                    named += [(keyword.arg, keyword.value) for keyword in keywords if keyword.arg]
                    for where, value in named:
                        values.setdefault(f"argument {where} of {name}", []).append(value)
    return values


def set_by_others(body: Iterable[ast.stmt], cls: str) -> dict[str, ast.AST]:
    """The attributes that functions set on an instance of a class which they have made themselves, each with where."""
    places: dict[str, ast.AST] = {}
    for path, function in functions_in(body):
        owner = path.rpartition(".")[2]
        classes = {cls, *(["cls"] if owner == cls else [])}
        made = set(_made(function, classes))
        for node in walk(function):
            match node:
                case ast.Attribute(ast.Name(name), attribute, ast.Store()) if name in made:
                    places.setdefault(attribute, node)
                case ast.Call() if owner == cls or made:
                    for attribute in _set_by_name(node, {*made, *(_first(function) if owner == cls else ())}):
                        places.setdefault(attribute, node)
    return places


def _set_by_name(call: ast.Call, instances: Collection[str]) -> Iterator[str]:
    """The attributes that ``x.__dict__.update(a=1)``, ``vars(x).update({"a": 1})`` or ``setattr(x, "a", 1)`` sets."""
    match call:
        case ast.Call(ast.Attribute(ast.Attribute(ast.Name(name), "__dict__"), "update"), args, keywords) if (
            name in instances
        ):
            pass
        case ast.Call(ast.Attribute(ast.Call(ast.Name("vars"), [ast.Name(name)]), "update"), args, keywords) if (
            name in instances
        ):
            pass
        case ast.Call(
            ast.Name("setattr") | ast.Attribute(ast.Name("object"), "__setattr__"),
            [ast.Name(name), ast.Constant(str(attribute)), _],
        ) if name in instances:
            yield attribute
            return
        case _:
            return
    yield from (keyword.arg for keyword in keywords if keyword.arg)
    for argument in args:
        if isinstance(argument, ast.Dict):
            yield from (str(key.value) for key in argument.keys if isinstance(key, ast.Constant))


def _put(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.Call(ast.Attribute(container, method), [*_, value]) if method in _ADDING:
            yield container, value
        case ast.Assign(targets, value):
            yield from ((target.value, value) for target in targets if isinstance(target, ast.Subscript))


def _first(function: Function) -> list[str]:
    return [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)][:1]


def _locals(function: Function) -> set[str]:
    """The names of a function's own, parameters too: what they stand for is not known."""
    named = {name for inner in walk(function) if isinstance(inner, ast.Global | ast.Nonlocal) for name in inner.names}
    return names_stored(function) - named


def _made(function: Function, classes: Collection[str]) -> Iterator[str]:
    """The names of what a function has made of these classes."""
    for inner in walk(function):
        match inner:
            case ast.Assign([ast.Name(name)], ast.Call(called, args)):
                made = called.id if isinstance(called, ast.Name) else ""
                by_new = isinstance(called, ast.Attribute) and called.attr == "__new__" and args
                first = args[0].id if by_new and isinstance(args[0], ast.Name) else ""
                if {made, first} & {*classes}:
                    yield name
