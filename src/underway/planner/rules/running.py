"""What code does while it runs that keeps a process from being changed in place: said beforehand, for the process alone knows.

Verdicts stay what they are: a loop that does not run, a worker that was not forked, is in nobody's way.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping

from underway_runtime.release.relup import Row

from ..edit import ModuleDiff
from ..source import Function, Module, functions_in, nodes_of, statements_in, walk

FORKS = {
    *("os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp", "pty.fork"),
    *("multiprocessing.Process", "multiprocessing.Pool", "multiprocessing.Manager", "multiprocessing.get_context"),
    *("multiprocessing.pool.Pool", "multiprocessing.process.Process", "multiprocessing.context.Process"),
    *("concurrent.futures.ProcessPoolExecutor", "concurrent.futures.process.ProcessPoolExecutor"),
    *("socketserver.ForkingMixIn", "socketserver.ForkingTCPServer", "socketserver.ForkingUDPServer"),
}
"""What makes processes that run the code which runs here."""
_STARTS = (
    "subprocess.",
    "os.spawn",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "anyio.run_process",
)
"""What starts programs: the interpreter, where that is named next to it."""
FORKING_LIBRARIES = ("gunicorn", "granian", "celery", "billiard", "circus")
"""Those whose servers fork workers."""
_ASGI = ["scope", "receive", "send"]
"""The parameters of what a server of ASGI calls, for each request and once for as long as it serves."""
_FOR_EVER = {"serve_forever", "wait_for_termination", "run_forever", "wait_closed"}
"""Methods that return when all is over."""

_APPLICATIONS = ("underway_runtime.Application", "underway_runtime.application.Application")
_ONCE = ("start", "accept", "booted")
"""Methods of an application that are called while it starts."""

_OF_PROCESSES = "an install in place does not reach them: while there is one, the node is handed over"
_OF_LOOPS = (
    "where it runs when this is installed, the node is handed over; as a task of `looping` it would be begun again"
)
_OF_GENERATORS = "where one is begun and not ended when this is installed, the node is handed over"
_OF_CLOSURES = (
    "one that is there can't become what the newer version makes: where there is one, the node is handed over"
)
_AT_ONCE = ("<listcomp>", "<setcomp>", "<dictcomp>")
"""What nobody can hold: it is made, run and gone."""
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def warnings(edits: Mapping[str, ModuleDiff]) -> Iterator[Row]:
    """Rows for what is in these modules: processes that they make, and what changes and does not come to an end."""
    again = {name for edit in edits.values() for name in _begun_anew(edit.new)}
    for edit in edits.values():
        yield from _processes(edit.new)
        yield from _has_run(edit)
        yield from _closures(edit)
        for owner, function in functions_in(edit.new.body):
            path = f"{owner}.{function.name}" if owner else function.name
            if path not in {*edit.changed, *edit.replaced} or function.name in again:
                continue
            kind, what = "loop", _never_ends(function)
            if not what and path in edit.old.codes and edit.old.codes[path].co_flags & _GENERATORS:
                kind, what = "begun", "it is a generator"
            if what:
                reason = f"{what}; {_OF_GENERATORS if kind == 'begun' else _OF_LOOPS}"
                yield Row(edit.new.name, path, kind, "HOT", reason, edit.new.file, function.lineno)


def _closures(edit: ModuleDiff) -> Iterator[Row]:
    """What functions have made, may be there still, and can become nothing that the new version has."""
    for guard in edit.guards:
        if guard.kind == "no_closures" and not guard.of.endswith(_AT_ONCE):
            outer = guard.of.partition(".<locals>")[0]
            line = edit.old.codes[guard.of].co_firstlineno if guard.of in edit.old.codes else 0
            yield Row(
                edit.new.name, guard.of, "closure", "HOT", f"{outer} makes it; {_OF_CLOSURES}", edit.old.file, line
            )


def _has_run(edit: ModuleDiff) -> Iterator[Row]:
    """What an application does once, when it starts, and will do otherwise from its next start on."""
    names = _imported(edit.new)
    for cls in edit.new.classes.values():
        if not any(_dotted(names, base) in _APPLICATIONS for base in cls.bases):
            continue
        for method in cls.body:
            if isinstance(method, Function) and method.name in _ONCE and f"{cls.name}.{method.name}" in edit.changed:
                reason = "it ran when the application started, and is not run again: what it does now comes with the next start"
                yield Row(
                    edit.new.name, f"{cls.name}.{method.name}", "ran", "HOT", reason, edit.new.file, method.lineno
                )


def _processes(module: Module) -> Iterator[Row]:
    names = _imported(module)
    calls: dict[str, ast.AST] = {}
    for node in (inner for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Call | ast.ClassDef):
            for called in node.bases if isinstance(node, ast.ClassDef) else [node.func]:
                dotted = _dotted(names, called)
                if dotted in FORKS or (dotted.startswith(_STARTS) and _names_the_interpreter(names, node)):
                    calls.setdefault(dotted, node)
    for dotted, node in calls.items():
        reason = f"it makes processes that run code of the release ({dotted}); {_OF_PROCESSES}"
        yield Row(module.name, "", "processes", "HOT", reason, module.file, getattr(node, "lineno", 0))
    for library in FORKING_LIBRARIES:
        if any(dotted.partition(".")[0] == library for dotted in names.values()):
            reason = f"{library} runs workers in processes of their own; {_OF_PROCESSES}"
            yield Row(module.name, "", "processes", "HOT", reason, module.file)


def _names_the_interpreter(names: Mapping[str, str], call: ast.AST) -> bool:
    """Whether what is started is the interpreter, or a command that may run it."""
    for inner in walk(call):
        if isinstance(inner, ast.Attribute | ast.Name) and _dotted(names, inner) == "sys.executable":
            return True
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, str)
            and inner.value.partition(" ")[0].startswith("python")
        ):
            return True
    return False


def _imported(module: Module) -> dict[str, str]:
    """What each name stands for that is imported anywhere in a module."""
    names = {}
    for node in (inner for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                names[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.update((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
    return names


def _dotted(names: Mapping[str, str], node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    return ".".join([names[node.id], *reversed(parts)])


def _begun_anew(module: Module) -> Iterator[str]:
    """The names of the functions that a module hands to `looping`; most modules do not even spell that."""
    if "looping" not in (module.source if isinstance(module.source, str) else module.source.decode("utf-8", "replace")):
        return
    names = _imported(module)
    for node in (inner for statement in module.body for inner in walk(statement)):
        if isinstance(node, ast.Call) and _dotted(names, node.func) in (
            "underway_runtime.looping",
            "underway_runtime.loops.looping",
        ):
            for inner in (inner for argument in node.args for inner in walk(argument)):
                if isinstance(inner, ast.Name | ast.Attribute):
                    yield inner.id if isinstance(inner, ast.Name) else inner.attr


def _never_ends(function: Function) -> str:
    """What in a function does not come to an end by itself; empty for nothing that is seen."""
    if isinstance(function, ast.AsyncFunctionDef) and [arg.arg for arg in function.args.args][-3:] == _ASGI:
        return "a server of ASGI is within it as long as it serves, for the lifespan, unless it is mounted"
    for node in nodes_of(function):
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            inside = list(nodes_of(node))
            leaves = any(isinstance(inner, ast.Return) for inner in inside) or _breaks(node.body)
            if not leaves and any(
                isinstance(inner, ast.Await | ast.Call | ast.Yield | ast.AsyncFor) for inner in inside
            ):
                return f"it loops for ever (line {node.lineno})"
        if isinstance(node, ast.While) and _asks_whether_to_end(node.test):
            return f"it loops until somebody ends that (line {node.lineno})"
        if isinstance(node, ast.Await) and _waits(node.value):
            return f"it waits until somebody ends that (line {node.lineno})"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _FOR_EVER:
            return f"it waits until all is over (`{node.func.attr}`, line {node.lineno})"
    return ""


def _asks_whether_to_end(test: ast.expr) -> bool:
    """Whether a loop goes on as long as an event is not set, or an attribute says so."""
    match test:
        case ast.UnaryOp(ast.Not(), ast.Call(ast.Attribute(attr=name), [])):
            return name in ("is_set", "done", "cancelled", "is_closing", "wait")
        case ast.UnaryOp(ast.Not(), ast.Call(ast.Attribute(attr="wait"), [_])):  # an event, with a pause
            return True
        case ast.UnaryOp(ast.Not(), ast.Attribute()) | ast.Attribute():
            return True
    return False


def _waits(value: ast.expr) -> bool:
    """Whether this is ``event.wait()``, or that of a condition or a process."""
    match value:
        case ast.Call(ast.Attribute(attr="wait"), []):
            return True
    return False


def _breaks(body: Iterable[ast.stmt]) -> bool:
    """Whether there is a ``break`` that leaves the loop with this body."""
    for statement in body:
        if isinstance(statement, ast.Break):
            return True
        if isinstance(statement, ast.For | ast.AsyncFor | ast.While):
            if _breaks(statement.orelse):
                return True
        elif not isinstance(statement, Function | ast.ClassDef) and _breaks(statements_in(statement)):
            return True
    return False
