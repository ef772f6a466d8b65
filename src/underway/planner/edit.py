"""What becomes of one module: rows for people, and what the node is to do, collected while the rules look at it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, fields
from types import CodeType
from typing import Any

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed, Guard, Load
from underway_runtime.release.relup import Row, Verdict, worst
from underway_runtime.upgrade.hot.statements import dump

from . import fragment, marks
from .source import Module, Origin, import_time, names_bound
from .values import NewValues, Placed, Side


@dataclass
class PlannerContext:
    """Both releases, and what the rules ask about the change as a whole."""

    old: Side
    new: Side
    up: bool = True
    """Whether the new side is the newer release; on the way down it is the older one."""
    values: Mapping[Origin, Any] = field(default_factory=dict)
    """Globals whose plain value changes -> what it becomes."""
    kept: frozenset[Origin] = frozenset()
    """By the appup: these keep their value, whatever their initialiser says."""
    reset: frozenset[Origin] = frozenset()
    """These are made again: by the appup, or since they are values that differ, and can't be changed themselves."""
    pinned: frozenset[str] = frozenset()
    """By the appup: modules that are never touched in place."""
    compared: frozenset[str] = frozenset()
    """The modules that may change, or hold what does."""
    remade: frozenset[Origin] = frozenset()
    """Those of `reset` for the second reason."""
    observed: bool = False
    """Whether the result is tried, and compared with a fresh start: what only that can tell is proposed then."""

    @property
    def newer(self) -> Side:
        """The side whose ``code_change`` runs."""
        return self.new if self.up else self.old

    def changed_reads(self, module: Module, node: ast.AST) -> list[str]:
        """The names by which an expression of a new module reads a value that changes."""
        texts: dict[str, None] = {}
        for inner in import_time(node, annotations=not module.future):
            if isinstance(inner, ast.Name | ast.Attribute) and self.new.resolve(module, inner) in self.values:
                texts[ast.unparse(inner)] = None
        return list(texts)


@dataclass(frozen=True)
class Making:
    """How a class is made in a fragment, where the live one takes some of what that gives."""

    decorators: Sequence[ast.expr] = ()
    bases: Sequence[ast.expr] = ()
    keywords: Sequence[ast.keyword] = ()


@dataclass
class ModuleDiff:
    """What is known so far of the change of one module."""

    old: Module
    new: Module
    world: PlannerContext
    rows: list[Row] = field(default_factory=list)
    changed: dict[str, Changed] = field(default_factory=dict)
    refreshed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    was: dict[str, Any] = field(default_factory=dict)
    rebind: dict[str, Origin] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    code_change: list[str] = field(default_factory=list)
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Classes, by their paths, with the attributes that their instances get."""
    taken: dict[str, list[str]] = field(default_factory=dict)
    """Classes with the attributes that their instances lose."""
    caches: list[str] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    statements: list[ast.stmt] = field(default_factory=list)
    members: dict[str, list[ast.stmt]] = field(default_factory=dict)
    made: dict[str, Making] = field(default_factory=dict)
    """How classes are made in the fragment, of the members that it holds."""
    shapes: set[str] = field(default_factory=set)
    """Classes whose instances have another state, and functions with another signature: what frameworks read at import."""
    narrowed: dict[str, ast.AST] = field(default_factory=dict)
    """Functions that can't be called any more as before, by their paths, each with where it is."""
    renamed: set[str] = field(default_factory=set)
    """Names that stand for something else: another import, or a definition of the module itself."""
    seeds: dict[str, set[str]] = field(default_factory=dict)
    """By the path of a class that holds members in the fragment: what these read of the live class when they are made."""
    own: set[str] = field(default_factory=set)
    """Bare names of definitions that do something else when they are called while a module is imported."""
    made_in: dict[str, list[str]] = field(default_factory=dict)
    """By the name of a global that stays: under which names the fragment makes what is new in it."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Definition and kind of those of its rows that are RESTART only as long as nobody looks what becomes of them."""
    compiled: dict[str, bool] = field(default_factory=dict)
    """Classes of whose annotations something may have been compiled -> whether only what they come from may have done so."""
    libraries: set[str] = field(default_factory=set)
    """Packages of others that are called by what is to be looked at, and may keep something of it."""

    @property
    def is_same_text(self) -> bool:
        """Whether both releases have the same source of it, so that what can be told from that alone is the same too."""
        return self.old.source == self.new.source

    @property
    def moves(self) -> bool:
        """Whether its file is elsewhere in the newer release: where each version of its application has a directory of its own."""
        versions = [side.versions.get(self.new.application) for side in (self.world.old, self.world.new)]
        return self.old.file != self.new.file or versions[0] != versions[1]

    @property
    def annotates_otherwise(self) -> bool:
        """Whether annotations are texts in one release alone, whatever they say."""
        return self.old.future != self.new.future

    def row(
        self,
        definition: str,
        change: str,
        verdict: Verdict,
        reason: str,
        node: ast.AST | None,
        *,
        gone: bool = False,
        cause: Origin = ("", ""),
    ) -> None:
        """Write down a change; `node` is where it is, in the older module when it is `gone` from the newer.

        `cause` is the module and the definition whose change this follows from, where it follows from another.
        """
        file, line = (self.old if gone else self.new).file, getattr(node, "lineno", 0)
        of = ":".join(filter(None, cause))
        self.rows.append(Row(self.new.name, definition, change, verdict, reason, file, line, of))

    def restart(
        self,
        definition: str,
        change: str,
        reason: str,
        node: ast.AST | None,
        *,
        gone: bool = False,
        cause: Origin = ("", ""),
    ) -> None:
        """Write down a change that takes a fresh interpreter."""
        self.row(definition, change, "RESTART", reason, node, gone=gone, cause=cause)

    def unless_seen(
        self,
        definition: str,
        change: str,
        reason: str,
        node: ast.AST | None,
        *,
        gone: bool = False,
        cause: Origin = ("", ""),
        runs: bool = True,
    ) -> bool:
        """Whether what is proposed will be looked at; where it won't, write down that it takes a fresh interpreter.

        `runs` says whether the node is to run, or to be taken back: what that does must be in objects then.
        """
        side, module = (self.world.old, self.old) if gone else (self.world.new, self.new)
        if runs and node is not None and (name := marks.hidden(side, module, node)):
            reason = f"{reason}; {name} leaves marks that are in no object"
        elif self.world.observed:
            return True
        else:
            self.asked.append((definition, change))
            self.libraries |= set() if node is None else marks.libraries(side, module, node)
        self.restart(definition, change, reason, node, gone=gone, cause=cause)
        return False

    def guard(self, kind: str, of: str) -> None:
        """Ask the node for something that must hold."""
        if (guard := Guard(kind, of)) not in self.guards:
            self.guards.append(guard)

    def changes(self, name: str) -> None:
        """Remember that what has this name, of the module or of a class in it, does something else from now on."""
        parts = name.split(".")
        self.own.add(".".join(parts[-2:]) if parts[-1].startswith("__") else parts[-1])

    def reads(self, node: ast.AST) -> list[str]:
        """The names by which a node of the new module reads a value that changes, while the module is imported."""
        return self.world.changed_reads(self.new, node)

    def cause_in(self, node: ast.AST) -> Origin:
        """The module and the name of the first value that changes which a node of the new module reads; empty texts for none."""
        names = (inner for inner in ast.walk(node) if isinstance(inner, ast.Name | ast.Attribute))
        origins = (self.world.new.resolve(self.new, name) for name in names)
        return next((origin for origin in origins if origin is not None and origin in self.world.values), ("", ""))

    def values_read(self, node: ast.AST) -> list[Any]:
        """What the names become by which a node of the new module reads a value that changes."""
        names = (inner for inner in ast.walk(node) if isinstance(inner, ast.Name | ast.Attribute))
        origins = (self.world.new.resolve(self.new, name) for name in names)
        return [self.world.values[origin] for origin in origins if origin is not None and origin in self.world.values]

    def saved(self) -> Callable[[], None]:
        """What takes back all that is collected from now on."""
        collected = {kind.name: _copied(getattr(self, kind.name)) for kind in fields(self)}
        return lambda: vars(self).update(collected)

    def leave_out(self, name: str) -> None:
        """Take back what was to be done about a definition that stays, and its members."""
        below = tuple(f"{name}{mark}" for mark in ".#")
        of_it = {path for path in self.changed if path == name or path.startswith(below)}
        self.changed = {path: change for path, change in self.changed.items() if path not in of_it}
        for names in (self.added, self.removed, self.refreshed, self.replaced):
            names[:] = [other for other in names if not other.startswith(below)]
        self.members.pop(name, None)
        self.guards = [guard for guard in self.guards if not f"{guard.of}.".startswith(f"{name}.")]
        self.rows = [
            row for row in self.rows if not f"{row.definition}.".startswith(f"{name}.") or row.verdict != "HOT"
        ]

    def run(self, statement: ast.stmt, within: str = "") -> None:
        """Put a statement of the new module, or of one of its classes, into the fragment."""
        statements = self.members.setdefault(within, []) if within else self.statements
        if statement not in statements:
            statements.append(statement)

    def load(self) -> Load:
        """Make the instruction for the node. Raises ValueError when the fragment is not what was compiled for the release."""
        named = code_tree.mangled  # by which a class has them
        return Load(
            module=self.new.name,
            application=self.new.application,
            fragment=self._fragment(),
            changed=dict(sorted(self.changed.items())),
            refreshed=tuple(map(named, self.refreshed)),
            added=tuple(map(named, self.added)),
            removed=tuple(map(named, self.removed)),
            replaced=tuple(map(named, self.replaced)),
            values={named(name): value for name, value in sorted(self.was.items())},
            rebind=dict(sorted(self.rebind.items())),
            imports=tuple(dict.fromkeys(self.imports)),
            code_change=tuple(self.code_change),
            given=self.given,
            taken={name: tuple(attributes) for name, attributes in self.taken.items()},
            caches=tuple(map(named, self.caches)),
            guards=tuple(
                Guard(guard.kind, guard.of if guard.kind == "no_closures" else named(guard.of)) for guard in self.guards
            ),
        )

    def check_scopes(self) -> None:
        """Write RESTART rows for members that are made with what only the scope of their class has: they are made outside of it."""
        for path, statements in self.members.items():
            cls = _class_at(self.new.body, path)
            if cls is None:
                continue
            made = {name for statement in statements for name in names_bound(statement)}
            in_class = {name for statement in cls.body for name in names_bound(statement)} - made
            parameters = {parameter.name for parameter in getattr(cls, "type_params", [])}
            for statement in statements:
                at_import = import_time(statement, annotations=not self.new.future)
                read = {n.id for n in at_import if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
                every = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
                self.seeds.setdefault(path, set()).update(read & in_class - _made_otherwise(cls))
                if names := sorted(read & in_class & _made_otherwise(cls) | every & parameters):
                    name = ".".join([path, *names_bound(statement)[:1]])
                    reason = f"it is made with {', '.join(names)} of its class, which only the making of the class has"
                    self.restart(name, "scope", reason, statement)

    @property
    def verdict(self) -> Verdict:
        """The severest of its rows."""
        return worst(row.verdict for row in self.rows)

    def _fragment(self) -> bytes | None:
        if not self.statements and not self.members:
            return None
        for docstrings in (True, False):
            codes = self._compiled(docstrings)
            if all(map(self._is_the_release, codes)):
                return dump(codes)
        raise ValueError(f"{self.new.file} was not compiled from the source that is next to it")

    def _compiled(self, docstrings: bool) -> list[CodeType]:
        members = {path: [*self._seeded(path, statements), *statements] for path, statements in self.members.items()}
        body: list[ast.stmt] = [*self.statements, *_classes(self.new.body, members, self.made)]
        body.sort(key=lambda statement: statement.lineno)
        made = [NewValues(self.world, self.new).visit(deepcopy(statement)) for statement in body]
        return [self._code(statement, docstrings) for statement in made]

    def _code(self, statement: ast.stmt, docstrings: bool) -> CodeType:
        tree = ast.Module([*fragment.imported_names(self.new, statement), Placed().visit(statement)], [])
        if not docstrings:
            fragment.take_out_docstrings(tree)
        code = compile(
            ast.fix_missing_locations(tree),
            self.new.file,
            "exec",
            flags=self.new.future,
            dont_inherit=True,
            optimize=0,
        )
        assert isinstance(code, CodeType)
        return fragment.binding_names(code)

    def _seeded(self, path: str, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Statements that bind, in the body of a class, what others in it read of the live class."""
        first = min(statements, key=lambda statement: statement.lineno)
        named = [
            (name, code_tree.mangled(f"{path}.{name}").rpartition(".")[2]) for name in sorted(self.seeds.get(path, ()))
        ]
        made = (ast.parse(f"{name} = {path}.__dict__[{member!r}]").body[0] for name, member in named)
        placed = [ast.copy_location(statement, first) for statement in made]
        for inner in (inner for statement in placed for inner in ast.walk(statement) if hasattr(inner, "lineno")):
            ast.copy_location(inner, first)
        return placed

    def _is_the_release(self, code: CodeType) -> bool:
        known: dict[str, set[str]] = {}
        for path, known_code in self.new.codes.items():
            known.setdefault(_unnumbered(path), set()).add(code_tree.digest(known_code))
        codes = code_tree.tree(code)
        return all(
            code_tree.digest(part) in known.get(_unnumbered(path), ())
            for path, part in codes.items()
            if not fragment.is_comprehension(path) and not fragment.is_part_of_annotations(path, codes)
        )


def _copied(value: Any) -> Any:
    """A copy of what is collected: of tables of lists with their lists, and with nothing below."""
    if isinstance(value, dict):
        return {key: copy(inner) if isinstance(inner, list | dict | set) else inner for key, inner in value.items()}
    return copy(value) if isinstance(value, list | set) else value


def _unnumbered(path: str) -> str:
    """A path of code without which of several definitions of a name it is of: in a fragment there may be fewer."""
    return re.sub(r"#\d+", "", path)


def _class_at(body: Iterable[ast.stmt], path: str) -> ast.ClassDef | None:
    first, _, rest = path.partition(".")
    cls = next(
        (statement for statement in body if isinstance(statement, ast.ClassDef) and statement.name == first), None
    )
    return _class_at(cls.body, rest) if cls is not None and rest else cls


def _made_otherwise(cls: ast.ClassDef) -> set[str]:
    """The names in the body of a class that are not members of it as they are bound there, or not for certain."""
    names = [name for statement in cls.body for name in names_bound(statement)]
    fields = {name for statement in cls.body if isinstance(statement, ast.AnnAssign) for name in names_bound(statement)}
    return {name for name in names if names.count(name) > 1} | (fields if cls.decorator_list or cls.bases else set())


def _classes(
    body: Iterable[ast.stmt], members: Mapping[str, list[ast.stmt]], made_by: Mapping[str, Making]
) -> Iterator[ast.ClassDef]:
    """Classes of a module that hold some members, made as is said of each; one within another where that is so."""
    made: dict[str, ast.ClassDef] = {}
    for path in sorted(members):
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            here = ".".join(parts[:depth])
            if here not in made:
                first, by = members[path][0], made_by.get(here, Making())
                made[here] = ast.ClassDef(
                    name=parts[depth - 1],
                    bases=list(by.bases),
                    keywords=list(by.keywords),
                    body=[],
                    decorator_list=list(by.decorators),
                )
                ast.copy_location(made[here], first)
                if "type_params" in ast.ClassDef._fields:
                    cls = _class_at(
                        body, here
                    )  # with them methods are compiled otherwise, whether they use them or not
                    made[here].type_params = getattr(cls, "type_params", [])  # type: ignore[attr-defined,unused-ignore]
                if depth > 1:
                    made[".".join(parts[: depth - 1])].body.append(made[here])
        made[path].body.extend(sorted(members[path], key=lambda statement: statement.lineno))
    yield from (node for path, node in made.items() if "." not in path)
