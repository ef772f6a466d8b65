"""releases, commit, rollback, remove, create-releases: what boots, and the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archive_helpers import File
from underway_runtime.release import ledger
from underway_runtime.release.errors import BusyError, DamagedRelease, UnderwayError, UndoneError
from underway_runtime.release.ledger import StateRefused
from underway_runtime.upgrade.handler import (
    Handler,
    RebuiltLedger,
    RollbackResult,
    commit,
    create_releases,
    mark_failed,
    releases,
    rollback,
)
from underway_runtime.upgrade.remove import remove
from upgrade_helpers import Host, make_host, release_files


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0, which runs; 1.1 is unpacked."""
    host = make_host(tmp_path)
    host.archive("1.1")
    host.unpack("1.1")
    return host


def test_releases_says_what_runs_and_what_boots(host: Host) -> None:
    """From the node, not from the disk: what runs and was not committed is current."""
    host.runs = "1.1"
    mark_failed(host.handler, "1.1", "gate")

    one, other = releases(host.handler).releases

    assert (one.version, one.record.state, one.running, one.record.failed) == ("1.0", "permanent", False, None)
    assert (other.version, other.record.state, other.running, other.record.failed) == ("1.1", "current", True, "gate")
    host.runs = None
    assert [release.record.state for release in releases(host.handler).releases] == ["permanent", "unpacked"]


def test_releases_changes_nothing(tmp_path: Path) -> None:
    """Whoever may read may ask; on a fresh release too, and while it starts."""
    host = make_host(tmp_path)
    before = host.look()

    def starting() -> str:
        raise BusyError("it starts")

    assert [one.record.state for one in releases(replace(host.handler, running_version=starting)).releases] == [
        "permanent"
    ]
    assert host.look() == before


# commit


def test_commit_makes_what_runs_permanent(host: Host) -> None:
    """What ran before is old; it boots no more."""
    host.runs = "1.1"

    assert commit(host.handler).changed

    assert host.states == {"1.0": "old", "1.1": "permanent"}
    assert host.var.start_data.read_text() == "3.11.2 1.1\n"


def test_commit_twice_is_commit_once(host: Host) -> None:
    """With and without the version, the second finds it done."""
    host.runs = "1.1"
    commit(host.handler, "1.1")
    before = host.look()

    assert commit(host.handler) == commit(host.handler, "1.1")
    assert not commit(host.handler).changed
    assert host.look() == before


@pytest.mark.parametrize(
    ("version", "runs", "words"),
    [
        ("1.1", "1.0", "commit 1.1 is refused: it was unpacked and does not run; install it first"),
        ("1.1", None, "commit 1.1 is refused: it was unpacked and does not run"),
        (None, None, "no node runs, so there is nothing to commit"),
        ("9.9", "1.0", "there is no version 9.9 here to commit; here are: 1.0, 1.1"),
    ],
)
def test_what_does_not_run_is_not_committed(host: Host, version: str | None, runs: str | None, words: str) -> None:
    """OTP says bad_status and ends with 0; here it ends with 1 and what to do."""
    host.runs = runs
    before = host.look()

    with pytest.raises(StateRefused, match=words) as error:
        commit(host.handler, version)
    assert error.value.exit_code == 1
    assert host.look() == before


def test_a_dry_commit_changes_nothing(host: Host) -> None:
    """It says what would."""
    host.runs = "1.1"
    before = host.look()

    assert commit(host.handler, dry_run=True).changed
    assert host.look() == before


def test_a_commit_that_died_halfway_is_done(host: Host) -> None:
    """OTP then lists the old one as permanent, commits no more, and removes the code of the running one."""
    host.runs = "1.1"
    ledger.write_start_data(host.var.start_data, "3.11.2", "1.1")

    assert host.states == {"1.0": "old", "1.1": "permanent"}
    with pytest.raises(StateRefused, match="it is the permanent one"):
        remove(host.handler, "1.1")
    assert not commit(host.handler).changed
    assert ledger.recorded(host.var)["1.1"].state == "permanent"
    assert rollback(host.handler).version == "1.0"


# rollback


def test_rollback_goes_to_the_version_before(host: Host) -> None:
    """What is left is marked, so that going back again goes further back, and not to and fro."""
    host.runs = "1.1"
    commit(host.handler)
    host.upgrade("1.2")

    assert rollback(host.handler) == RollbackResult("1.1", "1.2", changed=True, ran=True)
    assert host.states == {"1.0": "old", "1.1": "permanent", "1.2": "current"}
    assert host.boots == "1.1"
    host.runs = "1.1"
    assert rollback(host.handler).version == "1.0"
    host.runs = "1.0"
    with pytest.raises(StateRefused, match=r"no version before 1.0 to go back to"):
        rollback(host.handler)
    assert [one.record.left for one in releases(host.handler).releases] == [
        None,
        "rolled back to 1.0",
        "rolled back to 1.1",
    ]
    assert [one.record.failed for one in releases(host.handler).releases] == [None, None, None]


def test_rollback_of_what_was_not_committed_is_to_what_boots(host: Host) -> None:
    """Nothing that boots changes; the one that runs is marked."""
    host.runs = "1.1"

    assert rollback(host.handler) == RollbackResult("1.0", "1.1", changed=False, ran=True)
    assert ledger.recorded(host.var)["1.1"].left == "rolled back to 1.0"
    assert host.boots == "1.0"


class Killed(BaseException):
    """The end of a process, which nothing in it outlives."""


@pytest.mark.parametrize("committed", [False, True])
def test_a_rollback_that_was_killed_goes_to_the_same_place(host: Host, committed: bool) -> None:
    """After the node has handed over, and before anything else: what runs then would lead to another version."""
    host.runs = "1.1"
    if committed:
        commit(host.handler)

    def change(running: str, version: str) -> None:
        host.runs = version
        raise Killed

    with pytest.raises(Killed):
        rollback(host.handler, change=change)

    assert host.runs == "1.0"
    assert rollback(host.handler) == RollbackResult("1.0", "1.1", changed=committed, ran=True)
    assert host.boots == "1.0"
    assert ledger.recorded(host.var)["1.1"].left == "rolled back to 1.0"
    with pytest.raises(StateRefused, match=r"no version before 1.0 to go back to"):
        rollback(host.handler)


def test_a_version_to_which_no_way_leads_back_is_marked(host: Host) -> None:
    """The next rollback goes further back; one to what boots is tried again."""
    host.runs = "1.1"
    commit(host.handler)
    host.upgrade("1.2")

    def fail(running: str, version: str) -> None:
        raise UndoneError(f"{version} has failed", "no database")

    with pytest.raises(UndoneError):
        rollback(host.handler, change=fail)
    assert ledger.recorded(host.var)["1.1"].failed == "no database"
    assert rollback(host.handler, dry_run=True).version == "1.0"
    host.archive("1.3")
    host.unpack("1.3")
    host.runs = "1.3"
    for _ in range(2):
        with pytest.raises(UndoneError, match=r"1\.2"):
            rollback(host.handler, change=fail)


# what the keeper notes


@pytest.mark.parametrize(
    ("noted", "failed"),
    [
        ("id-1 1.1 it ended with status 3\n", "it ended with status 3"),
        ("id-0 1.1 of an install before\n", None),
        ("id-1 1.7 of a version that is not here\n", None),
        ("id-1", None),
        ("", None),
    ],
)
def test_what_the_keeper_has_replaced_is_marked(host: Host, noted: str, failed: str | None) -> None:
    """Once, whoever reads it, and by the id of its install; a commit or another mark is newer."""
    known = ledger.read(host.directory, host.var)
    ledger.write(host.var, {**known, "1.1": replace(known["1.1"], installed="id-1")})
    host.var.replaced.parent.mkdir(exist_ok=True)
    host.var.replaced.write_text(noted)

    assert {one.version: one.record.failed for one in releases(host.handler).releases} == {
        "1.0": None,
        "1.1": failed,
    }
    host.runs = "1.1"
    commit(host.handler)
    assert [one.record.failed for one in releases(host.handler).releases] == [None, None]


def test_rollback_may_name_the_version(host: Host) -> None:
    """Any that was permanent; one that never was is refused."""
    host.runs = "1.1"
    commit(host.handler)
    host.upgrade("1.2")
    host.archive("1.3")
    host.unpack("1.3")

    with pytest.raises(StateRefused, match="never committed"):
        rollback(host.handler, "1.3")
    assert rollback(host.handler, "1.0").version == "1.0"
    assert host.boots == "1.0"


def test_a_version_that_was_committed_after_all_has_not_failed(host: Host) -> None:
    """The mark goes with the next commit."""
    mark_failed(host.handler, "1.1", "gate")
    host.runs = "1.1"
    commit(host.handler)

    assert [one.record.failed for one in releases(host.handler).releases] == [None, None]


# remove


def test_remove_deletes_what_only_it_has(host: Host) -> None:
    """The other is whole, and its interpreter and libraries are there."""
    before = make_host(host.place / "other").look()

    assert remove(host.handler, "1.1").deleted == ("lib/hello-1.1", "releases/hello-1.1.rel", "releases/1.1")

    assert {path: what for path, what in host.look().items() if path != "var/RELEASES"} == before
    assert host.problems("1.0") == []


def test_remove_of_the_first_one(host: Host) -> None:
    """The interpreter that only it has goes too; what a copy of the tree boots is a version that is there."""
    contents = {path.replace("3.11.2", "3.12.1"): file for path, file in release_files("1.2").items()}
    contents["releases/1.2/bin/python"] = File(link="../../../python-3.12.1/bin/python3.11")
    contents["notes/read.me"] = File(b"new")
    host.archive("1.2", contents)
    host.unpack("1.2")
    host.runs = "1.2"
    commit(host.handler)
    remove(host.handler, "1.1")

    deleted = remove(host.handler, "1.0").deleted

    assert deleted == ("lib/hello-1.0", "python-3.11.2", "releases/hello-1.0.rel", "releases/1.0")
    assert host.problems("1.2") == []
    assert (host.root / "releases/start.data").read_text() == "3.11.2 1.2\n"
    assert (host.root / "notes/read.me").exists()


@pytest.mark.parametrize(
    ("version", "runs", "words"),
    [
        ("1.1", "1.1", "it runs; install another one first"),
        ("1.0", "1.1", "it is the permanent one, which boots; commit another one first"),
        ("1.0", None, "it is the permanent one, which boots"),
        ("9.9", "1.0", "there is no version 9.9 here to remove; here are: 1.0, 1.1"),
    ],
)
def test_what_runs_or_boots_is_not_removed(host: Host, version: str, runs: str | None, words: str) -> None:
    """OTP deletes the code under the running node."""
    host.runs = runs
    before = host.look()

    with pytest.raises(StateRefused, match=words):
        remove(host.handler, version)
    assert host.look() == before


def test_a_dry_remove_changes_nothing(host: Host) -> None:
    """It names what would go."""
    before = host.look()

    assert "lib/hello-1.1" in remove(host.handler, "1.1", dry_run=True).deleted
    assert host.look() == before


def test_nothing_is_deleted_while_it_is_unknown_whose_it_is(host: Host) -> None:
    """A version whose manifest can't be read may use anything; it can be removed itself."""
    host.archive("1.2")
    host.unpack("1.2")
    host.directory.version("1.1").manifest.write_text("{")
    before = host.look()

    with pytest.raises(
        DamagedRelease, match=r"can't be said which files are still in use:\n.*releases/1.1/manifest.json"
    ):
        remove(host.handler, "1.2")
    assert host.look() == before
    remove(host.handler, "1.1")
    remove(host.handler, "1.2")
    assert list(host.states) == ["1.0"]


def test_what_stays_of_a_version_is_still_accounted_for(host: Host) -> None:
    """bin/NAME and overlays stay as the first version has brought them; verify knows that when it is gone, and sees a change."""
    contents = {**release_files("1.2"), "bin/hello": File(b"#!/bin/sh\n# newer\n", executable=True)}
    host.archive("1.2", contents)
    host.unpack("1.2")
    host.runs = "1.2"
    commit(host.handler)
    remove(host.handler, "1.1")
    remove(host.handler, "1.0")

    assert (host.root / "bin/hello").read_bytes() == b"#!/bin/sh\n"
    assert host.problems("1.2") == []
    (host.root / "bin/hello").write_bytes(b"#!/bin/sh\nevil\n")
    assert host.problems("1.2") == ["bin/hello has 15 bytes, not 18"]
    host.directory.shared.write_text("{")
    assert "shared.json can't be read" in host.problems("1.2")[0]


# create-releases


def test_a_damaged_ledger_is_made_anew(host: Host) -> None:
    """From the manifests and start.data; every other command says that this is what helps."""
    host.runs = "1.1"
    commit(host.handler)
    host.var.ledger.write_bytes(host.var.ledger.read_bytes()[:-30])
    for command in (releases, commit, rollback):
        with pytest.raises(DamagedRelease, match="create-releases"):
            command(host.handler)

    assert create_releases(host.handler) == RebuiltLedger("1.1", ("1.0", "1.1"))
    assert host.states == {"1.0": "unpacked", "1.1": "permanent"}


def test_start_data_that_names_nothing_is_mended_by_name(host: Host) -> None:
    """Nothing is guessed: the version that is to boot is given. Where start.data is fine, commit decides."""
    host.var.start_data.write_text("")
    handler = Handler(host.directory, host.var, "1.1", lambda: None)
    with pytest.raises(DamagedRelease, match="--permanent V"):
        create_releases(handler)

    create_releases(handler, "1.1")

    assert host.boots == "1.1"
    with pytest.raises(StateRefused, match=r"version 1.1 boots, not 1.0"):
        create_releases(handler, "1.0")
    with pytest.raises(UnderwayError, match=r"releases/9.9/manifest.json is missing"):
        host.var.start_data.write_text("")
        create_releases(handler, "9.9")
