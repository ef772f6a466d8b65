"""Which functions of two versions have other code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import CodeType


def changed_functions(old: Path, new: Path) -> set[str]:
    """``shop/cart.py:Cart.total``: functions of the newer version that the older one has not, or not so."""
    before = dict(_functions(old))
    return {name for name, what in _functions(new) if before.get(name) != what}


def _functions(home: Path) -> Iterator[tuple[str, object]]:
    for file in sorted(home.rglob("*.py")):
        path = file.relative_to(home).as_posix()
        try:
            module = compile(file.read_bytes(), path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for code in _within(module):
            if code.co_flags & 0x2:  # CO_NEWLOCALS: neither a module's nor a class's body
                yield f"{path}:{code.co_qualname}", _essence(code)


def _within(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _within(constant)


def _essence(code: CodeType) -> object:
    """A code object without the place where it stands."""
    constants = tuple(_essence(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return code.co_code, constants, names, code.co_argcount, code.co_kwonlyargcount, code.co_flags
