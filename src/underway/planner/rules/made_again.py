"""Functions that are made once more, since what is there can't become what the newer version has."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from .. import marks
from ..edit import ModuleDiff
from ..source import Function, Origin, annotations_of, path_of, walk
from . import closures, decorators
from .frameworks import cached_makers
from .nested import below, classes_within, pair_nested

UNCHANGEABLE = "it can't be changed itself, so it is made again"
_DESCRIPTORS = ("staticmethod", "classmethod", "property")
DECORATORS = "its decorators change, which ran when the module was imported"


def decorated_otherwise(
    edit: ModuleDiff, name: str, path: str, old: Function, new: Function, *, as_is: bool = True
) -> None:
    """Have a function whose decorators change made once more, and what held the one before get the same code.

    `as_is` says that nothing else of it changes but its body.
    """
    if not as_is:
        return with_decorators(edit, name, path, old, new, "decorator", DECORATORS)
    if not edit.unless_seen(name, "decorator", DECORATORS, new) or not pair_nested(edit, name, path, old, new):
        return None
    was, now = (code_tree.digest(side.codes[path]) for side in (edit.old, edit.new))
    if was != now:
        edit.changed[path] = Changed(was, now)
    edit.replaced.append(name)
    around = decorators.kinds(edit.world.old, edit.old, old.decorator_list)
    around |= decorators.kinds(edit.world.new, edit.new, new.decorator_list)
    reason = "it is made once more, with its decorators"
    if around & {"holds", "caches", "unknown"}:  # what is around the function that was made before stays as it is
        edit.guard("no_holders", name)
        reason += ", if nobody else holds the one before by then"
    edit.changes(name)
    edit.run(new)
    return edit.row(name, "decorator", "HOT", reason, new)


def with_decorators(
    edit: ModuleDiff, name: str, path: str, old: Function, new: Function, what: str, problem: str
) -> None:
    """Have a function made once more of which its decorators have read more than its body, as they have read that.

    The one before gets no other code: requests that are being answered know how it is called. Nobody else may have it by then.
    """
    if lost := _lost(edit, old, new):
        return edit.restart(name, what, f"{problem}, and making it once more would lose {lost}", new)
    if not edit.unless_seen(name, what, problem, new):
        return None
    reason = "it is made once more, with its decorators, if nobody else holds the one before by then"
    return _made(edit, name, path, new, what, reason)


def registered(edit: ModuleDiff, name: str, function: Function, cause: Origin) -> None:
    """Have a function made once more that stays as it is, and that a framework has read together with what is made once more."""
    if lost := _lost(edit, function, function):
        reason = f"it was made with {cause[1]}, and making it once more would lose {lost}"
        return edit.restart(name, "reached", reason, function, cause=cause)
    reason = f"it is made once more, since it was made with {cause[1]}, if nobody else holds the one before by then"
    return _made(edit, name, path_of(edit.new, name, function), function, "reached", reason)


def _made(edit: ModuleDiff, name: str, path: str, new: Function, what: str, reason: str) -> None:
    _without_closures(edit, path)
    edit.replaced.append(name)
    edit.guard("no_holders", name)
    edit.changes(name)
    edit.shapes.add(name)
    edit.run(new)
    edit.row(name, what, "HOT", reason, new)


def _without_closures(edit: ModuleDiff, path: str) -> None:
    """Ask for nothing to be alive that a function has made, and that the one which takes its place makes otherwise."""
    after = below(edit.new.codes, path)
    for nested, code in below(edit.old.codes, path).items():
        if nested not in after or code_tree.digest(after[nested]) != code_tree.digest(code):
            edit.guard("no_closures", nested)


def imported(edits: Iterable[ModuleDiff]) -> None:
    """Bind again what modules have imported of functions that are made once more."""
    every = {edit.new.name: edit for edit in edits}
    for edit in every.values():
        for name in edit.new.imports:
            if name in {*edit.rebind, *edit.replaced, *edit.added} or name not in edit.old.imports:
                continue
            before, after = (
                side.resolve(module, ast.Name(name))
                for side, module in ((edit.world.old, edit.old), (edit.world.new, edit.new))
            )
            other = every.get(after[0]) if after else None
            if other is None or after is None or before != after or after[1] not in other.old.functions:
                continue
            if after[1] in other.replaced:
                edit.rebind[name] = after
                edit.row(name, "import", "HOT", f"bound to what {'.'.join(after)} becomes", None, cause=after)


def hold_alone(edit: ModuleDiff, name: str, *values: ast.expr | None) -> None:
    """Ask for nobody else to hold what is made again, where who has the old one could tell: of a class of the release, or a descriptor."""
    for value in values:
        source = edit.world.old.resolve(edit.old, value.func) if isinstance(value, ast.Call) else None
        known = edit.world.old.modules.get(source[0]) if source else None
        of_release = known is not None and source is not None and source[1] in known.classes
        if of_release or (isinstance(value, ast.Call) and ast.unparse(value.func) in _DESCRIPTORS):
            edit.guard("no_holders", name)


def _lost(edit: ModuleDiff, old: Function, new: Function) -> str:
    """What may be kept by what is made with a function, and by nothing else; empty for nothing."""
    if classes_within(old) != classes_within(new):
        return "the class that it makes, of which there may be instances"
    for decorator in new.decorator_list:
        [kind] = decorators.kinds(edit.world.new, edit.new, [decorator])
        if (
            kind == "caches"
            and (closures.cached(old) or closures.cached(new))
            and not cached_makers.let_go(edit, new.name)
        ):
            return "what its cache holds, which others may hold too"
        if kind == "unknown" and not marks.passes_on(edit.world.new, edit.new, decorator):
            return f"what @{ast.unparse(decorator)} may keep"
    values = [*new.args.defaults, *filter(None, new.args.kw_defaults), *annotations_of(new)]
    made = (inner for value in values for inner in walk(value) if isinstance(inner, ast.Call | ast.Dict | ast.Set))
    return next(
        (
            f"what `{ast.unparse(call)}` may hold"
            for call in made
            if not decorators.only_describes(edit.world.new, edit.new, call)
        ),
        "",
    )


def method(edit: ModuleDiff, name: str, new: Function, owner: str, change: str = "body") -> None:
    """Make a method again that comes to use ``super()``, or becomes a generator, or the reverse, or gets signatures for type checkers.

    A function that is there can't become that, so another takes its place.
    """
    if new.decorator_list:
        reason = "another function has to take its place, which what decorates it has not"
        return edit.restart(name, "closure" if change == "body" else change, reason, new)
    _without_closures(edit, name)
    edit.replaced.append(name)
    edit.changes(name)
    edit.guard("no_holders", name)
    edit.run(new, owner)
    reason = "another function takes its place, if nothing else holds this one by then"
    return edit.row(name, change, "HOT", reason, new)
