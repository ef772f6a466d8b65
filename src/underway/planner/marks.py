"""What a statement may do when a module is imported that no picture of the release's modules shows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator

from .source import Function, Module, import_time, walk
from .values import Side, origin

_HIDDEN = (
    *("atexit", "signal", "threading", "multiprocessing", "concurrent", "subprocess", "socket", "socketserver", "sys"),
    *("warnings", "codecs", "copyreg", "importlib", "gc", "faulthandler", "locale", "mimetypes", "asyncio", "site"),
    *("logging.config", "logging.basicConfig", "logging.addLevelName", "logging.setLoggerClass", "logging.disable"),
    *("os.chdir", "os.umask", "os.environ", "os.putenv", "os.unsetenv", "os.system", "os.popen", "os.register_at_fork"),
    *("os.mkdir", "os.makedirs", "os.remove", "os.open", "shutil", "tempfile", "sqlite3", "ctypes", "random.seed"),
    *("time.tzset", "decimal.setcontext", "decimal.DefaultContext", "decimal.BasicContext", "decimal.ExtendedContext"),
    *(f"builtins.{name}" for name in ("open", "exec", "eval", "input", "setattr", "delattr", "__import__")),
)
"""What changes the process, or the world, by names of the standard library and what is below them."""

_ALONE = ("fastapi", "starlette", "flask", "werkzeug", "jinja2", "pydantic", "aiohttp", "click", "attr", "attrs")
"""Libraries whose calls leave nothing in the library itself but caches: all that they do is in the objects they make."""

_KEEPING = (
    "append",
    "add",
    "insert",
    "setdefault",
    "update",
    "extend",
    "appendleft",
    "put",
    "set",
    "put_nowait",
    "__setitem__",
)
"""Methods that put something into what they are of."""

_READING = (
    "sys.version_info",
    "sys.platform",
    "sys.argv",
    "sys.modules",
    "sys.stdout.isatty",
    "sys.stderr.isatty",
    "sys.getdefaultencoding",
    "sys.getfilesystemencoding",
    "sys.intern",
    "sys._getframe",
    "os.environ.get",
    "importlib.metadata",
    "importlib.resources",
)
_ENVIRONMENT = "os.environ"
_SAYING = ("warnings.warn", "warnings.warn_explicit")
"""What tells somebody something, and nothing of the process is another for it."""


def hidden(side: Side, module: Module, node: ast.AST) -> str:
    """What a statement calls of the standard library that does something outside of all objects; empty for nothing."""
    for name in _called(side, module, node):
        if (_below(name, _HIDDEN) and not _below(name, (*_READING, *_SAYING))) or _puts_into_python(name):
            return name
    return ""


def _puts_into_python(name: str) -> bool:
    """Whether a call puts something into an object of a module of Python, which no picture shows: ``uses_netloc.append``."""
    top, *within, method = name.split(".") if "." in name else (name, "")
    return bool(within) and top in sys.stdlib_module_names and method in _KEEPING


def libraries(side: Side, module: Module, node: ast.AST) -> set[str]:
    """The packages of others that a statement calls, and that may keep something of it."""
    tops = {name.partition(".")[0] for name in _called(side, module, node)}
    packages = {name.partition(".")[0] for name in side.modules}
    return {
        top for top in tops - packages if top not in sys.stdlib_module_names and top not in _ALONE and top != "builtins"
    }


def passes_on(side: Side, module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator is a function of the release that keeps nothing but the function itself: no result, no count of calls."""
    source = origin(side, module, decorator)
    known = side.modules.get(source[0]) if source else None
    function = known.functions.get(source[1]) if known and source else None
    return function is not None and not any(_keeps(inner) for inner in walk(function))


def _keeps(node: ast.AST) -> bool:
    match node:
        case ast.Global() | ast.Nonlocal() | ast.AugAssign() | ast.NamedExpr():
            return True
        case ast.Assign(targets, value):
            stored = any(not isinstance(target, ast.Name) for target in targets)
            return stored and not isinstance(value, ast.Name)
        case ast.Call(ast.Attribute(attr=name), args):
            return name in _KEEPING and not all(isinstance(argument, ast.Name | ast.Constant) for argument in args)
    return False


def _called(side: Side, module: Module, node: ast.AST) -> Iterator[str]:
    decorating = (
        [] if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else node.decorator_list
    )
    for inner in (*decorating, *import_time(node, annotations=False)):
        called = inner.func if isinstance(inner, ast.Call) else inner
        if isinstance(inner, ast.Subscript) and _is_target(inner):
            source = origin(side, module, inner.value) if isinstance(inner.value, ast.Name | ast.Attribute) else None
            if source is not None and ".".join(filter(None, source)) == _ENVIRONMENT:
                yield _ENVIRONMENT
        if isinstance(called, ast.Name | ast.Attribute) and (
            called is not inner or inner in decorating or _is_target(inner)
        ):
            source = origin(side, module, called)
            if source is not None:
                yield ".".join(filter(None, source))


def _is_target(node: ast.AST) -> bool:
    """Whether it is bound, or deleted: an attribute of somebody else's module, perhaps."""
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def may_keep_elsewhere(module: Module) -> bool:
    """Whether anything in a module may put something where no picture shows it."""
    source = module.source.encode() if isinstance(module.source, str) else module.source
    return any(word in source for word in (b"environ", b"setLevel"))


def kept_elsewhere(
    side: Side, module: Module, node: ast.AST, within: Collection[str]
) -> Iterator[tuple[str, ast.AST, Module, Function | None]]:
    """What a statement puts where no picture shows it: a variable of the environment, the level of a logger.

    Functions `within` these modules that it calls by name are followed. Each with where, and in which module and function that is.
    """
    seen: set[tuple[str, str]] = set()
    yield from ((what, where, module, None) for what, where in _put(side, module, import_time(node, annotations=False)))
    for inner in import_time(node, annotations=False):
        if isinstance(inner, ast.Call):
            yield from _put_by_call(side, module, inner, within, seen)


def _put_by_call(
    side: Side, module: Module, call: ast.Call, within: Collection[str], seen: set[tuple[str, str]]
) -> Iterator[tuple[str, ast.AST, Module, Function | None]]:
    source = side.resolve(module, call.func)
    known = side.modules.get(source[0]) if source and source[0] in within and source not in seen else None
    function = known.functions.get(source[1]) if known and source else None
    if known is None or function is None or source is None:
        return
    seen.add(source)
    every = [inner for statement in function.body for inner in walk(statement)]
    yield from ((what, where, known, function) for what, where in _put(side, known, every))
    for inner in every:
        if isinstance(inner, ast.Call):
            yield from _put_by_call(side, known, inner, within, seen)


def _put(side: Side, module: Module, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for node in nodes:
        match node:
            case ast.Assign([ast.Subscript(of)]) if _dotted(side, module, of) == _ENVIRONMENT:
                yield ast.unparse(node)[:60], node
            case ast.Call(ast.Attribute(of, name)) if name in _KEEPING and _dotted(side, module, of) == _ENVIRONMENT:
                yield ast.unparse(node)[:60], node
            case ast.Call(ast.Attribute(of, "setLevel")) if not _is_own_global(module, of):
                yield ast.unparse(node)[:60], node


def _is_own_global(module: Module, node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in module.stored


def _dotted(side: Side, module: Module, node: ast.expr) -> str:
    source = origin(side, module, node) if isinstance(node, ast.Name | ast.Attribute) else None
    return ".".join(filter(None, source or ()))


def _below(name: str, names: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in names)
