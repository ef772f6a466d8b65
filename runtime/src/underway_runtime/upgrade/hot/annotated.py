"""Annotations that Python computes when somebody asks for them, since 3.14: what computes them, and what was computed already.

=============  ===================================  ========================================================================
whose          what computes them                   what was computed
=============  ===================================  ========================================================================
a function's   its ``__annotate__``                 kept within; gone when ``__annotate__`` is set
a class's      ``__annotate_func__``, a member      ``__annotations_cache__``, a member
a module's     ``__annotate__``, a name of it       ``__annotations__``, a name of it
=============  ===================================  ========================================================================

What computes them is a function as any other, and gets its code as any other; where it would use other names of what surrounds it,
or comes, it is made of the code in the compiled file. No annotation is computed here. Before 3.14 they are values, which the fragment
makes, as are those of classes and modules under ``from __future__ import annotations`` still.

While the fragments run, what they make computes its annotations in terms of what they bind: a decorator that asks gets what a fresh
start would give it. From the swap on it does so in terms of the live module, which has these names by then.
"""

from __future__ import annotations

import dis
import gc
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from types import CellType, CodeType, FunctionType
from typing import Any

from ...observation import objects
from ...release.code_tree import ANNOTATE, IS_LAZY, annotated_by
from . import CannotSwap, holders
from .targets import Computing, Functions, Target, of_function
from .undo_log import Acts

OF_CLASS, COMPUTED = "__annotate_func__", "__annotations_cache__"
CONDITIONAL = "__conditional_annotations__"
"""Which of its annotated names a module has come by: by the numbers that the compiler gives them."""

_AS_TEXTS = 0x1000000
"""The flag of code under ``from __future__ import annotations``."""


def is_computed(code: CodeType) -> bool:
    """Whether annotations of a module with this code, and of its classes, are computed when they are asked for."""
    return IS_LAZY and not code.co_flags & _AS_TEXTS


def function_made(target: Target, path: str, made: FunctionType) -> FunctionType | None:
    """What computes the annotations of a function that a fragment has made: the same, until the swap."""
    annotate = of_function(made)
    code = target.new.by_path.get(f"{path}.{ANNOTATE}")
    if annotate is not None and code is not None and code.co_freevars == annotate.__code__.co_freevars:
        later = _function(target, code, annotate.__closure__, annotate.__qualname__)
        target.computing.append(Computing(annotate, later))
    return annotate


def class_made(target: Target, cls: type, world: dict[str, Any], path: str) -> None:
    """Have a class that a fragment has made, and those in it, compute their annotations in terms of the live module after the swap."""
    members = objects.members(cls)
    annotate, code = members.get(OF_CLASS), target.new.by_path.get(f"{path}.{ANNOTATE}")
    if code is not None:
        for function, owner in _within(annotate, cls):
            if function.__globals__ is world and function.__code__.co_freevars == code.co_freevars:
                later = _function(target, code, function.__closure__, function.__qualname__)
                target.computing.append(Computing(function, later, owner))
    for name, member in list(members.items()):
        if objects.is_a(member, type) and objects.qualname_of(member) == f"{path}.{name}":
            class_made(target, member, world, f"{path}.{name}")


def own_class(function: FunctionType, cls: type) -> None:
    """Have what computes the annotations of a new method look names up in the class that gets it."""
    if (annotate := of_function(function)) is not None:
        for name, cell in zip(annotate.__code__.co_freevars, annotate.__closure__ or (), strict=True):
            if name == "__classdict__":
                cell.cell_contents = _names_of_class(cls)
            elif name == "__class__":
                cell.cell_contents = cls


def acts(target: Target, functions: Functions) -> Acts:
    """What has all that stays compute its annotations as the new version does, and forget what it has computed.

    Raises CannotSwap where what computes them would need what nobody can tell.
    """
    result = Acts()
    if not IS_LAZY:
        return result
    for (module, path), alive in functions.by_path.items():
        if module == target.name and annotated_by(path) is None:
            for function in alive:
                _of_function(result, target, path, function, functions)
    if not is_computed(target.new.code):
        return result
    for path in target.old.constants:
        if path and (cls := target.class_named(path)) is not None:
            _of_class(result, target, path, cls)
    _of_module(result, target)
    return result


def after_the_swap(targets: Sequence[Target], functions: Functions, ignored: Collection[int]) -> Acts:
    """What has all that the fragments have made compute its annotations in terms of the live modules.

    `ignored` are ids of what holds all functions. Raises CannotSwap where somebody else keeps what computes them.
    """
    result, problems = Acts(), list[str]()
    computing = {id(change.staged): change for target in targets for change in target.computing}
    staged = tuple(change.staged for change in computing.values())
    passed_over = {*ignored, id(staged), *(id(change.owner) for change in computing.values())}
    for referrer in gc.get_referrers(*staged) if staged else ():
        names = referrer if type(referrer) is dict else objects.names_of(referrer)
        if (change := computing.get(id(names.get(ANNOTATE)))) is not None:
            result.item(names, ANNOTATE, change.live)  # what wraps a function has what computes its annotations
        elif type(referrer) is FunctionType or OF_CLASS in names or id(referrer) in passed_over:
            continue
        elif not holders.is_ours(referrer):
            problems.append(
                f"{holders.holder(referrer)} has a {objects.kind_of(referrer)} of what computes annotations"
            )
    for number, change in computing.items():
        match change.owner:
            case CellType() as cell:
                put = partial(setattr, cell, "cell_contents")
                result.add(partial(put, change.live), partial(put, change.staged))
            case type() as cls:
                result.member(cls, OF_CLASS, change.live)
        for function in functions.annotated.get(number, ()):
            _set(result, function, change.live)
    if problems:
        raise CannotSwap(problems)
    return result


def _of_function(result: Acts, target: Target, path: str, function: FunctionType, functions: Functions) -> None:
    before, after = _codes(target, path)
    now = of_function(function)
    if (before is None and after is None) or not _is_its_own(target, path, now, before):
        return
    if now is None and function.__annotations__:
        return  # somebody has given it some, or they are texts
    if after is None:
        _set(result, function, None)
    elif now is None or now.__code__.co_freevars != after.co_freevars:
        cls = target.class_named(path.rpartition(".")[0])
        cells = _cells(target, path, after, function, now, cls)
        made = _function(target, after, cells, f"{function.__qualname__}.{ANNOTATE}")
        for other in functions.annotated.get(id(now), [function]) if now is not None else [function]:
            _set(result, other, made)
    else:  # whatever they say, they may be made of what changes
        for other in functions.annotated.get(id(now), ()):
            _set(result, other, now)


def _of_class(result: Acts, target: Target, path: str, cls: type) -> None:
    before, after = _codes(target, path)
    members = objects.members(cls)
    now = members.get(OF_CLASS)
    if f"{path}.{OF_CLASS}" in target.load.replaced or not (before or after):
        return
    if type(now) is FunctionType and not _is_its_own(target, path, now, before):
        _forget(
            result, cls
        )  # a base of the standard library's has made it, of the class's own, whose code is another now
        return
    if after is None:
        result.no_member(cls, OF_CLASS)
    elif type(now) is not FunctionType or now.__code__.co_freevars != after.co_freevars:
        if "__annotations__" in members:
            return  # they are texts
        cells = _cells(target, path, after, None, now, cls)
        result.member(cls, OF_CLASS, _function(target, after, cells, f"{path}.{ANNOTATE}"))
    _forget(result, cls)


def _of_module(result: Acts, target: Target) -> None:
    before, after = _codes(target, "")
    names = target.names
    now = names.get(ANNOTATE)
    if not (before or after) or not _is_its_own(target, "", now, before):
        return
    if now is None and names.get("__annotations__"):
        return  # they are texts; of a module without any, somebody has asked for them
    if after is None:
        result.no_item(names, ANNOTATE)
        result.no_item(names, CONDITIONAL)
    elif now is None:
        result.item(names, ANNOTATE, _function(target, after, (), ANNOTATE))
    is_changed = target.new.digest(ANNOTATE) != target.old.digest(ANNOTATE) if before and after else after is not None
    if is_changed and (numbers := _numbers(target.new.code)) != names.get(CONDITIONAL):
        result.item(names, CONDITIONAL, numbers)
    result.no_item(names, "__annotations__")


def _codes(target: Target, path: str) -> tuple[CodeType | None, CodeType | None]:
    """What computes the annotations of a definition in both versions."""
    annotate = f"{path}.{ANNOTATE}" if path else ANNOTATE
    return target.old.by_path.get(annotate), target.new.by_path.get(annotate)


def _is_its_own(target: Target, path: str, now: Any, before: CodeType | None) -> bool:
    """Whether what computes annotations is what the old version has made for that."""
    if type(now) is not FunctionType or before is None:
        return now is None and before is None
    annotate = f"{path}.{ANNOTATE}" if path else ANNOTATE
    return now.__globals__ is target.names and annotate in target.old.paths(now.__code__)


def _function(target: Target, code: CodeType, closure: Any, qualname: str) -> FunctionType:
    function = FunctionType(code, target.names, code.co_name, None, tuple(closure or ()))
    function.__qualname__ = qualname
    function.__module__ = target.name
    return function


def _cells(
    target: Target, path: str, code: CodeType, owner: FunctionType | None, now: FunctionType | None, cls: type | None
) -> tuple[CellType, ...]:
    """What surrounds what computes annotations, from whoever has it."""
    known: dict[str, CellType] = {}
    for function in (owner, now):
        if type(function) is FunctionType:
            known |= dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if cls is not None:
        known.setdefault("__classdict__", CellType(_names_of_class(cls)))
    if missing := [name for name in code.co_freevars if name not in known]:
        where = f"{target.name}:{path}"
        raise CannotSwap([f"the annotations of {where} would need {', '.join(missing)}, which surrounded it alone"])
    return tuple(known[name] for name in code.co_freevars)


def _names_of_class(cls: type) -> dict[str, Any]:
    """The dict of a class itself, as the cell ``__classdict__`` has it."""
    [names] = (names for names in gc.get_referents(objects.members(cls)) if type(names) is dict)
    return names


def _set(result: Acts, function: FunctionType, annotate: FunctionType | None) -> None:
    """Set what computes the annotations of a function; what was computed is forgotten, now and when it is undone."""
    now = of_function(function)
    undo = (ANNOTATE, now) if now is not None else ("__annotations__", None)
    do = (ANNOTATE, annotate) if annotate is not None else ("__annotations__", None)
    result.add(partial(setattr, function, *do), partial(setattr, function, *undo))


def _forget(result: Acts, cls: type) -> None:
    result.no_member(cls, COMPUTED)


def forget_in(result: Acts, wrapper: Any) -> None:
    """Forget what a static method or class method has copied from its function when it was asked."""
    for name in (ANNOTATE, "__annotations__") if IS_LAZY else ():
        if name in objects.names_of(wrapper):
            result.no_item(objects.names_of(wrapper), name)


def _numbers(code: CodeType) -> set[int]:
    """The numbers of a module's annotated names, all of which it comes by."""
    instructions = list(dis.get_instructions(code))
    return {
        int(number.argval)
        for name, number, then in zip(instructions, instructions[1:], instructions[2:], strict=False)
        if name.argval == CONDITIONAL and name.opname.startswith("LOAD_") and then.opname == "SET_ADD"
    }


def _within(annotate: Any, cls: type) -> Iterator[tuple[FunctionType, type | CellType]]:
    """What computes the annotations of a class, and what that closes over, each with what has it."""
    if type(annotate) is not FunctionType:
        return
    yield annotate, cls
    for cell in annotate.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:
            continue
        if type(inner) is FunctionType:
            yield inner, cell
