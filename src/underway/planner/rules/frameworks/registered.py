"""What was made with a function, or a class, that is made once more: that is made once more too, or has its annotations again.

What else has it is found when it is looked what becomes of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from ...edit import ModuleDiff, PlannerContext
from ...source import ANNOTATIONS, Function, Module, Origin, annotations_of, initialiser, names_bound, walk
from .. import decorators, made_again, replaced_classes
from . import adapters, cached_makers, classes_again, fastapi, instances_again


def follow(world: PlannerContext, edits: Mapping[str, ModuleDiff]) -> None:
    """Have all that names such a definition follow it: imports, types, handlers and what these depend on, models, annotations."""
    fastapi.depend_otherwise(edits)
    waiting = [(edit.new.name, name) for edit in edits.values() for name in edit.replaced if _is_definition(edit, name)]
    waiting += [(edit.new.name, name) for edit in edits.values() for name in _adapters(edit)]
    for origin in waiting:  # which grows meanwhile
        for edit in edits.values():
            _bound_again(edit, origin)
            made = (
                *_types(edit, origin),
                *_classes(edit, origin),
                *_instances(edit, origin),
                *_handlers(world, edit, origin),
                *replaced_classes.derived(edit, origin),
            )
            waiting += ((edit.new.name, name) for name in made)
            _annotated(edit, origin)


def _is_definition(edit: ModuleDiff, name: str) -> bool:
    return name in edit.new.functions or name in edit.new.classes


def _bound_again(edit: ModuleDiff, origin: Origin) -> None:
    """Have what imports it bound to what it becomes."""
    for statement in edit.new.body if edit.new.name != origin[0] else ():
        for name in names_bound(statement) if isinstance(statement, ast.Import | ast.ImportFrom) else ():
            sides = (edit.world.new, edit.new), (edit.world.old, edit.old)
            if name not in edit.rebind and all(side.resolve(of, ast.Name(name)) == origin for side, of in sides):
                edit.rebind[name] = origin
                edit.row(name, "import", "HOT", f"bound to what {'.'.join(origin)} becomes", statement, cause=origin)


def _types(edit: ModuleDiff, origin: Origin) -> Iterator[str]:
    """Have types made again that name it: ``Annotated[Session, Depends(session)]``, ``list[Item]``."""
    for statement in edit.new.body:
        value, names = initialiser(statement), names_bound(statement)
        if value is None or len(names) != 1 or not _stays(edit, names[0]) or not _names(edit, [value], origin):
            continue
        adapts = adapters.of(edit.world.new, edit.new, value)
        if _is_type(edit, value) or (adapts is not None and _is_type_argument(edit, adapts)):
            _once_more(edit, names[0], statement)
            reason = f"it is made once more, since it was made with {origin[1]}"
            if adapts is not None:
                edit.guard("no_holders", names[0])
                reason += ", if nobody else holds the one before by then"
            edit.row(names[0], "reached", "HOT", reason, statement, cause=origin)
            yield names[0]


def _adapters(edit: ModuleDiff) -> Iterator[str]:
    """Have adapters made once more, of another type."""
    for name in adapters.changed(edit):
        statement = next(statement for statement in edit.new.body if name in names_bound(statement))
        adapts = adapters.of(edit.world.new, edit.new, initialiser(statement))
        if _stays(edit, name) and adapts is not None and _is_type_argument(edit, adapts):
            _once_more(edit, name, statement)
            edit.guard("no_holders", name)
            reason = "it is made once more, of another type, if nobody else holds the one before by then"
            edit.row(name, "value", "HOT", reason, statement)
            yield name


def _once_more(edit: ModuleDiff, name: str, statement: ast.stmt) -> None:
    edit.replaced.append(name)
    edit.changes(name)
    edit.run(statement)


def _is_type(edit: ModuleDiff, value: ast.expr) -> bool:
    """Whether an expression makes nothing but a type of names, of which there may as well be another."""
    match value:
        case ast.Subscript(ast.Name() | ast.Attribute(), of):
            return all(_is_type_argument(edit, part) for part in (of.elts if isinstance(of, ast.Tuple) else [of]))
        case ast.BinOp(left, ast.BitOr(), right):
            return _is_type_argument(edit, left) and _is_type_argument(edit, right)
    return False


def _is_type_argument(edit: ModuleDiff, part: ast.expr) -> bool:
    if isinstance(part, ast.Call):
        return decorators.only_describes(edit.world.new, edit.new, part)
    return isinstance(part, ast.Name | ast.Attribute | ast.Constant) or _is_type(edit, part)


def _classes(edit: ModuleDiff, origin: Origin) -> Iterator[str]:
    """Have classes made once more that a framework has read, with it as a base, in the type of a field, or of a parameter."""
    for name, cls in edit.new.classes.items():
        named = name not in {*edit.replaced, *edit.added} and "." not in name and _names(edit, _read(cls), origin)
        if named and classes_again.is_read(edit.world, edit.new, cls, edit):
            edit.leave_out(name)
            classes_again.make(edit, name, cls, "reached", f"it was made with {origin[1]}", origin)
            yield name


def _instances(edit: ModuleDiff, origin: Origin) -> Iterator[str]:
    """Have instances made once more that import makes of it, for globals."""
    for name, statement in instances_again.made_with(edit, origin):
        if _stays(edit, name):
            edit.replaced.append(name)
            edit.changes(name)
            edit.run(statement)
            reason = f"it is made once more with {origin[1]}, if nobody else holds it, or has set anything in it"
            edit.row(name, "reached", "HOT", reason, statement, cause=origin)
            yield name


def _read(cls: ast.ClassDef) -> Iterator[ast.AST | None]:
    yield from cls.bases
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign):
            yield statement.annotation
        elif isinstance(statement, Function) and statement.name == "__init__":
            yield from (*annotations_of(statement), *_defaults(statement))


def _handlers(world: PlannerContext, edit: ModuleDiff, origin: Origin) -> Iterator[str]:
    """Have functions made once more of which a framework has read the parameters, which name it."""
    for name, function in edit.new.functions.items():
        cached = function.body if cached_makers.is_maker(edit, name) else ()
        parts = [*annotations_of(function), *_defaults(function), *function.decorator_list, *cached]
        if not _stays(edit, name) or not _names(edit, parts, origin):
            continue
        kinds = decorators.kinds(world.new, edit.new, function.decorator_list)
        depended_on = not kinds and decorators.is_depended_on(world, (edit.new.name, name))
        if "routes" in kinds or depended_on or cached:
            edit.leave_out(name)
            made_again.registered(edit, name, function, origin)
            yield name


def _annotated(edit: ModuleDiff, origin: Origin) -> None:
    """Give other functions their annotations again."""
    if edit.new.future & ANNOTATIONS:
        return
    for path, owner, function in _functions(edit.new):
        done = {owner, path} & {*edit.replaced, *edit.added, *edit.refreshed}
        plain = all(isinstance(value, ast.Constant | ast.Name | None) for value in _defaults(function))
        kinds = decorators.kinds(edit.world.new, edit.new, function.decorator_list)
        if not done and plain and kinds <= {"neutral"} and _names(edit, annotations_of(function), origin):
            edit.refreshed.append(path)
            edit.run(function, owner)
            edit.row(path, "annotation", "HOT", f"the function takes the new annotation of {origin[1]}", function)


def _functions(module: Module) -> Iterator[tuple[str, str, Function]]:
    """The functions of a module, and of its classes, each alone of its name: path, class, function."""
    yield from ((name, "", function) for name, function in module.functions.items() if module.stored.get(name) == 1)
    for owner, cls in module.classes.items():
        methods = [statement for statement in cls.body if isinstance(statement, Function)]
        names = [method.name for method in methods]
        yield from ((f"{owner}.{one.name}", owner, one) for one in methods if names.count(one.name) == 1)


def _defaults(function: Function) -> list[ast.expr | None]:
    return [*function.args.defaults, *function.args.kw_defaults]


def _stays(edit: ModuleDiff, name: str) -> bool:
    """Whether a name is of one statement in both releases, and nothing is done about it but that its code may be another."""
    done = {*edit.replaced, *edit.added, *edit.removed, *edit.refreshed, *edit.was}
    return name not in done and edit.new.stored.get(name) == edit.old.stored.get(name) == 1


def _names(edit: ModuleDiff, parts: Iterable[ast.AST | None], origin: Origin) -> bool:
    return any(edit.world.new.resolve(edit.new, node) == origin for part in parts for node in _named(part))


def _named(part: ast.AST | None) -> Iterator[ast.AST]:
    """The names in an expression, also in a type that is written as text."""
    for inner in walk(part) if part is not None else ():
        if isinstance(inner, ast.Name | ast.Attribute):
            yield inner
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                yield from walk(ast.parse(inner.value, mode="eval"))
            except (SyntaxError, ValueError):
                continue
