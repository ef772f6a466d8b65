"""What a statement may do when a module is imported that no picture of the release's modules shows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from .source import Module, import_time, walk
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
    "os.environ.get",
    "importlib.metadata",
    "importlib.resources",
)
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
        if isinstance(called, ast.Name | ast.Attribute) and (
            called is not inner or inner in decorating or _is_target(inner)
        ):
            source = origin(side, module, called)
            if source is not None:
                yield ".".join(filter(None, source))


def _is_target(node: ast.AST) -> bool:
    """Whether it is bound, or deleted: an attribute of somebody else's module, perhaps."""
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def _below(name: str, names: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in names)
