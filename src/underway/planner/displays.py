"""What is new in an expression: elements of lists, tuples, sets and dicts that it has, and the older one has not."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from .source import children, text

_ROWS = (ast.List, ast.Tuple, ast.Set)


def new_elements(old: ast.AST | None, new: ast.AST) -> Iterator[ast.expr]:
    """In the order in which they stand; what is only written otherwise within an element that stays is none."""
    if isinstance(new, _ROWS) and (old is None or isinstance(old, _ROWS)):
        yield from _of_row([] if old is None else old.elts, new.elts)
    elif isinstance(new, ast.Dict) and (old is None or isinstance(old, ast.Dict)):
        known = {} if old is None else {text(key): value for key, value in zip(old.keys, old.values, strict=True)}
        for key, value in zip(new.keys, new.values, strict=True):
            if text(key) in known:
                yield from new_elements(known[text(key)], value)
            else:
                yield value
    elif old is not None and type(old) is type(new):
        yield from _of_children(old, new)


def _of_row(old: Sequence[ast.expr], new: Sequence[ast.expr]) -> Iterator[ast.expr]:
    texts = [text(element) for element in old], [text(element) for element in new]
    for kind, i, i_end, j, j_end in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if kind == "replace" and i_end - i == j_end - j:
            for one, other in zip(old[i:i_end], new[j:j_end], strict=True):
                yield from new_elements(one, other)
        elif kind in ("insert", "replace"):
            yield from new[j:j_end]


def _of_children(old: ast.AST, new: ast.AST) -> Iterator[ast.expr]:
    if isinstance(old, ast.Call) and isinstance(new, ast.Call):
        before = {keyword.arg: keyword.value for keyword in old.keywords}
        for argument, after in zip(old.args, new.args, strict=False):
            yield from new_elements(argument, after)
        for keyword in new.keywords:
            yield from new_elements(before.get(keyword.arg), keyword.value)
        return
    for one, other in zip(_expressions(old), _expressions(new), strict=False):
        yield from new_elements(one, other)


def _expressions(node: ast.AST) -> list[ast.AST]:
    return [child for child in children(node) if isinstance(child, ast.expr)]
