"""The ledger: what each version is, by OTP's table, and what survives on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from archive_helpers import files, make_tree
from underway_runtime.release import ledger
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.ledger import Event, Ledger, Record, State, StateRefused, States, transition

NOW = "2026-11-21T00:00:00Z"


def record(state: State = "unpacked", release_id: str = "1f", *, committed: bool = False, failed: str = "") -> Record:
    return Record(state, release_id, NOW, committed, failed or None)


@pytest.fixture
def release_and_var(tmp_path: Path) -> tuple[ReleaseDirectory, VarDirectory]:
    """A release that holds 1.0, which boots, and 1.1."""
    make_tree(tmp_path / "hello", "1.1", files("1.1"))
    make_tree(tmp_path / "hello", "1.0", {"releases/1.0/start.script": files("1.0")["bin/hello"]})
    (tmp_path / "hello/var").mkdir()
    return ReleaseDirectory(tmp_path / "hello"), VarDirectory(tmp_path / "hello/var")


TABLE: list[tuple[States, Event, str, States]] = [
    ({"1": "permanent"}, "unpack", "2", {"1": "permanent", "2": "unpacked"}),
    ({"1": "permanent", "2": "unpacked"}, "install", "2", {"1": "permanent", "2": "current"}),
    (
        {"1": "permanent", "2": "current", "3": "unpacked"},
        "install",
        "3",
        {"1": "permanent", "2": "old", "3": "current"},
    ),
    ({"1": "permanent", "2": "current"}, "install", "1", {"1": "permanent", "2": "old"}),
    ({"1": "permanent", "2": "current"}, "install", "2", {"1": "permanent", "2": "current"}),
    ({"1": "permanent", "2": "current"}, "commit", "2", {"1": "old", "2": "permanent"}),
    ({"1": "permanent", "2": "current"}, "commit", "1", {"1": "permanent", "2": "current"}),
    ({"1": "permanent", "2": "current"}, "restart", "", {"1": "permanent", "2": "unpacked"}),
    ({"1": "old", "2": "permanent"}, "install", "1", {"1": "current", "2": "permanent"}),
    ({"1": "old", "2": "permanent"}, "rollback", "1", {"1": "permanent", "2": "old"}),
    ({"1": "old", "2": "permanent", "3": "current"}, "rollback", "1", {"1": "permanent", "2": "old", "3": "current"}),
    ({"1": "old", "2": "permanent"}, "remove", "1", {"2": "permanent"}),
    ({"1": "unpacked", "2": "permanent"}, "remove", "1", {"2": "permanent"}),
]


@pytest.mark.parametrize(("before", "event", "version", "after"), TABLE)
def test_the_table(before: States, event: Event, version: str, after: States) -> None:
    """Each event leads where OTP's release_handler says."""
    assert transition(before, event, version or None) == after


@pytest.mark.parametrize(
    ("before", "event", "version", "words"),
    [
        ({"1": "permanent", "2": "unpacked"}, "commit", "2", "does not run; install it first"),
        ({"1": "permanent", "2": "old"}, "commit", "2", "does not run; install it first"),
        ({"1": "permanent"}, "unpack", "1", "it is permanent"),
        ({"1": "permanent"}, "remove", "1", "boots; commit another one first"),
        ({"1": "permanent", "2": "current"}, "remove", "2", "it runs; install another one first"),
        ({"1": "permanent", "2": "unpacked"}, "rollback", "2", "never committed"),
        ({"1": "permanent"}, "install", "3", "there is no version 3 here to install; here are: 1"),
        ({"1": "permanent"}, "remove", "3", "there is no version 3"),
    ],
)
def test_what_is_refused_says_why(before: States, event: Event, version: str, words: str) -> None:
    """A version that is in another state than it must be is refused, with what to do instead."""
    with pytest.raises(StateRefused, match=words):
        transition(before, event, version)


class Handling(RuleBasedStateMachine):
    """Any events in any order, refused or not, as they would reach the ledger of a node that also restarts."""

    versions = st.sampled_from(["1", "2", "3", "4"])

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger = {"1": record("permanent", committed=True)}
        self.runs = "1"

    @rule(event=st.sampled_from(sorted(set(get_args(Event)) - {"restart"})), version=versions)
    def happens(self, event: Event, version: str) -> None:
        try:
            self.ledger = ledger.after(self.ledger, event, version, NOW, version)
        except StateRefused:
            return
        if event == "install":
            self.runs = version

    @rule()
    def restarts(self) -> None:
        states = transition(self._states(), "restart")
        self.ledger = {name: replace(one, state=states[name]) for name, one in self.ledger.items()}
        self.runs = ledger.permanent(self.ledger)

    @rule(version=versions)
    def fails(self, version: str) -> None:
        if version in self.ledger:
            self.ledger = {**self.ledger, version: replace(self.ledger[version], failed="x")}

    @precondition(lambda self: ledger.previous(self.ledger) is not None)
    @rule()
    def goes_back(self) -> None:
        target = ledger.previous(self.ledger)
        assert target is not None
        assert (self.ledger[target].state, self.ledger[target].failed) == ("old", None)
        self.ledger = ledger.after(self.ledger, "rollback", target, NOW)

    @invariant()
    def one_boots(self) -> None:
        """One version is permanent, whatever happened."""
        assert list(self._states().values()).count("permanent") == 1

    @invariant()
    def what_runs_is_here(self) -> None:
        """At most one is current, and it is what runs."""
        assert [name for name, state in self._states().items() if state == "current"] in ([], [self.runs])

    @invariant()
    def written_and_read_it_is_the_same(self) -> None:
        """On disk nothing is current; all else survives."""
        read = ledger._parse(ledger.dump(self.ledger).encode())
        assert list(read) == list(self.ledger)
        assert {n: r.state for n, r in read.items()} == transition(self._states(), "restart")

    def _states(self) -> States:
        return {name: record.state for name, record in self.ledger.items()}


test_any_order_of_events = Handling.TestCase


def test_a_fresh_release_is_as_its_tree_says(release_and_var: tuple[ReleaseDirectory, VarDirectory]) -> None:
    """Without a ledger, what start.data names is permanent and everything else unpacked; nothing is written for that."""
    directory, var = release_and_var

    found = ledger.read(directory, var)

    assert {version: one.state for version, one in found.items()} == {"1.0": "unpacked", "1.1": "permanent"}
    assert all(len(one.release_id) == 64 for one in found.values())
    assert list(var.path.iterdir()) == []


def test_what_boots_is_permanent_whatever_the_ledger_says(
    release_and_var: tuple[ReleaseDirectory, VarDirectory],
) -> None:
    """A commit that died after start.data was written is done: the ledger follows, and forgets nothing."""
    directory, var = release_and_var
    ledger.write(var, {"1.1": record("unpacked", failed="once"), "1.0": record("permanent", committed=True)})
    ledger.write_start_data(var.start_data, "3.11.2", "1.1")

    found = ledger.read(directory, var)

    assert {version: one.state for version, one in found.items()} == {"1.0": "old", "1.1": "permanent"}
    assert ledger.previous(found) == "1.0"


def test_what_is_gone_from_the_tree_is_gone(release_and_var: tuple[ReleaseDirectory, VarDirectory]) -> None:
    """A version without its manifest is not here."""
    directory, var = release_and_var
    ledger.write(var, {"0.9": record("old", committed=True), "1.1": record("permanent", committed=True)})

    assert list(ledger.read(directory, var)) == ["1.1", "1.0"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 0.999])
def test_a_truncated_ledger_is_an_error(release_and_var: tuple[ReleaseDirectory, VarDirectory], share: float) -> None:
    """OTP silently forgets the other releases; here it is an error that says what makes it again."""
    directory, var = release_and_var
    ledger.write(var, ledger.read(directory, var))
    data = var.ledger.read_bytes().rstrip()
    var.ledger.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(DamagedRelease, match=r"RELEASES can't be read: .*`create-releases` makes it again"):
        ledger.read(directory, var)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"format": 2, "releases": {}}',
        '{"format": 1}',
        '{"format": 1, "releases": {"1.0": {}}}',
        '{"format": 1, "releases": {"1.0": {"state": "current", "release_id": "", "when": ""}}}',
        '{"format": 1, "releases": {"1.0": {"state": "old", "release_id": 1, "when": ""}}}',
        '{"format": 1, "releases": {"1.0": {"state": ["old"], "release_id": "", "when": ""}}}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_ledger_that_is_none_is_an_error(release_and_var: tuple[ReleaseDirectory, VarDirectory], text: str) -> None:
    """Whatever stands there, it is read whole or refused."""
    directory, var = release_and_var
    var.ledger.write_text(text)

    with pytest.raises(DamagedRelease, match="makes it again"):
        ledger.read(directory, var)


@pytest.mark.parametrize("text", ["", "3.11.2", "3.11.2 9.9\n", "a b c\n", "\n\n"])
def test_start_data_that_names_nothing_is_an_error(
    release_and_var: tuple[ReleaseDirectory, VarDirectory], text: str
) -> None:
    """What boots is never guessed; the message has the command that says it."""
    directory, var = release_and_var
    var.start_data.write_text(text)

    with pytest.raises(DamagedRelease, match="create-releases --permanent V"):
        ledger.read(directory, var)


def test_a_version_with_a_damaged_manifest_is_listed_as_failed(
    release_and_var: tuple[ReleaseDirectory, VarDirectory],
) -> None:
    """It can be seen, and removed."""
    directory, var = release_and_var
    directory.version("1.0").manifest.write_text("{")

    assert "can't be read" in str(ledger.read(directory, var)["1.0"].failed)
