"""Swaps many small programs in one process: reads a task a line from standard input, and answers so. See `main`."""

from __future__ import annotations

import gc
import importlib
import json
import py_compile
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fresh
from relups import functions_of, version
from underway.planner.worker import compare
from underway_runtime.code_server.finder import Index, running
from underway_runtime.release.instruction_json import from_json
from underway_runtime.release.instructions import Load
from underway_runtime.upgrade.hot import CannotSwap
from underway_runtime.upgrade.hot.swap import prepare
from underway_runtime.upgrade.hot.versions import Version

LIB = Path(sys.prefix).parents[1] / "lib"


def main() -> None:
    """Of each task, ``{"name": …, "sources": [old, new]}``: what a process that has imported the new one has; or, in a process
    of version 1, what one has that came to it from the old one, and whether all was as before when that was undone."""
    for line in sys.stdin:
        task = json.loads(line)
        name = task["name"]
        there = [_written(name, number, source) for number, source in enumerate(task["sources"], 1)]
        answer = _fresh(name) if Path(sys.prefix).name == "2" else _swapped(name, there)
        print(json.dumps(answer), flush=True)
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]


def _written(name: str, number: int, source: str) -> Path:
    place = LIB / f"{name}-{number}.0"
    if not place.exists():
        place.mkdir()
        (place / f"{name}.py").write_text(source)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(place / f"{name}.py"), doraise=True, invalidation_mode=mode)
    return place


def _index(name: str, number: int) -> Index:
    server = running()
    assert server is not None
    top = {**server.index.top, name: [f"{name}-{number}.0"]}
    return Index({"format": 1, "top": top, "shared": {}, "distributions": server.index.distributions, "pth": []})


def _seen(name: str) -> dict[str, Any]:
    described = fresh.describe(name, below=f"{LIB}/")
    calls = {}
    for key, value in list(vars(sys.modules[name]).items()):
        if getattr(value, "__module__", None) == name and key != "__annotate__":
            try:
                instance = value() if isinstance(value, type) else None
            except (TypeError, ValueError) as error:  # it is abstract, or is not made so
                calls[key] = type(error).__name__
                continue
            members = sorted(each for each in vars(value) if each.startswith("m")) if isinstance(value, type) else []
            results = [getattr(instance, each) for each in members] if instance else [value]
            calls[key] = repr([result() if callable(result) else result for result in results])
    return {"described": described, "calls": calls}


def _fresh(name: str) -> Any:
    server = running()
    assert server is not None
    server.index = _index(name, 2)
    importlib.import_module(name)
    return _seen(name)


def _swapped(name: str, places: list[Path]) -> Any:
    server = running()
    assert server is not None
    server.index = _index(name, 1)
    module = importlib.import_module(name)
    _seen(name)
    sides = [
        {"root": str(LIB.parent), "modules": {name: (name, f"lib/{place.name}/{name}.py")}, "versions": {}}
        for place in places
    ]
    plan = compare(
        {"old": sides[0], "new": sides[1], "compared": [name], "up": True, "kept": [], "reset": [], "pinned": []}
    )
    verdicts = sorted({row["verdict"] for row in plan["changes"]})
    if not {*verdicts} <= {"HOT"}:
        return {"verdicts": verdicts}
    loads = [from_json(each) for each in plan["loads"].values()] or [Load(name, name)]
    old, new = replace(version("1"), index=server.index), replace(version("2"), index=_index(name, 2))
    before = _identities(name)
    try:
        prepared = prepare(loads, *(_with(each, name) for each in (old, new)))
        prepared.stage_and_migrate()
        prepared.swap()
    except CannotSwap as error:
        return {"verdicts": verdicts, "refused": error.problems, "undone": fresh.differences(before, _identities(name))}
    assert not prepared.survivors()
    seen = _seen(name)
    prepared.undo()
    assert sys.modules[name] is module
    return {"verdicts": verdicts, **seen, "undone": fresh.differences(before, _identities(name))}


def _with(version: Version, name: str) -> Version:
    return replace(version, applications={**version.applications, name: f"{version.version}.0"})


def _identities(name: str) -> dict[str, Any]:
    """Everything that a swap may change, by identity."""
    gc.collect()
    module = sys.modules[name]
    functions = {
        str(id(each)): [
            id(each.__code__),
            id(each.__defaults__),
            id(each.__kwdefaults__),
            each.__doc__,
            repr(each.__annotations__),
        ]
        for each in functions_of(name)
    }
    classes = {
        key: {member: id(each) for member, each in vars(value).items()}
        for key, value in vars(module).items()
        if isinstance(value, type)
    }
    names = {key: id(value) for key, value in vars(module).items()}
    return {"functions": functions, "classes": classes, "names": names, "path": sys.path[:], "prefix": sys.prefix}


if __name__ == "__main__":
    main()
