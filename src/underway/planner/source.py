"""A module as its source and its pyc have it: what it binds, by which statements, and where names come from."""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, TypeAlias

from underway_runtime.release import code_tree

from . import conditions

ANNOTATIONS = 0x1000000
"""The compiler's flag of ``from __future__ import annotations``."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Origin: TypeAlias = tuple[str, str]
"""A module and a name in it; the module itself where the name is empty."""


@dataclass(frozen=True)
class Module:
    """One module of one release."""

    name: str
    application: str
    file: str
    """Below the root of the release."""
    package: bool
    body: tuple[ast.stmt, ...]
    """What runs when it is imported; without docstring, without what only type checkers see, and without conditions that are known."""
    codes: Mapping[str, CodeType]
    future: int
    """The compiler's flags of its ``from __future__`` imports."""
    stored: Mapping[str, int]
    """The names that it binds -> how many statements do."""
    imports: Mapping[str, Origin] = field(default_factory=dict)
    """What each name that a single import binds stands for."""
    globals: Mapping[str, ast.expr] = field(default_factory=dict)
    """The initialisers of names that a single assignment binds."""
    functions: Mapping[str, Function] = field(default_factory=dict)
    classes: Mapping[str, ast.ClassDef] = field(default_factory=dict)
    source: bytes | str = field(default=b"", repr=False)
    named_by_imports: tuple[str, ...] = ()
    """The names that imports of its own scope bind, also those that only type checkers see."""
    doc: str | None = None
    """Its docstring."""


def read(name: str, application: str, root: Path, file: str) -> Module:
    """Read a module of a release. Raises SyntaxError, ValueError or OSError when there is no such thing to read."""
    path = root / file
    source = path.read_bytes()
    try:
        code = marshal.loads(Path(importlib.util.cache_from_source(str(path))).read_bytes()[16:])
    except FileNotFoundError:
        code = compile(source, file, "exec", dont_inherit=True, optimize=0)
    return module_of(name, application, file, source, code)


def module_of(name: str, application: str, file: str, source: bytes | str, code: CodeType | None = None) -> Module:
    """A module as its source states it; `code` is what was compiled of it."""
    tree = _parsed(source)
    if code is None:
        code = compile(source, file, "exec", dont_inherit=True, optimize=0)
    package = file.endswith("/__init__.py")
    module = Module(
        name=name,
        application=application,
        file=file,
        package=package,
        body=(),
        codes=code_tree.tree(code),
        future=_future(tree),
        stored={},
        named_by_imports=tuple(dict.fromkeys(_named_by_imports(tree.body))),
        source=source,
        doc=ast.get_docstring(tree, clean=False),
    )
    return with_body(module, conditions.effective(tree.body, _known_names(tree.body)))


def with_body(module: Module, statements: Iterable[ast.stmt]) -> Module:
    """A module with these statements, and what they bind."""
    body = tuple(statements)
    stored = Counter(bound for statement in body for bound in _bindings(statement))
    stored.update(dict.fromkeys((name.partition(".")[0] for name in plainly_imported(body)), 1))
    once = [(statement, [n for n in names_bound(statement) if stored[n] == 1]) for statement in body]
    of = [(names, imported(statement, module.name, module.package)) for statement, names in once]
    return replace(
        module,
        body=body,
        stored=stored,
        imports={n: o for names, origins in of for n, o in origins.items() if n in names},
        globals={n: v for s, names in once if (v := initialiser(s)) is not None for n in names},
        functions={s.name: s for s, names in once if isinstance(s, Function) and names},
        classes={s.name: s for s, names in once if isinstance(s, ast.ClassDef) and names},
    )


def _bindings(statement: ast.stmt) -> list[str]:
    """The names that a statement binds, but for those by ``import a.b``, which several may do: they stand for the same."""
    plain = {name.partition(".")[0] for name in plainly_imported([statement])}
    return [name for name in names_bound(statement) if name not in plain]


def plainly_imported(body: Iterable[ast.stmt]) -> list[str]:
    """The modules that statements import by their whole names, without another name for them."""
    imports = (statement for statement in body if isinstance(statement, ast.Import))
    return [alias.name for statement in imports for alias in statement.names if alias.asname is None]


def _known_names(body: list[ast.stmt]) -> conditions.Names:
    """What names stand for in conditions: those that a single import binds."""
    times = Counter(bound for statement in body for bound in names_bound(statement))
    return {name: dotted for name, dotted in conditions.names_of(body).items() if times[name] <= 1}


def statements(file: Path) -> Sequence[ast.stmt]:
    """The statements of a file; none where it can't be read, or is of a Python that is newer than this one."""
    try:
        return ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()


@lru_cache(maxsize=10_000)
def _parsed(source: bytes | str) -> ast.Module:
    """The tree of a source: most modules of two releases have the same. Nobody changes a tree that comes from here."""
    return ast.parse(source)


@cache
def names_bound(statement: ast.stmt) -> tuple[str, ...]:
    """The names of the module, or the class, that a statement binds or deletes; each once."""
    names: dict[str, None] = {}
    _bound(statement, names)
    return tuple(names)


def imported(statement: ast.stmt, module: str, package: bool) -> dict[str, Origin]:
    """What the names that an import binds stand for; empty for any other statement."""
    match statement:
        case ast.Import(names):
            return {
                (alias.asname or alias.name.partition(".")[0]): (
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    "",
                )
                for alias in names
            }
        case ast.ImportFrom(names=names):
            source = import_source(statement, module, package)
            return {alias.asname or alias.name: (source, alias.name) for alias in names}
    return {}


def tried(statement: ast.stmt, module: str, package: bool) -> dict[str, Origin]:
    """The same of an import that is tried: ``try: from ._version import __version__``, and something else where that fails."""
    match statement:
        case ast.Try([(ast.Import() | ast.ImportFrom()) as first], handlers, [], []) if handlers:
            named = [
                handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] for handler in handlers
            ]
            errors = {error.id if isinstance(error, ast.Name) else "" for types in named for error in types}
            if errors <= {"ImportError", "ModuleNotFoundError"}:
                return imported(first, module, package)
    return {}


def path_of(module: Module, name: str, node: Function) -> str:
    """The path of a function's code, by where it stands among those of its name; empty where that can't be told."""
    paths = [
        path for path in module.codes if path == name or (path.startswith(f"{name}#") and "." not in path[len(name) :])
    ]
    if len(paths) > 1:
        first = min(part.lineno for part in (node, *node.decorator_list))
        paths = [path for path in paths if module.codes[path].co_firstlineno == first]
    return paths[0] if len(paths) == 1 else ""


def import_source(statement: ast.ImportFrom, module: str, package: bool) -> str:
    """The module that ``from … import`` imports from, its dots resolved."""
    if not statement.level:
        return statement.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - statement.level + package]
    return ".".join([*base, *([statement.module] if statement.module else [])])


def initialiser(statement: ast.stmt) -> ast.expr | None:
    """The value of an assignment to nothing but one name; None for any other statement."""
    match statement:
        case ast.Assign([ast.Name()], value) if not any(isinstance(inner, ast.NamedExpr) for inner in walk(value)):
            return value  # of several names it would be one object
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value) if not any(
            isinstance(inner, ast.NamedExpr) for inner in walk(value)
        ):
            return value
    return None


@cache
def walk(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and all below it, in the order of `ast.walk`: once, however many rules ask, of trees that stay as they are."""
    nodes = [node]
    for inner in nodes:  # which grows meanwhile
        nodes += children(inner)
    return tuple(nodes)


def children(node: ast.AST) -> list[ast.AST]:
    """Return what is right below a node, as `ast.iter_child_nodes` has it, in half of the time."""
    nodes: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            nodes.append(value)
        elif type(value) is list:
            nodes += [item for item in value if isinstance(item, ast.AST)]
    return nodes


def text(node: ast.AST | list[ast.expr] | None) -> str:
    """What two nodes have in common when they say the same, wherever they stand."""
    if isinstance(node, list):
        return "".join(map(text, node))
    return "" if node is None else ast.dump(node)


def import_time(node: ast.AST, annotations: bool) -> Iterator[ast.AST]:
    """All nodes of a statement that are evaluated when the module is imported; bodies of functions are not.

    `annotations` says whether these are evaluated.
    """
    yield node
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            inner: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
            if annotations:
                inner += annotations_of(node)
        case ast.Lambda(args=args):
            inner = [*args.defaults, *filter(None, args.kw_defaults)]
        case ast.AnnAssign() if not annotations:
            inner = [node.target, *filter(None, [node.value])]
        case _:
            inner = children(node)
    for child in inner:
        yield from import_time(child, annotations)


def annotations_of(function: Function) -> list[ast.AST]:
    """The annotations of a function's parameters and of what it returns."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    return [
        annotation for annotation in (*(arg.annotation for arg in every), function.returns) if annotation is not None
    ]


def own_imports(body: Iterable[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports of a module's own scope, and of its classes', wherever they stand in it."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif not isinstance(statement, Function):
            yield from own_imports(statements_in(statement))


def statements_in(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements right below one, those of handlers and cases included."""
    for child in children(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from child.body


def functions_in(body: Iterable[ast.stmt], path: str = "") -> Iterator[tuple[str, Function]]:
    """The functions of a module and of its classes, each with the path of the class that it is a method of; empty for none."""
    for statement in body:
        if isinstance(statement, Function):
            yield path, statement
        elif isinstance(statement, ast.ClassDef):
            yield from functions_in(statement.body, f"{path}.{statement.name}" if path else statement.name)


def names_stored(function: Function) -> set[str]:
    """The names that are bound somewhere in a function, parameters too."""
    bound = {inner.id for inner in walk(function) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
    return bound | {inner.arg for inner in walk(function) if isinstance(inner, ast.arg)}


def root_of(node: ast.expr, *through: type[ast.expr]) -> str:
    """The name that an expression begins with, through nothing but nodes of these kinds; empty for none."""
    while isinstance(node, through):
        node = node.func if isinstance(node, ast.Call) else node.value  # type: ignore[attr-defined]
    return node.id if isinstance(node, ast.Name) else ""


def nodes_of(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function or a statement, and not in what is nested in it."""
    for child in children(node):
        yield child
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield from nodes_of(child)


def _named_by_imports(body: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names if alias.name != "*")
        elif not isinstance(statement, Function | ast.ClassDef):
            yield from _named_by_imports(statements_in(statement))


def rebound_class(old: Module, new: Module, name: str) -> tuple[ast.ClassDef, ast.ClassDef] | None:
    """The one class of a name in each module, where other statements bind the name too, the same in both; None for any other case.

    ``class Lock: …`` and ``if not supported: Lock = NoLock``.
    """
    binding = [[statement for statement in side.body if name in names_bound(statement)] for side in (old, new)]
    classes = [[statement for statement in of if isinstance(statement, ast.ClassDef)] for of in binding]
    others = ["".join(text(statement) for statement in of if not isinstance(statement, ast.ClassDef)) for of in binding]
    if others[0] != others[1] or not others[0] or any(len(of) != 1 for of in classes):
        return None
    return classes[0][0], classes[1][0]


def bare_annotations(body: Iterable[ast.stmt]) -> list[ast.AnnAssign]:
    """The annotations of names in a module, or in a class, without their values."""
    return [
        ast.copy_location(ast.AnnAssign(statement.target, statement.annotation, None, 1), statement)
        for statement in body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    ]


def _bound(node: ast.AST, names: dict[str, None]) -> None:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            names[name] = None
            for decorator in node.decorator_list:
                _bound(decorator, names)
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for inner in walk(node):
                if isinstance(inner, ast.NamedExpr) and not isinstance(node, ast.Lambda):
                    names[inner.target.id] = None
            return
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            names[name] = None
        case ast.AnnAssign(target=ast.Name(), value=None):
            return
        case ast.alias(name=name, asname=asname):
            names[asname or name.partition(".")[0]] = None
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            names[name] = None
        case ast.MatchMapping(rest=str(name)):
            names[name] = None
    for child in children(node):
        _bound(child, names)


def _future(tree: ast.Module) -> int:
    import __future__

    flags = 0
    settled = [name for name in __future__.all_feature_names if _is_settled(getattr(__future__, name))]
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in (option for option in statement.names if option.name not in settled):
                flags |= getattr(__future__, alias.name).compiler_flag
    return flags


def _is_settled(feature: Any) -> bool:
    """Whether it is so in any case by now: code that asks for it has no flag then."""
    mandatory = feature.getMandatoryRelease()
    return mandatory is not None and mandatory <= sys.version_info
