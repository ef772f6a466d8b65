"""What an expression reads of where the code is, or of what is installed: both differ in another version."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from .edit import PlannerContext
from .source import Function, Module, import_time, walk

PLACE = ("__file__", "__path__", "__spec__", "__cached__", "__loader__")
_INSTALLED = (
    "importlib.metadata.",
    "importlib.resources.",
    "importlib_metadata.",
    "importlib_resources.",
    "pkgutil.get_data",
)
"""What answers by where the code is."""
_PREFIXES = (
    "sys.prefix",
    "sys.exec_prefix",
    "sys.executable",
    "site.PREFIXES",
    "sysconfig.get_path",
    "sysconfig.get_paths",
)
"""What says where the environment is, of which each version has one."""
_LISTING = ("pkgutil.iter_modules", "pkgutil.walk_packages")
"""What answers by which modules a package has."""
_LINES = {
    *("co_firstlineno", "co_filename", "co_lines", "co_linetable", "co_lnotab", "co_positions"),
    *("f_lineno", "tb_lineno", "__firstlineno__"),
}
"""Attributes that say in which file, and in which line of it, code is."""
_SOURCES = (
    *(f"inspect.{name}" for name in ("getfile", "getsourcefile", "getsource", "getsourcelines", "findsource")),
    *(f"inspect.{name}" for name in ("getcomments", "getframeinfo", "stack", "trace")),
    *(f"traceback.{name}" for name in ("extract_stack", "format_stack", "walk_stack")),
)
"""Functions that say so, or what stands there."""
_ASKING = ("os.environ.get", "os.getenv")
_ALWAYS_SET = ("RELEASE_ROOT", "RELEASE_NAME", "RELEASE_VSN", "RELEASE_VAR", "RELEASE_TMP")
"""Variables that code of a release always has: nobody uses what is said to stand for them where they are not set."""


def place_read(world: PlannerContext, module: Module, node: ast.AST) -> tuple[str, ast.AST] | None:
    """By what a statement of a module reads that when it runs, and where; functions that it calls by name are followed."""
    nodes: list[ast.AST] = [*import_time(node, annotations=False)]
    if isinstance(node, ast.Name | ast.Attribute):
        nodes.append(ast.copy_location(ast.Call(node, [], []), node))  # a decorator by itself is called too
    return next(_reads(world, module, nodes, set()), None)


def _reads(
    world: PlannerContext, module: Module, nodes: Iterable[ast.AST], seen: set[tuple[str, str]]
) -> Iterator[tuple[str, ast.AST]]:
    skipped: set[int] = set()
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Call):
            unused = node.args if _lists_the_same(world, module, node) else unused_default(world, module, node)
            skipped |= {id(inner) for argument in unused for inner in walk(argument)}
            if unused:
                continue
        if what := _named(world, module, node):
            yield what, node
        if isinstance(node, ast.Call):
            yield from ((what, node) for what, _ in _followed(world, module, node, seen))


def _named(world: PlannerContext, module: Module, node: ast.AST) -> str:
    """The place that a name stands for; empty for none."""
    if isinstance(node, ast.Name) and node.id in PLACE:
        return node.id
    if not isinstance(node, ast.Name | ast.Attribute):
        return ""
    if isinstance(node, ast.Attribute) and node.attr in PLACE:
        base = world.new.resolve(module, node.value)
        if base is None or (base[0] in world.compared and not base[1]):
            return ast.unparse(node)[:60]
    if isinstance(node, ast.Attribute) and node.attr in _LINES:
        return ast.unparse(node)[:60]
    origin = world.new.resolve(module, node)
    dotted = ".".join(origin) if origin else ""
    if dotted in _SOURCES:
        return dotted
    return dotted if dotted.startswith(_INSTALLED) or dotted in _PREFIXES else ""


def _followed(
    world: PlannerContext, module: Module, call: ast.Call, seen: set[tuple[str, str]]
) -> Iterator[tuple[str, ast.AST]]:
    """What a function of a compared module reads that is called by its name."""
    origin = world.new.resolve(module, call.func)
    if origin is None or origin in seen or origin[0] not in world.compared:
        return
    seen.add(origin)
    known = world.new.modules.get(origin[0])
    function: Function | None = known.functions.get(origin[1]) if known else None
    if known is not None and function is not None:
        yield from _reads(world, known, (below for inner in function.body for below in walk(inner)), seen)


def unused_default(world: PlannerContext, module: Module, call: ast.Call) -> list[ast.expr]:
    """What a call asks for instead of a variable that is always set in a release; nothing where it does not."""
    match call.args:
        case [ast.Constant(str(name)), *default] if name in _ALWAYS_SET:
            return default if ".".join(world.new.resolve(module, call.func) or ()) in _ASKING else []
    return []


def _lists_the_same(world: PlannerContext, module: Module, call: ast.Call) -> bool:
    """Whether it lists the modules of a package that has the same ones in both releases."""
    if ".".join(world.new.resolve(module, call.func) or ()) not in _LISTING or not call.args:
        return False
    match call.args[0]:
        case ast.Name("__path__"):
            package = module.name
        case ast.Attribute(value=value, attr="__path__"):
            package = (world.new.resolve(module, value) or ("", ""))[0]
        case _:
            return False
    old, new = ({name for name in side.modules if name.startswith(f"{package}.")} for side in (world.old, world.new))
    return bool(package) and old == new
