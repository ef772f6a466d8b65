"""Applications that run in several processes: which, in how many, and how the first process has the others started.

====================================  ==================================================================================
an application                        runs
====================================  ==================================================================================
with ``processes = N``, or "auto"     in the first N processes
without                               in the first only
====================================  ==================================================================================

This is imported where an application says so.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..application import Application
from ..apps.controller import Applications
from ..apps.service import requirements_of
from ..control.node_status import Report
from ..process.cores import usable
from ..release.boot_script import Instruction, Load, Start
from ..release.channel import PROCESSES
from ..release.errors import BootError, ConfigError, listing
from ..release.references import find
from .handover import Handover
from .in_place_install import InPlace
from .keeper_client import KeeperClient

MOST = 512
"""More are taken for a mistake."""


class Several:
    """The processes of one version of a release, as one of them sees them."""

    def __init__(self, keeper: KeeperClient, counts: Mapping[str, int], version: str) -> None:
        """`counts` says of each application that starts in how many processes it runs. Raises BootError."""
        self._keeper = keeper
        self._counts = counts
        self._version = version
        self._configured = max(counts.values(), default=1)
        self.wanted = scaled(os.environ) or self._configured
        if keeper.process > 1 and self._configured == 1:
            raise BootError("its configuration says now that all runs in one process: `restart` the release")
        if keeper.process == 0 and self.wanted > 1:
            raise BootError(
                f"{self.wanted} processes are wanted, and the keeper of this release was started by an older version, which knows"
                " of one: `stop` and `start` the release"
            )

    @property
    def number(self) -> int:
        """Which of them this is, from 1."""
        return max(1, self._keeper.process)

    @property
    def reason(self) -> str:
        """Why this one can't become another version by itself; empty where it can."""
        return "" if self.wanted == 1 else f"it runs in {self.wanted} processes, which are handed over together"

    @property
    def is_first(self) -> bool:
        return self._keeper.process <= 1

    def join(self, in_place: InPlace, report: Report, instructions: Iterable[Instruction]) -> list[Instruction]:
        """Make this process one of them; returns those instructions of its boot script that are for it."""
        in_place.several = report.several = self
        return [
            instruction
            for instruction in instructions
            if not isinstance(instruction, Start)
            or self._counts.get(instruction.application, 1) >= min(self._keeper.process, self._configured)
        ]

    async def boot(self, boot: Awaitable[None], applications: Applications, handover: Handover) -> None:
        """Boot the first process, and then the others. Raises what is the matter; all is stopped then."""
        await boot
        try:
            await self.start(handover)
        except BaseException:
            await applications.stop()
            raise

    async def start(self, handover: Handover) -> None:
        """Have the others started, where this is the first; returns when they are there. Raises BootError where one is not."""
        if self.is_first and self.wanted > 1:
            self._keeper.processes(self.wanted, self._version)
            if reason := await handover.processes.get():
                raise BootError(reason)

    async def scale(self, wanted: int, version: str, handover: Handover) -> dict[str, Any]:
        """Have so many processes from now on, of the version that runs; ``{"scaled": number}``, or ``{"failed": reason}`` where one
        could not start, and there are as many as before."""
        before, self.wanted, self._version = self.wanted, wanted, version
        self._keeper.processes(wanted, version)
        if not (reason := await handover.processes.get()):
            return {"scaled": wanted}
        self.wanted = before
        self._keeper.processes(before, version)
        again = await handover.processes.get()
        return {"failed": f"{reason}; {again}" if again else reason}

    def after(self, first: Callable[[], Awaitable[None]], handover: Handover) -> Callable[[], Awaitable[None]]:
        """Do something, and then `start`."""

        async def both() -> None:
            await first()
            await self.start(handover)

        return both


def scaled(environ: Mapping[str, str]) -> int:
    """How many processes there are to be, where the environment says so, or the release was scaled; else 0. Raises ConfigError."""
    if not (text := environ.get(PROCESSES)):
        return 0
    if text.isdecimal() and 1 <= int(text) <= MOST:
        return int(text)
    raise ConfigError(f"{PROCESSES} is a number from 1 to {MOST}, not {text!r}")


def counts(instructions: Iterable[Instruction], configured: Callable[[str, str, Any], Any]) -> dict[str, int]:
    """In how many processes each application runs that the instructions start. Raises ConfigError with all that is wrong."""
    instructions = list(instructions)
    loads = {load.application: load for load in instructions if isinstance(load, Load)}
    starting = {instruction.application for instruction in instructions if isinstance(instruction, Start)}
    wanted: dict[str, int] = {}
    problems: list[str] = []
    for name, load in loads.items():
        if name not in starting or load.start is None:
            continue
        value = configured(name, "processes", load.start.get("processes", 1))
        if value == "auto":
            wanted[name] = usable()
        elif isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST:
            wanted[name] = value
        else:
            problems.append(f'`processes` of {name} is a number from 1 to {MOST} or "auto", not {value!r}')
    for name, number in wanted.items():
        if number > 1 and not problems:
            problems += _problems(name, loads, wanted, configured)
    if problems:
        raise ConfigError(listing("it can't run in several processes:", problems))
    return wanted


def _problems(
    name: str, loads: Mapping[str, Load], wanted: Mapping[str, int], configured: Callable[[str, str, Any], Any]
) -> list[str]:
    """Why an application can't run in as many processes as it says."""
    start, number, problems = loads[name].start or {}, wanted[name], []
    by_itself = True
    if reference := start.get("class"):
        kind = find(reference)
        by_itself = getattr(kind, "overlap", True)
        if getattr(kind, "export_state", None) is not Application.export_state:
            problems.append(f"{name} keeps state (it has `export_state`), which {number} processes can't have together")
    if not configured(name, "overlap", start.get("overlap", by_itself)):
        problems.append(f"{name} must not run twice (`overlap` is false), and `processes` of it is {number}")
    fewer = [other for other in requirements_of(loads, name) if wanted.get(other, number) < number]
    problems += [
        f"{name} runs in {number} processes and requires {other}, which runs in {wanted[other]}; say `processes` in the"
        f" configuration of {other} too, where each may have its own"
        for other in sorted(fewer)
    ]
    return problems
