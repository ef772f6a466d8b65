"""Plans between two versions of modules that are given as text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underway.planner import worker
from underway_runtime.release.instruction_json import from_json
from underway_runtime.release.instructions import Load
from underway_runtime.upgrade.hot import statements


def compare(
    root: Path, old: Mapping[str, str], new: Mapping[str, str], *, up: bool = True, **said: Any
) -> dict[str, Any]:
    """What the planner says of these modules, as an application of version 1 and of version 2; `said` as in `worker.compare`."""
    task: dict[str, Any] = {"kept": [], "reset": [], "pinned": [], "up": up, "compared": sorted({*old, *new}), **said}
    for key, version, modules in (("old", "1", old), ("new", "2", new)):
        places = {}
        for name, source in modules.items():
            file = f"lib/app-{version}/{name.replace('.', '/')}.py"
            if any(each.startswith(f"{name}.") for each in modules):
                file = f"lib/app-{version}/{name.replace('.', '/')}/__init__.py"
            (root / key / file).parent.mkdir(parents=True, exist_ok=True)
            (root / key / file).write_text(textwrap.dedent(source), encoding="utf-8")
            places[name] = ["app", file]
        task[key] = {"root": str(root / key), "modules": places, "versions": {"app": version}}
    answer: dict[str, Any] = json.loads(json.dumps(worker.compare(task)))
    return answer


def verdicts(answer: Mapping[str, Any]) -> dict[str, str]:
    """Each changed definition, with the verdict and kind of each of its changes."""
    found: dict[str, list[str]] = {}
    for row in answer["changes"]:
        name = ":".join(filter(None, (row["module"], row["definition"])))
        found.setdefault(name, []).append(f"{row['verdict']} {row['change']}")
    return {name: ", ".join(changes) for name, changes in found.items()}


def load_of(answer: Mapping[str, Any], module: str = "m") -> Load:
    """The instruction for one module."""
    load = from_json(answer["loads"][module])
    assert isinstance(load, Load)
    return load


def run_fragment(load: Load, names: dict[str, Any]) -> dict[str, Any]:
    """Run the statements of a fragment in a module of these names, which is returned, and has what they bind."""
    names |= {statements.LIVE: lambda function: function, statements.BECOMES: lambda _, name: names[name]}
    for code in statements.load(load.fragment or b""):
        exec(code, names)
    return names
