"""Memory for two nodes: what is left, and what follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import versions
from cgroups import limited_memory
from node_helpers import App, MakeNode, read_until, terminate
from underway_runtime.upgrade.preflight.memory import Memory, look


def group(place: Path, files: dict[str, str]) -> None:
    """A control group, as the kernel shows it."""
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(f"{text}\n")


def test_what_is_left_is_the_least_of_all(tmp_path: Path) -> None:
    """Of the host, and of each control group above the process, of either kind; files that can be forgotten do not count."""
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    status = {"pid": 7, "memory": 1}
    assert look(status, 2, tmp_path) == Memory(1, 2, 8_192_000, None)

    (tmp_path / "proc/7/cgroup").write_text("0::/a/b\n4:memory:/c\n3:cpu:/d\n")
    for place, most, used in (("a", "5000000", "4000000"), ("a/b", "max", "3000000")):
        stat = "anon 5\ninactive_file 500000"
        group(tmp_path / "sys/fs/cgroup" / place, {"memory.max": most, "memory.current": used, "memory.stat": stat})
    assert look(status, 2, tmp_path).available == look(status, 2, tmp_path).limit == 1_500_000

    first = {"memory.limit_in_bytes": "2000000", "memory.usage_in_bytes": "1900000"}
    group(tmp_path / "sys/fs/cgroup/memory/c", {**first, "memory.stat": "inactive_file 7\ntotal_inactive_file 50000"})
    assert look(status, 2, tmp_path).limit == 150_000
    (tmp_path / "sys/fs/cgroup/memory/c/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert look(status, 2, tmp_path).limit == 1_500_000


@pytest.mark.parametrize(
    ("memory", "refused", "noted"),
    [
        (Memory(100, 50, 1000, None), False, False),
        (Memory(100, 50, 60, None), False, True),
        (Memory(100, 50, 40, None), False, True),
        (Memory(100, 50, 1000, 60), False, True),
        (Memory(100, 50, 1000, 40), True, False),
        (Memory(100, 0, 1000, 40), False, True),
        (Memory(None, 50, None, None), False, False),
    ],
)
def test_only_a_limit_that_is_surely_reached_is_a_reason(memory: Memory, refused: bool, noted: bool) -> None:
    """The host's memory may come back, and what the running node has the new one may not need."""
    assert (bool(memory.reasons), bool(memory.notes)) == (refused, noted)


def test_a_version_that_would_outgrow_the_limit_is_refused(make: MakeNode) -> None:
    """`check` names both figures; a version that may fit is noted only."""

    def app(version: str, size: int) -> App:
        held = f"held = b'x' * {size}\n"
        begins = f"class App(Application):\n    def start(self):\n        print('runs {version}', flush=True)\n"
        return App("big", f"from underway_runtime import Application\n{held}{begins}", {"class": "big:App"})

    node = make(app("1", 150_000_000))
    versions.add(node, "2", app("2", 150_000_000))
    versions.add(node, "3", app("3", 1))
    for version in "123":
        versions.seal(node, version)
    with limited_memory(300_000_000) as enter:
        keeper = node.spawn("start", preexec_fn=enter)
        read_until(keeper.stdout, "runs 1")

        refused = node.run("check", "2", "--json")
        document = json.loads(refused.stdout)
        assert (refused.returncode, document["outcome"]) == (6, "refused"), refused.stderr
        [reason] = document["reasons"]
        assert reason.startswith("not enough memory for two nodes: the limit leaves ")
        assert document["memory"]["available"] < document["memory"]["needs"]
        noted = json.loads(node.run("check", "3", "--json").stdout)
        assert (noted["outcome"], noted["reasons"]) == ("handover", [])
        assert any(note.startswith("there may not be enough memory for two nodes: ") for note in noted["notes"])
        assert terminate(keeper)[0] == 0
