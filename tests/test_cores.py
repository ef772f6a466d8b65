"""How many processors ``processes = "auto"`` means: the affinity of the process and what its control groups leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underway_runtime.process import cores, facts


@pytest.mark.parametrize(
    ("groups", "files", "usable"),
    [
        ("0::/a/b\n", {}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "250000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a\n", {"a/cpu.max": "10000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "9900000 100000\n"}, 8),
        ("0::/a\n", {"a/cpu.max": "what is this\n"}, 8),
        ("0::/../outside\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:cpu,cpuacct:/c\n0::/\n",
            {"cpu,cpuacct/c/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("4:cpu:/c\n", {"cpu/c/cpu.cfs_quota_us": "-1\n", "cpu/c/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:cpu:/docker/x\n", {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("", {}, 8),
    ],
)
def test_what_control_groups_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], usable: int
) -> None:
    """Of eight processors; rounded up, and never none. Of both versions, and of what a container sees of its own."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(facts, "control_groups", lambda pid: groups)
    assert cores.usable(tmp_path) == usable


def test_an_affinity_counts() -> None:
    """That of this process, as the kernel has it."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.usable() == 1
    finally:
        os.sched_setaffinity(0, before)
