"""The process of a pair: reads a task from standard input, and tells of each step; see pairs.py. Runs in a release."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import VersionDirectory
from underway_runtime.release.instruction_json import from_json
from underway_runtime.upgrade.hot import CannotSwap, MadeMeanwhile
from underway_runtime.upgrade.hot.swap import Prepared, prepare
from underway_runtime.upgrade.hot.versions import read_version

WITHIN = 1.0
"""Seconds to leave what changes."""
LOOK = 0.02
TRIES = 10


def tell(function: Callable[..., object], *arguments: object) -> str:
    """What a call returns, or raises, as text; without addresses."""
    try:
        return re.sub(r"0x[0-9a-f]+", "0x", repr(function(*arguments)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Do a task, in a loop where its probe is asynchronous; what it tells follows the line ``===``."""
    task = json.load(sys.stdin)
    probe: dict[str, Any] = {"tell": tell, "__name__": "probe", "__file__": task["probe"]}
    exec(compile(Path(task["probe"]).read_text(encoding="utf-8"), task["probe"], "exec"), probe)
    if inspect.iscoroutinefunction(probe["setup"]):
        asyncio.run(_run_steps(task, probe))
        return
    with contextlib.suppress(StopIteration):
        _run_steps(task, probe).send(None)


async def _run_steps(task: dict[str, Any], probe: dict[str, Any]) -> None:
    state = await _called(probe["setup"])
    told: list[dict[str, Any]] = []
    for step in task["steps"]:
        try:
            if step:
                await _step(step, probe, state)
        except CannotSwap as error:
            told.append({"refused": error.problems})
            break
        told.append(json.loads(json.dumps({"result": await _result(probe, state)}, default=repr)))  # as it is now
    print("\n=== " + json.dumps(told, default=repr), flush=True)


async def _called(function: Callable[..., Any], *arguments: object) -> Any:
    value = function(*arguments)
    return await value if inspect.iscoroutinefunction(function) else value


async def _result(probe: dict[str, Any], state: object) -> Any:
    try:
        return await _called(probe["result"], state)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def _step(step: dict[str, Any], probe: dict[str, Any], state: object) -> None:
    leave = (lambda: _called(probe["leave"], state)) if "leave" in probe else None
    await become(step["version"], step["instructions"], probe.get("WITHIN", WITHIN), leave)


async def become(
    version: str, instructions: list[Any], within: float = WITHIN, leave: Callable[[], Awaitable[object]] | None = None
) -> float:
    """Become another version, as a node does: how many seconds nothing else could run. Raises CannotSwap.

    `leave` is called once where frames are inside what changes, which have `within` seconds to end.
    """
    here = Path(sys.prefix)
    old, new = (read_version(VersionDirectory(here.parent / number)) for number in (here.name, version))
    end = time.monotonic() + within
    prepared = prepare([from_json(each) for each in instructions], old, new)
    if prepared.inside():
        gc.collect()
    tries, asked = 0, False
    while True:
        while inside := prepared.inside():
            if not asked and leave is not None:
                asked = True
                await leave()
            if time.monotonic() > end:
                raise CannotSwap(map(str, inside))
            await _pause()
        began = time.perf_counter()
        try:
            _swap(prepared)
        except MadeMeanwhile:
            tries += 1
            if tries == TRIES:
                raise
            await _pause()
            continue
        left = [each for each in prepared.survivors() if each.runs]
        if not left:
            break
        prepared.undo()
        if time.monotonic() > end:
            raise CannotSwap(map(str, left))
        await _pause()
    seconds = time.perf_counter() - began
    prepared.forget()
    return seconds


async def _pause() -> None:
    if asyncio._get_running_loop() is None:
        time.sleep(LOOK)
    else:
        await asyncio.sleep(LOOK)


def _swap(prepared: Prepared) -> None:
    prepared.stage_and_migrate()
    prepared.swap()


if __name__ == "__main__":
    main()
