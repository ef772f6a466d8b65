"""Modules of tests that a distribution carries: no process that serves imports them, so what they say is not compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from underway_runtime.release.instructions import Guard, Load
from underway_runtime.release.relup import Row


def is_test(name: str) -> bool:
    """Whether a module is one of tests, by its name: in a package ``tests``, or pytest's own."""
    *above, last = name.split(".")
    return "tests" in above or bool(above and last == "conftest")


def not_loaded(task: Mapping[str, Any]) -> dict[str, Load]:
    """By name, what the process is to make sure of each: that it was not imported."""
    modules: Mapping[str, Any] = task["old"]["modules"]
    return {
        name: Load(module=name, application=modules[name][0], guards=(Guard("not_loaded", ""),))
        for name in task["compared"]
        if is_test(name) and name in modules and name in task["new"]["modules"]
    }


def rows(task: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each that changes, comes or goes."""
    for name in filter(is_test, task["compared"]):
        before, after = (_source(task[side], name) for side in ("old", "new"))
        if before != after:
            change = "added" if before is None else "removed" if after is None else "tests"
            side = task["old"] if after is None else task["new"]
            reason = "a module of tests, by its name: nothing is done, if it was not imported by then"
            yield Row(name, "", change, "HOT", reason, side["modules"][name][1], 1)


def _source(side: Mapping[str, Any], name: str) -> bytes | None:
    if name not in side["modules"]:
        return None
    try:
        return Path(side["root"], side["modules"][name][1]).read_bytes()
    except OSError:
        return b""
