"""What a statement may do when a module is imported that no picture of the release's modules shows."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from .source import Module, import_time
from .values import Side, origin

_HIDDEN = (
    *("atexit", "signal", "threading", "multiprocessing", "concurrent", "subprocess", "socket", "socketserver", "sys"),
    *("warnings", "codecs", "copyreg", "importlib", "gc", "faulthandler", "locale", "mimetypes", "asyncio", "site"),
    *("logging.config", "logging.basicConfig", "logging.addLevelName", "logging.setLoggerClass", "logging.disable"),
    *("os.chdir", "os.umask", "os.environ", "os.putenv", "os.unsetenv", "os.system", "os.popen", "os.register_at_fork"),
    *("os.mkdir", "os.makedirs", "os.remove", "os.open", "shutil", "tempfile", "sqlite3", "ctypes", "random.seed"),
    *(f"builtins.{name}" for name in ("open", "exec", "eval", "input", "setattr", "delattr", "__import__")),
)
"""What changes the process, or the world, by names of the standard library and what is below them."""

_ALONE = ("fastapi", "starlette", "flask", "werkzeug", "jinja2", "pydantic", "aiohttp", "click", "attr", "attrs")
"""Libraries whose calls leave nothing in the library itself but caches: all that they do is in the objects they make."""

_READING = (
    "sys.version_info",
    "sys.platform",
    "sys.argv",
    "sys.modules",
    "os.environ.get",
    "importlib.metadata",
    "importlib.resources",
)


def hidden(side: Side, module: Module, node: ast.AST) -> str:
    """What a statement calls of the standard library that does something outside of all objects; empty for nothing."""
    for name in _called(side, module, node):
        if _below(name, _HIDDEN) and not _below(name, _READING):
            return name
    return ""


def libraries(side: Side, module: Module, node: ast.AST) -> set[str]:
    """The packages of others that a statement calls, and that may keep something of it."""
    tops = {name.partition(".")[0] for name in _called(side, module, node)}
    own = {name.partition(".")[0] for name in side.modules}
    return {top for top in tops - own if top not in sys.stdlib_module_names and top not in _ALONE and top != "builtins"}


def _called(side: Side, module: Module, node: ast.AST) -> Iterator[str]:
    decorating = (
        [] if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else node.decorator_list
    )
    for each in (*decorating, *import_time(node, annotations=False)):
        called = each.func if isinstance(each, ast.Call) else each
        if isinstance(called, ast.Name | ast.Attribute) and (
            called is not each or each in decorating or _is_target(each)
        ):
            found = origin(side, module, called)
            if found is not None:
                yield ".".join(filter(None, found))


def _is_target(node: ast.AST) -> bool:
    """Whether it is bound, or deleted: an attribute of somebody else's module, perhaps."""
    return isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def _below(name: str, names: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in names)
