"""What the applications of a node tell those that take over from them, and that their configuration has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..configuration.resolution import same
from ..frozen import Frozen
from ..release.errors import StateError
from .service import Log, Service, describe

WITHIN = 10.0
"""Seconds that an application gets to export or to import its state."""
LIMIT = 16_000_000
"""Bytes that its state may be, as JSON."""


class State(Frozen):
    """What an application of a version hands over."""

    version: str
    text: str
    """As JSON."""


def pack(states: Mapping[str, State]) -> bytes:
    """Return states as they travel."""
    return json.dumps({name: [state.version, state.text] for name, state in states.items()}).encode()


def unpack(data: bytes) -> dict[str, State]:
    """Return what `pack` made; nothing of nothing."""
    return {name: State(version, text) for name, (version, text) in json.loads(data or b"{}").items()}


async def export_states(
    running: Mapping[str, tuple[str, Service]], log: Log, *, timeout: float = WITHIN, limit: int = LIMIT
) -> dict[str, State]:
    """Ask each for its state; what fails is told, and left out.

    `running`: by name, version and service. After `drain`, so that the state is the last.
    """
    states = {}
    for name, (version, service) in running.items():
        try:
            async with asyncio.timeout(timeout):
                value = await service.call("export_state")
            if value is None:
                continue
            if strange := _not_plain(value, "it"):
                raise StateError(f"export_state returns plain data, and {strange}")
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            if (size := len(text.encode())) > limit:
                raise StateError(f"its state has {size} bytes, and at most {limit} are handed over")
        except (Exception, SystemExit) as error:
            log(f"{name} {version} hands nothing over: {_reason(error, timeout)}", error)
        else:
            states[name] = State(version, text)
    return states


async def import_states(
    states: Mapping[str, State], running: Mapping[str, Service], log: Log, *, timeout: float = WITHIN
) -> list[str]:
    """Give each its state; returns those that could not take it, which is told. Nothing is given to what does not run."""
    failed = []
    for name, state in states.items():
        if name not in running:
            continue
        try:
            async with asyncio.timeout(timeout):
                await running[name].call("import_state", json.loads(state.text), state.version)
        except (Exception, SystemExit) as error:
            log(f"{name} could not take over the state of {state.version}: {_reason(error, timeout)}", error)
            failed.append(name)
    return failed


async def config_change(
    service: Service,
    changed: Mapping[str, Any],
    new: Mapping[str, Any],
    removed: Sequence[str],
    *,
    timeout: float = WITHIN,
) -> None:
    """Tell an application that its configuration has changed. Raises StateError when it does not take that."""
    try:
        async with asyncio.timeout(timeout):
            await service.call("config_change", changed, new, removed)
    except (Exception, SystemExit) as error:
        raise StateError(_reason(error, timeout)) from error


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Keys with other values, new keys with theirs, and keys that are gone.

    >>> difference({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4})
    ({'b': 5}, {'d': 4}, ['c'])
    """
    changed = {key: value for key, value in after.items() if key in before and not same(before[key], value)}
    new = {key: value for key, value in after.items() if key not in before}
    return changed, new, [key for key in before if key not in after]


def _not_plain(value: Any, where: str) -> str:
    """What JSON could not say, or would say differently; empty when there is no such thing."""
    match value:
        case None | bool() | int() | str():
            exact = type(value) in (type(None), bool, int, str)
        case float():
            exact = type(value) is float and value - value == 0  # neither infinite nor not a number
        case list():
            if strange := next(
                filter(None, (_not_plain(element, f"{where}[{i}]") for i, element in enumerate(value))), ""
            ):
                return strange
            exact = type(value) is list
        case dict():
            if wrong := [key for key in value if type(key) is not str]:
                return f"a key of {where} is {wrong[0]!r:.80}"
            inner = (_not_plain(item, f"{where}[{key!r}]") for key, item in value.items())
            if strange := next(filter(None, inner), ""):
                return strange
            exact = type(value) is dict
        case _:
            exact = False
    return "" if exact else f"{where} is {value!r:.80}"


def _reason(error: BaseException, timeout: float) -> str:
    return f"it took more than {timeout:g} s" if isinstance(error, TimeoutError) else describe(error)
