"""What else in a release makes instances of a class, gives them arguments, or sets their attributes: found by name, rather too much than
too little."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from ..edit import ModuleDiff
from ..source import Function, Module, annotations_of, children, functions_in, import_time, walk

_CHANGING = ("update", "setdefault", "pop", "clear", "__setitem__")
"""Methods that change a dict of attributes."""
_ASKING = ("isinstance", "issubclass", "cast", "type")
"""Functions that are given a class, and make nothing of it."""
_WITHOUT_INIT = ("object", "ABC", "Generic", "Protocol")
"""Bases that make nothing of an instance."""


def passed(edit: ModuleDiff, cls: str, names: Collection[str], most: int) -> str:
    """Who in the new release makes an instance with these arguments, or with more than `most` without a name; empty for nobody."""
    for module in _modules(edit):
        known = {cls, "__init__", "cls", *made_of(module, cls)}
        if (handed := _handed(module, cls)) is not None:
            return f"what {cls} is handed to in {module.name}, line {getattr(handed, 'lineno', 0)},"
        for call in (inner for inner in _walked(edit, module, cls) if isinstance(inner, ast.Call)):
            called = {function.id for function in [call.func] if isinstance(function, ast.Name)}
            called |= {function.attr for function in [call.func] if isinstance(function, ast.Attribute)}
            given = {argument.id for argument in call.args if isinstance(argument, ast.Name)}
            named = any(word.arg in names for word in call.keywords)  # of whatever is called: it may be this class
            if not (called & known or known & given or named):  # `partial(Room, ...)` too
                continue
            starred = any(isinstance(argument, ast.Starred) for argument in call.args)
            if starred or len(call.args) > most or any(word.arg is None or word.arg in names for word in call.keywords):
                return f"{module.name}, line {call.lineno},"
    return ""


def _walked(edit: ModuleDiff, module: Module, cls: str) -> Iterator[ast.AST]:
    """What is in a module, without functions that the old one lacks: what there is was made by others.

    Unless one that has made instances is gone; it may have got another name.
    """
    old = edit.world.old.modules.get(module.name)
    before = {} if old is None else old.codes
    gone = [code for path, code in before.items() if path not in module.codes and cls in code.co_names]
    waiting: list[tuple[str, ast.AST]] = [("", statement) for statement in module.body]
    for prefix, node in waiting:
        if isinstance(node, Function):
            if not gone and f"{prefix}{node.name}" not in before:
                continue
            yield from walk(node)
            continue
        yield node
        inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix
        waiting += [(inner, child) for child in children(node)]


def made_of(module: Module, cls: str) -> Iterator[str]:
    """By which names else a module has a class, or what is derived from it."""
    for statement in module.body:
        for inner in walk(statement):
            match inner:
                case ast.alias(name, str(other)) if name.rpartition(".")[2] == cls:
                    yield other
                case ast.Assign([ast.Name(other)], ast.Name(name) | ast.Attribute(attr=name)) if name == cls:
                    yield other
                case ast.ClassDef(other, bases) if any(ast.unparse(base).endswith(cls) for base in bases):
                    yield other


def stores(edit: ModuleDiff, name: str) -> int:
    """How many statements of the new release set, or delete, an attribute of this name."""
    every = (inner for module in _modules(edit) for statement in module.body for inner in walk(statement))
    return sum(
        isinstance(inner, ast.Attribute) and inner.attr == name and not isinstance(inner.ctx, ast.Load)
        for inner in every
    )


def made_or_set_otherwise(edit: ModuleDiff, cls: str, given: Collection[str]) -> str:
    """Who makes an instance without its ``__init__``, or sets attributes without naming them; empty for nobody."""
    derived = {cls, "cls", "self.__class__", "type(self)"}
    more = {cls}
    while more:
        derived |= more
        more = {name for module in _modules(edit) for known in more for name in made_of(module, known)} - derived
    for module in _modules(edit):
        for inner in (inner for statement in module.body for inner in walk(statement)):
            where = f"{module.name}, line {getattr(inner, 'lineno', 0)},"
            match inner:
                case ast.Call(ast.Name("setattr") | ast.Attribute(attr="__setattr__"), [_, by, *_]):
                    if not isinstance(by, ast.Constant) or by.value in given:
                        return f"{where} sets attributes by name"
                case ast.Call(ast.Attribute(attr="__new__"), [first, *_]) if ast.unparse(first) in derived:
                    return f"{where} makes one without __init__"
                case ast.Subscript(holder, ctx=ast.Store() | ast.Del()) if _is_state(holder):
                    return f"{where} sets attributes by name"
                case ast.Call(ast.Attribute(holder, method)) if method in _CHANGING and _is_state(holder):
                    return f"{where} sets attributes by name"
                case ast.ClassDef(name, bases, body=body) if any(ast.unparse(base) in derived for base in bases):
                    if name != cls and any(_skips_init(inner, derived) for inner in body):
                        return f"__init__ of {name} may end without that of {cls}"
                    if others := [
                        base
                        for base in bases
                        if ast.unparse(base).partition("[")[0].rpartition(".")[2] not in (*derived, *_WITHOUT_INIT)
                    ]:
                        return (
                            f"{name} comes from {ast.unparse(others[0])} too, whose __init__ may be the one that runs"
                        )
    return ""


def lists_attributes(edit: ModuleDiff) -> bool:
    """Whether anything in the new release asks for all attributes of an object."""
    every = (inner for module in _modules(edit) for statement in module.body for inner in walk(statement))
    return any(isinstance(inner, ast.expr) and _is_state(inner) for inner in every)


def lists_those_of(edit: ModuleDiff, cls: ast.ClassDef) -> bool:
    """Whether anything in the new release may ask an instance of a class for all its attributes, and see in which order they are.

    A class that it does not come from asks its own instances, and who looks up one name of a dict sees no order.
    """
    above = {base.name for base in with_bases(edit, edit.new, cls)}
    for module in _modules(edit):
        every = [inner for statement in module.body for inner in walk(statement)]
        harmless = {id(node) for inner in every for node in _looked_up(inner)}
        for owner, function in functions_in(module.body):
            me = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)][:1]
            if owner and owner.rpartition(".")[2] not in above:
                harmless |= {id(inner) for inner in walk(function) if _is_state_of(inner, me)}
            harmless |= set(map(id, _asked_by_name(function)))
        if any(isinstance(inner, ast.expr) and _gives_state(inner) and id(inner) not in harmless for inner in every):
            return True
    return False


def _asked_by_name(function: Function) -> Iterator[ast.AST]:
    """The dicts of attributes that a function calls something, and looks up one name in, or asks whether it is there."""
    every = list(walk(function))
    asked = {id(node) for inner in every for node in _looked_up(inner)}
    for inner in every:
        match inner:
            case ast.Assign([ast.Name(bound)], value) if _gives_state(value):
                used = (use for use in every if isinstance(use, ast.Name) and use.id == bound)
                if all(isinstance(use.ctx, ast.Store) or id(use) in asked for use in used):
                    yield value


def _gives_state(node: ast.expr) -> bool:
    match node:
        case ast.Call(ast.Name("getattr"), [_, ast.Constant("__dict__"), *_]):
            return True
    return _is_state(node)


def _looked_up(node: ast.AST) -> Iterator[ast.AST]:
    """The dicts in which a node looks up a name."""
    match node:
        case ast.Subscript(value):
            yield value
        case ast.Call(ast.Attribute(value, "get" | "pop" | "setdefault")):
            yield value
        case ast.Compare(comparators=[value], ops=[ast.In() | ast.NotIn()]):
            yield value
        case ast.Compare(left=value, ops=[ast.Is() | ast.IsNot()]):
            yield value


def _is_state_of(node: ast.AST, me: Collection[str]) -> bool:
    match node:
        case ast.Attribute(ast.Name(name), "__dict__") | ast.Call(ast.Name("vars"), [ast.Name(name)]):
            return name in me
    return False


def _is_state(node: ast.expr) -> bool:
    """Whether an expression is the dict of an object's attributes."""
    match node:
        case ast.Attribute(attr="__dict__") | ast.Call(ast.Name("vars"), [_]):
            return True
    return False


def _skips_init(node: ast.stmt, derived: Collection[str]) -> bool:
    """Whether this is an ``__init__`` that may end without one of the classes it comes from."""
    if not isinstance(node, Function) or node.name != "__init__":
        return False
    for statement in node.body:
        match statement:
            case ast.Expr(ast.Call(ast.Attribute(ast.Call(ast.Name("super"), []), "__init__"))):
                return bool(node.decorator_list)
            case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), "__init__"))) if name in derived:
                return bool(node.decorator_list)
        if any(isinstance(inner, ast.Return) for inner in import_time(statement, annotations=False)):
            return True
    return True


def _handed(module: Module, cls: str) -> ast.AST | None:
    """Where a module hands a class over as a value, so that others may make instances of it; None for nowhere."""
    every = [inner for statement in module.body for inner in walk(statement)]
    harmless = {id(inner) for node in every for inner in _not_handing(node)}
    for node in every:
        match node:
            case ast.Name(name, ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                if name == cls and id(node) not in harmless:
                    return node
    return None


def _not_handing(node: ast.AST) -> Iterator[ast.AST]:
    """What of a node is called, asked for, derived from or annotated with, and not given to anybody."""
    whole: list[ast.AST | None] = []
    match node:
        case ast.Call(ast.Name(called) | ast.Attribute(attr=called) as func, args):
            yield func
            whole += args if called in _ASKING else []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            whole += annotations_of(node)
        case ast.AnnAssign(annotation=annotation):
            whole.append(annotation)
        case ast.ClassDef(bases=bases):
            whole += bases
        case ast.ExceptHandler(type=kind) | ast.Raise(exc=kind):
            whole.append(kind if not isinstance(kind, ast.Call) else None)
        case ast.Attribute(value):
            yield value
    for part in whole:
        yield from () if part is None else walk(part)


def with_bases(edit: ModuleDiff, module: Module, cls: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """A class, and those of the release that it comes from."""
    yield cls
    for base in cls.bases:
        source = edit.world.new.resolve(module, base)
        known = edit.world.new.modules.get(source[0]) if source else None
        inner = known.classes.get(source[1]) if known and source else None
        if known is not None and inner is not None and inner is not cls:
            yield from with_bases(edit, known, inner)


def derived_from(edit: ModuleDiff, cls: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The classes of the release that come from one, by its name."""
    known, more = {cls.name}, {cls.name}
    while more:
        names = {name for module in _modules(edit) for of in more for name in made_of(module, of)}
        more = names - known
        known |= more
    for module in _modules(edit):
        yield from (
            node
            for statement in module.body
            for node in walk(statement)
            if isinstance(node, ast.ClassDef)
            if node.name in known and node.name != cls.name
        )


def _modules(edit: ModuleDiff) -> Iterator[Module]:
    """The modules of the new release that may know of a class that changes."""
    known = edit.world.new.modules
    yield from (known[name] for name in sorted(edit.world.compared) if known.get(name) is not None)
