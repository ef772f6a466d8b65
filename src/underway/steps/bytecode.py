"""Compile modules so that the same source gives the same bytes; run by the release's interpreter, as a script.

Takes from standard input, as JSON: ``root``, ``files`` relative to it, ``docstrings``, whether they are kept (but for `BARE`),
and ``prefix``, what comes before a file's name in its pyc. Imports the standard library only. Pycs are the unchecked, hash-based ones of
PEP 552; a file that does not compile has none.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
import os
import sys
import warnings
from contextlib import suppress
from types import CodeType
from typing import Any

EX_IOERR = 74
"""The exit status when the disk is full or the like; number, words and file of the error are on standard output, as JSON."""

BARE = (
    "underway_runtime/keeper/",
    "underway_runtime/release/channel/",
    "underway_runtime/release/filesystem/directories.py",
    "underway_runtime/release/names.py",
)
"""Modules of the keeper, which is in memory for as long as a service runs: they have no docstrings and no annotations of functions."""

UNCHECKED = b"\x01\x00\x00\x00"
"""The flags of a pyc that is never compared with its source."""


def compile_file(root: str, file: str, docstrings: bool = True, prefix: str = "") -> bool:
    """Write the pyc of ``root/file`` to its ``__pycache__``; False when the source does not compile.

    The file is named in it as `prefix` and `file`; what imports it puts the place that it is in then.
    """
    path = os.path.join(root, file)
    name = prefix + file  # held until the end: marshal writes a string in another way that nothing else holds
    with open(path, "rb") as source_file:
        source = source_file.read()
    try:
        # The first line of asserts and of tracebacks is that of the source: nothing moves, nothing is optimized away.
        is_bare = any(f"/{bare}" in f"/{file}" for bare in BARE)
        tree: Any = source if docstrings and not is_bare else without_docstrings(ast.parse(source))
        tree = without_annotations(tree) if is_bare else tree
        code = settled(compile(tree, name, "exec", dont_inherit=True, optimize=0))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    pyc = importlib.util.cache_from_source(path)
    directory = os.path.dirname(pyc)
    with suppress(FileExistsError):  # another process may be compiling what is next to it
        os.mkdir(directory)
        os.chmod(directory, 0o755)  # other users must be able to read it
    content = importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)
    with open(pyc, "wb") as pyc_file:
        pyc_file.write(content)
    os.chmod(pyc, 0o644)
    return True


def settled(code: CodeType) -> CodeType:
    """The same code, always with the same bytes.

    Marshal writes what is one object once, and which equal strings of a module (a constant and a qualified name, say) are one
    object depends on the strings that the process has interned before; so does which equal frozensets of strings are.
    So here what is equal to a name is always the one interned string, equal frozensets are one, and every code object
    is made again, whether that changes it or not.
    """
    return _settled_code(code, _names(code), {})


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree without docstrings. Asserts and line numbers stay, as under no level of ``python -O``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            # A string that comes second would be the docstring once the first is gone.
            while node.body and is_string(node.body[0]):
                del node.body[0]
            if first is not None and not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), first))
    return tree


def without_annotations(tree: ast.Module) -> ast.Module:
    """The tree without annotations of arguments and of what is returned; those of names stay, for code may read them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def is_string(statement: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else, as docstrings are."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _names(code: CodeType) -> set[str]:
    names = {code.co_filename, code.co_name, code.co_qualname}
    names.update(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return names.union(*(_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)))


def _settled_code(code: CodeType, names: set[str], sets: dict[Any, Any]) -> CodeType:
    return code.replace(
        co_name=sys.intern(code.co_name),
        co_qualname=sys.intern(code.co_qualname),
        co_consts=tuple(_settled(constant, names, sets) for constant in code.co_consts),
    )


def _settled(value: Any, names: set[str], sets: dict[Any, Any]) -> Any:
    if isinstance(value, CodeType):
        return _settled_code(value, names, sets)
    if isinstance(value, str) and value in names:
        return sys.intern(value)
    if isinstance(value, frozenset):
        # By type and text: 1, 1.0 and True are equal, and so are 0.0 and -0.0, but not the same constant.
        key = frozenset((type(item), repr(item)) for item in value)
        return sets.setdefault(key, frozenset(_settled(item, names, sets) for item in value))
    if isinstance(value, tuple) and _holds(value, names):
        return tuple(_settled(item, names, sets) for item in value)
    return value


def _holds(value: Any, names: set[str]) -> bool:
    """Whether a constant is to be made again; the answer must not depend on what is interned already."""
    if isinstance(value, tuple):
        return any(_holds(item, names) for item in value)
    return isinstance(value, frozenset) or (isinstance(value, str) and value in names)


def _main() -> int:
    warnings.simplefilter("ignore")
    task = json.load(sys.stdin)
    try:
        for file in task["files"]:
            compile_file(task["root"], file, task["docstrings"], task.get("prefix", ""))
    except OSError as error:
        print(json.dumps([error.errno, error.strerror, error.filename or task["root"]]))
        return EX_IOERR
    return 0


if __name__ == "__main__":
    sys.exit(_main())
