"""What is nested in a function: paired with what is nested in the newer one, so that live closures get new code, or must not be."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from types import CodeType

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from ..edit import ModuleDiff
from ..source import Function, text, walk
from .signatures import KINDS, defaults, signature


def pair_nested(edit: ModuleDiff, name: str, path: str, old: Function, new: Function) -> bool:
    """Pair what is nested in a function; False when that makes it RESTART, which is then written down."""
    if classes_within(old) != classes_within(new):
        edit.restart(name, "body", "a class that it makes changes in more than its methods' bodies", new)
        return False
    before, after = below(edit.old.codes, path), below(edit.new.codes, path)
    for base in dict.fromkeys(map(_base, before)):
        olds = {nested: code for nested, code in before.items() if _base(nested) == base}
        news = {nested: code for nested, code in after.items() if _base(nested) == base}
        _pair(edit, olds, news)
    return True


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
    classes = []
    for node in walk(function):
        if isinstance(node, ast.ClassDef):
            members = [
                f"{statement.name}{signature(statement)}{defaults(statement)}{text(statement.decorator_list)}"
                if isinstance(statement, Function)
                else text(statement)
                for statement in node.body
            ]
            classes.append(f"{node.name}{text(node.bases)}{text(node.decorator_list)}{node.keywords and 1}{members}")
    return "\n".join(classes)
