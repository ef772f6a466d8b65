"""Names that code looks up as text: in a list of all of them, by text that it computes, by a module's ``__getattr__``.

Who asks so reads no name that could be followed, and what it has found is not bound again.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence

from .edit import ModuleDiff, PlannerContext
from .source import Function, Module, functions_in, import_time, imported, names_bound, own_imports, walk

_LISTS = {"dir", "vars", "globals", "locals"}
_LISTS_OF = {"__subclasses__", "getmembers", "getmembers_static", "__dict__"}
_BY_NAME = "sys.modules[__name__]"


def check(world: PlannerContext, edits: Mapping[str, ModuleDiff]) -> None:
    """Write RESTART rows for what has found, or would find too early, what comes, goes or is bound to something else."""
    moved = {name: other for name, edit in edits.items() if (other := _moved(edit))}
    for edit in edits.values():
        _taken(world, edit, edits)
        _listed(world, edit, edits, moved)
        _listed_early(world, edit)
        _found_early(edit)
        _found_by_getattr(edit, edits)
        _told_apart(world, edit)


def _taken(world: PlannerContext, edit: ModuleDiff, edits: Mapping[str, ModuleDiff]) -> None:
    """Ask for a look at what was given a whole module at import, or its name as text, and may have taken names that are others now."""
    changed = {
        other.new.name: name
        for other in edits.values()
        for name in (*other.was, *other.replaced, *other.added, *other.removed)
        if "." not in name
    }
    for statement in edit.new.body if changed else ():
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for node in walk(statement):  # a function may have run: an application factory
            module = _module_given(world, edit, node, changed)
            bound = names_bound(statement)
            if module and not {*bound} & {*edit.added}:
                name = bound[0] if len(bound) == 1 else ""
                reason = f"it was given {module} when the module was imported, of which {changed[module]} changes"
                edit.unless_seen(name, "reached", reason, statement, cause=(module, changed[module]), runs=False)
                break


def _module_given(world: PlannerContext, edit: ModuleDiff, node: ast.AST, changed: Mapping[str, str]) -> str:
    """The module among these that an expression names as text, or gives to a call; empty for none."""
    match node:
        case ast.Constant(str(name)) if name in changed:
            return name
        case ast.Call(func, args, keywords) if not ast.unparse(func).endswith("getLogger"):
            for argument in (*args, *(word.value for word in keywords)):
                if isinstance(argument, ast.Name | ast.Attribute):
                    origin = world.new.resolve(edit.new, argument)
                    if origin and not origin[1] and origin[0] in changed:
                        return origin[0]
    return ""


def _listed(world: PlannerContext, edit: ModuleDiff, edits: Mapping[str, ModuleDiff], moved: Mapping[str, str]) -> None:
    """Ask for a look at what was made at import from a list of names, of which some come or go, or have `moved`."""
    of_module = [name for name in (*edit.added, *edit.removed) if "." not in name]
    every = [name for other in edits.values() for name in (*other.added, *other.removed)]
    of_module += [moved[edit.new.name]] if edit.new.name in moved else []
    every += moved.values()
    for statement in edit.new.body if every else ():
        for node in import_time(statement, annotations=False):
            what, of_all = _list(node)
            if not what:
                what, of_all = _listed_by_call(world, edit.new, node), True
            names = every if of_all or isinstance(statement, ast.ClassDef) else of_module
            bound = names_bound(statement)
            if what and names and not {*bound} & {*edit.added}:
                reason = f"it was made with {what} when the module was imported, which has other names, or another order, now ({names[0]})"
                edit.unless_seen(bound[0] if len(bound) == 1 else "", "reached", reason, statement)
                break


def _moved(edit: ModuleDiff) -> str:
    """A name of a module, or of a class in it, that stands in another place among those that both releases have; empty for none."""
    if edit.is_same_text:
        return ""
    old, new = dict(_orders(edit.old.body)), dict(_orders(edit.new.body))
    for path in old.keys() & new.keys():
        before, after = ([step for step in of[path] if step in other[path]] for of, other in ((old, new), (new, old)))
        if moved := next((now for was, now in zip(before, after, strict=False) if was != now), ""):
            return ".".join(filter(None, (path, moved)))
    return ""


def _orders(body: Sequence[ast.stmt], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """The names of a module and of its classes, in the order in which they come; what binds none by what it says."""
    yield path, [step for statement in body for step in (*names_bound(statement),) or (ast.unparse(statement),)]
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from _orders(statement.body, f"{path}.{statement.name}" if path else statement.name)


def _listed_by_call(world: PlannerContext, module: Module, node: ast.AST, calls: int = 3) -> str:
    """Which function of the release lists names for an expression that calls it, itself or by so many calls; empty for none."""
    if not (isinstance(node, ast.Call) and calls):
        return ""
    for other, function in _called(world, module, node.func):
        first = {argument.arg for argument in function.args.args[:1]}
        for nested in _inner(function):
            if (_list(nested)[0] and not _is_of(nested, first)) or _listed_by_call(world, other, nested, calls - 1):
                return f"{ast.unparse(node.func)}()"
    return ""


def _called(world: PlannerContext, module: Module, called: ast.expr) -> Iterator[tuple[Module, Function]]:
    """The functions of the release that a call may run: by that name, as a method of a class of the module, or to make an instance."""
    source = world.new.resolve(module, called) if isinstance(called, ast.Name | ast.Attribute) else None
    other = world.new.modules.get(source[0]) if source else None
    if other is not None and source is not None and source[1] in other.functions:
        yield other, other.functions[source[1]]
    method, classes = "", list(module.classes.values())
    if other is not None and source is not None and source[1] in other.classes:
        method, classes, module = "__init__", [other.classes[source[1]]], other
    elif isinstance(called, ast.Attribute):
        method = called.attr
    yield from (
        (module, statement)
        for cls in classes
        for statement in cls.body
        if isinstance(statement, Function) and statement.name == method
    )


def _is_of(node: ast.AST, names: Collection[str]) -> bool:
    """Whether an expression lists what one of these variables has, such as ``self``."""
    match node:
        case ast.Attribute(ast.Name(name)) | ast.Call(_, [ast.Name(name)]):
            return name in names
    return False


def _listed_early(world: PlannerContext, edit: ModuleDiff) -> None:
    """Write RESTART rows for what comes, and is made with a list of a module's names before all of these are there."""
    for statement in list(edit.statements):
        for node in import_time(statement, annotations=False):
            if what := _own_names(world, edit.new, node):
                name = next(iter(names_bound(statement)), "")
                reason = f"it is made with {what}, which lists the names of its module before all is in place"
                edit.unless_seen(name, "added", reason, statement)
                break


def _own_names(world: PlannerContext, module: Module, node: ast.AST, calls: int = 3) -> str:
    """How an expression lists the names of a module of the release, itself or by so many calls; empty if it does not."""
    if _is_namespace(node):
        return ast.unparse(node)
    match node:
        case ast.Call(ast.Name(name), []) if name in _LISTS:
            return f"{name}()"
        case ast.Call(ast.Name() | ast.Attribute() as called) if calls:
            source = world.new.resolve(module, called)
            other = world.new.modules.get(source[0]) if source else None
            function = other.functions.get(source[1]) if other and source else None
            if other and function and any(_own_names(world, other, nested, calls - 1) for nested in _inner(function)):
                return f"{ast.unparse(called)}()"
    return ""


def _inner(function: Function) -> Iterator[ast.AST]:
    """What a function does when it is called, but for lists of its own variables."""
    for statement in function.body:
        for node in walk(statement):
            match node:
                case ast.Call(ast.Name(name), []) if name in _LISTS - {"globals"}:
                    continue
            yield node


def _list(node: ast.AST) -> tuple[str, bool]:
    """How an expression lists names, and whether it may be those of something else than its module; empty if it does not."""
    match node:
        case ast.Call(ast.Name(name), arguments) if name in _LISTS:
            return f"{name}()", bool(arguments)
        case ast.Attribute(attr=name) if name in _LISTS_OF:
            return name, True
    return "", False


def _found_early(edit: ModuleDiff) -> None:
    """Names that come while other things change: who looks names up by text finds them before all is in place."""
    names = [name for name in edit.added if "." not in name]
    alone = len(names) == 1 and len({row.definition for row in edit.rows}) == 1
    if not names or (alone and not any(_calls(statement) for statement in edit.statements)):
        return
    for _, function in functions_in(edit.old.body):
        for node in walk(function):
            if _is_namespace(node):
                reason = f"{function.name} looks names up by text, and may find {names[0]} before all else is in place"
                edit.restart(names[0], "added", reason, function, gone=True)
                return


def _calls(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call) for node in import_time(statement, annotations=False))


def _is_namespace(node: ast.AST) -> bool:
    """Whether an expression is all names of its own module."""
    match node:
        case ast.Call(ast.Name("globals"), []):
            return True
        case ast.Subscript():
            return ast.unparse(node) == _BY_NAME
    return False


def _found_by_getattr(edit: ModuleDiff, edits: Mapping[str, ModuleDiff]) -> None:
    """Look at what a module's ``__getattr__`` has found at import, and write a RESTART row for what it has kept itself since."""
    function = edit.old.functions.get("__getattr__")
    if function is None:
        return
    package = edit.new.name.partition(".")[0]
    related = [other for name, other in edits.items() if name.partition(".")[0] == package]
    others = (name for other in related for name in (*other.was, *other.replaced, *other.rebind, *other.removed))
    changed = edit.rows[0].definition if edit.rows else next((name for name in others if "." not in name), None)
    if changed is None:
        return
    reason = f"what it has found, which may be another now: {changed or 'the module'} changes"
    if _binds_names(function):
        edit.restart("__getattr__", "names", f"it keeps {reason}", function, gone=True)
    elif (asking := _asking(edit, edits)) is not None:
        other, name, node = asking
        reason = f"it has {edit.old.name}.{name} of its __getattr__: {reason}"
        other.unless_seen("", "import", reason, node, gone=True, runs=False)


def _binds_names(function: Function) -> bool:
    """Whether a function may bind names of its module by text: it does more with the namespace than to look one up."""
    looked_up = {
        id(inner.value)
        for inner in walk(function)
        if isinstance(inner, ast.Subscript) and isinstance(inner.ctx, ast.Load)
        if _is_namespace(inner.value)
    }
    return any(_is_namespace(inner) and id(inner) not in looked_up for inner in walk(function))


def _asking(edit: ModuleDiff, edits: Mapping[str, ModuleDiff]) -> tuple[ModuleDiff, str, ast.AST] | None:
    """A module that asks at import for what this one does not bind, and so has it from ``__getattr__``: with the name, and where."""
    for other in edits.values():
        for node, source, name in _asked_at_import(other.world, other.old):
            of_here = source == edit.old.name and name not in {"", "*", *edit.old.stored}
            if of_here and f"{source}.{name}" not in edit.world.old.modules and not name.startswith("__"):
                return other, name, node
    return None


def _asked_at_import(world: PlannerContext, module: Module) -> Iterator[tuple[ast.AST, str, str]]:
    """What of other modules a module imports, or names, while it is imported: where, of which, and what."""
    for importing in own_imports(module.body):
        for source, name in imported(importing, module.name, module.package).values():
            yield importing, source, name
    for statement in module.body:
        for node in import_time(statement, annotations=not module.future):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                origin = world.old.resolve(module, node.value)
                if origin and not origin[1]:
                    yield node, origin[0], node.attr


def _told_apart(world: PlannerContext, edit: ModuleDiff) -> None:
    """Values that change, and are told from others like them by ``is``: each place where they are used has one of its own."""
    for statement in edit.new.body if world.values else ():
        compared = (inner for inner in walk(statement) if isinstance(inner, ast.Compare))
        for node in compared:
            operands = (node.left, *node.comparators) if isinstance(node.ops[0], ast.Is | ast.IsNot) else ()
            for operand in operands:
                origin = world.new.resolve(edit.new, operand) if isinstance(operand, ast.Name | ast.Attribute) else None
                if origin and not isinstance(world.values.get(origin), bool | None):
                    reason = f"it tells {ast.unparse(operand)} from others like it by `is`, and that changes"
                    edit.restart(next(iter(names_bound(statement)), ""), "reached", reason, node)
