"""What applications are told while they run: each is a method of the application's class, which may do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..process import deadlines
from ..release.boot_script import Mode
from ..release.errors import BootError, UnderwayError
from .service import Log, Service, describe

_TO_TELL = 10.0
"""Seconds that an application gets when it is told of a handover."""


class Hooks:
    """Those of the applications of one node; on its loop."""

    def __init__(self, running: dict[str, tuple[Mode, Service]], log: Log, to_start: deadlines.Limit) -> None:
        """`running` are those that run at each time, in start order."""
        self._running = running
        self._log = log
        self._to_start = to_start

    async def booted(self, names: Iterable[str]) -> None:
        """Tell these, in this order, that all have started. Raises BootError with what the first of them raises."""
        for name, (_, service) in [(name, self._running[name]) for name in names if name in self._running]:
            try:
                async with self._to_start(name):
                    await service.call("booted")
            except Exception as error:
                self._log(f"{name} failed when all had started: {describe(error)}", error)
                raise BootError(f"{name} failed when all had started: {describe(error)}") from error

    async def before_handover(self, version: str) -> None:
        """Tell all that run that a node of a version is to take over. Raises UnderwayError with who refuses that, and why."""
        for name, (_, service) in list(self._running.items()):
            try:
                async with asyncio.timeout(_TO_TELL):
                    await service.call("before_handover", version)
            except Exception as error:
                raise UnderwayError(f"{name} refuses it: {describe(error)}") from error

    async def handover_failed(self) -> None:
        """Tell all that run that this node goes on. What fails then is logged."""
        for name, (_, service) in list(self._running.items()):
            try:
                async with asyncio.timeout(_TO_TELL):
                    await service.call("handover_failed")
            except Exception as error:
                self._log(f"{name} failed after a handover that came to nothing: {describe(error)}", error)

    async def suspend(self, timeout: float) -> None:
        """Have all that runs take up no new work, in the reverse of the start order, within so many seconds in all.

        Raises BootError naming the application that can't; `resume` is called after it too.
        """
        end = asyncio.get_running_loop().time() + timeout
        for name, (_, service) in reversed(self._running.items()):
            left = max(0.0, end - asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout(left):
                    await service.call("suspend", left)
            except TimeoutError:
                raise BootError(f"{name} has not suspended within {timeout:g} s") from None
            except Exception as error:
                raise BootError(f"{name} could not suspend: {describe(error)}") from error

    async def resume(self) -> None:
        """Have all that runs take up work again, in start order. What fails to is told."""
        for name, (_, service) in list(self._running.items()):
            try:
                await service.call("resume")
            except Exception as error:
                self._log(f"{name} failed to resume: {describe(error)}", error)
