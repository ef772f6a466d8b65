"""Instances of models that import makes, such as ``settings = Settings()``: made once more with their class, where another is as good.

What is made again from its defaults, and from where settings are read, is what a fresh start has. The process makes sure that nobody
has set anything in the one before, and that nobody else holds it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Container, Iterator

from ...edit import ModuleDiff, PlannerContext
from ...source import Function, Module, initialiser, names_bound, root_of, walk
from ...values import Side, origin
from .. import instances
from ..bases import DATACLASS

_STARTING = {
    "__init__",
    "__post_init__",
    "__new__",
    "model_post_init",
    "__setattr__",
    "settings_customise_sources",
    "__getattribute__",
}
"""Methods that may do anything when an instance is made."""
_FILLING = ("__init__", "__post_init__")
"""Those among them that give an instance its attributes."""
_CONTAINERS = {"list", "dict", "set", "tuple", "frozenset"}
"""Factories of which each call makes the same."""
_SAME_EACH_TIME = (
    "re",
    "json",
    "pathlib",
    "urllib.parse",
    "ipaddress",
    "decimal",
    "typing",
    "collections.abc",
    "pydantic",
)
"""Modules of which a check of a field may call something: that answers by what it is given alone."""
_ENVIRONMENT = ("os.getenv", "os.environ.get")
"""What reads the environment, as a start does."""


def made_at_import(edit: ModuleDiff, cls: ast.ClassDef) -> frozenset[int]:
    """The calls, by their ids, by which the older release makes instances of a class for globals that may be made once more."""
    if any(differs_each_time(edit.world, edit.world.new, module, of) for module, of in _with_bases(edit, cls)):
        return frozenset()
    return frozenset(
        id(value)
        for module in filter(None, map(edit.world.old.modules.get, sorted(edit.world.compared)))
        for name, value in module.globals.items()
        if is_plainly_made(value, {cls.name, *instances.made_of(module, cls.name)})
        and _stays_so(edit.world.new.modules.get(module.name), module, name)
    )


def is_plainly_made(value: ast.expr | None, names: set[str]) -> bool:
    """Whether an expression calls one of these classes with names and constants alone."""
    match value:
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name), args, keywords) if name in names:
            given = [*args, *(word.value for word in keywords)]
            return not any(isinstance(inner, _RUNNING) for argument in given for inner in walk(argument))
    return False


_RUNNING = (ast.Call, ast.Lambda, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Starred)
"""Expressions that do more than to name something."""


def _stays_so(after: Module | None, before: Module, name: str) -> bool:
    """Whether a global goes, or is bound by one statement in both releases, which makes it in the same way or from other names."""
    if after is None or name not in after.stored:
        return True
    value = after.globals.get(name)
    if after.stored[name] != before.stored[name] or not isinstance(value, ast.Call):
        return False
    return is_plainly_made(value, {ast.unparse(value.func).rpartition(".")[2]})


def _with_bases(edit: ModuleDiff, cls: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
    for of in instances.with_bases(edit, edit.new, cls):
        module = next((m for m in _modules(edit.world) if m.classes.get(of.name) is of), edit.new)
        yield module, of


def _modules(world: PlannerContext) -> Iterator[Module]:
    yield from filter(None, map(world.new.modules.get, sorted(world.compared)))


def is_plain_alike(world: PlannerContext, side: Side, module: Module, cls: ast.ClassDef) -> bool:
    """Whether a class that comes from none of a framework makes each instance alike: of constants and of the environment."""
    made = [".".join(origin(side, module, decorator) or ()) for decorator in cls.decorator_list]
    methods = [statement for statement in cls.body if isinstance(statement, Function)]
    return (
        made in ([], [DATACLASS])
        and not cls.keywords
        and not differs_each_time(world, side, module, cls, but=_FILLING)
        and all(_only_fills(side, module, method) for method in methods if method.name in _FILLING)
    )


def differs_each_time(
    world: PlannerContext, side: Side, module: Module, cls: ast.ClassDef, but: Container[str] = ()
) -> bool:
    """Whether making an instance runs what may do, or give, another thing each time; methods in `but` are known."""
    for statement in cls.body:
        if isinstance(statement, Function):
            if statement.name in but:
                continue
            if statement.name in _STARTING or (statement.decorator_list and _asks_around(side, module, statement)):
                return True
        elif any(_is_factory(world, side, module, node) for node in walk(statement)):
            return True
    return False


def _only_fills(side: Side, module: Module, method: Function) -> bool:
    """Whether a method gives attributes to its instance, and nothing to anybody else."""
    for inner in walk(method):
        match inner:
            case ast.Global() | ast.Nonlocal() | ast.Delete() | ast.Subscript(ctx=ast.Store() | ast.Del()):
                return False
            case ast.Attribute(of, ctx=ast.Store()) if ast.unparse(of) != "self":
                return False
    return not method.decorator_list and not _asks_around(side, module, method)


def _is_factory(world: PlannerContext, side: Side, module: Module, node: ast.AST) -> bool:
    """Whether it gives what makes a default, unless that is a container, or a model that is the same each time."""
    match node:
        case ast.keyword("default_factory", ast.Name(name)):
            source = side.resolve(module, ast.Name(name))
            known = side.modules.get(source[0]) if source and source[0] in world.compared else None
            cls = known.classes.get(source[1]) if known and source else None
            if known is not None and cls is not None and [*map(ast.unparse, cls.bases)] == ["BaseModel"]:
                return differs_each_time(world, side, known, cls)
            return name not in _CONTAINERS
        case ast.keyword("default_factory", ast.Lambda(args, body)):
            return bool(args.args or args.defaults) or not _calls_alike(side, module, body)
        case ast.keyword("default_factory"):
            return True
    return False


def _asks_around(side: Side, module: Module, function: Function) -> bool:
    """Whether a function calls more than what it is given, or makes itself: what it answers may depend on when it is asked."""
    return not all(_calls_alike(side, module, statement) for statement in function.body)


def _calls_alike(side: Side, module: Module, node: ast.AST) -> bool:
    return all(_answers_alike(side, module, inner.func) for inner in walk(node) if isinstance(inner, ast.Call))


def _answers_alike(side: Side, module: Module, called: ast.expr) -> bool:
    root = root_of(called, ast.Attribute, ast.Subscript, ast.Call)
    if root in module.stored:
        name = ".".join(filter(None, origin(side, module, called) or ()))
        return name in _ENVIRONMENT or any(name.startswith(f"{known}.") for known in _SAME_EACH_TIME)
    if isinstance(called, ast.Name):
        return hasattr(builtins, called.id) and called.id not in _ASKING_BUILTINS
    return root not in ("cls", "self")


_ASKING_BUILTINS = (
    *("open", "exec", "eval", "compile", "input", "print", "setattr", "delattr", "__import__"),
    *("id", "hash", "globals", "locals", "vars", "next", "breakpoint"),
)
"""Builtins that do something to others, or answer otherwise each time."""


def made_with(edit: ModuleDiff, of: tuple[str, str]) -> Iterator[tuple[str, ast.stmt]]:
    """The globals of a module that are bound to an instance of a class, each with its statement."""
    for statement in edit.new.body:
        value, names = initialiser(statement), names_bound(statement)
        if not isinstance(value, ast.Call) or len(names) != 1 or edit.world.new.resolve(edit.new, value.func) != of:
            continue
        if is_plainly_made(value, {ast.unparse(value.func).rpartition(".")[2]}):
            yield names[0], statement
