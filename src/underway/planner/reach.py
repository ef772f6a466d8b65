"""What was computed when modules were imported, from something that changes: nothing would compute it again.

Which function a call ends in can't be told in general, so names are followed: what an expression mentions, what the functions of
these names mention, and so on. That finds too much rather than too little.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from . import expressions, marks
from .edit import ModuleDiff, PlannerContext
from .mentions import kept_in_state, mentions, path, properties, registered
from .places import place_read
from .rules import bases, closures, decorators, unmade
from .rules.frameworks import cached_makers, staying_fields
from .source import ANNOTATIONS, Function, Module, annotations_of, import_time, initialiser, names_bound, text, walk
from .values import NotPlain

_AT_START = ("lifespan", "on_startup", "on_shutdown", "cleanup_ctx")
"""Arguments of applications: functions that run once, when they are started."""


def check(world: PlannerContext, edits: Mapping[str, ModuleDiff], modules: Iterable[Module]) -> None:
    """Write RESTART rows for all that runs at import in these modules of the new release and reaches what changes."""
    every = list(modules)
    nothing = _unread_imports(edits, every)
    changed = {name: edit.new.name for edit in edits.values() for name in edit.own if name not in nothing}
    docs = {edit.new.name for edit in edits.values() if edit.old.doc != edit.new.doc}
    shapes = {name for edit in edits.values() for name in edit.shapes}
    for one in edits.values():
        _annotated(world, one, shapes)
        if one.moves:
            _placed(world, one)
    documented = (
        edit.new.name for edit in edits.values() if expressions.docstrings(edit.old) != expressions.docstrings(edit.new)
    )
    changed |= dict(zip(["__doc__"], documented, strict=False))
    if not changed:
        return
    made = [name for edit in edits.values() for name in (*edit.was, *edit.replaced, *edit.added, *edit.removed)]
    members = {name.rpartition(".")[2] for name in made if "." in name}
    new = {name.rpartition(".")[2] for edit in edits.values() for name in edit.added}
    old = {
        name.rpartition(".")[2] for edit in edits.values() for name in (*edit.changed, *edit.refreshed, *edit.removed)
    }
    stays = {name: module for name, module in changed.items() if name not in new or name in old}
    """What still is as the old version made it when new things are made."""
    staying = staying_fields.of(world, edits, partial(path, changed=changed, known=mentions(world, every)))
    reading = [staying.without(module) for module in every]
    known, read = mentions(world, reading), properties(every)
    holding = registered(every, known)
    keeping = any(map(marks.may_keep_elsewhere, every))
    called = mentions(world, reading, annotations=False)
    for one in edits.values():
        _made_when_asked(world, one, edits, stays, called, staying)
    for module in every:
        edit = edits.get(module.name)
        for name, node in _import_time(world, module, edit):
            made_anew = edit is not None and bool({name, name.partition(".")[0]} & {*edit.added, *edit.refreshed})
            concerned = staying.within(module, node)
            seeds = [
                *expressions.names_called(world, module, concerned, made_anew, shapes),
                *expressions.members_read(world, module, name, concerned, members),
                *expressions.read_itself(world, module, concerned, read, docs),
                *expressions.bound_otherwise(concerned, edit),
            ]
            if edit is not None and (started := _path_at_start(module, name, node, changed, known)):
                reason = f"{started[0]}, which it is made with, runs once, at the start; {started[-1]} changes"
                edit.restart(name, "reached", reason, node, cause=(changed[started[-1]], started[-1]))
                continue
            reached = stays if made_anew or module.name not in world.old.modules else changed
            way = path(seeds, reached, known if _decorates(module, node) else holding)
            if way and edit is not None and not _is_known(edit, name):
                what = f"made with {way[0]}" if len(way) == 1 else f"made with {way[0]}, which uses {way[-1]}"
                reason = f"it was {what}, when the module was imported; {way[-1]} changes"
                cause = changed[way[-1]], way[-1]
                edit.unless_seen(name, "reached", reason, node, cause=cause)
                if cls := _compiled_class(world, module, node):
                    of = name.rpartition(".")[0] or name
                    edit.compiled[of] = bases.keeps_annotations_itself(world, module, cls)
            if edit is not None and keeping:
                _kept_elsewhere(world, edit, name, node, partial(path, changed=changed, known=known))
            if edit is not None and (what := _set(world, module, node, edits)):
                edit.unless_seen(name, "reached", f"it sets {what} when the module is imported; that changes", node)


def _kept_elsewhere(
    world: PlannerContext, edit: ModuleDiff, name: str, node: ast.AST, way: Callable[[Iterable[str]], tuple[str, ...]]
) -> None:
    """Write RESTART rows for what a statement has put, of something that changes, where no picture shows it."""
    for what, where, module, function in marks.kept_elsewhere(world.new, edit.new, node, world.compared):
        before = world.old.modules.get(module.name)
        was = before.functions.get(function.name) if before and function else None
        came = way(expressions.names_in(world, module, where))
        if came or (
            function is not None and was is not None and text(was) != text(function) and text(where) not in text(was)
        ):
            reason = f"`{what}` has run when the module was imported, and left that in no object; {came[-1] if came else name} changes"
            edit.restart(name, "reached", reason, node)
            return


def _path_at_start(
    module: Module, name: str, node: ast.AST, changed: Mapping[str, str], known: Mapping[str, set[str]]
) -> tuple[str, ...]:
    """How what a call is given to be run once leads to something that changes.

    It is given the object that is made, `name`: it may ask that for whatever it was made with.
    """
    given = _run_at_start(node)
    functions = {name: module.functions[name] for name in given if name in module.functions}
    asking = {
        argument: known.get(argument, set()) | ({name} if function.args.args and not kept_in_state(function) else set())
        for argument, function in functions.items()
    }
    return path(given, changed, {**known, **asking} if asking else known)


def _run_at_start(node: ast.AST) -> list[str]:
    """What a call is given to be run once: no look at what import has made tells what that has done."""
    calls = [inner for inner in walk(node) if isinstance(inner, ast.Call)]
    given = [word.value for call in calls for word in call.keywords if word.arg in _AT_START]
    for call in calls:
        match call.func:
            case ast.Attribute(ast.Attribute(attr=hooks), "append" | "extend") if hooks in _AT_START:
                given += call.args
    return [inner.id for value in given for inner in walk(value) if isinstance(inner, ast.Name)]


def _made_when_asked(
    world: PlannerContext,
    edit: ModuleDiff,
    edits: Mapping[str, ModuleDiff],
    changed: Mapping[str, str],
    known: Mapping[str, set[str]],
    staying: staying_fields.Staying,
) -> None:
    """Look at what functions make once, when it is first asked for, and keep: as globals, or in a cache."""
    for bound, maker, statement in unmade.first_asked(edit.new):
        value = staying.within(edit.new, statement.value)
        if way := path(expressions.names_called(world, edit.new, value, False, set()), changed, known):
            reason = f"{maker} makes it when it is first asked for, with {way[0]}; {way[-1]} changes"
            cause = changed[way[-1]], way[-1]
            unmade.unless_asked(edit, edits, bound, maker, reason, statement, cause)
    for name, function in edit.new.functions.items():
        kinds = decorators.kinds(world.new, edit.new, function.decorator_list)
        if name in {*edit.changed, *edit.added} or "caches" not in kinds:
            continue
        body = (staying.within(edit.new, statement) for statement in function.body)
        seeds = [name for statement in body for name in expressions.names_in(world, edit.new, statement)]
        if way := path(seeds, changed, known):
            problem = closures.cached(function) if kinds == {"caches"} else "its cache is within another decorator"
            if problem and not cached_makers.let_go(edit, name):
                reason = f"{way[-1]} changes, which it uses, and {problem}"
                edit.restart(name, "reached", reason, function, cause=(changed[way[-1]], way[-1]))
            else:
                edit.caches.append(name)
                edit.row(name, "cache", "HOT", f"{way[-1]} changes, which it uses: its cache is cleared", function)


def _decorates(module: Module, node: ast.AST) -> bool:
    return any(decorator is node for function in module.functions.values() for decorator in function.decorator_list)


def _compiled_class(world: PlannerContext, module: Module, node: ast.AST) -> ast.ClassDef | None:
    """The class of whose field it is the annotation, if something else than its annotations may have been made of it."""
    for cls in module.classes.values():
        if any(isinstance(statement, ast.AnnAssign) and statement.annotation is node for statement in cls.body):
            return None if bases.keeps_annotations(world, module, cls) else cls
    return None


def _is_known(edit: ModuleDiff, name: str) -> bool:
    return bool(name) and any(row.definition == name and row.change == "reached" for row in edit.rows)


def _placed(world: PlannerContext, edit: ModuleDiff) -> None:
    """Look at what was computed from where the code is, or from what is installed: both are others in another version."""
    for name, node in _import_time(world, edit.new, edit):
        if name in edit.added:
            continue
        if (reading := place_read(world, edit.new, node)) is not None:
            reason = f"it was made with {reading[0]} when the module was imported, which says another thing now"
            edit.unless_seen(name, "reached", reason, reading[1])
    for name, function in edit.new.functions.items():
        kinds = decorators.kinds(world.new, edit.new, function.decorator_list)
        body = ast.Module(function.body, [])
        if (
            kinds == {"caches"}
            and name not in edit.added
            and (reading := place_read(world, edit.new, body)) is not None
        ):
            reason = f"its cache holds what it has made with {reading[0]}, which says another thing now"
            edit.restart(name, "reached", reason, reading[1])


def _annotated(world: PlannerContext, edit: ModuleDiff, shapes: set[str]) -> None:
    """Annotations that name what has another shape, where a framework has made something of them."""
    for statement in edit.new.body:
        read: list[ast.AST] = []
        if isinstance(statement, Function) and _calling(world, edit.new, statement):
            read = annotations_of(statement)
        elif isinstance(statement, ast.ClassDef) and not bases.plain_bases(world, edit.new, statement):
            read = [inner.annotation for inner in statement.body if isinstance(inner, ast.AnnAssign)]
        elif isinstance(statement, ast.ClassDef):
            methods = [inner for inner in statement.body if isinstance(inner, Function)]
            read = [node for method in methods if _calling(world, edit.new, method) for node in annotations_of(method)]
        if named := shapes & {name for node in read for name in _named(node)}:
            which = ", ".join(sorted(named))
            reason = f"it was made with what {which} was when the module was imported; that changes"
            cause = next(((edit.new.name, name) for name in sorted(named) if name in edit.new.classes), ("", ""))
            edit.unless_seen(names_bound(statement)[0], "reached", reason, statement, cause=cause)


def _named(node: ast.AST) -> Iterator[str]:
    for inner in walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield from re.findall(r"\w+", inner.value)


def _set(world: PlannerContext, module: Module, node: ast.AST, edits: Mapping[str, ModuleDiff]) -> str:
    """What of another module, or of a class, a statement binds itself, though a change gives it another value; empty for none."""
    for inner in import_time(node, annotations=False):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store | ast.Del):
            origin = world.new.resolve(module, inner)
            other = edits.get(origin[0]) if origin else None
            if origin and other and origin[1] in {*other.was, *other.replaced, *other.added, *other.removed}:
                return ast.unparse(inner)
    return ""


def _import_time(world: PlannerContext, module: Module, edit: ModuleDiff | None) -> Iterator[tuple[str, ast.AST]]:
    """What runs when a module is imported, apart from what is replaced anyway: each with the name that it is for."""
    replaced = {*edit.was, *edit.replaced} if edit else set()
    for statement in module.body:
        names = names_bound(statement)
        name = names[0] if len(names) == 1 else ""
        if (module.name, name) in world.kept | world.reset:
            continue
        match statement:
            case ast.Import() | ast.ImportFrom():
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                calling = _calling(world, module, statement)
                yield from ((name, decorator) for decorator in calling)
                yield from ((name, node) for node in _evaluated(world, module, statement, bool(calling)))
                yield from (
                    (name, default) for default in (*statement.args.defaults, *filter(None, statement.args.kw_defaults))
                )
            case ast.ClassDef():
                yield from _of_class(world, module, statement, name, replaced)
            case _ if initialiser(statement) is not None:
                if name not in replaced and not _is_plain(world, module, name):
                    yield name, statement
            case _:
                yield name, statement


def _calling(world: PlannerContext, module: Module, function: Function) -> list[ast.expr]:
    """The decorators of a function that call something; a property and its setter do not."""
    return [decorator for decorator in function.decorator_list if not _only_keeps(world, module, decorator)]


def _evaluated(world: PlannerContext, module: Module, function: Function, is_read: bool) -> list[ast.AST]:
    """The annotations of a function that are made with something: those that call it; all, where a decorator reads them."""
    every = annotations_of(function)
    return (
        every
        if is_read
        else [node for node in every if not module.future & ANNOTATIONS and _calls(world, module, node)]
    )


def _calls(world: PlannerContext, module: Module, node: ast.AST) -> bool:
    """Whether an expression calls something, but for what names a dependency: ``Depends(session)``."""
    calls = (inner for inner in walk(node) if isinstance(inner, ast.Call))
    return not all(decorators.depends(world.new, module, call.func) for call in calls)


def _only_keeps(world: PlannerContext, module: Module, decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    registers = isinstance(called, ast.Attribute) and called.attr == "register"
    if registers and isinstance(called, ast.Attribute) and decorators.is_dispatch(world.new, module, called.value):
        return True
    return decorators.kinds(world.new, module, [decorator]) == {"neutral"}


def _of_class(
    world: PlannerContext, module: Module, node: ast.ClassDef, name: str, replaced: set[str]
) -> Iterator[tuple[str, ast.AST]]:
    made_otherwise = bool(node.decorator_list) or not bases.plain_bases(world, module, node)
    yield from (
        (name, keyword)
        for keyword in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords))
    )
    for statement in node.body:
        names = names_bound(statement)
        if not any(f"{name}.{bound}" in replaced for bound in names):
            if isinstance(statement, Function):
                defaults = [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
                annotations = _evaluated(world, module, statement, False)
                yield from (
                    (f"{name}.{statement.name}", part)
                    for part in (*_calling(world, module, statement), *defaults, *annotations)
                )
            else:
                of = f"{name}.{names[0]}" if names else name
                yield of, statement
                if isinstance(statement, ast.AnnAssign) and made_otherwise:
                    yield of, statement.annotation


def _is_plain(world: PlannerContext, module: Module, name: str) -> bool:
    try:
        world.new.value((module.name, name))
    except NotPlain:
        return False
    return True


def _unread_imports(edits: Mapping[str, ModuleDiff], modules: Iterable[Module]) -> frozenset[str]:
    """The names that only imports bind or bind no more in these modules, and that lead from nothing to anything that changes.

    What has the same name in another module that changes is something else; so it is where the other version of the module reads
    that name, of Python itself then, or where any module of the newer release reads it as an attribute, or has it as a text.
    """
    every = [(edit, name) for edit in edits.values() for name in edit.own]
    imported = {name for edit, name in every if _comes_or_goes(edit, name)}
    imported -= {name for edit, name in every if not _comes_or_goes(edit, name) or _is_read(edit, name)}
    return frozenset(imported - _names_read(modules)) if imported else frozenset()


def _comes_or_goes(edit: ModuleDiff, name: str) -> bool:
    comes = name in edit.new.imports and name not in edit.old.stored
    return comes or (name in edit.old.imports and name not in edit.new.stored)


def _is_read(edit: ModuleDiff, name: str) -> bool:
    """Whether the version that has not got the import names it all the same."""
    without = edit.old if name in edit.new.imports else edit.new
    nodes = (node for statement in without.body for node in walk(statement))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def _names_read(modules: Iterable[Module]) -> set[str]:
    """All that is read of something by its name."""
    names: set[str] = set()
    for node in (inner for module in modules for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names
