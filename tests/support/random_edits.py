"""Edits of sources that no one here wrote, by chance: of each kind one that suits is made somewhere.

The kinds are in `random_bodies`, `random_definitions` and `random_modules`.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class NothingSuits(Exception):
    """The sources have nothing that an edit of this kind could be made of."""


@dataclass(frozen=True)
class Edit:
    """Some sources, and the same with something changed."""

    kinds: tuple[str, ...]
    files: Mapping[str, str]
    """All of the sources, by path, as they are then."""
    where: tuple[str, ...]
    """The files that differ."""


class Source:
    """A module's text, and changes of it by parts of its tree."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def functions(self) -> list[tuple[ast.ClassDef | None, Function]]:
        """Those of the module and of its classes, with their class."""
        found: list[tuple[ast.ClassDef | None, Function]] = []
        for statement in self.tree.body:
            if isinstance(statement, Function):
                found.append((None, statement))
            elif isinstance(statement, ast.ClassDef):
                found += [(statement, each) for each in statement.body if isinstance(each, Function)]
        return found

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [each for each in self.tree.body if isinstance(each, ast.ClassDef)]

    def of(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def span(self, node: Any) -> tuple[int, int]:
        """Where it begins and ends in the text; of a definition with its decorators."""
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        if first < node.lineno:
            return self._at(first, 0), self._at(node.end_lineno, node.end_col_offset)
        return self._at(first, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _at(self, line: int, column: int) -> int:
        lines = self.text.split("\n")
        before = sum(len(each) + 1 for each in lines[: line - 1])
        return before + len(lines[line - 1].encode()[:column].decode())

    def with_node(self, node: ast.AST, new: str) -> str:
        """The text with another one in the place of a node."""
        start, end = self.span(node)
        return f"{self.text[:start]}{new}{self.text[end:]}"

    def with_before(self, node: Any, new: str) -> str:
        """The text with lines before a statement, indented as it is."""
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        at = self._at(first, 0)
        return self.text[:at] + indented(new, " " * node.col_offset) + self.text[at:]

    def with_after(self, node: Any, new: str) -> str:
        """The text with lines after a statement, indented as it is."""
        lines = self.text.split("\n")
        lines[node.end_lineno : node.end_lineno] = indented(new, " " * node.col_offset).rstrip("\n").split("\n")
        return "\n".join(lines)

    def without(self, node: Any) -> str:
        """The text without the lines of a statement."""
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        lines = self.text.split("\n")
        del lines[first - 1 : node.end_lineno]
        return "\n".join(lines)

    def with_header(self, function: Function) -> str:
        """The text with the signature that the node of a function has now."""
        first = function.body[0]
        if first.lineno == function.lineno or isinstance(first, (Function, ast.ClassDef)):
            raise NothingSuits
        bare = type(function)(
            name=function.name,
            args=function.args,
            body=[ast.Pass()],
            decorator_list=[],
            returns=function.returns,
            lineno=0,
        )
        header = ast.unparse(ast.fix_missing_locations(bare)).rpartition("\n")[0]
        lines = self.text.split("\n")
        lines[function.lineno - 1 : first.lineno - 1] = (
            indented(header, " " * function.col_offset).rstrip("\n").split("\n")
        )
        return "\n".join(lines)

    @property
    def after_imports(self) -> ast.stmt:
        """The first statement after docstring and imports."""
        for statement in self.tree.body:
            if not isinstance(statement, (ast.Import, ast.ImportFrom)) and not is_text(statement):
                return statement
        raise NothingSuits


def indented(text: str, by: str) -> str:
    return "".join(f"{by}{line}\n" if line else "\n" for line in text.rstrip("\n").split("\n"))


def is_text(statement: ast.stmt) -> bool:
    """A docstring, or another text that nobody uses."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


class Draw:
    """What an edit is made with: the sources as they are by now, and the chance."""

    def __init__(self, files: Mapping[str, str], chance: random.Random) -> None:
        self.files = dict(files)
        self.chance = chance

    def one(self, candidates: Iterable[T]) -> T:
        """One of these. Raises NothingSuits where there is none."""
        found = list(candidates)
        if not found:
            raise NothingSuits
        return self.chance.choice(found)

    def sources(self) -> list[Source]:
        """All modules, in another order each time."""
        found = [Source(path, text) for path, text in sorted(self.files.items()) if path.endswith(".py")]
        self.chance.shuffle(found)
        return found

    def among(self, candidates: Callable[[Source], Iterable[T]]) -> tuple[Source, T]:
        """One of the candidates of the first module that has some. Raises NothingSuits."""
        for source in self.sources():
            if found := list(candidates(source)):
                return source, self.chance.choice(found)
        raise NothingSuits

    def put(self, source: Source, text: str) -> None:
        self.files[source.path] = text

    def uses(self, name: str) -> int:
        """How often a word is in all the sources."""
        return sum(len(re.findall(rf"\b{re.escape(name)}\b", text)) for text in self.files.values())


Kind: TypeAlias = Callable[[Draw], None]

KINDS: dict[str, Kind] = {}
"""What can be edited, by what it is called."""

WORDS = {
    "ValueError": "LookupError",
    "TypeError": "ValueError",
    "RuntimeError": "OSError",
    "KeyError": "IndexError",
    "AttributeError": "TypeError",
    "Exception": "RuntimeError",
}
"""Exceptions, each with one that stands for it."""


def kind(function: Kind) -> Kind:
    """Make a function one of the kinds, under its own name."""
    KINDS[function.__name__.replace("_", " ")] = function
    return function


def simple(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr, ast.AnnAssign)) and not is_text(statement)


def own_methods(source: Source) -> list[tuple[ast.ClassDef, Function]]:
    return [(cls, each) for cls, each in source.functions if cls is not None]


def edit(files: Mapping[str, str], chance: random.Random, count: int = 1) -> Edit:
    """So many edits of kinds drawn by chance, one after the other. Each version can be compiled."""
    changed, done = dict(files), list[str]()
    while len(done) < count:
        name = chance.choice(sorted(KINDS))
        draw = Draw(changed, chance)
        try:
            KINDS[name](draw)
            for path, text in draw.files.items():
                if text != changed.get(path):
                    compile(text, path, "exec", dont_inherit=True)
        except (NothingSuits, SyntaxError):
            continue
        if draw.files != changed:
            changed = draw.files
            done.append(name)
    where = tuple(sorted(path for path in {*files, *changed} if files.get(path) != changed.get(path)))
    return Edit(tuple(done), changed, where)


def constants_in(function: ast.AST) -> Iterator[ast.Constant]:
    """Constants of a function that are written as such, but for docstrings."""
    within = {id(part) for node in ast.walk(function) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    texts = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Expr)}
    for node in ast.walk(function):
        if isinstance(node, ast.Constant) and id(node) not in within | texts and node.value is not ...:
            yield node


def another(value: object) -> str:
    """The text of another value of the kind."""
    match value:
        case bool():
            return repr(not value)
        case int() | float():
            return repr(value + 1)
        case str():
            return repr(f"{value}z")
        case bytes():
            return repr(value + b"z")
    return "1"


def blocks(function: ast.AST) -> Iterator[Sequence[ast.stmt]]:
    """The lists of statements in it."""
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            found = getattr(node, name, None)
            if isinstance(found, list) and found:
                yield found
