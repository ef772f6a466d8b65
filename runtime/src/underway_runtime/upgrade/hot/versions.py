"""What a version of the release says on disk, and which of its definitions a live code object is."""

from __future__ import annotations

import dis
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType
from typing import Any

from ...code_server.finder import CodeServer, Index, LibraryFinder, read_index
from ...release import boot_script
from ...release.code_tree import digest, is_function, is_generic, tree
from ...release.directory import VersionDirectory

CLASS_CONSTANTS = ("__doc__", "__firstlineno__", "__static_attributes__")

_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT", "LOAD_COMMON_CONSTANT", "RETURN_CONST")

_ITERABLE_COROUTINE = 0x100
"""What ``types.coroutine`` adds to the flags of a function's code."""


@dataclass(frozen=True)
class Version:
    """A version as its files describe it, whether it runs or not."""

    version: str
    path: Path
    """``releases/V``, absolute."""
    index: Index
    applications: Mapping[str, str]
    """Their versions."""

    @property
    def lib(self) -> str:
        return str(self.path.parent.parent / "lib")

    def spec(self, module: str) -> ModuleSpec | None:
        """How a process of this version would import a module of an application."""
        return _find_spec(CodeServer(self.lib, self.index), module)

    def code(self, module: str) -> tuple[ModuleSpec, CodeType]:
        """The spec and the code of a module. Raises ImportError where it has none, or is damaged."""
        spec = self.spec(module)
        loader: Any = spec.loader if spec is not None else None
        code = loader.get_code(module) if hasattr(loader, "get_code") else None
        if spec is None or code is None:
            what = (
                "a namespace package" if spec is not None and spec.origin is None else "missing, or an extension module"
            )
            raise ImportError(f"{module} of {self.version} has no code: it is {what}")
        return spec, code


def read_version(directory: VersionDirectory) -> Version:
    """Read what a version is made of. Raises DamagedRelease."""
    script = boot_script.read(directory.boot_script("start"))
    loads = [instruction for instruction in script.instructions if isinstance(instruction, boot_script.Load)]
    path = Path(directory.path).absolute()
    return Version(
        script.version, path, read_index(f"{path}/code.index"), {load.application: load.version for load in loads}
    )


def _find_spec(server: CodeServer, module: str) -> ModuleSpec | None:
    parent = module.rpartition(".")[0]
    if not parent:
        return LibraryFinder(server).find_spec(module)
    above = _find_spec(server, parent)
    places = list(above.submodule_search_locations or ()) if above is not None else []
    return server.find(module, places) if places else None


@dataclass
class Definitions:
    """The definitions of one module in one version."""

    code: CodeType
    """Of the module."""
    by_path: Mapping[str, CodeType]
    constants: Mapping[str, Mapping[str, Any]]
    """What the compiler itself binds in the bodies of the classes, by their qualified names, and in the module's, by ``""``."""
    digests: dict[str, str] = field(default_factory=dict)
    """By path, as far as they were needed."""
    _by_place: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    _known: dict[int, tuple[CodeType, tuple[str, ...]]] = field(default_factory=dict)

    def digest(self, path: str) -> str:
        """The digest of a definition."""
        if path not in self.digests:
            self.digests[path] = digest(self.by_path[path])
        return self.digests[path]

    def paths(self, code: CodeType) -> tuple[str, ...]:
        """Which definitions this code may be: more than one only where they do the same, none where something rewrote it."""
        known = self._known.get(id(code))
        if known is None:
            known = self._known[id(code)] = (code, self._paths(code))  # kept, so that no other gets its id
        return known[1]

    def _paths(self, code: CodeType) -> tuple[str, ...]:
        if not self._by_place:
            for path, known in self.by_path.items():
                self._by_place.setdefault((known.co_qualname, known.co_firstlineno), []).append(path)
        here = self._by_place.get((code.co_qualname, code.co_firstlineno), ())
        if paths := tuple(path for path in here if self.by_path[path] == code):
            return paths
        # It is of another version in which this definition was the same, or something has rewritten it.
        same_name = [path for path, known in self.by_path.items() if known.co_qualname == code.co_qualname]
        wanted = digest(code) if same_name else ""
        if paths := tuple(path for path in same_name if self.digest(path) == wanted):
            return paths
        if code.co_flags & _ITERABLE_COROUTINE:
            return self.paths(code.replace(co_flags=code.co_flags & ~_ITERABLE_COROUTINE))
        return ()


def definitions(code: CodeType) -> Definitions:
    """The definitions of a module's code."""
    constants = {path: stored_constants(body, CLASS_CONSTANTS) for path, body in class_bodies(code).items()}
    return Definitions(code, tree(code), {**constants, "": stored_constants(code, ("__doc__",))})


def like(old: CodeType, new: CodeType) -> CodeType:
    """The new code with what was added to the flags of the old one while the module ran."""
    added = old.co_flags & _ITERABLE_COROUTINE
    return new.replace(co_flags=new.co_flags | added) if added else new


def class_bodies(module: CodeType) -> dict[str, CodeType]:
    """The bodies of the classes that are not within functions, by qualified name; of several of one name the last."""
    bodies: dict[str, CodeType] = {}
    waiting = [("", module)]
    while waiting:
        prefix, code = waiting.pop()
        for constant in code.co_consts:
            if isinstance(constant, CodeType) and is_generic(constant):
                waiting.append((prefix, constant))
            elif isinstance(constant, CodeType) and not is_function(constant):
                bodies[prefix + constant.co_name] = constant
                waiting.append((f"{prefix}{constant.co_name}.", constant))
    return bodies


def stored_constants(code: CodeType, names: tuple[str, ...]) -> dict[str, Any]:
    """What the compiler itself binds in a module or class body, of these names: ``__doc__``, ``__firstlineno__``."""
    values: dict[str, Any] = {}
    if not any(name in code.co_names for name in names):
        return values
    loaded: Any = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_NAME" and instruction.argval in names and loaded is not None:
            values.setdefault(instruction.argval, loaded[0])
        loaded = (instruction.argval,) if instruction.opname in _CONSTANTS else None
    return values
