"""What is nested in a function: paired with what is nested in the newer one, so that live closures get new code, or must not be."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import TypeGuard

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from ..edit import ModuleDiff
from ..source import Function, Module, children, names_bound, text, walk
from ..values import Side, origin
from .signatures import KINDS, defaults, signature

_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For, ast.With)
_HELD = (ast.Attribute, ast.Subscript)


def pair_nested(edit: ModuleDiff, name: str, path: str, old: Function, new: Function) -> bool:
    """Pair what is nested in a function; False when that makes it RESTART, which is then written down."""
    before, after = below(edit.old.codes, path), below(edit.new.codes, path)
    made, makes = _classes(old), _classes(new)
    otherwise = [cls for cls in made if made[cls] != makes.get(cls)]
    if any(not _has_methods(old, cls) for cls in otherwise):
        edit.restart(name, "body", "a class that it makes changes in more than its methods' bodies", new)
        return False
    for base in dict.fromkeys(map(_base, before)):
        olds = {nested: code for nested, code in before.items() if _base(nested) == base}
        news = {nested: code for nested, code in after.items() if _base(nested) == base}
        _pair(edit, olds, news)
    for nested in before:
        if {*otherwise} & {*map(_base, nested.split("."))}:  # a class that lives has its methods
            edit.changed.pop(nested, None)
            edit.guard("no_closures", nested)
    for at, cls in _classes_at(path, old):
        if cls in otherwise:
            edit.guard("no_closures", at)
    return True


def _classes_at(path: str, function: Function) -> Iterator[tuple[str, str]]:
    """The classes that a function makes: each with how it is called as a whole, and its name."""
    waiting: list[tuple[str, ast.AST]] = [(f"{path}.<locals>", child) for child in function.body]
    for prefix, node in waiting:  # which grows meanwhile
        inner = prefix
        if isinstance(node, ast.ClassDef):
            inner = f"{prefix}.{node.name}"
            yield inner, node.name
        elif isinstance(node, Function):
            inner = f"{prefix}.{node.name}.<locals>"
        waiting += ((inner, child) for child in children(node))


def _has_methods(function: Function, cls: str) -> bool:
    """Whether each class of this name within a function has a method, by which one that lives is found."""
    classes = (inner for inner in walk(function) if isinstance(inner, ast.ClassDef) and inner.name == cls)
    return all(
        any(isinstance(member, Function) and not member.decorator_list for member in one.body) for one in classes
    )


def _pair(edit: ModuleDiff, olds: Mapping[str, CodeType], news: Mapping[str, CodeType]) -> None:
    """Pair nested definitions of one name: what is the same, then the one that is left; else none may be live."""
    was = {path: code_tree.digest(code) for path, code in olds.items()}
    now = {path: code_tree.digest(code) for path, code in news.items()}
    same = Counter(was.values()) & Counter(now.values())
    left_old = _left(was, same)
    if len(olds) == len(news) == 1 and left_old:
        [path], [new_path] = olds, news
        one, other = olds[path], news[new_path]
        fits = path == new_path and one.co_freevars == other.co_freevars and not (one.co_flags ^ other.co_flags) & KINDS
        if fits:
            contract = one.co_varnames[: _arguments(one)] != other.co_varnames[: _arguments(other)]
            edit.changed[path] = Changed(was[path], now[new_path], contract)
            if not contract:
                return
    for path in left_old:
        edit.changed.pop(path, None)
        edit.guard("no_closures", path)


def _left(digests: Mapping[str, str], same: Counter[str]) -> list[str]:
    unspent, left = Counter(same), []
    for path, digest in digests.items():
        if unspent[digest]:
            unspent[digest] -= 1
        else:
            left.append(path)
    return left


def _arguments(code: CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)


def below(codes: Mapping[str, CodeType], path: str) -> dict[str, CodeType]:
    return {nested: code for nested, code in codes.items() if nested.startswith(f"{path}.<locals>.")}


def _base(path: str) -> str:
    return re.sub(r"#\d+$", "", path)


def classes_within(function: Function) -> str:
    """The classes that a function makes, without the bodies of their methods."""
    return "\n".join("\n".join(made) for made in _classes(function).values())


def _classes(function: Function) -> dict[str, list[str]]:
    """The same, by name."""
    classes: dict[str, list[str]] = {}
    for node in walk(function):
        if isinstance(node, ast.ClassDef):
            members = [
                f"{statement.name}{signature(statement)}{defaults(statement)}{text(statement.decorator_list)}"
                if isinstance(statement, Function)
                else text(statement)
                for statement in node.body
            ]
            made = f"{node.name}{text(node.bases)}{text(node.decorator_list)}{node.keywords and 1}{members}"
            classes.setdefault(node.name, []).append(made)
    return classes


def stored_only(edit: ModuleDiff, old: tuple[ast.ClassDef, Function], new: tuple[ast.ClassDef, Function]) -> set[str]:
    """The functions nested in a maker of instances, in both versions, that it has the instance keep and does no more with.

    None where a class of the release comes from this one and another: whose ``__init__`` follows is not told by the class then.
    """
    if any(_is_mixed(module, new[0].name) for module in _modules(edit)):
        return set()
    names = _stored_only(edit.world.old, edit.old, *old) & _stored_only(edit.world.new, edit.new, *new)
    return {name for name in names if _stores(new[1], name) == _stores(old[1], name)}


def _modules(edit: ModuleDiff) -> Iterator[Module]:
    yield from filter(None, map(edit.world.new.modules.get, sorted(edit.world.compared)))


def _is_mixed(module: Module, name: str) -> bool:
    """Whether a class of a module comes from one of this name, and from another."""
    every = (inner for statement in module.body for inner in walk(statement) if isinstance(inner, ast.ClassDef))
    return any(
        len(cls.bases) > 1 and name in {ast.unparse(base).rpartition(".")[2] for base in cls.bases} for cls in every
    )


def _stores(maker: Function, name: str) -> set[str]:
    """What a nested function does to attributes, or to what something holds, by assignments; and its calls of ``setattr``."""
    return {
        text(inner)
        for function in maker.body
        if isinstance(function, Function) and function.name == name
        for inner in walk(function)
        if (
            isinstance(inner, _ASSIGNMENTS)
            and any(isinstance(part, _HELD) and isinstance(part.ctx, ast.Store) for part in walk(inner))
        )
        or (
            isinstance(inner, ast.Call)
            and ast.unparse(inner.func).rpartition(".")[2] in ("setattr", "__setattr__", "update")
        )
    }


def _stored_only(side: Side, module: Module, cls: ast.ClassDef, maker: Function) -> set[str]:
    """Those that it has the instance keep by its last statement.

    What it makes is the same then whatever these do: they are called later, and swapped as what lives is.
    """
    nested = [inner for inner in maker.body if isinstance(inner, Function)]
    keeping = {id(node) for node in _stored_last(side, module, cls, maker)} if nested else set()
    names = {inner.name for inner in nested if not inner.decorator_list}
    uses = [inner for inner in walk(maker) if isinstance(inner, ast.Name) and inner.id in names]
    return names - {use.id for use in uses if id(use) not in keeping}


def _stored_last(side: Side, module: Module, cls: ast.ClassDef, maker: Function) -> Iterator[ast.expr]:
    """What the last statement of a maker puts into an attribute, itself or by the ``__init__`` of the first base."""
    match maker.body[-1]:
        case ast.Assign([ast.Attribute(ast.Name(me), attribute)], ast.Name() as value) if [me] == _parameters(maker)[
            :1
        ]:
            yield from [] if _may_decide(side, module, cls, attribute) else [value]
        case ast.Expr(ast.Call(ast.Attribute(ast.Call(ast.Name("super"), []), "__init__"), args, [])) if cls.bases:
            if (known := _known(side, module, cls.bases[0])) is None:
                return
            inits = [inner for inner in known[1].body if _is_init(inner)]
            for init in inits if len(inits) == 1 else ():
                keeping = [id(value) for value in _stored_last(side, *known, init)]
                for argument, parameter in zip(args, _parameters(init)[1:], strict=False):
                    uses = [inner for inner in walk(init) if isinstance(inner, ast.Name) and inner.id == parameter]
                    yield from [argument] if [*map(id, uses)] == keeping else []


def _is_init(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name == "__init__"


def _parameters(function: Function) -> list[str]:
    return [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]


def _known(side: Side, module: Module, base: ast.expr) -> tuple[Module, ast.ClassDef] | None:
    """A base, and its module, where the release has the source."""
    source = side.resolve(module, base.value if isinstance(base, ast.Subscript) else base)
    known = side.modules.get(source[0]) if source else None
    cls = known.classes.get(source[1]) if known is not None and source is not None else None
    return None if known is None or cls is None else (known, cls)


def _may_decide(side: Side, module: Module, cls: ast.ClassDef, attribute: str) -> bool:
    """Whether a class, or one that it comes from, may do something else when an attribute of an instance is set."""
    deciding = (statement for statement in cls.body if not _is_constant(statement))
    if {"__setattr__", attribute} & {bound for statement in deciding for bound in names_bound(statement)}:
        return True
    for base in cls.bases:
        if (known := _known(side, module, base)) is not None:
            if _may_decide(side, *known, attribute):
                return True
            continue
        source = origin(side, module, base.value if isinstance(base, ast.Subscript) else base)
        if source is None or source[0].partition(".")[0] not in (*sys.stdlib_module_names, "builtins"):
            return True
    return False


def _is_constant(statement: ast.stmt) -> bool:
    """Whether a member is only annotated, or a constant: an instance may have another."""
    match statement:
        case ast.AnnAssign(value=None) | ast.AnnAssign(value=ast.Constant()) | ast.Assign(value=ast.Constant()):
            return True
    return False
