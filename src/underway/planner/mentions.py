"""Which names the definitions of some modules mention, and how one leads to another: what a call may end in, by name."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from .edit import PlannerContext
from .rules import decorators
from .source import Function, Module, children, names_bound, walk

_MADE_WITH = ("_generate_next_value_", "_missing_", "model_post_init")
"""Methods that are called by name while a class is made, or an instance, and are not between two underscores."""

_CHECKING = re.compile(r"validat|^default$")
"""Decorators of methods that are called when an instance is made, as models of pydantic, attrs and SQLAlchemy have them."""


def mentions(world: PlannerContext, modules: Collection[Module], *, annotations: bool = True) -> dict[str, set[str]]:
    """By the name of each function, class and global: what it mentions, or, where it makes an instance, what that mentions.

    What reads the `annotations` of a function may end in these; a call does not.
    """
    named: dict[str, set[str]] = {}
    for module in modules:
        aliases = {**_builtin(module), **dict(_aliases(module))}
        for name, value in module.globals.items():
            named.setdefault(name, set()).update(_of_value(world, module, value, aliases))
        for statement in module.body:
            for node in walk(statement):
                if isinstance(node, Function):
                    named.setdefault(node.name, set()).update(mentioned(node, aliases, annotations))
                elif isinstance(node, ast.ClassDef):
                    _of_class(node, aliases, named, annotations)
    return named


def registered(modules: Collection[Module], known: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same, where a global that a decorator of the release uses may hold what is decorated."""
    holding = {name: set(names) for name, names in known.items()}
    names = {name for module in modules for name in module.globals}
    for function in (definition for module in modules for definition in module.functions.values()):
        for decorator in function.decorator_list:
            for name in names & known.get(_last(decorator), set()):
                holding[name].add(function.name)
    return holding


def mentioned(node: ast.AST, aliases: Mapping[str, str], annotations: bool = True) -> set[str]:
    """The names in a node, attributes too; by what they are called where they were imported from. Variables are none."""
    names = set()
    local = variables(node) if isinstance(node, Function) else set()
    for inner in _evaluated(node, annotations):
        match inner:
            case ast.Name(id=name) if name not in local and (of := aliases.get(name, name)):
                names |= {name, of}
            case ast.Attribute(value, name) if name != "__doc__" and not (_is_making(name) and _is_class(value)):
                names.add(name)
            case ast.Call(ast.Name("getattr"), [_, ast.Constant(str(name)), *_]):
                names.add(name)
    return names


def _evaluated(node: ast.AST, annotations: bool) -> Iterator[ast.AST]:
    """All nodes below one, but for the annotations of a function's variables, which nobody can ever read, or for any `annotations`."""
    waiting = [node]
    within = {id(inner) for inner in walk(node) if isinstance(inner, Function)}
    while waiting:
        current = waiting.pop()
        yield current
        inner: Iterable[ast.AST] = children(current)
        if isinstance(current, ast.AnnAssign) and within:
            inner = [current.target, *filter(None, [current.value])]
        elif isinstance(current, ast.arg) and not annotations:
            continue
        elif isinstance(current, Function) and not annotations:
            inner = [*current.decorator_list, current.args, *current.body]
        waiting += inner


def _is_making(name: str) -> bool:
    return name in ("__init__", "__new__", "__init_subclass__", "__call__")


def _is_class(node: ast.expr) -> bool:
    """Whether it is a class, by how it is called, or what ``super`` gives: what makes its instances belongs to its name, and its bases'."""
    match node:
        case ast.Call(ast.Name("super")):
            return True
        case ast.Name(name):
            return name in ("object", "type") or name[:1].isupper()
    return False


def variables(function: Function) -> set[str]:
    """What a function binds for itself, but for what it defines or imports: what these hold was named where it came from."""
    shared = {n for inner in walk(function) if isinstance(inner, ast.Global | ast.Nonlocal) for n in inner.names}
    bound = {inner.id for inner in walk(function) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
    inner = {
        name for nested in walk(function) if isinstance(nested, ast.Lambda | Function) for name in _parameters(nested)
    }
    nested = [inner for inner in walk(function) if isinstance(inner, Function | ast.ClassDef | ast.Lambda)]
    return bound | inner - shared if len(nested) == 1 else set()


def _parameters(function: Function | ast.Lambda) -> Iterator[str]:
    args = function.args
    yield from (argument.arg for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs))


def kept_in_state(function: Function) -> set[str]:
    """The application that a function of its start is given, where that keeps what it makes in its ``state`` and asks it nothing."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if len(arguments) != 1:
        return set()
    name = arguments[0].arg
    uses = [inner for inner in walk(function) if isinstance(inner, ast.Name) and inner.id == name]
    attributes: dict[str, list[ast.Attribute]] = {}
    for inner in walk(function):
        match inner:
            case ast.Attribute(ast.Attribute(ast.Name(id), "state")) if id == name:
                attributes.setdefault(inner.attr, []).append(inner)
    made = [
        attribute for of in attributes.values() if any(isinstance(use.ctx, ast.Store) for use in of) for attribute in of
    ]
    return {name} if len(made) == len(uses) else set()


def path(seeds: Iterable[str], changed: Mapping[str, str], known: Mapping[str, set[str]]) -> tuple[str, ...]:
    """How one of these names leads to something that changes; empty when none does."""
    ways: dict[str, tuple[str, ...]] = {seed: (seed,) for seed in seeds}
    queue = list(ways)
    for name in queue:
        if name in changed:
            return ways[name]
        for further in sorted(known.get(name, ())):
            if further not in ways:
                ways[further] = (*ways[name], further)
                queue.append(further)
    return ()


def properties(modules: Iterable[Module]) -> set[str]:
    """The names of methods that are called when they are read as an attribute."""
    return {
        method.name
        for module in modules
        for statement in module.body
        for node in walk(statement)
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, Function) and any("property" in _last(decorator) for decorator in method.decorator_list)
    }


def _of_value(world: PlannerContext, module: Module, value: ast.AST, aliases: Mapping[str, str]) -> set[str]:
    """What a global is made with: an object is what its class makes it, a table has what is in it."""
    of_keepers = {
        id(inner)
        for call in walk(value)
        if isinstance(call, ast.Call) and decorators.keeps(world.new, module, call.func)
        for argument in (*call.args, *(keyword.value for keyword in call.keywords))
        for inner in walk(argument)
    }
    names: set[str] = set()
    for inner in walk(value):
        if isinstance(inner, ast.Name | ast.Attribute) and id(inner) not in of_keepers:
            names |= mentioned(inner, aliases)
    return names


def _of_class(node: ast.ClassDef, aliases: Mapping[str, str], named: dict[str, set[str]], annotations: bool) -> None:
    into = named.setdefault(node.name, set())
    into.update(name for base in node.bases for name in mentioned(base, aliases))
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and node.bases:
            into.update(mentioned(statement.annotation, aliases))
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            into.update(mentioned(statement.value, aliases))
        elif not isinstance(statement, Function):
            continue
        elif statement.name.startswith("__") or statement.name in _MADE_WITH or _checks(statement):
            into.add(f"{node.name}.{statement.name}" if statement.name.startswith("__") else statement.name)
            named.setdefault(f"{node.name}.{statement.name}", set()).update(mentioned(statement, aliases, annotations))


def _checks(method: Function) -> bool:
    """Whether what decorates a method has it called when an instance is made: a validator, a default."""
    return any(_CHECKING.search(_last(decorator)) for decorator in method.decorator_list)


def _builtin(module: Module) -> dict[str, str]:
    """What a module names and binds nowhere itself: functions and classes of Python, nothing of the release."""
    bound = set(module.stored)
    for node in (inner for statement in module.body for inner in walk(statement)):
        if isinstance(node, Function | ast.ClassDef):
            bound.add(node.name)
        if isinstance(node, ast.ClassDef):
            bound.update(name for statement in node.body for name in names_bound(statement))
    return {name: "" for name in dir(builtins) if name not in bound}


def _aliases(module: Module) -> Iterator[tuple[str, str]]:
    """What a module imports under another name, in functions too."""
    for statement in module.body:
        for node in walk(statement):
            if isinstance(node, ast.ImportFrom | ast.Import):
                yield from ((alias.asname, alias.name.rpartition(".")[2]) for alias in node.names if alias.asname)


def _last(decorator: ast.expr) -> str:
    match decorator:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func):
            return _last(func)
    return ""
