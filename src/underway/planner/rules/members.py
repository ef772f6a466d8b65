"""The members of a class: methods, values, fields, and what its body does besides."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from .. import annotated
from ..edit import ModuleDiff
from ..source import Function, Module, initialiser, names_bound, text, walk
from ..values import NotPlain, origin, same
from . import decorators, functions, given, made_again, regrown, state, unmade, within
from .bases import (
    DATACLASS,
    MADE_BY_DECORATORS,
    MADE_ONCE,
    RAN_WHEN_MADE,
    is_made_again,
    is_protocol,
    plain_bases,
    same_bases,
    takes_functions,
    unknown_decorators,
)
from .changing import changed_by_functions

Compare: TypeAlias = Callable[[ModuleDiff, str, ast.ClassDef, ast.ClassDef], None]


class Members:
    """Compares the members of a class, by name."""

    def __init__(self, edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef, nested: Compare) -> None:
        self.edit, self.name, self.old, self.new, self.nested = edit, name, old, new, nested
        self.decorated = bool(new.decorator_list)
        self.closed = unknown_decorators(edit, new)
        self.made_again = is_made_again(edit, new)
        self.bodies_only = (
            self.closed or self.made_again or bool(new.keywords) or not plain_bases(edit.world, edit.new, new)
        )
        self.protocol = is_protocol(edit.world, edit.new, new)

    def compare(self) -> None:
        edit, name = self.edit, self.name
        before, after = members(self.old), members(self.new)
        if self.closed:
            return edit.restart(name, "body", "it is not known what its decorator does with its members", self.new)
        if text_of(_bare_statements(self.old)) != text_of(_bare_statements(self.new)):
            return edit.restart(name, "statement", "statements in its body change, which run when it is made", self.new)
        if come := regrown.new_members(edit, self.old, self.new, before, after):
            regrown.enumeration(edit, name, self.new, come, after[come[0]][0])
        for member, nodes in after.items():
            if member in come:
                continue
            if member not in before:
                self.added(member, nodes)
            else:
                self.both(member, before[member], nodes)
        for member, nodes in before.items():
            if member not in after:
                self.removed(member, nodes)
        self.fields()
        return None

    def both(self, member: str, before: list[ast.stmt], after: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if all(isinstance(statement, Function) for statement in (*before, *after)):
            paths = [path for path in edit.new.codes if path == name or path.startswith(f"{name}#")]
            paths = [path] if (path := self.only_path(name, before, after)) is not None else paths
            if len(before) != len(after) or len(paths) != len(after) or (len(after) > 1 and not _family(after)):
                if text_of(before) != text_of(after):
                    edit.restart(name, "body", "several statements bind it, in another way than before", after[0])
                return
            for path, one, other in zip(paths, before, after, strict=True):
                assert isinstance(one, Function)
                assert isinstance(other, Function)
                if member in RAN_WHEN_MADE and text(one) != text(other) and not self.ran_for_nobody(name, other):
                    continue
                functions.compare(edit, name, path, one, other, self.name, several=len(after) > 1)
            return
        if text_of(before) == text_of(after) and not any(map(edit.reads, after)):
            if isinstance(after[0], ast.ClassDef) and isinstance(before[0], ast.ClassDef):
                self.nested(edit, name, before[0], after[0])
            return
        match before, after:
            case [ast.ClassDef() as one], [ast.ClassDef() as other] if self.bodies_only and (
                _shape(one) != _shape(other) or edit.reads(other)
            ):
                edit.restart(name, "value", "what makes the class around it has read it already", other)
            case [ast.ClassDef() as one], [ast.ClassDef() as other]:
                self.nested(edit, name, one, other)
            case _:
                self.value(member, before, after)

    def ran_for_nobody(self, name: str, method: Function) -> bool:
        """Whether a method that runs as classes are made has run for nothing that is there: what it is of has no instances then."""
        if method.name != "__set_name__":
            self.edit.restart(name, "body", "it ran when classes were made", method)
            return False
        reason = "it was told its name by the classes that have an instance of it"
        return unmade.unless_made(self.edit, self.name, self.new, "state", reason, method)

    def only_path(self, name: str, before: list[ast.stmt], after: list[ast.stmt]) -> str | None:
        """That of the one function that has this name in both releases; None where there are several."""
        match before, after:
            case [ast.FunctionDef() | ast.AsyncFunctionDef() as one], [
                ast.FunctionDef() | ast.AsyncFunctionDef() as other
            ]:
                return functions.paired(self.edit, name, one, other)
        return None

    def added(self, member: str, nodes: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(nodes):
            return None  # all fields are looked at together
        if (problem := self.problem(member, nodes)) and not self.of_enumeration(member, nodes, problem, "added"):
            return None
        if all(isinstance(statement, Function) for statement in nodes):
            if len(nodes) > 1 and not _family(nodes):
                return edit.restart(name, "added", "several statements bind it", nodes[0])
            self.guard(nodes)
            for statement in nodes:
                assert isinstance(statement, Function)
                kinds = decorators.kinds(edit.world.new, edit.new, statement.decorator_list)
                if kinds - {"neutral", "holds", "caches"}:
                    return edit.restart(name, "added", "its decorator does with it what only a start does", statement)
                edit.run(statement, self.name)
            edit.added.append(name)
            edit.changes(name)
            return edit.row(name, "added", "HOT", "new on the class, so on all its instances", nodes[0])
        if len(nodes) == 1 and self.plain(edit.new, nodes[0]) is not NotPlain:
            edit.guard("plain_class", self.name)
            edit.added.append(name)
            edit.changes(name)
            edit.run(nodes[0], self.name)
            return edit.row(name, "added", "HOT", "new on the class, so on all its instances", nodes[0])
        reason = "what it is bound to can't be told without running it"
        if len(nodes) > 1 or initialiser(nodes[0]) is None:
            return edit.restart(name, "added", reason, nodes[0])
        if edit.unless_seen(name, "added", reason, nodes[0]):
            edit.guard("plain_class", self.name)
            edit.added.append(name)
            edit.changes(name)
            edit.run(nodes[0], self.name)
            edit.row(name, "added", "HOT", "new on the class, so on all its instances; it is made once", nodes[0])
        return None

    def removed(self, member: str, nodes: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(nodes):
            return
        if (problem := self.problem(member, nodes)) and not self.of_enumeration(member, nodes, problem, "removed"):
            return
        self.guard(nodes)
        edit.removed.append(name)
        edit.changes(name)
        if any(isinstance(statement, Function | ast.ClassDef) for statement in nodes):
            edit.guard("no_holders", name)
        functions_of = [statement for statement in nodes if isinstance(statement, Function)]
        if any(
            "caches" in decorators.kinds(edit.world.old, edit.old, function.decorator_list) for function in functions_of
        ):
            edit.caches.append(name)
        edit.row(name, "removed", "HOT", "removed from the class, if nothing holds it by then", nodes[0], gone=True)
        return

    def value(self, member: str, before: list[ast.stmt], after: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(before) or self.is_field(after):
            return None
        if (problem := self.problem(member, after)) and not self.same_slots(member, before, after):
            return edit.restart(name, "value", problem, after[0])
        match before, after:
            case [ast.Assign([ast.Name()], one)], [ast.Assign([ast.Name()], other)]:
                if within.lambdas(edit, name, one, other):
                    return None
        was = self.plain(edit.old, before[0]) if len(before) == 1 else NotPlain
        now = self.plain(edit.new, after[0]) if len(after) == 1 else NotPlain
        if was is NotPlain or now is NotPlain:
            return self.unknown_value(name, before, after)
        if same(was, now):
            return None
        if name in changed_by_functions(edit.old.body):
            reason = "functions change it, so what is bound to it by then is not what the old version says"
            return edit.restart(name, "value", reason, after[0])
        edit.guard("plain_class", self.name)
        edit.was[name] = was
        edit.changes(name)
        edit.run(after[0], self.name)
        edit.row(name, "value", "HOT", "a plain value of the class", after[0])
        return None

    def same_slots(self, member: str, before: list[ast.stmt], after: list[ast.stmt]) -> bool:
        """Whether ``__slots__`` has the same names in another order: Python lays instances out by the sorted ones."""
        if member != "__slots__" or self.bodies_only or self.decorated or len(before) != 1 or len(after) != 1:
            return False
        was, now = self.plain(self.edit.old, before[0]), self.plain(self.edit.new, after[0])
        return isinstance(was, tuple | list) and isinstance(now, tuple | list) and sorted(was) == sorted(now)

    def unknown_value(self, name: str, before: list[ast.stmt], after: list[ast.stmt]) -> None:
        """Ask for a look at a value: made again where it can't be changed itself, else changed in what it holds."""
        edit = self.edit
        if (edit.new.name, name) not in edit.world.remade:
            reason = "what it is bound to can't be told without running it"
            if len(after) == 1 and isinstance(after[0], ast.Assign | ast.AnnAssign):
                edit.unless_seen(name, "value", reason, after[0])
            else:
                edit.restart(name, "value", reason, after[0])
            return None
        if name in changed_by_functions(edit.old.body):
            reason = "functions change it, so what is bound to it by then is not what the old version says"
            return edit.restart(name, "value", reason, after[0])
        edit.guard("plain_class", self.name)
        made_again.hold_alone(edit, name, *map(initialiser, before))
        edit.replaced.append(name)
        edit.changes(name)
        edit.run(after[0], self.name)
        return edit.row(name, "value", "HOT", made_again.UNCHANGEABLE, after[0])

    def problem(self, member: str, nodes: Sequence[ast.stmt]) -> str:
        """Why a member can't come, go or be another; empty if it can."""
        dunder = member.startswith("__") and member.endswith("__")
        plain = not dunder and all(isinstance(statement, Function) for statement in nodes)
        if plain and not (self.closed or self.made_again) and takes_functions(self.edit.world, self.edit.new, self.new):
            return ""
        if self.bodies_only:
            return "it is not known what makes this class, so only the bodies of its methods can change"
        if member in MADE_ONCE or (self.decorated and dunder and member in MADE_BY_DECORATORS):
            return f"{member} is looked at when the class is made"
        if self.protocol:
            return "the class is a protocol, or comes from one: which members it has is known when it is made"
        if any(isinstance(statement, ast.ClassDef | ast.Import | ast.ImportFrom) for statement in nodes):
            return "a class that it holds, or imports, comes or goes with it"
        return ""

    def of_enumeration(self, member: str, nodes: Sequence[ast.stmt], problem: str, change: str) -> bool:
        """Whether it is a method of an enumeration that a look tells what its making has to do with; else write down the problem."""
        edit, name, gone = self.edit, f"{self.name}.{member}", change == "removed"
        methods = all(isinstance(statement, Function) for statement in nodes) and not (self.closed or self.made_again)
        seen = methods and member not in {*MADE_ONCE, *RAN_WHEN_MADE}
        if seen and regrown.is_enumeration(edit.world, edit.new, self.new):
            return edit.unless_seen(name, change, problem, nodes[0], gone=gone)
        edit.restart(name, change, problem, nodes[0], gone=gone)
        return False

    def guard(self, nodes: Iterable[ast.stmt]) -> None:
        """Have the node look who makes the class, where it is more than functions that come or go."""
        if not all(isinstance(statement, Function) for statement in nodes) or not self.bodies_only:
            self.edit.guard("plain_class", self.name)

    def plain(self, module: Module, node: ast.stmt) -> object:
        """The plain value that a statement binds; NotPlain when there is none to be told."""
        side = self.edit.world.new if module is self.edit.new else self.edit.world.old
        match node:
            case ast.Assign([ast.Name()], value) | ast.AnnAssign(ast.Name(), _, ast.expr() as value):
                bound = {n for inner in walk(value) if isinstance(inner, ast.Name) for n in [inner.id]}
                if bound & set(members(self.new if module is self.edit.new else self.old)):
                    return NotPlain
                try:
                    value_of: object = side.evaluate(module, value)
                    return value_of
                except NotPlain:
                    return NotPlain
        return NotPlain

    def is_field(self, nodes: list[ast.stmt]) -> bool:
        """Whether a decorator, or what makes the class, may have read it: an annotated name."""
        return (self.decorated or self.bodies_only) and any(isinstance(statement, ast.AnnAssign) for statement in nodes)

    def fields(self) -> None:
        """Compare the annotated names of the class, all at once: a dataclass makes its methods of them."""
        reads = [read for field in _fields(self.new) for read in self.edit.reads(field)]
        if not (self.decorated or self.bodies_only):
            annotated.of_class(self.edit, self.name, self.old, self.new)
            return
        fields = _fields(self.new)
        same = text_of(_fields(self.old)) == text_of(fields) and not (fields and self.edit.annotates_otherwise)
        if same and not reads:
            return
        self.changed_fields()

    def changed_fields(self) -> None:
        """Tell of fields of a dataclass, or of what is like one, that come, go or are others."""
        edit, name, new = self.edit, self.name, self.new
        cause = edit.cause_in(new) if text_of(_fields(self.old)) == text_of(_fields(new)) else ("", "")
        names = f"made with {cause[1]}" if cause[1] else state.changed_fields(self.old, new)
        if regrown.typed_dictionary(edit, name, new, names):
            return None
        if not self.is_dataclass():
            reason = f"what makes this class has read its fields ({names}) already"
            return edit.restart(name, "field", reason, new, cause=cause)
        newer = new if edit.world.up else self.old
        if any(isinstance(statement, Function) and statement.name == "code_change" for statement in newer.body):
            state.fields(edit, name, self.old, new)
            return edit.row(
                name, "field", "MIGRATE", f"its fields change ({names}); its methods are made again of them", new
            )
        try:
            result = given.by_fields(edit, self.old, new)
        except given.Unproven as error:
            way = "" if edit.world.up else " on the way back"
            reason = f"its fields change ({names}), and no code_change carries its instances over{way}: {error}"
            if cause[1]:
                return edit.restart(name, "field", reason, new, cause=cause)
            if unmade.unless_made(edit, name, new, "field", reason, new):
                state.fields(edit, name, self.old, new)
            return None
        state.fields(edit, name, self.old, new)
        if not result.attributes and not result.taken:
            return edit.row(name, "field", "HOT", f"its fields change ({names}), and its instances do not", new)
        edit.given[name], edit.taken[name] = dict(result.attributes), list(result.taken)
        return edit.row(name, "field", "MIGRATE", f"its fields change ({names}): {result}", new)

    def is_dataclass(self) -> bool:
        """Whether the class is made by `dataclass` alone, and none of the methods that this makes knows which class it is of."""
        if self.bodies_only or len(self.new.decorator_list) != 1 or not same_bases(self.edit, self.new):
            return False
        [decorator] = self.new.decorator_list
        source = origin(self.edit.world.new, self.edit.new, decorator)
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        known = all(keyword.arg in ("init", "repr", "eq", "order", "kw_only", "match_args") for keyword in keywords)
        return source is not None and ".".join(source) == DATACLASS and known


def text_of(nodes: Iterable[ast.AST]) -> str:
    """What several nodes say."""
    return "\n".join(map(text, nodes))


def _shape(node: ast.ClassDef) -> str:
    """What a class says, without what is in its methods."""
    inner = (_shape(statement) if isinstance(statement, ast.ClassDef) else _head(statement) for statement in node.body)
    return "\n".join([node.name, *map(text, (node.bases, node.decorator_list)), text_of(node.keywords), *inner])


def _head(statement: ast.stmt) -> str:
    if isinstance(statement, Function):
        return f"{statement.name}{text(statement.args)}{text(statement.decorator_list)}{text(statement.returns)}"
    return text(statement)


def members(node: ast.ClassDef) -> Mapping[str, list[ast.stmt]]:
    """The statements that bind each member of a class."""
    statements: dict[str, list[ast.stmt]] = {}
    for statement in node.body:
        if _is_member(statement):
            for name in names_bound(statement):
                statements.setdefault(name, []).append(statement)
    return statements


def _is_member(statement: ast.stmt) -> bool:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return True
        case ast.AnnAssign(target=ast.Name()):
            return True
        case ast.Assign(targets):
            return all(isinstance(target, ast.Name) for target in targets)
    return False


def _bare_statements(node: ast.ClassDef) -> Iterator[ast.stmt]:
    for statement in node.body:
        if not _is_member(statement) and not (
            isinstance(statement, ast.Pass)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        ):
            yield statement


def _fields(node: ast.ClassDef) -> list[ast.stmt]:
    return [statement for statement in node.body if isinstance(statement, ast.AnnAssign)]


def _family(nodes: list[ast.stmt]) -> bool:
    """Whether functions of one name are a property with its setter, or overloads."""
    return all(
        index == 0
        or any(
            isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter")
            for decorator in node.decorator_list
        )
        for index, node in enumerate(nodes)
        if isinstance(node, Function)
    )
