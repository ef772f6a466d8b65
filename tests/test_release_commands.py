"""The commands about releases, as processes: what they print, and how they end."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

import dying
from underway_runtime import upgrade
from underway_runtime.release import ledger
from upgrade_helpers import Host, digest_of, make_host

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0, which runs; an archive of 1.1 is in var/incoming."""
    host = make_host(tmp_path)
    host.archive("1.1")
    return host


def run(host: Host, *arguments: str, status: int = 0) -> str:
    """What a command says, on either stream; it ends with this status."""
    done = dying.release(host.root, arguments, host.boots, host.place, runs=host.runs or "")
    assert done.status == status, done.output
    assert "Traceback" not in done.output
    return done.output


def data(host: Host, *arguments: str) -> Any:
    return json.loads(run(host, *arguments, "--json"))


def digest(host: Host) -> tuple[str, str]:
    return "--sha256", digest_of(host.var.incoming / "hello-1.1.tar.zst")


@pytest.mark.parametrize("command", upgrade.COMMANDS)
def test_every_command_is_called_and_explained(command: str) -> None:
    """The reference has a row for it; the launcher is made from the table."""
    assert f"| `{command}" in (REPOSITORY / "docs/reference/release-handler.md").read_text()


def test_a_deploy_for_people(host: Host) -> None:
    """One sentence each."""
    assert run(host, "unpack", "1.1", *digest(host), "--dry-run").startswith("1.1 would be unpacked, with the digest")
    assert run(host, "unpack", "1.1", *digest(host)) == (
        "1.1 is unpacked, with the digest that was given: 2 new, 2 shared with others\n"
    )
    assert run(host, "unpack", "1.1") == "1.1 is here already, whole, and unpacked\n"
    host.runs = "1.1"
    assert run(host, "rollback", "--dry-run") == (
        "1.0 would run again, and would be permanent; 1.1 was not committed\n"
    )
    assert run(host, "commit", "--dry-run") == "1.1 would be permanent; 1.0 would be old\n"
    assert run(host, "commit") == "1.1 is permanent; 1.0 is old\n"
    assert run(host, "commit") == "1.1 is permanent already\n"
    one, other = run(host, "releases").splitlines()
    assert one.startswith("1.0  old, since 20")
    assert other.startswith("1.1  permanent, runs, since 20")
    assert run(host, "rollback", "--dry-run") == "1.0 would run again, and would be permanent; 1.1 would be old\n"
    assert run(host, "rollback") == "1.0 runs again, and is permanent; 1.1 is old\n"
    host.runs = "1.0"
    assert "1.1  old, rolled back to 1.0, since" in run(host, "releases")
    assert run(host, "remove", "1.1") == "1.1 is removed, with lib/hello-1.1, releases/hello-1.1.rel, releases/1.1\n"
    assert run(host, "create-releases") == "the ledger is made again: 1.0; 1.0 boots\n"


def test_versions_are_listed_as_they_follow_each_other(host: Host) -> None:
    """1.10 after 1.2, for people and for machines."""
    for version in ("1.10", "1.2"):
        host.archive(version)
        host.unpack(version)
    assert [line.split()[0] for line in run(host, "releases").splitlines()] == ["1.0", "1.2", "1.10"]
    assert [one["version"] for one in data(host, "releases")] == ["1.0", "1.2", "1.10"]


def test_a_deploy_for_machines(host: Host) -> None:
    """The outcome as JSON, and nothing else."""
    assert data(host, "unpack", "1.1", *digest(host), "--dry-run")["was_here"] is False
    made = data(host, "unpack", "1.1", *digest(host))
    assert (made["version"], made["state"], made["signer"]) == ("1.1", "unpacked", None)
    host.runs = "1.1"
    assert data(host, "commit") == {"version": "1.1", "state": "permanent", "changed": True, "before": "1.0"}
    assert [(one["version"], one["state"], one["running"]) for one in data(host, "releases")] == [
        ("1.0", "old", False),
        ("1.1", "permanent", True),
    ]
    assert data(host, "rollback") == {"version": "1.0", "from": "1.1", "changed": True}
    host.runs = "1.0"
    assert data(host, "remove", "1.1")["deleted"][-1] == "releases/1.1"
    assert data(host, "create-releases") == {"permanent": "1.0", "releases": ["1.0"]}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["unpack", "9.9"], 1, "error: version 9.9 is neither here nor in"),
        (["unpack", "1.1"], 1, "error: nothing says where"),
        (["unpack", "1.1", "--sha256", "00"], 1, "get it again"),
        (["unpack", "/nowhere/hello-1.1.tar.zst", "--sha256", "00"], 1, "can't be read: No such file"),
        (["unpack", "1.1", "--allowed-signers", "/nowhere"], 1, "the allowed signers /nowhere can't be read"),
        (["commit", "1.1"], 1, "error: there is no version 1.1 here to commit"),
        (["rollback"], 1, "error: there is no version before 1.0 to go back to"),
        (["remove", "1.0"], 1, "error: remove 1.0 is refused"),
        (["create-releases", "--permanent", "1.1"], 1, "error: version 1.0 boots, not 1.1"),
        (["remove"], 2, "error: remove needs VERSION; usage: "),
        (["unpack"], 2, "error: unpack needs VERSION or FILE; usage: "),
        (["commit", "1.0", "1.1"], 2, "error: commit does not take '1.1'; usage: "),
        (["releases", "--dry-run"], 2, "error: releases does not take '--dry-run'; usage: "),
        (["remove", "1.0", "--dry"], 2, "error: remove does not take '--dry'; did you mean '--dry-run'? usage: "),
    ],
)
def test_what_can_t_be_done_has_its_status(host: Host, arguments: list[str], status: int, words: str) -> None:
    """1 for what failed, 2 for what can't be understood, each with a sentence."""
    assert words in run(host, *arguments, status=status)


@pytest.mark.parametrize(
    "command", [["unpack", "1.1"], ["commit"], ["rollback"], ["remove", "1.1"], ["create-releases"]]
)
def test_while_one_is_at_it_the_others_end_with_75(host: Host, command: list[str]) -> None:
    """At once; only what reads goes on."""
    with host.var.transaction.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert "is running; try again when that is done" in run(host, *command, status=75)
        assert "1.0  permanent" in run(host, "releases")


def test_a_disk_that_fails_is_a_sentence(host: Host) -> None:
    """What the system says, of which file, and that the same command may be run again."""
    host.var.ledger.mkdir()

    assert "RELEASES can't be read: Is a directory" in run(host, "releases", status=1)
    host.var.ledger.rmdir()
    host.directory.transaction.touch()
    assert "could not go on: Not a directory" in run(host, "unpack", "1.1", *digest(host), status=1)


def test_who_may_sign_can_be_said_by_a_variable(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELEASE_ALLOWED_SIGNERS, so that a deploy need not repeat it; a digest does not get around it."""
    monkeypatch.setenv("RELEASE_ALLOWED_SIGNERS", "/nowhere")

    assert "the allowed signers /nowhere can't be read" in run(host, "unpack", "1.1", *digest(host), status=1)


def test_the_ledger_on_disk_is_json(host: Host) -> None:
    """For whoever looks into it: what is current is not in it."""
    run(host, "unpack", "1.1", *digest(host))
    host.runs = "1.1"
    run(host, "unpack", "1.1")

    document = json.loads(host.var.ledger.read_text())
    assert {version: fields["state"] for version, fields in document["releases"].items()} == {
        "1.0": "permanent",
        "1.1": "unpacked",
    }
    assert host.states == {"1.0": "permanent", "1.1": "current"}
    assert host.manifest("1.1").release_id == ledger.recorded(host.var)["1.1"].release_id
