"""check: all that can be found out about a version before it is installed, and what installing it would do.

What is on disk is compared first. What is damaged or does not fit this host is not executed; all else is tried in an
interpreter of that version (`scratch`), as the user who runs the node (`trial`).
Nothing is asked of the node but its status, and where a relup leads there, whether it could become the version as it is.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ...configuration import boot_config
from ...configuration.provenance import printable
from ...control.client.client import NotAnswering, Place, connect
from ...process.settings import DRAIN_TIMEOUT, Settings
from ...release import boot_script, verify
from ...release import ledger as ledgers
from ...release.directory import VersionDirectory
from ...release.display import one_line
from ...release.errors import UnderwayError, listing
from ..change import ANY, AS_ASKED, NO_RELUP, Conditions, can_install_in_place, differences
from ..handler import Handler
from .kept import Kept, keep
from .memory import Memory, look
from .report import ConfigurationChange, TrialReport
from .trial import of_node, trial
from .trial_boot import started

_WIDEST = 300
"""Characters of a value of configuration that are shown."""


Outcome: TypeAlias = Literal["nothing", "configuration", "hot", "handover", "start", "refused"]


@dataclass(frozen=True)
class CheckResult:
    """What installing a version would do."""

    version: str
    running: str | None
    outcome: Outcome
    """Nothing where it runs already; configuration or hot in the process that runs; handover; start where no node runs."""
    reasons: tuple[str, ...]
    """Why it is refused."""
    status: int | None
    """The exit status that `install` would have: 0, 1 where it does not begin, 3, 4; None where only `upgrade` refuses it."""
    notes: tuple[str, ...]
    report: TrialReport
    memory: Memory
    not_handed_over: Sequence[str] = ()
    """Addresses that would be closed for a moment."""
    clients: Mapping[str, str] = field(default_factory=dict)
    """By server, what becomes of its clients."""
    drains: Mapping[str, float] = field(default_factory=dict)
    """By application, how many seconds it gets to finish what is under way."""
    kept: Kept | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``check --json`` prints it."""
        report = self.report.as_json()
        return {
            "version": self.version,
            "running": self.running,
            "outcome": self.outcome,
            "reasons": self.reasons,
            "status": self.status,
            "notes": self.notes,
            **{key: report[key] for key in ("configuration", "providers", "schemas", "addresses")},
            "not_handed_over": self.not_handed_over,
            "clients": self.clients,
            "alone": report["alone"],
            "drains": self.drains,
            "kept": None if self.kept is None else self.kept.as_json(),
            "memory": {"needs": self.memory.needs, "available": self.memory.available},
        }


def check(
    settings: Settings,
    handler: Handler,
    version: str,
    conditions: Conditions = ANY,
    *,
    again: bool = False,
    timeout: float = 60.0,
    keep_for: float = 0.0,
) -> CheckResult:
    """Find out what installing a version would do; where that is a handover, have it booted and kept for so many seconds.

    The trial takes `timeout` seconds at most, and so does what the node is asked. Raises StateRefused for a version that is not here.
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
    damage = [*disk.damage, *host_problems(handler.directory.version(version))]
    notes += disk.notes
    report = TrialReport(problems=tuple(damage))
    if damage:
        notes.append("it was not tried, because it is damaged or does not fit this host")
    else:
        with trial(settings, version, running, timeout) as report:
            pass
    reasons += report.problems
    way = _way(handler, running, version, report, conditions, timeout)
    is_bad = bool(reasons or way.failure) and begins
    is_allowed = way.how != "handover" or conditions.at_least == "handover"
    reasons += way.failure
    if is_allowed:
        notes += [f"a new interpreter is needed: {why}" for why in way.why]
    else:
        reasons.append(f"it takes a new interpreter: {'; '.join(way.why) or NO_RELUP}")
    memory = look(status, 0 if damage else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    hands_over = way.how == "handover"
    if hands_over:
        reasons += memory.reasons
        notes += memory.notes
        notes += [note for note in _several(status) if not any(note in why for why in way.why)]
    spare = None
    if keep_for:
        spare, why = (
            keep(version, keep_for, timeout) if hands_over and not reasons else (None, "it would be no handover")
        )
        notes += [f"it is not kept: {why}"] if spare is None else []
    return CheckResult(
        version,
        running,
        "refused" if reasons else way.how,
        tuple(reasons),
        1 if not begins else 4 if is_bad else 3 if not is_allowed else None if reasons else 0,
        (*notes, *report.notes),
        report if hands_over else replace(report, alone=()),
        memory,
        not_handed_over=status.get("not_handed_over", []) if hands_over else [],
        clients=status.get("clients", {}) if hands_over else {},
        drains=_drains(settings, running) if running is not None and hands_over and not reasons else {},
        kept=spare,
    )


def _several(status: Mapping[str, Any]) -> list[str]:
    """What is said of a release that runs in several processes."""
    count = (status.get("process") or {}).get("of", 1)
    return [f"it runs in {count} processes, which are handed over together"] if count > 1 else []


@dataclass(frozen=True)
class _Way:
    """How a version would be installed, and why not in less."""

    how: Outcome
    why: tuple[str, ...] = ()
    failure: tuple[str, ...] = ()
    """What the node says would fail."""


def _way(
    handler: Handler, running: str | None, version: str, report: TrialReport, conditions: Conditions, timeout: float
) -> _Way:
    """What would be done where nothing speaks against it."""
    if running is None or running == version:
        return _Way("start" if running is None else "nothing")
    if conditions.fresh:
        return _Way("handover", (AS_ASKED,))
    is_configuration = not differences(handler.directory, running, version)
    if not can_install_in_place(handler.directory, running, version) or (is_configuration and report.untold is None):
        return _Way("handover")
    if is_configuration and report.untold:
        return _Way("handover", report.untold)
    match _asked_of_node(version, timeout):
        case {"how": ("configuration" | "hot") as how}:
            return _Way(how)
        case {"unfit": str(reason)}:
            return _Way("handover", (reason,))
        case {"failed": str(reason)}:
            return _Way("hot", failure=(reason,))
    return _Way("configuration" if is_configuration else "handover")


def _asked_of_node(version: str, timeout: float) -> dict[str, Any]:
    """What the node says, having looked at itself; nothing where it can't be asked."""
    try:
        with contextlib.closing(connect(Place(os.environ))) as connection:
            answer: dict[str, Any] = connection.ask({"do": "consider", "version": version}, timeout)
        return answer
    except NotAnswering:
        return {"unfit": f"the node has not said within {timeout:g} s whether it could become it as it is"}
    except UnderwayError:
        return {}


def _drains(settings: Settings, running: str) -> dict[str, float]:
    """By application that runs, how many seconds it gets to finish what is under way."""
    with contextlib.suppress(UnderwayError):
        file = settings.directory.version(running).boot_script(settings.boot_script.stem)
        serving = [load.application for load in started(boot_script.read(file)) if load.start is not None]
        configured = boot_config.of_running_node(settings)
        values = {} if configured is None else configured.values
        default = _seconds(values.get("underway_runtime", {}).get("drain_timeout")) or DRAIN_TIMEOUT
        return {name: _seconds(values.get(name, {}).get("drain_timeout")) or default for name in serving}
    return {}


def _seconds(value: object) -> float | None:
    """As the node has written it down, where it is a number."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def lines(result: CheckResult) -> list[str]:
    """The same for people."""
    version, running, report = result.version, result.running, result.report
    stays = f"{running} goes on" if running else "nothing changes"
    sentences = {
        "handover": f"{version} would take over from {running} by handover",
        "hot": f"{version} would become the code of the process that runs {running}",
        "configuration": f"{version} would be configured in the process that runs {running}",
        "nothing": f"{version} runs already",
        "start": f"{version} would boot; no node runs now",
        "refused": listing(f"{version} would be refused, and {stays}:", result.reasons),
    }
    told = [sentences[result.outcome]]
    told += [f"  {row.change:<8} {row.key}: {_values(row)}" for row in report.configuration or ()]
    closed = {"new": "would be bound for {}", "gone": "would be closed, of {}"}
    told += [
        f"  {row.change:<8} {row.address} {closed[row.change].format(row.application)}"
        for row in report.addresses
        if row.change != "same"
    ]
    told += [f"  provider {provider}" for provider in report.providers]
    told += [f"  schema   {name}: {schema}" for name, schema in report.schemas.items()]
    if drains := [f"{name} within {seconds:g} s" for name, seconds in result.drains.items()]:
        told.append(f"  drains   {', '.join(drains)}")
    told += [] if result.kept is None else [f"  kept     {result.kept}"]
    notes = [f"{address} is not handed over: it would be closed for a moment" for address in result.not_handed_over]
    notes += [f"clients of {name}, when it leaves: {text}" for name, text in result.clients.items()]
    notes += [f"{name} must not run twice: it would stop before the next one starts" for name in report.alone]
    return [*told, *(f"  note     {note}" for note in (*notes, *result.notes))]


def _values(row: ConfigurationChange) -> str:
    if row.change == "changed":
        return f"{_short(row.before)} becomes {_short(row.after)}"
    return _short(row.after if row.change == "added" else row.before)


def _short(value: Any) -> str:
    return one_line(printable(value), _WIDEST)


def host_problems(directory: VersionDirectory) -> list[str]:
    """Why this host's C library can't run a version; as the launcher finds out too."""
    with contextlib.suppress(OSError, ValueError):
        floor, loader = directory.glibc.read_text(encoding="utf-8").split()
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
