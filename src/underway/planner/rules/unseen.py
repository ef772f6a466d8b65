"""Functions that are compiled and never run: under conditions that do not hold, and signatures for type checkers."""

from __future__ import annotations

import ast
from types import CodeType

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from ..edit import ModuleDiff
from ..source import Function, Module, walk


def compare(edit: ModuleDiff) -> None:
    """Have those changed, too, that never run: the process looks at all that was compiled."""
    dead = _dead(edit.old) & _dead(edit.new)
    for path, code in edit.new.codes.items():
        before, top = edit.old.codes.get(path), path.partition(".<locals>.")[0]
        if top not in dead or path in edit.changed or before is None:
            continue
        was, now = code_tree.digest(before), code_tree.digest(code)
        if was != now:
            edit.changed[path] = Changed(was, now)
            if path == top:
                edit.row(
                    path.partition("#")[0], "body", "HOT", "it stands where it never runs, or tells types alone", None
                )


def _dead(module: Module) -> set[str]:
    """The paths of functions that stand under conditions which do not hold, or are signatures alone."""
    nodes = [node for statement in module.body for node in walk(statement) if isinstance(node, Function | ast.Lambda)]
    alive = {
        (getattr(node, "name", "<lambda>"), min(part.lineno for part in (node, *getattr(node, "decorator_list", ()))))
        for node in nodes
    }
    return {
        path
        for path, code in module.codes.items()
        if ".<locals>." not in path and (code.co_name, code.co_firstlineno) not in alive and _is_named(code)
    }


def _is_named(code: CodeType) -> bool:
    return code.co_name == "<lambda>" or not (code.co_name.startswith("<") or code.co_name == code_tree.ANNOTATE)
