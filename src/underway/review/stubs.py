"""What a plan can't write itself: a ``code_change`` for each class of which nobody else knows what its instances would have.

It is one to begin with: what instances get, or lose, is in it by name, with the words that the new version has for each value.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from underway_runtime.release.relup import Row

from ..planner.releases import Opened
from ..planner.rules import classes, state
from ..planner.source import statements

CARRIED = ("state", "field")
"""Kinds of rows that are about what instances have."""
_OPEN = "..."
"""What stands for a value in which names are."""


@dataclass(frozen=True)
class Stub:
    """A ``code_change`` to begin with, for one class."""

    what: str
    """``module:class``."""
    file: str
    line: int
    """Where the class is, in the new version."""
    made: tuple[str, ...]
    """Where the old version makes instances, ``file:line``."""
    text: str


def stubs(rows: tuple[Row, ...], old: Opened, new: Opened) -> Iterator[Stub]:
    """Return one for each class that has none, and whose instances the plan can't carry over."""
    done = set()
    for row in rows:
        if row.change not in CARRIED or row.verdict == "MIGRATE" or (row.module, row.definition) in done:
            continue
        done.add((row.module, row.definition))
        before, after = (_class(side, row.module, row.definition) for side in (old, new))
        if before is None or after is None or classes.has_code_change(after):
            continue
        was, now = _attributes(before), _attributes(after)
        text = "\n".join(_text(after.name, was, now))
        made = tuple(_makers(old, row.module, after.name))
        yield Stub(f"{row.module}:{row.definition}", new.modules[row.module][1], after.lineno, made, text)


def _class(side: Opened, module: str, path: str) -> ast.ClassDef | None:
    if module not in side.modules:
        return None
    body, cls = statements(side.root / side.modules[module][1]), None
    for name in path.split("."):
        cls = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)
        body = cls.body if cls is not None else []
    return cls


def _attributes(cls: ast.ClassDef) -> dict[str, str]:
    """What instances have, each with the words of its value: fields of a dataclass, and what methods set."""
    fields = {
        statement.target.id: _words(statement.value)
        for statement in cls.body
        if cls.decorator_list and isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
    set_by_methods = dict.fromkeys(state.attributes(cls), "")
    init = state.makers(cls).get("__init__")
    for statement in init.body if init is not None else ():
        match statement:
            case ast.Assign([ast.Attribute(ast.Name(), name)], value) | ast.AnnAssign(
                ast.Attribute(ast.Name(), name), _, ast.expr() as value
            ) if name in set_by_methods:
                set_by_methods[name] = ast.unparse(value)
    return {**fields, **set_by_methods}


def _words(value: ast.expr | None) -> str:
    """The words of a field's default."""
    match value:
        case None:
            return ""
        case ast.Call(ast.Name("field") | ast.Attribute(attr="field"), [], keywords):
            given = {word.arg: ast.unparse(word.value) for word in keywords}
            return given.get("default") or (f"{given['default_factory']}()" if "default_factory" in given else "")
    return ast.unparse(value)


def _text(name: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """The function, line by line; what is made in another way, where nothing comes or goes, is what instances get."""
    come = [key for key in now if key not in was]
    gone = [key for key in was if key not in now]
    if not come and not gone:
        come = [key for key in now if now[key] != was[key]] or list(now)
    yield "@staticmethod"
    yield "def code_change(old_version, state, extra):"
    yield f'    """Carry a {name} over."""'
    yield "    if isinstance(old_version, Down):  # from underway_runtime: back to that version"
    yield from textwrap.indent(
        "\n".join(_carried([key for key in come if key not in was], gone, was)), " " * 8
    ).splitlines()
    yield from textwrap.indent("\n".join(_carried(gone, come, now)), " " * 4).splitlines()


def _carried(without: list[str], with_these: list[str], values: Mapping[str, str]) -> Iterator[str]:
    yield from (f"del state[{key!r}]" for key in without)
    if not with_these:
        yield "return state"
        return
    yield "return {"
    yield "    **state,"
    for key in with_these:
        words = values[key]
        if words and not any(isinstance(node, ast.Name) for node in ast.walk(ast.parse(words))):
            yield f"    {key!r}: {words},"
        else:
            yield f"    {key!r}: {_OPEN}," + (f"  # {words}" if words else "")
    yield "}"


def _makers(side: Opened, module: str, cls: str) -> Iterator[str]:
    """Where the application of a module makes instances of a class."""
    application = side.modules[module][0]
    for owner, file in (side.modules[name] for name in sorted(side.modules)):
        if owner != application:
            continue
        body = ast.Module([*statements(side.root / file)], [])
        calls = (node for node in ast.walk(body) if isinstance(node, ast.Call) and _called(node) == cls)
        for line in sorted(call.lineno for call in calls):
            yield f"{file.partition('/')[2].partition('/')[2]}:{line}"


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""
