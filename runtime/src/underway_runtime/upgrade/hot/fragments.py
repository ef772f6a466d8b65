"""What the fragments make: their statements run one at a time, in the module as it will be, and nobody else sees it before the swap.

=========================================  ============================================================================
a statement reads                          it finds
=========================================  ============================================================================
a name that a statement before it has      that
bound
a class or a function that stays           that one, as all who hold it have it; what the fragment makes under this name
                                           holds some members, or other defaults, and is thrown away: `Staged.made` has it
a name that stands for one of another      what that will be; asked for when it is read, since two modules may need new
module                                     names of each other
any other name                             what the live module has
=========================================  ============================================================================

Functions are made of the code in the compiled file of the new version, and see the live module. So where something is called that
may look up a new name there, all new names are bound in it at once, in the order of the loads; no old code asks for them, and none
may hide a name of Python itself from it. Otherwise nothing is bound before the swap, but for members that come to an enumeration,
which can be asked for.
"""

from __future__ import annotations

import builtins
import dis
import sys
from _imp import _fix_co_filename  # type: ignore[attr-defined]  # unknown to typeshed
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any

from ...observation import objects
from ...release import plain_values
from ...release.code_tree import ANNOTATE, IS_LAZY, is_function
from . import CannotSwap, annotated, enumerations, statements, targets
from .targets import Target
from .undo_log import BASES, Acts, Journal

_CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_ATTR", "LOAD_METHOD")
_OWN = (statements.LIVE, statements.BECOMES)
_MISSING = object()
_QUIET = frozenset(
    {
        *(
            "staticmethod",
            "classmethod",
            "property",
            "bool",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozendict",
            "frozenset",
            "int",
            "len",
        ),
        *("list", "max", "min", "object", "range", "round", "set", "str", "sum", "tuple"),
        *_OWN,
        annotated.CONDITIONAL,
    }
)
"""What may be called without anybody's looking names up in a module."""
_OF_FUNCTIONS = ("__kwdefaults__", "__qualname__", "__module__", "__doc__", "__type_params__")


class Stage:
    """The fragments of all targets, each run once, after those that it takes something from."""

    def __init__(self, loaded: Sequence[Target], journal: Journal) -> None:
        self.targets = targets.by_name(loaded)
        self._journal = journal
        self._begun: set[str] = set()
        self._asked: set[tuple[str, str]] = set()
        self._codes = {target.name: _codes(target) for target in loaded}
        self._at_once = any(_may_look_up(target, self._codes[target.name]) for target in loaded)

    def run(self) -> None:
        """Run them all. Raises whatever they raise."""
        for target in self.targets.values():
            self._run(target)
        for target in self.targets.values():
            for name in target.rebinds():
                target.staged.setdefault(name, self.becomes(target.name, name))

    def becomes(self, module: str, name: str) -> Any:
        """What a name of a module will be bound to. Raises KeyError or ImportError."""
        target = self.targets.get(module)
        if target is None:
            return objects.names_of(import_module(module))[name]
        if name in target.rebinds():
            return self._rebound(target, name)
        self._run(target)
        if name in target.staged:
            return target.staged[name]  # of what stays, itself
        if "." in name:
            is_made = name in target.load.values or name in target.load.added
            return made(target, name) if is_made else target.live(name)
        if name in target.load.values or name in target.load.added:
            raise ImportError(f"{module}.{name} and what it is made of need each other")
        return target.names[name]

    def _rebound(self, target: Target, name: str) -> Any:
        """What a name will be bound to that stands for one of another module."""
        if (target.name, name) in self._asked:
            raise ImportError(f"{target.name}.{name} and what it is made of need each other")
        self._asked.add((target.name, name))
        try:
            return self.becomes(*target.load.rebind[name])
        finally:
            self._asked.remove((target.name, name))

    def _run(self, target: Target) -> None:
        if target.name in self._begun:
            return
        self._begun.add(target.name)
        target.staged = staged = Staged(target, partial(self._rebound, target), self._journal, at_once=self._at_once)
        for name in target.rebinds():
            staged.world.pop(name, None)
            with suppress(ImportError, KeyError):  # of what needs this module in turn: when all have run
                staged.bind(name, self._rebound(target, name))
        staged.world |= {statements.LIVE: partial(_live, target), statements.BECOMES: self.becomes}
        for code in self._codes[target.name]:
            exec(code, staged.world, _Names(staged))


class Staged(dict[str, Any]):
    """The names that a fragment binds; of what stays, what it is. `world` is the module as its statements see it."""

    def __init__(self, target: Target, rebound: Callable[[str], Any], journal: Journal, *, at_once: bool) -> None:
        super().__init__()
        load = target.load
        self._target = target
        self._names = target.names
        self._journal = journal
        self._at_once = at_once
        self._rebound = rebound
        self._elsewhere = target.rebinds()
        self._of_classes = [name.rpartition(".")[::2] for name in load.added if "." in name]
        self._missing = {name for name in load.added if name not in target.names}
        with_members = (name for name in (*load.added, *load.values, *load.replaced, *load.refreshed) if "." in name)
        stays = {*(name.partition(".")[0] for name in with_members), *load.refreshed} & target.names.keys()
        self._stays = stays - {*load.added, *load.values, *load.replaced, *load.rebind}
        self.world = dict(target.names)
        for name in load.removed:
            self.world.pop(name, None)  # which asks no key that hashes otherwise whether it is this one
        self.thrown_away = False
        """Whether the fragment has made a class, of some that are there, of which only members are taken."""

    def __getitem__(self, name: str) -> Any:
        if name in self._elsewhere:
            return self._rebound(name)
        return self._names[name] if name in self._stays else super().__getitem__(name)

    def made(self, name: str) -> Any:
        """What the fragment has made, which may be thrown away. Raises KeyError."""
        return super().__getitem__(name)

    def bind(self, name: str, value: Any) -> None:
        """Take what a statement binds."""
        value = self._rebound(name) if name in self._elsewhere and name in self else value
        self[name] = value
        if name not in self._stays:
            self.world[name] = value
        if objects.is_a(value, type):
            annotated.class_made(self._target, value, self.world, name)
            self.thrown_away |= name in self._stays and objects.bases(value) != (object,)
        live: Any = self._names.get(name)
        if objects.is_a(value, type) and objects.is_a(live, enumerations.KIND):
            members = [member for owner, member in self._of_classes if owner == name]
            self._journal.perform(enumerations.come(value, live, members))
        if self._at_once and name in self._missing:
            self._bind_at_once(name, value)

    def _bind_at_once(self, name: str, value: Any) -> None:
        if hasattr(builtins, name):
            raise CannotSwap([f"{name} would hide that of Python from old code, before all is in place"])
        acts = Acts()
        acts.item(self._names, name, value)
        self._journal.perform(acts)

    def unbind(self, name: str) -> None:
        """Delete what a statement deletes. Raises KeyError."""
        del self.world[name]
        self.pop(name, None)


class _Names(dict[str, Any]):
    """Where a statement binds its names."""

    def __init__(self, staged: Staged) -> None:
        super().__init__()
        self._staged = staged

    def __getitem__(self, name: str) -> Any:
        return self._staged[name]  # what it has not is looked for in its world

    def __setitem__(self, name: str, value: Any) -> None:
        self._staged.bind(name, value)

    def __delitem__(self, name: str) -> None:
        self._staged.unbind(name)


def made(target: Target, name: str) -> Any:
    """What the fragment binds a name to. A class that is there already is one in it that is thrown away. Raises KeyError."""
    first, *others = name.split(".")
    staged = target.staged
    value = staged.made(first) if isinstance(staged, Staged) else staged[first]
    for part in others:
        if part == BASES and objects.is_a(value, type):
            return objects.bases(value)
        value = objects.members(value)[part] if objects.is_a(value, type) else objects.names_of(value)[part]
    return value


def _codes(target: Target) -> Sequence[CodeType]:
    codes = () if target.load.fragment is None else statements.load(target.load.fragment)
    for part in codes:
        _fix_co_filename(part, target.new.code.co_filename)
    return codes


def _live(target: Target, function: FunctionType) -> FunctionType:
    """A function that a fragment has made, as one of the live module. Raises CannotSwap where the compiled file has no such."""
    paths = target.new.paths(function.__code__)
    if not paths:
        where = f"{target.name}:{function.__qualname__}"
        raise CannotSwap([f"{where} of the relup is not what {target.new.code.co_filename} was compiled to"])
    code = target.new.by_path[paths[0]]
    result = FunctionType(code, target.names, function.__name__, function.__defaults__, function.__closure__)
    for name in _OF_FUNCTIONS:
        if hasattr(function, name):
            setattr(result, name, getattr(function, name))
    if IS_LAZY:
        setattr(result, ANNOTATE, annotated.function_made(target, paths[0], function))
    else:
        result.__annotations__ = function.__annotations__
    return result


def _may_look_up(target: Target, codes: Iterable[CodeType]) -> bool:
    """Whether something is called that may look up names in a live module: a decorator that reads annotations, a new function."""
    new = {name for name in target.load.added if "." not in name}
    called = new & {*target.new.by_path, *target.new.constants}
    return any(_calls_others(code, target.names, new - called, called) for code in codes)


def _calls_others(code: CodeType, names: Mapping[str, Any], values: Collection[str], called: Collection[str]) -> bool:
    """Whether a statement calls more than what is known to look nothing up.

    `values` and `called` are new names, whose own statements are looked at: of values, and of functions and classes.
    """
    every = list(_executed(code))
    instructions = [instruction for one in every for instruction in dis.get_instructions(one)]
    if any(_imports_others(instructions, number) for number in range(len(instructions))):
        return True
    loaded = Counter(instruction.argval for instruction in instructions if instruction.opname in _LOADS)
    makes = sum(instruction.opname == "LOAD_BUILD_CLASS" for instruction in instructions)
    at_once = sum(map(is_function, every))
    others = (
        sum(instruction.opname in _CALLS for instruction in instructions)
        - makes
        - at_once
        - sum(loaded[name] for name in _OWN)
    )
    known = {*_QUIET, *values, *(() if others > 0 else called)}
    return (others > 0 or makes > 0) and not all(
        name in known or _is_quiet(names.get(name, _MISSING)) for name in loaded
    )


def _imports_others(instructions: Sequence[dis.Instruction], number: int) -> bool:
    """Whether an instruction imports what may know of this module: all but the standard library's."""
    if instructions[number].opname != "IMPORT_NAME":
        return False
    level, top = instructions[number - 2].argval, str(instructions[number].argval).partition(".")[0]
    return level != 0 or top not in sys.stdlib_module_names


def _is_quiet(value: object) -> bool:
    """Whether what a name is bound to is plain, or a class that does nothing where another inherits from it."""
    if type(value) is not type:
        return plain_values.is_plain(value) or objects.module_of(type(value)) == "typing"
    every = [objects.members(base) for base in objects.mro(value)]
    return not any("__init_subclass__" in namespace for namespace in every[:-1])


def _executed(code: CodeType) -> Iterator[CodeType]:
    """What runs: the statement, the bodies of classes in it, and what is made in one go, but no function."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and (not is_function(constant) or _is_at_once(constant.co_name)):
            yield from _executed(constant)


def _is_at_once(name: str) -> bool:
    return name.startswith("<") and name != "<lambda>"
