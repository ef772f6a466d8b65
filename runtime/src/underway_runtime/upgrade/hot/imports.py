"""The import system of this process moves from one version to the other, with all that says where code comes from.

========================================  ==========================================================================
the code server's index                   what is imported from now on
``__spec__`` and what is taken from it    where loaded modules look for submodules and data, and say that they are
paths below ``releases/V``                in `sys`, `site`, `sysconfig`, multiprocessing and the environment: what
                                          child processes start with
caches                                    of finders, of importlib.metadata, of lines of source
========================================  ==========================================================================
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from operator import setitem
from types import ModuleType
from typing import Any

from ...code_server.finder import CodeServer
from ...observation import objects
from .undo_log import Acts
from .versions import Version

_KNOW_PATHS = ("sys", "site", "sysconfig", "multiprocessing.spawn")
"""Modules of the standard library that have read where the version is."""

_HISTORY = ("argv", "orig_argv")


def move(server: CodeServer, old: Version, new: Version, modules: Iterable[tuple[ModuleType, ModuleSpec]]) -> Acts:
    """Return the acts that move everything; `modules` are those that are loaded, with their specs in the new version."""
    acts = Acts()
    acts.add(_nothing, importlib.invalidate_caches)
    acts.attribute(server, "index", new.index)
    if str(new.lib) != server.lib:  # each version has a root of its own: where it is tried, and nobody serves
        acts.attribute(server, "lib", str(new.lib))
    finders = sys.path_importer_cache
    acts.add(_nothing, partial(_restore, finders, dict(finders)))
    for entry in list(finders):
        if type(entry) is str and entry.startswith(server.lib + "/"):
            acts.no_item(finders, entry)
    for module, spec in modules:
        _move_module(acts, module, spec)
    for names in (vars(sys.modules[name]) for name in _KNOW_PATHS if name in sys.modules):
        _move_paths(acts, names, str(old.path), str(new.path))
    for name, value in environment(old, new):
        acts.add(partial(setitem, os.environ, name, value), partial(setitem, os.environ, name, os.environ[name]))
    acts.add(importlib.invalidate_caches, _nothing)
    return acts


def forget_modules(before: Iterable[str], old: Version) -> None:
    """Take out of `sys.modules`, and of their packages, what was not in it before and is of applications that `old` has not.

    What else was imported meanwhile is the same in both versions.
    """
    known = {*before}
    theirs = {f"{old.lib}/{directory}/" for directories in old.index.top.values() for directory in directories}
    for name in [name for name in sys.modules if name not in known]:
        spec: Any = objects.module_names(name).get("__spec__")
        if not objects.is_a(spec, ModuleSpec):
            continue
        places = [spec.origin, *(spec.submodule_search_locations or ())]
        if any(_is_only_new(path, old.lib, theirs) for path in places if path):
            module = sys.modules.pop(name)
            parent, _, tail = name.rpartition(".")
            names = objects.module_names(parent)
            if names.get(tail) is module:
                del names[tail]


def _is_only_new(path: str, lib: str, theirs: set[str]) -> bool:
    directory = path[len(lib) + 1 :].partition("/")[0]
    return path.startswith(f"{lib}/") and f"{lib}/{directory}/" not in theirs


def _move_module(acts: Acts, module: ModuleType, spec: ModuleSpec) -> None:
    names = objects.names_of(module)
    spec_before: Any = names.get("__spec__")
    before: ModuleSpec | None = spec_before if objects.is_a(spec_before, ModuleSpec) else None
    moved: dict[str, Any] = {
        "__spec__": spec,
        "__loader__": spec.loader,
        "__file__": _new_file(names.get("__file__"), before, spec),
    }
    if "__cached__" in names:  # until 3.14
        moved["__cached__"] = spec.cached
    if before is not None and names.get("__package__") == before.parent:
        moved["__package__"] = spec.parent
    if spec.submodule_search_locations is None:
        acts.no_item(names, "__path__")  # it was a package
    elif "__path__" not in names:
        acts.item(names, "__path__", spec.submodule_search_locations)
    else:
        # What the package itself or others have added stays.
        if not objects.is_a(names["__path__"], (list, tuple)):
            raise TypeError(
                f"{spec.name}.__path__ is a {objects.kind_of(names['__path__'])}, and not a list of directories"
            )
        locations = list(before.submodule_search_locations or ()) if before is not None else []
        theirs = [path for path in names["__path__"] if path not in locations]
        moved["__path__"] = [*spec.submodule_search_locations, *theirs]
        spec.submodule_search_locations = moved["__path__"]
    for name, value in moved.items():
        if name in names:
            acts.item(names, name, value)
    lines = getattr(sys.modules.get("linecache"), "cache", {})
    if before is not None and before.origin in lines:
        acts.no_item(lines, before.origin)


def _new_file(file: Any, before: ModuleSpec | None, after: ModuleSpec) -> Any:
    """The file of a module in the new version; one that says that it is another file of its version is that one there."""
    was, now = before.origin if before is not None else None, after.origin
    if was is None or now is None or type(file) is not str or file == was:
        return now
    homes = [was.split("/"), now.split("/")]  # where the versions are, once what is the same at the end is gone
    while all(homes) and homes[0][-1] == homes[1][-1]:
        homes = [home[:-1] for home in homes]
    home, target = map("/".join, homes)
    return f"{target}{file.removeprefix(home)}" if home != was and file.startswith(f"{home}/") else now


def _move_paths(acts: Acts, names: dict[str, Any], old: str, new: str) -> None:
    for name, value in names.items():
        if name in _HISTORY or name.startswith("__"):
            continue
        if type(value) is list:
            moved = [_moved(path, old, new) for path in value]
            if moved != value:
                acts.add(partial(setitem, value, slice(None), moved), partial(setitem, value, slice(None), value[:]))
        elif type(value) is dict and name == "_CONFIG_VARS":
            _move_paths(acts, value, old, new)
        elif (at := _moved(value, old, new)) is not value:
            acts.item(names, name, at)


def _moved(value: Any, old: str, new: str) -> Any:
    if type(value) is bytes:
        text = os.fsdecode(value)
        return value if (at := _moved(text, old, new)) is text else os.fsencode(at)
    if type(value) is str and (value == old or value.startswith(old + "/")):
        return new + value[len(old) :]
    return value


def environment(old: Version, new: Version) -> Iterator[tuple[str, str]]:
    """The variables of this process that are others for the other version, as they are then."""
    for name, value in os.environ.items():
        at = new.version if name == "RELEASE_VSN" else _moved(value, str(old.path), str(new.path))
        if at is not value:
            yield name, at


def _restore(cache: dict[str, Any], before: dict[str, Any]) -> None:
    for entry in cache.keys() - before.keys():
        cache.pop(entry, None)
    cache.update(before)


def _nothing() -> None:
    pass
