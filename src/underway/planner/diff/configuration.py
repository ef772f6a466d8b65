"""What two releases are configured with: which keys differ, and whether a process that runs could be told.

=========================================  ============================================================================
a key that differs                         then
=========================================  ============================================================================
of an application whose class, as it       HOT: the configuration is resolved again, and that is called
runs, has a ``config_change``
that the node reads at the start           RESTART: ``listen``, ``drain_timeout``, ``server`` ...
of underway itself, of a ``main``, of a    RESTART: nobody there could be told
web application, of a library
=========================================  ============================================================================

It is what `untold` says in the node. What ``config/runtime.py`` states is told by its text: a key whose value reads otherwise, and
every key that it states where anything else in it does. What other providers state is known where it runs only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from underway_runtime.apps.state import difference
from underway_runtime.configuration import resolution
from underway_runtime.configuration.schema import READ_BY_THE_NODE, RUNTIME
from underway_runtime.release import gates
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.references import module_of
from underway_runtime.release.relup import Row

from ..releases import Opened

_HOOK = "config_change"
_AGAIN = "configuration is resolved again; config_change tells who asked"
_OWN = "underway_runtime:PythonFile", "underway_runtime.providers:PythonFile"


def rows(old: Opened, new: Opened) -> Iterator[Row]:
    """What differs in the configuration as built, in that of the boot and in gates, each with its verdict."""
    for name, keys in (
        (new.place.sys_config.name, _built(old, new)),
        (new.place.runtime_config.name, _at_boot(old, new)),
    ):
        if _digest(old, name) == _digest(new, name):
            continue
        reasons = [reason for application, changed in keys.items() for reason in _reasons(old, application, changed)]
        if name == new.place.sys_config.name and _providers(old) != _providers(new):
            reasons.append("its providers differ, and what they state is known where it runs only")
        yield from (Row("", name, "configuration", "RESTART", reason) for reason in reasons)
        if not reasons:
            yield Row("", name, "configuration", "HOT", _AGAIN)
    for application in old.schemas.keys() & new.schemas.keys():
        if _defaults(old, application) != _defaults(new, application) and not _has_hook(old, application):
            reason = f"{application} has no config_change, and defaults of its schema differ"
            yield Row("", new.schemas[application], "configuration", "RESTART", reason)
    yield from _gates(old, new)
    yield from _processes(old)


def _processes(running: Opened) -> Iterator[Row]:
    """What runs in several processes is handed over: all of them together."""
    for application, start in running.starts.items():
        built = start.get("processes", 1) if isinstance(start, Mapping) else 1
        wanted = _values(running).get(application, {}).get("processes", built)
        if wanted != 1:
            reason = f"{application} runs in several processes ({wanted}), which are handed over together"
            yield Row("", "processes", "configuration", "RESTART", reason)


def _reasons(running: Opened, application: str, keys: set[str]) -> Iterator[str]:
    """Why a node that runs can't be told of these keys; none where it can."""
    if application == RUNTIME:
        yield f"{_listed(keys)} of {RUNTIME}: underway reads its own when it starts"
        return
    if read := keys & READ_BY_THE_NODE:
        yield f"{_listed(read)} of {application} is read when it starts"
    elif not _has_hook(running, application):
        yield f"{application} has no config_change, and {_listed(keys)} is changed"


def _listed(keys: set[str]) -> str:
    return ", ".join(sorted(keys))


# ---------------------------------------------------------------------------------------------------------------- values


def _built(old: Opened, new: Opened) -> dict[str, set[str]]:
    """By application, the keys whose values differ in ``sys.config``."""
    before, after = _values(old), _values(new)
    changes = {name: difference(before.get(name, {}), after.get(name, {})) for name in sorted({*before, *after})}
    keys = {name: {*changed, *added, *gone} for name, (changed, added, gone) in changes.items()}
    return {name: names for name, names in keys.items() if names}


def _values(side: Opened) -> Mapping[str, Any]:
    try:
        return resolution.read(side.place.sys_config).values
    except DamagedRelease:
        return {}


def _providers(side: Opened) -> list[Any]:
    """The providers but for that of ``runtime.py``."""
    try:
        providers = resolution.read(side.place.sys_config).providers
    except DamagedRelease:
        return []
    name = side.place.runtime_config.name
    return [provider for provider in providers if not (provider[0] in _OWN and provider[1] == name)]


def _at_boot(old: Opened, new: Opened) -> dict[str, set[str]]:
    """By application, the keys of which ``runtime.py`` may state something else."""
    before, after = _Stated(old), _Stated(new)
    whole = before.rest != after.rest
    changed: dict[str, set[str]] = {}
    for application, key in sorted({*before.values, *after.values}):
        of_one, of_other = (stated.values.get((application, key)) for stated in (before, after))
        if whole or of_one != of_other:
            changed.setdefault(application, set()).add(key)
    return changed


class _Stated(ast.NodeTransformer):
    """What a ``runtime.py`` states, by application and key, and all else in it."""

    def __init__(self, side: Opened) -> None:
        self.values: dict[tuple[str, str], list[str]] = {}
        try:
            tree = ast.parse(side.place.runtime_config.read_bytes())
        except (OSError, SyntaxError, ValueError):
            tree = ast.Module([], [])
        self.rest = ast.dump(self.visit(tree))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Take what is stated out of ``config("web", key=value)``; a name or keys that are computed may be any."""
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Name) and node.func.id == "config"):
            return node
        match node.args:
            case [ast.Constant(value=str(application))]:
                pass
            case _:
                application = "*"
        for keyword in node.keywords:
            self.values.setdefault((application, keyword.arg or "*"), []).append(ast.dump(keyword.value))
        return ast.Call(node.func, node.args, [keyword for keyword in node.keywords if keyword.arg is None])


# --------------------------------------------------------------------------------------------------------------- schemas


def _defaults(side: Opened, application: str) -> dict[str, str]:
    """The fields of an application's schema, of what it inherits from and of what it names in its module, as they are written."""
    module, _, name = side.schemas[application].partition(":")
    tree = _parsed(side, module)
    bound = {name: node for node in ([] if tree is None else tree.body) for name in _bound(node)}
    fields: dict[str, str] = {}
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in fields or name not in bound:
            continue
        node = bound[name]
        parts: list[ast.AST] = [node]
        if isinstance(node, ast.ClassDef):
            parts = [*node.bases, *(part for part in node.body if isinstance(part, ast.AnnAssign | ast.Assign))]
        fields[name] = " ".join(map(ast.dump, parts))
        waiting += [inner.id for part in parts for inner in ast.walk(part) if isinstance(inner, ast.Name)]
    return fields


def _bound(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _parsed(side: Opened, module: str) -> ast.Module | None:
    try:
        return ast.parse((side.root / side.modules[module][1]).read_bytes())
    except (KeyError, OSError, SyntaxError, ValueError):
        return None


# ----------------------------------------------------------------------------------------------------------------- hooks


def _has_hook(side: Opened, application: str) -> bool:
    """Whether the class that runs an application is known to define ``config_change``."""
    start = side.starts.get(application)
    reference = start.get("class") if isinstance(start, dict) else None
    return isinstance(reference, str) and _defines(side, module_of(reference), reference.partition(":")[2], set())


def _defines(side: Opened, module: str, name: str, seen: set[tuple[str, str]]) -> bool:
    """Whether a class has it, itself or from a class that it is known to inherit from."""
    if (module, name) in seen or module not in side.modules:
        return False
    seen.add((module, name))
    if (tree := _parsed(side, module)) is None:
        return False
    definition = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if definition is not None:
        bases = [base.id for base in definition.bases if isinstance(base, ast.Name)]
        return any(_names(node) for node in definition.body) or any(
            _defines(side, module, base, seen) for base in bases
        )
    package = module if side.modules[module][1].endswith("/__init__.py") else module.rpartition(".")[0]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            if original is not None:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                return _defines(side, ".".join(filter(None, (*parts, node.module))), original, seen)
    return False


def _names(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == _HOOK


# ----------------------------------------------------------------------------------------------------------------- gates


def _gates(old: Opened, new: Opened) -> Iterator[Row]:
    """Gates that a node which was started without any can't try."""
    if _digest(old, old.place.gates.name) is not None:
        return
    try:
        wanted = [gate for gate in gates.read(new.place.gates) if gate.needs_socket]
    except DamagedRelease:
        return
    for gate in wanted:
        reason = f"{gate} asks for a path, for which a node that was started without gates has no socket"
        yield Row("", new.place.gates.name, "value", "RESTART", reason)


def _digest(side: Opened, name: str) -> str | None:
    entry = side.manifest.files.get(f"{side.place.path.relative_to(side.root).as_posix()}/{name}")
    return None if entry is None else entry.sha256 or f"-> {entry.link}"
