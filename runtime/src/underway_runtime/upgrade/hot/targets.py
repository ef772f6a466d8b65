"""The loaded modules that become those of the other version: what their relup says, their code on disk, what is alive of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from ...observation import objects
from ...release import code_tree
from ...release.code_tree import is_function
from ...release.instructions import Load
from . import heap, holders
from .versions import Definitions, Version, definitions

_files: dict[str, set[str]] = {}
"""Module -> the files that its code in this process has come from so far."""


@dataclass(frozen=True)
class Computing:
    """What computes annotations of something that a fragment has made."""

    staged: FunctionType
    """While the fragments run: it sees what they bind."""
    live: FunctionType
    """From the swap on: it sees the live module."""
    owner: type | CellType | None = None
    """What has it: a class, or a cell of what computes the annotations of one; None of a function."""


@dataclass
class Target:
    """One loaded module on its way to the other version."""

    load: Load
    module: ModuleType
    spec: ModuleSpec
    """In the new version."""
    old: Definitions
    new: Definitions
    files: set[str]
    """Where old code of it may have come from."""
    staged: dict[str, Any] = field(default_factory=dict)
    """What its fragment has bound."""
    computing: list[Computing] = field(default_factory=list)
    """What computes the annotations of what its fragment has made."""
    _rebinds: Mapping[str, tuple[str, str]] | None = None

    @property
    def name(self) -> str:
        return self.load.module

    @property
    def names(self) -> dict[str, Any]:
        return objects.names_of(self.module)

    def rebinds(self) -> Mapping[str, tuple[str, str]]:
        """The names that stand for one of another module, with that, and are bound again.

        One that was imported lazily, from what is not loaded yet, is not: it will stand for the new one when somebody uses it.
        """
        if self._rebinds is None:
            lazy = {name for name in self.load.rebind if objects.is_lazy_import(self.names.get(name))}
            every = self.load.rebind.items()
            self._rebinds = {name: of for name, of in every if name not in lazy or of[0] in sys.modules}
        return self._rebinds

    def class_named(self, path: str) -> type | None:
        """The class of this qualified name, where it is in force and this module's own, whatever it says of itself."""
        value: Any = self.names
        for part in path.split("."):
            value = value.get(part)
            if not objects.is_a(value, type):
                return None
            cls, value = value, objects.members(value)
        return cls if objects.name_of(cls) == f"{self.name}.{path}" or self._has_made(cls, path) else None

    def _has_made(self, cls: type, path: str) -> bool:
        """Whether a class that says it is of another module, or has another name, is what this module's source makes here."""
        if path not in self.old.constants:
            return False
        functions = [member for member in objects.members(cls).values() if type(member) is FunctionType]
        defined = [
            function
            for function in functions
            if function.__globals__ is self.names and f"{path}.{function.__name__}" in self.old.by_path
        ]
        return bool(defined) if functions else objects.name_of(cls).endswith(f".{path}")

    def split(self, name: str) -> tuple[type | None, str]:
        """The live class, or None for the module, and the name in it."""
        owner, _, tail = name.rpartition(".")
        return (self.class_named(owner) if owner else None), tail

    def live(self, name: str) -> Any:
        """What ``NAME`` or ``CLASS.MEMBER`` is bound to, itself and not what it gives. Raises KeyError."""
        cls, tail = self.split(name)
        if cls is None and "." in name:
            raise KeyError(name)
        return (self.names if cls is None else objects.members(cls))[tail]

    def successor(self, path: str) -> str | None:
        """The path in the new version of what this definition of the old one becomes; None where there is none.

        That is its own where the relup says so; of what is nested in a definition that changes, that of the same name which does the same.
        """
        if path in self.load.changed:
            return path
        here = path in self.new.by_path
        outside = [outer for outer in code_tree.outside(path) if outer in self.load.changed]
        if not outside:
            return path if here else None
        if here and self.new.digest(path) == self.old.digest(path):
            return path
        wanted, name = self.old.digest(path), self.old.by_path[path].co_qualname
        alike = (path for path, code in self.new.by_path.items() if code.co_qualname == name)
        return next((code for code in alike if self.new.digest(code) == wanted), None)

    def is_replaced(self, path: str) -> bool:
        """Whether another function, or class, takes the place of this definition's, or of one that it is in, and this gets no new code."""
        around, names = [path, *code_tree.outside(path)], self.load.replaced
        if any(outer in self.load.changed for outer in around):
            return False
        if any(path.startswith(f"{name}.") for name in names if name in self.new.constants):
            return True  # of a class that is made once more, with all its methods
        replaced = [outer for outer in around if code_tree.mangled(outer) in names and outer in self.new.by_path]
        return any(self.old.digest(outer) != self.new.digest(outer) for outer in replaced)

    def stays(self, path: str) -> bool:
        """Whether what runs in this definition of the old version may run on: it is the same in the new one."""
        return self.successor(path) is not None and path not in self.load.changed and not self.is_replaced(path)

    def must_be_dead(self, path: str) -> bool:
        """Whether the relup says that nothing of this definition may be alive."""
        return any(guard.kind == "no_closures" and guard.of == path for guard in self.load.guards)


def read(load: Load, old: Version, new: Version) -> Target | None:
    """Read both versions of a module that is loaded; None for one that is not, which will be imported as it comes.

    Raises ImportError where there is no code, or something else than a module stands for it.
    """
    module = sys.modules.get(load.module)
    if module is None:
        return None
    if not objects.is_a(module, ModuleType) or objects.own_dict(module) is None:
        raise ImportError(
            f"{load.module} is a {objects.kind_of(module)} in sys.modules, and not the module that was loaded"
        )
    spec, code = new.code(load.module)
    _, before = old.code(load.module)
    files = {*_files.get(load.module, ()), before.co_filename}
    return Target(load, module, spec, definitions(before), definitions(code), files)


def remember(targets: Iterable[Target]) -> None:
    """They have come to the new version; some of their old code may be alive still."""
    for target in targets:
        _files[target.name] = {*target.files, target.new.code.co_filename}


def mismatches(target: Target) -> Iterator[str]:
    """Where the relup does not say what the two versions on disk say."""
    changed, old, new = target.load.changed, target.old, target.new
    for path, change in changed.items():
        if path not in old.by_path or path not in new.by_path:
            yield f"{target.name}:{path} is in the relup, and not in both versions"
        elif old.digest(path) != change.was or new.digest(path) != change.now:
            yield f"{target.name}:{path} is not the code that the relup was made for"
    for path in old.by_path.keys() & new.by_path.keys() - changed.keys():
        if any(outer in changed for outer in code_tree.outside(path)) or target.is_replaced(path) or _has_run(path):
            continue  # what is nested in a definition is part of its digest
        if old.by_path[path] != new.by_path[path] and old.digest(path) != new.digest(path):
            yield f"{target.name}:{path} differs in the two versions, and the relup does not say so"


def _has_run(path: str) -> bool:
    """Whether it is a comprehension that ran when its module was imported: nothing has it since, and nothing will run it."""
    return ".<locals>" not in path and path.rpartition(".")[2].partition("#")[0] in _COMPREHENSIONS


_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")
"""But not ``<genexpr>``, which what it was given to may have kept."""


@dataclass
class Functions:
    """The live functions of all targets that still have old code, and what is wrong with some."""

    of: list[tuple[Target, FunctionType, CodeType]] = field(default_factory=list)
    """Each with the code that it gets."""
    by_path: dict[tuple[str, str], list[FunctionType]] = field(default_factory=dict)
    """By module and path in the new version."""
    problems: list[str] = field(default_factory=list)
    annotated: dict[int, list[FunctionType]] = field(default_factory=dict)
    """By the id of what computes their annotations, the functions that have it."""


def of_function(function: FunctionType) -> FunctionType | None:
    """What computes the annotations of a function, where that is a function in Python."""
    annotate = getattr(function, code_tree.ANNOTATE, None)
    return annotate if type(annotate) is FunctionType else None


def by_annotate(functions: Iterable[FunctionType]) -> dict[int, list[FunctionType]]:
    """By the id of what computes them, the functions whose annotations it computes: a wrapper has that of what it wraps."""
    result: dict[int, list[FunctionType]] = {}
    for function in functions if code_tree.IS_LAZY else ():
        if (annotate := of_function(function)) is not None:
            result.setdefault(id(annotate), []).append(function)
    return result


def functions(targets: Iterable[Target], alive: list[FunctionType]) -> Functions:
    """Which of these functions are of the targets."""
    result = Functions(annotated=by_annotate(alive))
    by_names = {id(target.names): target for target in targets}
    by_file = {file: target for target in by_names.values() for file in target.files}
    staged = {id(change.staged) for target in by_names.values() for change in target.computing}
    for function in alive:
        if id(function) in staged:
            continue
        code = function.__code__
        target = by_names.get(id(function.__globals__))
        if target is None:
            if (other := by_file.get(code.co_filename)) is not None:
                name = objects.text(dict.get(function.__globals__, "__name__"))
                result.problems.append(
                    f"{other.name}:{code.co_qualname} is loaded twice, as a function of {name!r} too"
                )
            continue
        if _is_new(target, code):
            for path in target.new.paths(code):
                result.by_path.setdefault((target.name, path), []).append(function)
        elif code.co_filename in target.files:
            _add(result, target, function, code, {id(alive)})
    return result


def _add(result: Functions, target: Target, function: FunctionType, code: CodeType, ignored: set[int]) -> None:
    new, where = target.new, f"{target.name}:{code.co_qualname}"
    paths = target.old.paths(code)
    if not paths:
        owner = f"{code.co_filename} holds: something has rewritten it, a tracer perhaps"
        result.problems.append(f"{where} runs other code than {owner}")
        return
    if all(map(target.is_replaced, paths)):
        return  # its guard says whether anybody holds it
    becomes = [target.successor(path) for path in paths]
    annotates = all(code_tree.annotated_by(path) is not None for path in paths)
    if gone := [path for path, after in zip(paths, becomes, strict=True) if after is None]:
        if annotates:
            return  # who has it gets another, or none
        goes = _is_removed(target, gone[0]) or _goes(target, function)
        if not goes and not target.must_be_dead(gone[0]):  # of that its guard says so
            result.problems.append(f"{where} is gone, and still held by {holders.holder(function, ignored)}")
        return
    now = [path for path in becomes if path is not None]
    if len({new.digest(path) for path in now} if len(now) > 1 else {0}) > 1:
        result.problems.append(f"{where} is there more than once, and which one this is can't be said")
        return
    after = new.by_path[now[0]]
    if annotates and after.co_freevars != code.co_freevars:
        return
    if after.co_freevars != code.co_freevars:
        result.problems.append(
            f"{where} would use {_names(after)} of what surrounds it instead of {_names(code)};"
            f" {holders.holder(function, ignored)} has it"
        )
        return
    result.of.append((target, function, after))
    for path in now:
        result.by_path.setdefault((target.name, path), []).append(function)


def _names(code: CodeType) -> str:
    return ", ".join(code.co_freevars) or "nothing"


def _is_removed(target: Target, path: str) -> bool:
    """Whether the relup takes away what this definition is, or is in, or has something else there; its guards say who may hold it."""
    plain = code_tree.mangled(code_tree.owner(path).partition("#")[0])
    going = *target.load.removed, *target.load.rebind, *target.load.replaced
    return any(plain == name or plain.startswith(f"{name}.") for name in going)


def _goes(target: Target, function: FunctionType) -> bool:
    """Whether this function is what a name is bound to that goes away: a lambda."""
    return any(target.names.get(name) is function for name in target.load.removed)


def _is_new(target: Target, code: CodeType) -> bool:
    return code.co_filename == target.new.code.co_filename and bool(target.new.paths(code))


def changed_definition(targets: Iterable[Target]) -> Callable[[CodeType], str | None]:
    """A function that names old code of what changes or goes away, and knows nothing of all other code."""
    by_file = {file: target for target in targets for file in target.files}

    def named(code: CodeType) -> str | None:
        target = by_file.get(code.co_filename)
        if target is None or not is_function(code) or _is_new(target, code):
            return None
        paths = target.old.paths(code)
        if paths and all(map(target.stays, paths)):
            return None
        return f"{target.name}:{paths[0] if paths else code.co_qualname}"

    return named


def closures(alive: heap.Survey, target: Target, path: str) -> list[FunctionType]:
    """The live functions that have the code of this definition, in the old version."""
    return [
        function
        for function in alive.functions
        if function.__globals__ is target.names
        and function.__code__.co_filename in target.files
        and path in target.old.paths(function.__code__)
    ]


def by_name(targets: Iterable[Target]) -> Mapping[str, Target]:
    """The targets by the names of their modules."""
    return {target.name: target for target in targets}
