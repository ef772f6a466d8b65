"""Annotations that Python computes when somebody asks for them, since 3.14: what computes them is code as any other."""

from __future__ import annotations

import ast
import builtins

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from .edit import ModuleDiff
from .source import ANNOTATIONS, Module, bare_annotations, children, names_bound, text, walk

_CONDITIONAL = "__conditional_annotations__"


def values(module: Module) -> tuple[str, ...]:
    """Members that a class has annotations in, as values."""
    return () if code_tree.IS_LAZY and not module.future & ANNOTATIONS else ("__annotations__",)


def has_annotated_names(module: Module) -> bool:
    """Whether names of a module, or in it, are annotated: of functions alone everything else says what the annotations are."""
    return any(isinstance(node, ast.AnnAssign) for statement in module.body for node in walk(statement))


def made_with_another(edit: ModuleDiff, *nodes: ast.AST) -> bool:
    """Whether annotations are made with what an import binds to something else."""
    names = (inner for node in nodes for inner in walk(node) if isinstance(inner, ast.Name))
    return not edit.new.future and any(name.id in edit.renamed for name in names)


def of_class(edit: ModuleDiff, name: str, old: ast.ClassDef, new: ast.ClassDef) -> None:
    """Compare what annotates names of a class that nobody has read when it was made: as a whole, for what is gone must not stay."""
    before, after = (bare_annotations(cls.body) for cls in (old, new))
    same = list(map(text, before)) == list(map(text, after)) and not (after and edit.annotates_otherwise)
    if same and not any(made_with_another(edit, node.annotation) for node in after):
        return
    for annotation in after:
        edit.run(annotation, name)
    if before and values(edit.new):
        (edit.replaced if after else edit.removed).append(f"{name}.__annotations__")
    edit.changes(name)
    edit.row(name, "annotation", "HOT", "annotations that only those read who ask for them", new)


def of_module(edit: ModuleDiff) -> None:
    """Compare what annotates names of a module; as a whole where one is annotated no more and stays."""
    before, after = (bare_annotations(side.body) for side in (edit.old, edit.new))
    gone = _names(before) - _names(after) - {*edit.removed}
    if gone and values(edit.new):
        (edit.replaced if after else edit.removed).append("__annotations__")
    known = [] if gone or edit.annotates_otherwise else [text(node) for node in before]
    for annotation in after:
        if text(annotation) not in known:
            edit.run(annotation)


def _names(annotations: list[ast.AnnAssign]) -> set[str]:
    return {ast.unparse(annotation.target) for annotation in annotations}


def compare(edit: ModuleDiff) -> None:
    """Have what computes annotations changed too, wherever it differs: what the annotations are to others the other rules say."""
    for path, now in edit.new.codes.items():
        owner, was = code_tree.annotated_by(path), edit.old.codes.get(path)
        if owner is None or ".<locals>." in path or path in edit.changed:
            continue
        if was is not None and code_tree.digest(was) == code_tree.digest(now):
            continue
        is_numbered = any(_CONDITIONAL in code.co_freevars for code in (was, now) if code is not None)
        if is_numbered or (not owner and any(map(_is_conditional, (edit.old, edit.new)))):
            reason = "which of its annotated names there are is known when it is run: some stand under a condition"
            edit.restart(owner, "annotation", reason, None)
        elif was is not None:
            edit.changed[path] = Changed(code_tree.digest(was), code_tree.digest(now))
    if code_tree.IS_LAZY and not (edit.old.future | edit.new.future) & ANNOTATIONS:
        for name, cls in edit.new.classes.items():
            _bound_later(edit, name, cls)


def _bound_later(edit: ModuleDiff, name: str, new: ast.ClassDef) -> None:
    """Leave to a fresh start a class whose annotations are read when it is made, where they name what is bound after it.

    There they are references by name; in a process that runs, where the name is bound, they would be what it stands for.
    """
    if not (new.decorator_list or new.bases or new.keywords):
        return
    old = edit.old.classes.get(name)
    later = _unbound(edit.new, new)
    if old is not None and name not in edit.replaced and _annotations(old) == _annotations(new):
        later ^= _unbound(edit.old, old)
    bound = later & {*edit.old.stored, *edit.new.stored}
    if bound and not any(row.definition == name and row.verdict == "RESTART" for row in edit.rows):
        reason = "its annotations are read when it is made, and name what is bound after it"
        edit.restart(name, "field", f"{reason} ({', '.join(sorted(bound))})", new)


def _annotations(cls: ast.ClassDef) -> list[str]:
    return [text(node) for node in walk(cls) if isinstance(node, ast.AnnAssign)]


def _unbound(module: Module, cls: ast.ClassDef) -> set[str]:
    """The names in the annotations of a class that are not bound yet when its module makes it."""
    before: set[str] = {*vars(builtins)}
    for statement in module.body:
        if statement is cls:
            break
        before.update(names_bound(statement))
    annotations = [node.annotation for node in walk(cls) if isinstance(node, ast.AnnAssign)]
    return {node.id for one in annotations for node in walk(one) if isinstance(node, ast.Name)} - before


def _is_conditional(module: Module) -> bool:
    """Whether a module annotates names of its own in a block."""
    blocks: list[ast.AST] = [node for node in ast.parse(module.source).body if not isinstance(node, ast.AnnAssign)]
    for node in blocks:  # which grows meanwhile
        if isinstance(node, ast.AnnAssign):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            blocks += children(node)
    return False
