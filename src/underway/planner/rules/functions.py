"""Functions and methods: bodies, signatures, what they close over, what decorates them."""

from __future__ import annotations

import ast
import inspect
from copy import copy
from types import CodeType

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from .. import annotated, marks
from ..edit import ModuleDiff
from ..source import ANNOTATIONS, Function, annotations_of, path_of, text, walk
from ..values import NotPlain, is_shared
from . import closures, decorators, made_again, signatures
from .changing import effect
from .frameworks import cached_makers
from .nested import below, pair_nested
from .signatures import IF_NOT_HANDED, KINDS
from .state import MAKERS

_KIND_NAMES = {
    0: "a function",
    inspect.CO_GENERATOR: "a generator",
    inspect.CO_COROUTINE: "a coroutine",
    inspect.CO_ASYNC_GENERATOR: "an asynchronous generator",
}


def paired(edit: ModuleDiff, name: str, old: Function, new: Function) -> str:
    """The path that the code of a function has in both releases; empty where they differ, or it can't be told."""
    was, now = path_of(edit.old, name, old), path_of(edit.new, name, new)
    return was if was == now else ""


def compare(
    edit: ModuleDiff, name: str, path: str, old: Function, new: Function, owner: str = "", *, several: bool = False
) -> None:
    """Tell what a function that is in both modules takes; `path` is that of its code, `owner` the class that it is a method of.

    `several` functions of this name belong together: a property and its setter.
    """
    if path not in edit.old.codes or path not in edit.new.codes:
        if owner and path_of(edit.old, name, old) and path_of(edit.new, name, new) and not old.decorator_list:
            return made_again.method(edit, name, new, owner)
        before, after = path_of(edit.old, name, old), path_of(edit.new, name, new)
        if not owner and before and after and not new.decorator_list and text(old) != text(new):
            reason = "signatures for type checkers come or go before it"
            return made_again.with_decorators(edit, name, before, old, new, "body", reason)
        if text(old) != text(new):
            edit.restart(name, "body", "its compiled code can't be told from that of others with its name", new)
        return None
    was, now = edit.old.codes[path], edit.new.codes[path]
    body = not is_same_code(was, now)
    signature = signatures.signature(old) != signatures.signature(new)
    defaults = signatures.defaults(old) != signatures.defaults(new) or bool(edit.reads(new.args))
    annotations = text_of_annotations(old) != text_of_annotations(new) or annotated.made_with_another(
        edit, *annotations_of(new)
    )
    annotations = annotations or (edit.annotates_otherwise and bool(annotations_of(new)))
    decoration = text(old.decorator_list) != text(new.decorator_list)
    if not (body or signature or defaults or annotations or decoration or _type_params(old) != _type_params(new)):
        return None
    if decoration:
        if owner or "#" in path:
            return edit.restart(name, "decorator", made_again.DECORATORS, new)
        return made_again.decorated_otherwise(
            edit, name, path, old, new, as_is=not (signature or defaults or annotations)
        )
    if _type_params(old) != _type_params(new):
        return edit.restart(
            name, "type parameters", "its type parameters change, which are made with the function", new
        )
    kinds = decorators.kinds(edit.world.new, edit.new, new.decorator_list)
    if old.__class__ is not new.__class__ or (was.co_flags ^ now.co_flags) & KINDS:
        reason = f"{_kind(was)} becomes {_kind(now)}; its callers have to change with it"
        if owner and "#" not in path and not decoration and not several:
            return made_again.method(edit, name, new, owner, "kind")
        if not owner and "#" not in path and kinds <= {"routes", "neutral"}:
            return made_again.with_decorators(edit, name, path, old, new, "kind", reason)
        return edit.restart(name, "kind", reason, new)
    if was.co_freevars != now.co_freevars and owner and {*was.co_freevars} ^ {*now.co_freevars} == {"__class__"}:
        return made_again.method(edit, name, new, owner)
    if was.co_freevars != now.co_freevars:
        cells = sorted(set(was.co_freevars) ^ set(now.co_freevars)) or now.co_freevars
        reason = f"it closes over other names ({', '.join(cells)}), which a function that is there can't do"
        return edit.restart(name, "closure", reason, new)
    what = "signature" if signature else "default" if defaults else "body" if body else "annotation"
    read = "annotation" if what == "body" and annotations else what  # of what changes, the part that others have read
    only_called = kinds == {"routes"} and decorators.only_call(edit.world.new, edit.new, new.decorator_list)
    problem = "" if only_called else _decorated(kinds, read, ast.get_docstring(old) != ast.get_docstring(new))
    if problem:
        unknown = [
            decorator
            for decorator in new.decorator_list
            if decorators.kinds(edit.world.new, edit.new, [decorator]) == {"unknown"}
        ]
        if read != "body" and not owner and "#" not in path:
            return made_again.with_decorators(edit, name, path, old, new, read, problem)
        if read != "body" or not all(marks.passes_on(edit.world.new, edit.new, decorator) for decorator in unknown):
            return edit.restart(name, read, problem, new)
        if not edit.unless_seen(name, what, problem, new):
            return None
    if read != "body" and not kinds and not owner and decorators.is_depended_on(edit.world, (edit.new.name, name)):
        problem = f"FastAPI has read its {read} when the handlers were made that depend on it"
        return made_again.with_decorators(edit, name, path, old, new, read, problem)
    if read != "body" and several and "#" in path:
        return edit.restart(name, read, "it is one of several functions of this name", new)
    if (defaults or annotations) and _has_type_params(new):
        return edit.restart(name, what, "it has type parameters, which are made with the function", new)
    if read != "body" and (made := _made_anew(edit, old, new)):
        return edit.restart(name, read, f"its default `{made}` would be made again, and lose what it holds", new)
    if defaults and any(is_shared(value) for value in edit.values_read(new.args)):
        reason = "its default is a list, or a dict, that changes, and that others have too"
        if not edit.unless_seen(name, read, reason, new):
            return None
    problem = closures.cached(new) or closures.cached(old) if "caches" in kinds else ""
    if problem and not cached_makers.let_go(edit, name):
        return edit.restart(name, what, problem, new)
    if (changes_itself := _own_code(was) != _own_code(now)) and (
        made := decorators.makes_framework(edit.world.new, edit.new, new)
    ):
        reason = f"it makes a {made}; one that it has made already is as the old version made it"
        return edit.restart(name, what, reason, new)
    if not pair_nested(edit, name, path, old, new):
        return None
    if closures.captured(old, new):
        for nested in below(edit.old.codes, path):
            edit.guard("no_closures", nested)
    if narrowed := signature and not signatures.takes_all(old.args, new.args):
        edit.narrowed[name] = new
        edit.guard("not_handed", name)
    if body:
        contract = signature or defaults
        edit.changed[path] = Changed(code_tree.digest(was), code_tree.digest(now), contract)
        if changes_itself or _calls_nested(new):
            edit.changes(name)
    if defaults or annotations or signature:
        edit.changes(name)
        parts = name.split(".")
        edit.shapes.add(parts[-2] if parts[-1] in MAKERS and owner else parts[-1])
        edit.refreshed.append(name)
        edit.run(_undecorated(new) if only_called else new, owner)
    if "caches" in kinds:
        edit.caches.append(name)
    edit.row(name, what, "HOT", _reason(what, kinds) + (f", {IF_NOT_HANDED}" if narrowed else ""), new)
    return None


def add(edit: ModuleDiff, name: str, new: Function, owner: str = "") -> None:
    """Add a function that only the new module has."""
    edit.changes(name)  # whatever is said of it: who has read what it puts somewhere is asked for as well
    kinds = decorators.kinds(edit.world.new, edit.new, new.decorator_list)
    if kinds - {"neutral", "holds", "caches"}:
        which = ", ".join(f"@{ast.unparse(decorator)}" for decorator in new.decorator_list)
        if owner:
            return edit.restart(name, "added", f"{which} does with it what only a start does", new)
        if not edit.unless_seen(name, "added", f"{which} does with it what only a start does", new):
            return None
    if what := "" if owner else effect(edit.world, edit.new, new):
        reason = f"making it changes something else ({what}), where it may not come last"
        if not edit.unless_seen(name, "added", reason, new):
            return None
    edit.added.append(name)
    edit.run(new, owner)
    edit.row(name, "added", "HOT", "new; nothing calls it yet", new)
    return None


def remove(edit: ModuleDiff, name: str, old: Function) -> None:
    """Remove a function that only the old module has."""
    registered = bool(decorators.kinds(edit.world.old, edit.old, old.decorator_list) - {"neutral", "holds", "caches"})
    if registered:
        reason = "its decorator may have put it where the module does not know"
        if not edit.unless_seen(name, "removed", reason, old, gone=True):
            return
    if what := effect(edit.world, edit.old, old):
        reason = f"making it has changed something else ({what}), and nothing takes that back"
        if not edit.unless_seen(name, "removed", reason, old, gone=True):
            return
    edit.removed.append(name)
    edit.changes(name)
    if not registered:  # else who holds it is in the picture: what is not taken out differs from a fresh start
        edit.guard("no_holders", name)
    edit.row(name, "removed", "HOT", "removed, if nothing holds it by then", old, gone=True)


def text_of_annotations(function: Function) -> str:
    """The annotations of a function, to be compared, each with what it stands at."""
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    of = [text(arg.annotation) for arg in every]
    return "|".join([*of, text(function.returns)]) if annotations_of(function) else ""


def _undecorated(function: Function) -> Function:
    result = copy(function)
    result.decorator_list = []
    return result


def _made_anew(edit: ModuleDiff, old: Function, new: Function) -> str:
    """A default that stays as it is written, and that making the function once more would make again; empty for none."""
    before = [text(default) for default in (*old.args.defaults, *filter(None, old.args.kw_defaults))]
    for default in (*new.args.defaults, *filter(None, new.args.kw_defaults)):
        if (
            text(default) in before
            and not edit.reads(default)
            and not isinstance(default, ast.Constant | ast.Name | ast.Attribute)
        ):
            try:
                hash(edit.world.new.evaluate(edit.new, default))
            except (NotPlain, TypeError):
                return ast.unparse(default)
    return ""


def _decorated(kinds: set[decorators.Kind], what: str, docstring: bool) -> str:
    """Why a change of this kind does not reach those who call a function through its decorators; empty if it does."""
    if "unknown" in kinds:
        return "it has a decorator of which it is not known what it does with the function"
    if "routes" in kinds and (what != "body" or docstring):
        return f"what decorates it has read its {'docstring' if what == 'body' else what} when the module was imported"
    if what in ("signature", "default", "annotation") and kinds - {"neutral"}:
        read = "annotations" if what == "annotation" else "signature"
        return f"its decorator may have read its {read} when the module was imported"
    return ""


def _reason(what: str, kinds: set[decorators.Kind]) -> str:
    held = "the function keeps its identity, so all who hold it run the new body"
    if what != "body":
        return f"the function keeps its identity and takes the new {what}"
    if "routes" in kinds:
        return "it is called by who holds it since the module was imported, and has the new body"
    return f"{held}; its cache is cleared" if "caches" in kinds else held


def is_same_code(was: CodeType, now: CodeType) -> bool:
    """Whether two definitions do the same, whether or not `annotations` of ``__future__`` holds where they stand."""
    return code_tree.digest(_without_future(was)) == code_tree.digest(_without_future(now))


def _without_future(code: CodeType) -> CodeType:
    if not code.co_flags & ANNOTATIONS:
        return code
    constants = tuple(
        _without_future(constant) if isinstance(constant, CodeType) else constant for constant in code.co_consts
    )
    return code.replace(co_flags=code.co_flags & ~ANNOTATIONS, co_consts=constants)


def _own_code(code: CodeType) -> str:
    """The digest of a function without what is nested in it."""
    return code_tree.digest(
        code.replace(co_consts=tuple(None if isinstance(c, CodeType) else c for c in code.co_consts))
    )


def _calls_nested(function: Function) -> bool:
    """Whether a function calls what is nested in it, so that its own result depends on that."""
    nested = {n.name for n in walk(function) if isinstance(n, Function | ast.ClassDef) and n is not function}
    passing = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    return any(
        isinstance(node, passing)
        or (isinstance(node, ast.Call) and any(isinstance(n, ast.Name) and n.id in nested for n in walk(node)))
        for node in walk(function)
    )


def _has_type_params(function: Function) -> bool:
    return bool(_type_params(function))


def _type_params(function: Function) -> str:
    return text(getattr(function, "type_params", []))


def _kind(code: CodeType) -> str:
    return _KIND_NAMES.get(code.co_flags & KINDS, "a coroutine")
