"""Classes: what they are made from, their members, and the state of their instances."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping

from underway_runtime.release import codetree

from ..edit import Edit, World
from ..source import Function, Module, bare_annotations, names_bound, text
from ..values import NotPlain, same
from . import decorators, functions, state

MADE_ONCE = {
    *("__slots__", "__init_subclass__", "__set_name__", "__class_getitem__", "__eq__", "__hash__", "__prepare__"),
    *("__classcell__", "__mro_entries__", "__new__", "__match_args__", "__dict__", "__weakref__", "__getstate__"),
}
"""Members that are looked at when a class, or an instance, is made, or that live instances rely on."""

_PLAIN_BASES = {
    *("abc.ABC", "typing.Generic", "typing.Protocol", "underway_runtime.Application"),
    *("underway_runtime.application.Application", "threading.Thread", "logging.Handler", "logging.Formatter"),
    *("json.JSONEncoder", "collections.abc.Mapping", "collections.abc.Sequence", "collections.abc.Iterator"),
}
_ABSTRACT = ("abc.ABC", "typing.Protocol")
_DATACLASS = "dataclasses.dataclass"
_HARMLESS = {_DATACLASS, "typing.final", "typing.runtime_checkable", "functools.total_ordering"}


def compare(edit: Edit, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """What a class that is in both modules takes; `name` is its path in the module."""
    if text(old) == text(new) and not edit.reads(new) and not _bodies_differ(edit, name):
        return None
    for change, before, after in (
        ("bases", old.bases, new.bases),
        ("decorator", old.decorator_list, new.decorator_list),
        ("keywords", [each.value for each in old.keywords], [each.value for each in new.keywords]),
        ("type parameters", getattr(old, "type_params", []), getattr(new, "type_params", [])),
    ):
        if text(before) != text(after) or any(edit.reads(each) for each in after):
            return edit.restart(name, change, f"a class that is there can't get other {change}", new)
    rows = len(edit.rows)
    _Members(edit, name, old, new).compare()
    _migrate(edit, name, old, new, rows)
    return None


def add(edit: Edit, name: str, new: ast.ClassDef) -> None:
    """A class that only the new module has."""
    if new.keywords or not plain_bases(edit.world, edit.new, new) or _unknown_decorators(edit, new):
        why = "making it may do more than define it: its bases, decorators or keywords are not known"
        if not is_data(edit.world, edit.new, new):
            return edit.restart(name, "added", why, new)
    edit.added.append(name)
    edit.changes(name)
    edit.run(new)
    edit.row(name, "added", "HOT", "new; nothing makes one yet", new)
    return None


def remove(edit: Edit, name: str, old: ast.ClassDef) -> None:
    """A class that only the old module has."""
    edit.removed.append(name)
    edit.changes(name)
    edit.guard("no_instances", name)
    edit.guard("no_holders", name)
    edit.row(name, "removed", "HOT", "removed, if it has no instances and nothing holds it by then", old, gone=True)


def plain_bases(world: World, module: Module, node: ast.ClassDef) -> bool:
    """Whether nothing but `type` or `abc.ABCMeta` makes a class, and nothing is told of its making."""
    return all(_plain(world, module, base, ()) for base in node.bases) and not _hooks(node)


def is_data(world: World, module: Module, node: ast.ClassDef) -> bool:
    """Whether it is an Enum, a NamedTuple or the like: bases of the standard library that register nothing."""
    known = {"enum.Enum", "enum.StrEnum", "enum.IntEnum", "enum.Flag", "typing.NamedTuple", "typing.TypedDict"}
    known |= {"pydantic.BaseModel", "pydantic.main.BaseModel"}
    return (
        not node.keywords
        and not node.decorator_list
        and all(
            (of := decorators.origin(world.new, module, base)) is not None and ".".join(of) in known
            for base in node.bases
        )
    )


def _plain(world: World, module: Module, base: ast.expr, seen: tuple[str, ...], side_new: bool = True) -> bool:
    side = world.new if side_new else world.old
    found = decorators.origin(side, module, base)
    if found is None:
        return False
    if found[0] == "builtins":
        return isinstance(getattr(builtins, found[1], None), type)
    if ".".join(found) in _PLAIN_BASES:
        return True
    known = side.modules.get(found[0])
    node = known.classes.get(found[1]) if known else None
    if known is None or node is None or ".".join(found) in seen or node.keywords or _hooks(node):
        return False
    return all(_plain(world, known, each, (*seen, ".".join(found))) for each in node.bases)


def _hooks(node: ast.ClassDef) -> bool:
    return any(isinstance(each, Function) and each.name == "__init_subclass__" for each in node.body)


def _abstract(world: World, module: Module, node: ast.ClassDef, seen: tuple[str, ...] = ()) -> bool:
    for base in node.bases:
        found = decorators.origin(world.new, module, base)
        dotted = ".".join(found) if found else ""
        if dotted in _ABSTRACT or dotted.startswith("collections.abc."):
            return True
        known = world.new.modules.get(found[0]) if found else None
        inner = known.classes.get(found[1]) if known and found else None
        if known and inner and dotted not in seen and _abstract(world, known, inner, (*seen, dotted)):
            return True
    return any(keyword.arg == "metaclass" for keyword in node.keywords)


def _unknown_decorators(edit: Edit, node: ast.ClassDef) -> bool:
    of = (decorators.origin(edit.world.new, edit.new, each) for each in node.decorator_list)
    return any(found is None or ".".join(found) not in _HARMLESS for found in of)


def _bodies_differ(edit: Edit, name: str) -> bool:
    """Whether code below a class differs although its source does not: never, but for what compiled it."""
    below = [path for path in edit.new.codes if path.startswith(f"{name}.")]
    return any(
        path not in edit.old.codes or codetree.digest(edit.old.codes[path]) != codetree.digest(edit.new.codes[path])
        for path in below
    )


class _Members:
    """Compares the members of a class, by name."""

    def __init__(self, edit: Edit, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
        self.edit, self.name, self.old, self.new = edit, name, old, new
        self.decorated = bool(new.decorator_list)
        self.closed = _unknown_decorators(edit, new)
        self.bodies_only = self.closed or bool(new.keywords) or not plain_bases(edit.world, edit.new, new)
        self.abstract = _abstract(edit.world, edit.new, new)

    def compare(self) -> None:
        edit, name = self.edit, self.name
        before, after = _members(self.old), _members(self.new)
        if self.closed:
            return edit.restart(name, "body", "it is not known what its decorator does with its members", self.new)
        if text_of(_bare_statements(self.old)) != text_of(_bare_statements(self.new)):
            return edit.restart(name, "statement", "statements in its body change, which run when it is made", self.new)
        for member, nodes in after.items():
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
        if all(isinstance(each, Function) for each in (*before, *after)):
            paths = [path for path in edit.new.codes if path == name or path.startswith(f"{name}#")]
            if len(before) != len(after) or len(paths) != len(after) or (len(after) > 1 and not _family(after)):
                if text_of(before) != text_of(after):
                    edit.restart(name, "body", "several statements bind it, in another way than before", after[0])
                return
            for path, one, other in zip(paths, before, after, strict=True):
                assert isinstance(one, Function)
                assert isinstance(other, Function)
                if member in ("__init_subclass__", "__set_name__", "__class_getitem__") and text(one) != text(other):
                    edit.restart(name, "body", "it ran when classes were made", other)
                else:
                    functions.compare(edit, name, path, one, other, self.name)
            return
        if text_of(before) == text_of(after) and not any(map(edit.reads, after)):
            if isinstance(after[0], ast.ClassDef) and isinstance(before[0], ast.ClassDef):
                compare(edit, name, before[0], after[0])
            return
        match before, after:
            case [ast.ClassDef() as one], [ast.ClassDef() as other]:
                compare(edit, name, one, other)
            case _:
                self.value(member, before, after)

    def added(self, member: str, nodes: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(nodes):
            return None  # all fields are looked at together
        if problem := self.problem(member, nodes):
            return edit.restart(name, "added", problem, nodes[0])
        if all(isinstance(each, Function) for each in nodes):
            if len(nodes) > 1 and not _family(nodes):
                return edit.restart(name, "added", "several statements bind it", nodes[0])
            edit.guard("plain_class", self.name)
            for each in nodes:
                assert isinstance(each, Function)
                kinds = decorators.kinds(edit.world.new, edit.new, each.decorator_list)
                if kinds - {"neutral", "holds", "caches"}:
                    return edit.restart(name, "added", "its decorator does with it what only a start does", each)
                edit.run(each, self.name)
            edit.added.append(name)
            edit.changes(name)
            return edit.row(name, "added", "HOT", "new on the class, so on all its instances", nodes[0])
        if len(nodes) == 1 and self.plain(edit.new, nodes[0]) is not NotPlain:
            edit.guard("plain_class", self.name)
            edit.added.append(name)
            edit.changes(name)
            edit.run(nodes[0], self.name)
            return edit.row(name, "added", "HOT", "new on the class, so on all its instances", nodes[0])
        return edit.restart(name, "added", "what it is bound to can't be told without running it", nodes[0])

    def removed(self, member: str, nodes: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(nodes):
            return None
        if problem := self.problem(member, nodes):
            return edit.restart(name, "removed", problem, nodes[0], gone=True)
        edit.guard("plain_class", self.name)
        edit.removed.append(name)
        edit.changes(name)
        if any(isinstance(each, Function | ast.ClassDef) for each in nodes):
            edit.guard("no_holders", name)
        edit.row(name, "removed", "HOT", "removed from the class, if nothing holds it by then", nodes[0], gone=True)
        return None

    def value(self, member: str, before: list[ast.stmt], after: list[ast.stmt]) -> None:
        edit, name = self.edit, f"{self.name}.{member}"
        if self.is_field(before) or self.is_field(after):
            return None
        if problem := self.problem(member, after):
            return edit.restart(name, "value", problem, after[0])
        was = self.plain(edit.old, before[0]) if len(before) == 1 else NotPlain
        now = self.plain(edit.new, after[0]) if len(after) == 1 else NotPlain
        if was is NotPlain or now is NotPlain:
            return edit.restart(name, "value", "what it is bound to can't be told without running it", after[0])
        if same(was, now):
            return None
        edit.guard("plain_class", self.name)
        edit.was[name] = was
        edit.changes(name)
        edit.run(after[0], self.name)
        edit.row(name, "value", "HOT", "a plain value of the class", after[0])
        return None

    def problem(self, member: str, nodes: Iterable[ast.stmt]) -> str:
        """Why a member can't come, go or be another; empty if it can."""
        dunder = member.startswith("__") and member.endswith("__")
        if self.bodies_only:
            return "it is not known what makes this class, so only the bodies of its methods can change"
        if member in MADE_ONCE or (dunder and self.decorated):
            return f"{member} is looked at when the class is made"
        if self.abstract:
            return (
                "the class is abstract, or comes from one that is: which methods are missing is known when it is made"
            )
        if any(isinstance(each, ast.ClassDef | ast.Import | ast.ImportFrom) for each in nodes):
            return "a class that it holds, or imports, comes or goes with it"
        return ""

    def plain(self, module: Module, node: ast.stmt) -> object:
        """The plain value that a statement binds; NotPlain when there is none to be told."""
        side = self.edit.world.new if module is self.edit.new else self.edit.world.old
        match node:
            case ast.Assign([ast.Name()], value) | ast.AnnAssign(ast.Name(), _, ast.expr() as value):
                bound = {n for each in ast.walk(value) if isinstance(each, ast.Name) for n in [each.id]}
                if bound & set(_members(self.new if module is self.edit.new else self.old)):
                    return NotPlain
                try:
                    value_of: object = side.evaluate(module, value)
                    return value_of
                except NotPlain:
                    return NotPlain
        return NotPlain

    def is_field(self, nodes: list[ast.stmt]) -> bool:
        """Whether a decorator, or what makes the class, may have read it: an annotated name."""
        return (self.decorated or self.bodies_only) and any(isinstance(each, ast.AnnAssign) for each in nodes)

    def fields(self) -> None:
        """The annotated names of the class, all at once: a dataclass makes its methods of them."""
        reads = [read for each in _fields(self.new) for read in self.edit.reads(each)]
        if not (self.decorated or self.bodies_only):
            before = [text(each) for each in bare_annotations(self.old.body)]
            changed = [each for each in bare_annotations(self.new.body) if text(each) not in before]
            for each in changed:
                self.edit.run(each, self.name)
            if changed:
                self.edit.row(
                    self.name, "annotation", "HOT", "annotations that only those read who ask for them", self.new
                )
            return
        if text_of(_fields(self.old)) == text_of(_fields(self.new)) and not reads:
            return
        state.fields(self.edit, self.name, self.old, self.new, dataclass=self.is_dataclass())

    def is_dataclass(self) -> bool:
        """Whether the class is made by `dataclass` alone, and none of the methods that this makes knows which class it is of."""
        if self.bodies_only or len(self.new.decorator_list) != 1 or self.new.bases:
            return False
        [decorator] = self.new.decorator_list
        found = decorators.origin(self.edit.world.new, self.edit.new, decorator)
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        known = all(each.arg in ("init", "repr", "eq", "kw_only", "match_args") for each in keywords)
        return found is not None and ".".join(found) == _DATACLASS and known


def text_of(nodes: Iterable[ast.AST]) -> str:
    """What several nodes say."""
    return "\n".join(map(text, nodes))


def _members(node: ast.ClassDef) -> Mapping[str, list[ast.stmt]]:
    found: dict[str, list[ast.stmt]] = {}
    for statement in node.body:
        if _is_member(statement):
            for name in names_bound(statement):
                found.setdefault(name, []).append(statement)
    return found


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
            isinstance(each, ast.Attribute) and each.attr in ("setter", "deleter", "getter")
            for each in node.decorator_list
        )
        for index, node in enumerate(nodes)
        if isinstance(node, Function)
    )


def _migrate(edit: Edit, name: str, old: ast.ClassDef, new: ast.ClassDef, rows: int) -> None:
    """What the change means for the instances that there are, and whether the class carries their state over."""
    needs, node = state.needs(old, new)
    if has_code_change(new if edit.world.up else old):
        if len(edit.rows) > rows or needs:
            edit.code_change.append(name)
            if needs:
                edit.shapes.add(name.rpartition(".")[2])
            edit.changes(name)
            edit.row(name, "state", "MIGRATE", "its code_change carries the state of its instances over", new)
    elif needs:
        way = "" if edit.world.up else " on the way back"
        edit.restart(name, "state", f"{needs}, and no code_change carries its instances over{way}", node or new)


def has_code_change(node: ast.ClassDef) -> bool:
    """Whether a class says how its instances are carried over."""
    return any(isinstance(each, Function) and each.name == "code_change" for each in node.body)
