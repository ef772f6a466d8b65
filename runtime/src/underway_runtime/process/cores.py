"""How many processors this process may use: what ``processes = "auto"`` means."""

from __future__ import annotations

import math
import os
from pathlib import Path

from . import facts

_ROOT = Path("/sys/fs/cgroup")


def usable(root: Path = _ROOT) -> int:
    """The processors that its affinity allows and, where that is less, its control groups; at least 1."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        allowed = os.cpu_count() or 1
    quota = min(_quotas(facts.control_groups("self"), root), default=float(allowed))
    return max(1, min(allowed, math.ceil(quota)))


def _quotas(groups: str, root: Path) -> list[float]:
    """How many processors each of these control groups, and those above it, leave; nothing for one without a limit."""
    quotas = []
    for line in groups.splitlines():
        number, kinds, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not kinds:
            quotas += [_of_version_2(directory) for directory in _and_above(root, path)]
        elif "cpu" in kinds.split(","):
            mounted = [root / kinds, root / "cpu", root / "cpu,cpuacct"]
            quotas += [_of_version_1(directory) for mount in mounted for directory in _and_above(mount, path)]
    return [quota for quota in quotas if quota is not None]


def _and_above(mount: Path, path: str) -> list[Path]:
    """The directory of a control group and those above it, up to where they are mounted; in a container that is all there is."""
    below = Path(path.lstrip("/"))
    if ".." in below.parts:
        below = Path()
    return [mount / part for part in (below, *below.parents)]


def _of_version_2(group: Path) -> float | None:
    match _words(group / "cpu.max"):
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None


def _of_version_1(group: Path) -> float | None:
    match _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us"):
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):  # -1 where nothing limits it
            return int(quota) / int(period)
    return None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
