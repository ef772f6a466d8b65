"""Scripts of wheels in ``releases/V/bin``: what they say in their first lines holds, though a shell reads them first.

uv has a script find its interpreter by a line for the shell, which is a string to Python: the first statement, and so the
docstring. What was the docstring is just a string then, and ``from __future__`` comes too late, which is a syntax error. So

========================  =============================================
in the script             becomes
========================  =============================================
``from __future__ ...``   the same, on the line that ends the shell's
its docstring             what ``__doc__`` is set to, where it stands
========================  =============================================

and no line moves.
"""

from __future__ import annotations

import ast
import re
import threading
from pathlib import Path

from ..toolchain.new_bytes import rewrite
from .bytecode import is_string

_SHELL = re.compile(rb"#!/bin/sh\n(?:# coding: ([\w.-]+)\n)?'''exec' [^\n]*\n' '''(?=\n)")

_PARSES = threading.Lock()
"""Applications are finished in threads, and what Python 3.11 parses in two of them at a time may fail with SystemError."""


def settle(path: Path) -> bool:
    """Settle a script, in a new file. Whether there was something to settle."""
    return rewrite(path, b"#!/bin/sh", settled)


def settled(content: bytes) -> bytes:
    """The same script, with a docstring and ``from __future__`` that hold; unchanged where it has neither, or is not Python."""
    shell = _SHELL.match(content)
    if shell is None:
        return content
    encoding = (shell[1] or b"utf-8").decode("ascii")
    if encoding.lower().replace("_", "-") == "utf-8-sig":
        encoding = "utf-8"  # the same, but for a mark at the beginning, where the shell's lines are
    try:
        text = content[shell.end() :].decode(encoding)
        with _PARSES:
            body = ast.parse(text).body
    except (LookupError, ValueError, SyntaxError, RecursionError, MemoryError):
        return content
    docstring = body[0] if body and is_string(body[0]) else None
    futures = []
    for statement in body[docstring is not None :]:
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            break
        futures.append(statement)
    if docstring is None and not futures and "__doc__" not in text:
        return content
    first = ["__doc__ = None"] if docstring is None else []
    if futures:
        names = [name for statement in futures for name in statement.names]
        first.insert(0, ast.unparse(ast.ImportFrom("__future__", names, 0)))
    # Positions are in UTF-8, whatever the script is in.
    lines = text.encode().splitlines(keepends=True)
    for statement in reversed(futures):
        _blank(lines, statement)
    if docstring is not None:
        line, column = lines[docstring.lineno - 1], docstring.col_offset
        lines[docstring.lineno - 1] = line[:column] + b"__doc__ = " + line[column:]
    head = "".join(f"; {line}" for line in first)
    return shell[0] + (head + b"".join(lines).decode()).encode(encoding)


def _blank(lines: list[bytes], statement: ast.stmt) -> None:
    """Replace a statement by one that does nothing, on as many lines."""
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    before, after = lines[first][: statement.col_offset], lines[last][statement.end_col_offset :]
    lines[first : last + 1] = [before + b"pass" + b"\n" * (last - first) + after, *[b""] * (last - first)]
