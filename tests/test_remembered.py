"""What was deployed from here, as `deploy --stop` recalls it: who could say so decides where root logs in, and what is run there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underway_runtime.cluster import remembered
from underway_runtime.cluster.inventory import Fleet, Host
from underway_runtime.release.directory import VarDirectory
from underway_runtime.release.errors import UnderwayError

FLEET = Fleet((Host("h1", role="worker"),), directory="/srv/hello")
SERVICE = 22899


@pytest.fixture
def var(tmp_path: Path) -> VarDirectory:
    return VarDirectory(tmp_path / "var")


def test_what_was_started_is_recalled_until_it_is_stopped(var: VarDirectory) -> None:
    """The hosts and their directory; of what was never deployed, nothing."""
    assert remembered.recall(var) == []

    remembered.remember(var, FLEET)

    assert [(fleet.hosts, fleet.directory) for fleet in remembered.recall(var)] == [(FLEET.hosts, FLEET.directory)]
    remembered.forget(var, FLEET.directory, FLEET.hosts)
    assert remembered.recall(var) == []


@pytest.mark.parametrize("owned", ["var", "var/cluster"])
def test_what_another_user_could_have_written_is_not_believed(var: VarDirectory, owned: str) -> None:
    """A directory that it is in may not be another's, who would name a host and a program for root to run there."""
    if os.geteuid() != 0:
        pytest.skip("only root can give something away")
    remembered.remember(var, FLEET)
    os.chown(var.path.parent / owned, SERVICE, SERVICE)

    with pytest.raises(UnderwayError, match=r"deployed\.json.*belongs to user 22899.*name the hosts"):
        remembered.recall(var)


@pytest.mark.parametrize("kind", ["link", "FIFO", "deep", "no table", "directory"])
def test_what_is_not_a_list_of_hosts_is_an_error(var: VarDirectory, kind: str) -> None:
    """One sentence, and nothing is waited for."""
    var.deployed.parent.mkdir(parents=True)
    match kind:
        case "link":
            var.deployed.symlink_to("/dev/zero")
        case "FIFO":
            os.mkfifo(var.deployed)
        case "deep":
            var.deployed.write_text("[" * 100_000)
        case "no table":
            var.deployed.write_text('{"hosts": [{"host": "-oProxyCommand=x"}]}')
        case _:
            var.deployed.mkdir()

    with pytest.raises(UnderwayError, match=r"(?s)can't be read: .*; name the hosts"):
        remembered.recall(var)
