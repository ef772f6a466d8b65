"""bin/NAME prune: old versions go, and nothing that is or may be needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dying
from underway_runtime.upgrade.handler import mark_failed, rollback
from underway_runtime.upgrade.prune import prune
from upgrade_helpers import Host, make_host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """1.0 to 1.5, each of which was permanent once; 1.5 is and runs."""
    host = make_host(tmp_path)
    for version in ("1.1", "1.2", "1.3", "1.4", "1.5"):
        host.upgrade(version)
    return host


def run(host: Host, *arguments: str, status: int = 0) -> str:
    done = dying.release(host.root, ["prune", *arguments], host.boots, host.place, runs=host.runs or "")
    assert done.status == status, done.output
    return done.output


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (0, ["1.4", "1.5"]),
        (1, ["1.3", "1.4", "1.5"]),
        (3, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        (4, ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]),
        (99, ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]),
    ],
)
def test_the_last_few_stay(host: Host, keep: int, left: list[str]) -> None:
    """Next to what boots and runs, and what rollback goes to; each that stays is whole."""
    outcome = prune(host.handler, keep)

    assert list(host.states) == left
    assert sorted(removed.version for removed in outcome.removed) == sorted({"1.0", "1.1", "1.2", "1.3"} - {*left})
    assert all(host.problems(version) == [] for version in left)
    assert host.boots == "1.5"
    assert rollback(host.handler, dry_run=True).version == "1.4"


def test_what_is_to_come_stays_and_what_has_failed_goes(host: Host) -> None:
    """A version that was unpacked only is the next one; unless it failed."""
    for version in ("1.6", "1.7"):
        host.archive(version)
        host.unpack(version)
    mark_failed(host.handler, "1.6", "gate")

    prune(host.handler, 0)

    assert list(host.states) == ["1.4", "1.5", "1.7"]


def test_what_runs_uncommitted_stays_and_so_does_what_boots(host: Host) -> None:
    """Neither may go, whatever is asked for."""
    host.archive("1.6")
    host.unpack("1.6")
    host.runs = "1.6"

    prune(host.handler, 0)

    assert host.states == {"1.4": "old", "1.5": "permanent", "1.6": "current"}


def test_a_stopped_service_is_pruned_too(host: Host) -> None:
    """By what boots."""
    host.runs = None

    prune(host.handler, 1)

    assert list(host.states) == ["1.3", "1.4", "1.5"]


def test_a_dry_run_says_the_same_and_removes_nothing(host: Host) -> None:
    """For people and for machines."""
    before = host.look()

    assert "1.0 would be removed, with " in run(host, "--keep", "1", "--dry-run")
    would = json.loads(run(host, "--keep", "1", "--dry-run", "--json"))
    assert host.look() == before
    done = json.loads(run(host, "--keep", "1", "--json"))

    assert would == done
    assert {one["version"] for one in done["removed"]} == {"1.0", "1.1", "1.2"}
    assert {one["version"]: one["why"] for one in done["kept"]} == {
        "1.3": "the last one",
        "1.4": "`rollback` goes to it",
        "1.5": "it boots",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "prune needs --keep N"),
        (["--keep", "-1"], "--keep is a number of versions, not '-1'"),
        (["--keep", "two"], "--keep is a number of versions, not 'two'"),
        (["--keep"], "--keep needs a value: --keep N"),
        (["2"], "prune does not take '2'"),
    ],
)
def test_what_is_not_understood_removes_nothing(host: Host, arguments: list[str], said: str) -> None:
    """2, and all is here."""
    assert said in run(host, *arguments, status=2)
    assert len(host.states) == 6
