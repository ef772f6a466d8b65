"""The source of a definition in both releases, and the two side by side."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from ..planner.releases import Opened

CONTEXT = 3
"""Lines around what differs that are shown with it."""
LONGEST = 2_000_000
"""Bytes of a file that is read to be shown."""

Kind = Literal["equal", "replace", "delete", "insert"]


@dataclass(frozen=True)
class Part:
    """Some lines of a file."""

    line: int
    """The number of the first, from 1 on."""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """Lines of both that stand next to each other."""

    kind: Kind
    old: Part
    new: Part


def pair(old: Opened, new: Opened, module: str, definition: str) -> list[list[Run]]:
    """How a definition stands in both releases: stretches of runs, what is the same and far from a difference left out.

    Of the last names of a path that the source does not bind, such as ``app.router.routes[6]``, the longest part is taken that it
    does. Empty where neither has it, or both have the same.
    """
    one, other = (_part(side, module, definition) for side in (old, new))
    if one.lines == other.lines:
        return []
    matcher = SequenceMatcher(None, one.lines, other.lines, autojunk=False)
    return [[_run(one, other, opcode) for opcode in group] for group in matcher.get_grouped_opcodes(CONTEXT)]


def _run(old: Part, new: Part, opcode: tuple[str, int, int, int, int]) -> Run:
    tag, first, last, start, end = opcode
    kind: Kind = (
        "equal" if tag == "equal" else "replace" if tag == "replace" else "delete" if tag == "delete" else "insert"
    )
    return Run(kind, Part(old.line + first, old.lines[first:last]), Part(new.line + start, new.lines[start:end]))


def _part(side: Opened, module: str, definition: str) -> Part:
    if module not in side.modules:
        return Part(1)
    path = side.root / side.modules[module][1]
    try:
        if path.stat().st_size > LONGEST:
            return Part(1)
        return _part_of(path.read_text(encoding="utf-8", errors="replace"), definition)
    except OSError:
        return Part(1)


@lru_cache(maxsize=256)
def _part_of(source: str, definition: str) -> Part:
    lines = source.splitlines()
    if not definition:
        return Part(1, tuple(lines))
    try:
        body: Sequence[ast.stmt] = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):  # of a Python that is newer than this one
        return Part(1, tuple(lines))
    chosen: list[ast.stmt] = []
    for name in definition.partition("[")[0].split("."):
        bound = [statement for statement in _statements(body) if name in _names(statement)]
        if not bound:
            break
        chosen = bound
        body = [inner for block in bound for inner in getattr(block, "body", [])]
    if not chosen:
        return Part(1)
    first = min(_first_line(statement) for statement in chosen)
    last = max(statement.end_lineno or statement.lineno for statement in chosen)
    return Part(first, tuple(lines[first - 1 : last]))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a body, and those within its conditions, loops and attempts."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            handlers = [inner for handler in getattr(statement, "handlers", []) for inner in handler.body]
            yield from _statements(
                [*statement.body, *getattr(statement, "orelse", []), *handlers, *getattr(statement, "finalbody", [])]
            )


def _names(statement: ast.stmt) -> set[str]:
    """What a statement binds itself."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(alias.asname or alias.name).partition(".")[0] for alias in names}
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return set()


def _first_line(statement: ast.stmt) -> int:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
    return statement.lineno
