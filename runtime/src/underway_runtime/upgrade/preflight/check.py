"""check: all that can be found out about a version before it is installed, and what installing it would do.

What is on disk is compared first. What is damaged or does not fit this host is not executed; all else is tried in an
interpreter of that version (`scratch`), as the user who runs the node (`trial`).
Nothing is asked of the node but its status, and where a relup leads there, whether it could become the version as it is.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...configuration import boot_config
from ...configuration.provenance import printable
from ...control.client.client import Place, connect
from ...process.settings import DRAIN_TIMEOUT, Settings
from ...release import boot_script, verify
from ...release import ledger as ledgers
from ...release.directory import VersionDirectory
from ...release.display import one_line
from ...release.errors import UnderwayError, listing
from ..change import AS_ASKED, NO_RELUP, How, differences, may_stay
from ..handler import Handler
from .memory import look
from .trial import of_node, trial
from .trial_boot import nothing, started

_WIDEST = 300
"""Characters of a value of configuration that are shown."""


def check(
    settings: Settings,
    handler: Handler,
    version: str,
    *,
    again: bool = False,
    within: float = 60.0,
    at_least: How = "handover",
    fresh: bool = False,
) -> dict[str, Any]:
    """What installing a version would do: ``outcome`` is nothing (it runs), configuration or hot (in the process that runs), handover,
    start (no node runs) or refused, with all ``reasons``. `at_least` and `fresh` are as for `install`, and ``status`` is the exit
    status that it would have: 0, 1 where it does not begin, 3, 4; None where only `upgrade` refuses it.

    Takes `within` seconds and those of reading the version's files. Raises StateRefused for a version that is not here.
    """
    running = handler.running_version()
    ledger = ledgers.with_running(ledgers.read(handler.directory, handler.var), running)
    ledgers.transition({name: record.state for name, record in ledger.items()}, "install", version)
    status = _status(settings) if running is not None else {}
    reasons, notes = [], []
    begins = running is not None
    if (failed := ledger[version].failed) is not None and not again:
        reasons.append(f"it has failed before: {failed}; --again checks it all the same")
        begins = False
    disk = verify.look(handler.directory.root, version)
    unfit = [*disk.damage, *host_problems(handler.directory.version(version))]
    notes += disk.notes
    found: dict[str, Any] = {**nothing(), "problems": unfit}
    if unfit:
        notes.append("it was not tried, because it is damaged or does not fit this host")
    else:
        with trial(settings, version, running, within) as tried:
            found = tried
    reasons += found["problems"]
    way = _way(handler, running, version, found, fresh=fresh)
    how = way.how
    is_bad, is_allowed = bool(reasons or way.failure) and begins, how != "handover" or at_least == "handover"
    reasons += [
        *way.failure,
        *([] if is_allowed else [f"it takes a new interpreter: {'; '.join(way.why) or NO_RELUP}"]),
    ]
    memory = look(status, 0 if unfit else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    if how == "handover":
        reasons += memory.reasons
        notes += memory.notes
    return {
        "version": version,
        "running": running,
        "outcome": "refused" if reasons else how,
        "reasons": reasons,
        "status": 1 if not begins else 4 if is_bad else 3 if not is_allowed else None if reasons else 0,
        "notes": [*notes, *(f"a new interpreter is needed: {each}" for each in way.why if is_allowed), *found["notes"]],
        "configuration": found["configuration"],
        "providers": found["providers"],
        "schemas": found["schemas"],
        "addresses": found["addresses"],
        "not_handed_over": status.get("not_handed_over", []) if how == "handover" else [],
        "clients": status.get("clients", {}) if how == "handover" else {},
        "alone": found["alone"] if how == "handover" else [],
        "drains": _drains(settings, running) if running is not None and how == "handover" and not reasons else {},
        "memory": {"needs": memory.needs, "available": memory.available},
    }


@dataclass(frozen=True)
class _Way:
    """How a version would be installed, and why not in less."""

    how: str
    why: tuple[str, ...] = ()
    failure: tuple[str, ...] = ()
    """What the node says would fail."""


def _way(handler: Handler, running: str | None, version: str, found: Mapping[str, Any], *, fresh: bool) -> _Way:
    """What would be done where nothing speaks against it."""
    if running is None or running == version:
        return _Way("start" if running is None else "nothing")
    if fresh:
        return _Way("handover", (AS_ASKED,))
    is_configuration = not differences(handler.directory, running, version)
    if not may_stay(handler.directory, running, version) or (is_configuration and found["untold"] is None):
        return _Way("handover")
    if is_configuration and found["untold"]:
        return _Way("handover", tuple(found["untold"]))
    match _considered(version):
        case {"how": ("configuration" | "hot") as how}:
            return _Way(how)
        case {"unfit": str(reason)}:
            return _Way("handover", (reason,))
        case {"failed": str(reason)}:
            return _Way("hot", failure=(reason,))
    return _Way("configuration" if is_configuration else "handover")


def _considered(version: str) -> dict[str, Any]:
    """What the node says, having looked at itself; nothing where it can't be asked."""
    with contextlib.suppress(UnderwayError):
        connection = connect(Place(os.environ))
        try:
            answer: dict[str, Any] = connection.ask({"do": "consider", "version": version})
        finally:
            connection.close()
        return answer
    return {}


def _drains(settings: Settings, running: str) -> dict[str, float]:
    """By application that runs, how many seconds it gets to finish what is under way."""
    with contextlib.suppress(UnderwayError):
        place = settings.directory.version(running).boot_script(settings.boot_script.stem)
        serving = [each.application for each in started(boot_script.read(place)) if each.start is not None]
        configured = boot_config.of_running_node(settings)
        values = {} if configured is None else configured.values
        default = _seconds(values.get("underway_runtime", {}).get("drain_timeout")) or DRAIN_TIMEOUT
        return {name: _seconds(values.get(name, {}).get("drain_timeout")) or default for name in serving}
    return {}


def _seconds(value: object) -> float | None:
    """As the node has written it down, where it is a number."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def lines(outcome: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    version, running = outcome["version"], outcome["running"]
    stays = f"{running} goes on" if running else "nothing changes"
    said = {
        "handover": f"{version} would take over from {running} by handover",
        "hot": f"{version} would become the code of the process that runs {running}",
        "configuration": f"{version} would be configured in the process that runs {running}",
        "nothing": f"{version} runs already",
        "start": f"{version} would boot; no node runs now",
        "refused": listing(f"{version} would be refused, and {stays}:", outcome["reasons"]),
    }
    found = [said[outcome["outcome"]]]
    for row in outcome["configuration"] or ():
        match row:
            case {"before": before, "after": after}:
                what = f"{_short(before)} becomes {_short(after)}"
            case {"after": value} | {"before": value}:
                what = _short(value)
        found.append(f"  {row['change']:<8} {row['key']}: {what}")
    closed = {"new": "would be bound for {}", "gone": "would be closed, of {}"}
    found += [
        f"  {row['change']:<8} {row['address']} {closed[row['change']].format(row['application'])}"
        for row in outcome["addresses"]
        if row["change"] != "same"
    ]
    found += [f"  provider {each}" for each in outcome["providers"]]
    found += [f"  schema   {name}: {schema}" for name, schema in outcome["schemas"].items()]
    if drains := [f"{name} within {seconds:g} s" for name, seconds in outcome["drains"].items()]:
        found.append(f"  drains   {', '.join(drains)}")
    notes = [f"{each} is not handed over: it would be closed for a moment" for each in outcome["not_handed_over"]]
    notes += [f"clients of {name}, when it leaves: {text}" for name, text in outcome.get("clients", {}).items()]
    notes += [f"{each} must not run twice: it would stop before the next one starts" for each in outcome["alone"]]
    return [*found, *(f"  note     {note}" for note in (*notes, *outcome["notes"]))]


def _short(value: Any) -> str:
    return one_line(printable(value), _WIDEST)


def host_problems(place: VersionDirectory) -> list[str]:
    """Why this host's C library can't run a version; as the launcher finds out too."""
    with contextlib.suppress(OSError, ValueError):
        floor, loader = place.glibc.read_text(encoding="utf-8").split()
        if not os.path.exists(loader):
            return [f"it needs glibc {floor} or later, and this host has none for it: there is no {loader}"]
        has = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
        if has and _numbers(has) < _numbers(floor):
            return [
                f"it needs glibc {floor} or later, and this host has {has}; build it on a system as old as this host"
            ]
    return []


def _status(settings: Settings) -> dict[str, Any]:
    """What the running node says of itself, its pid only where that is a process of the node's user; nothing where it can't be asked."""
    with contextlib.suppress(UnderwayError):
        connection = connect(Place(os.environ))
        try:
            status = connection.status()
        finally:
            connection.close()
        return {**status, "pid": of_node(settings, status["pid"])}
    return {}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
