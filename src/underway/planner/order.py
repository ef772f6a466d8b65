"""The order in which a module does what others can see when it is imported: registrations, imports, values made of others.

Functions and constants may stand wherever they like. What else moves past something of its kind is looked at: a list of routes, a
table of handlers or an earlier binding would be otherwise after a fresh start.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from .edit import ModuleDiff
from .source import Function, Module, import_source, names_bound, text
from .values import Side

ORDER = "order"
"""What such a row calls the change."""

_NEUTRAL = (
    "property",
    "staticmethod",
    "classmethod",
    "abstractmethod",
    "setter",
    "getter",
    "deleter",
    "override",
    "final",
)
"""Decorators of methods that nobody can tell the order by."""

_Step = tuple[Hashable, ast.stmt]


def compare(edit: ModuleDiff) -> None:
    """Ask for a look where statements that both releases have follow each other in another way."""
    if edit.is_same_text:
        return
    old, new = (list(_steps(*side)) for side in ((edit.world.old, edit.old), (edit.world.new, edit.new)))
    for (before, _), (after, statement) in zip(_common(old, new), _common(new, old), strict=True):
        if before != after:
            what = ast.unparse(statement).partition("\n")[0][:60]
            reason = f"`{what}` runs in another place among what the module does when it is imported"
            edit.unless_seen("", ORDER, reason, statement, runs=False)
            return


def of_class(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Ask for a look where members follow each other in another way, by which others, or what makes the class, may have seen them."""
    before, after = list(_members(old)), list(_members(new))
    for (was, _), (now, statement) in zip(_common(before, after), _common(after, before), strict=True):
        if was != now:
            what = ast.unparse(statement).partition("\n")[0][:60]
            edit.unless_seen(name, ORDER, f"`{what}` stands in another place among its members", statement, runs=False)
            return


def _members(cls: ast.ClassDef) -> Iterator[_Step]:
    times = Counter(name for statement in cls.body for name in names_bound(statement))
    for statement in cls.body:
        bound = names_bound(statement)
        several = not bound or any(times[name] > 1 for name in bound)
        if not _is_inert_member(cls, statement, several=several):
            yield (type(statement).__name__, *bound, text(statement) if several else ""), statement


def _is_inert_member(cls: ast.ClassDef, statement: ast.stmt, *, several: bool) -> bool:
    """Whether nobody can tell by which place a member has in the body of a class. What makes a class may have read its constants."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return all(ast.unparse(decorator).rpartition(".")[2] in _NEUTRAL for decorator in statement.decorator_list)
        case ast.Pass() | ast.Expr(ast.Constant()) | ast.AnnAssign(value=None):
            return True
        case ast.Assign() if cls.bases or cls.keywords or cls.decorator_list:
            return False
    return not several and _is_member(statement)


def _common(steps: Sequence[_Step], others: Sequence[_Step]) -> list[_Step]:
    """The steps that are once in each of two sequences."""
    counts, other = (Counter(key for key, _ in of) for of in (steps, others))
    return [(key, statement) for key, statement in steps if counts[key] == other[key] == 1]


def _steps(side: Side, module: Module) -> Iterator[_Step]:
    """What a module does that may be seen, each with what says that it is the same in another version."""
    is_imported_back = _is_imported_back(side, module)
    for statement in module.body:
        match statement:
            case ast.Import(names):
                for alias in names:
                    if not _is_standard(alias.name):
                        yield ("import", alias.name, alias.asname), statement
            case ast.ImportFrom(names=names):
                source = import_source(statement, module.name, module.package)
                for alias in names:
                    if not _is_standard(source):
                        yield ("import", source, alias.name, alias.asname), statement
            case _ if is_imported_back or not _is_inert(module, statement):
                bound = names_bound(statement)
                several = not bound or not _is_bound_once(module, statement)
                yield (type(statement).__name__, *bound, text(statement) if several else ""), statement


def _is_imported_back(side: Side, module: Module) -> bool:
    """Whether what a module imports of its own application imports it in turn, and so sees it half made."""
    waiting, seen = [module], {module.name}
    while waiting:
        for source in _imported(waiting.pop()):
            if source == module.name:
                return True
            current = side.modules.get(source) if source not in seen else None
            seen.add(source)
            if current is not None and current.application == module.application:
                waiting.append(current)
    return False


def _imported(module: Module) -> Iterator[str]:
    for statement in module.body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            source = import_source(statement, module.name, module.package)
            yield source
            yield from (f"{source}.{alias.name}" for alias in statement.names)


def _is_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _is_inert(module: Module, statement: ast.stmt) -> bool:
    """Whether a statement only binds a name, once and for all, to what is the same wherever it stands."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            arguments = statement.args
            defaults = (*arguments.defaults, *filter(None, arguments.kw_defaults))
            return (
                not statement.decorator_list and all(map(_is_constant, defaults)) and _is_bound_once(module, statement)
            )
        case ast.ClassDef(bases=[], keywords=[], decorator_list=[], body=body):
            return all(_is_member(member) for member in body) and _is_bound_once(module, statement)
        case ast.Assign(targets=[ast.Name()], value=value):
            return _is_constant(value) and _is_bound_once(module, statement)
        case ast.AnnAssign(target=ast.Name(), value=value):
            return value is None or (_is_constant(value) and _is_bound_once(module, statement))
        case ast.Pass() | ast.Expr(ast.Constant()):
            return True
    return False


def _is_bound_once(module: Module, statement: ast.stmt) -> bool:
    return all(module.stored.get(name) == 1 for name in names_bound(statement))


def _is_member(statement: ast.stmt) -> bool:
    match statement:
        case (
            ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(target=ast.Name(), value=ast.expr() as value)
        ):
            return _is_constant(value)
        case ast.AnnAssign(value=None) | ast.Pass() | ast.Expr(ast.Constant()):
            return True
    return isinstance(statement, Function) and not statement.decorator_list


def _is_constant(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        return False
    return True
