"""Gates, tried: see `underway_runtime.release.gates` for what they are, and what each kind does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..apps.service import describe
from ..frozen import Frozen
from ..release.directory import VarDirectory
from ..release.errors import BootError, listing
from ..release.gates import Gate, GateContext


class Result(Frozen):
    """What came of a gate."""

    gate: str
    passed: bool
    attempts: tuple[str, ...]
    """Each in order: "ok", or the reason."""


class Gates:
    """The gates of the version that a node runs, and the sockets over which they ask it."""

    def __init__(self, directory: VarDirectory, root: Path) -> None:
        """`directory` is where the sockets are, `root` where commands run."""
        self._directory = directory
        self._root = root
        self.wanted: tuple[Gate, ...] = ()
        self.private: Path | None = None
        """The directory of the sockets; None while nothing is to be asked there."""

    def open(self, wanted: tuple[Gate, ...]) -> None:
        """Take these gates. Makes the directory where there are any."""
        self.wanted = wanted
        if wanted:
            self.private = self._directory.private(os.urandom(4).hex())
            self.private.mkdir(0o700)

    async def hold(self, wanted: Sequence[Gate]) -> None:
        """Try gates. Raises BootError listing those that fail, each with its attempts."""
        results = await run(wanted, self._context())
        if failed := [f"{result.gate}: {'; '.join(result.attempts)}" for result in results if not result.passed]:
            raise BootError(listing("gates failed:", failed))

    async def tried(self) -> list[dict[str, Any]]:
        """What comes of those of the version now, as plain data."""
        return [asdict(result) for result in await run(self.wanted, self._context())]

    def close_others(self) -> None:
        """Remove the sockets of nodes that are dead, or leave."""
        for other in self._directory.privates():
            if other != self.private:
                _remove(other)

    def close(self) -> None:
        """Remove the sockets of this one."""
        if self.private is not None:
            _remove(self.private)

    def _context(self) -> GateContext:
        return GateContext(self.private, self._root)


def _remove(sockets: Path) -> None:
    import shutil  # few releases have gates

    shutil.rmtree(sockets, ignore_errors=True)


async def run(gates: Sequence[Gate], context: GateContext) -> list[Result]:
    """Try all gates at once, and return what came of each."""
    return list(await asyncio.gather(*(_pass(gate, context) for gate in gates)))


async def _pass(gate: Gate, context: GateContext) -> Result:
    loop = asyncio.get_running_loop()
    pause = gate.soak / (gate.attempts - 1) if gate.soak and gate.attempts > 1 else gate.interval
    outcomes: list[str] = []
    for _ in range(gate.attempts):
        next_turn = loop.time() + pause
        outcomes.append(await _attempt(gate, context))
        passed = outcomes.count("ok")
        is_certain = passed >= gate.successes or len(outcomes) - passed > gate.attempts - gate.successes
        if len(outcomes) == gate.attempts or (is_certain and not gate.soak):
            break
        await asyncio.sleep(max(0.0, next_turn - loop.time()))
    return Result(str(gate), outcomes.count("ok") >= gate.successes, tuple(outcomes))


async def _attempt(gate: Gate, context: GateContext) -> str:
    try:
        async with asyncio.timeout(gate.timeout):
            await gate.attempt(context)
    except TimeoutError:
        return f"nothing within {gate.timeout:g} s"
    except (Exception, SystemExit) as error:  # whatever a gate raises is its reason
        return describe(error)
    return "ok"
