"""bin/NAME and bin/cluster serve all versions: the newest of those that were unpacked is in place, whole, at any moment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from archive_helpers import File
from underway_runtime.upgrade import command_files
from underway_runtime.upgrade.remove import remove
from upgrade_helpers import Host, make_host, release_files

TEMPLATES = Path(__file__).parents[1] / "src/underway/templates"
OLD = File(b"#!/bin/sh\n", executable=True)
"""From before there were revisions; what make_host has."""


def command(revision: int, more: str = "") -> File:
    return File(f"#!/bin/sh\n# revision {revision}\necho {more}\n".encode(), executable=True)


def release(version: str, **commands: File) -> dict[str, File]:
    """The files of a version with these commands."""
    return release_files(version) | {f"bin/{name}": file for name, file in commands.items()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """hello-1.0 with a bin/hello from before there were revisions."""
    return make_host(tmp_path)


def brought(host: Host, version: str, **commands: File) -> bytes:
    """What bin/hello is once a version with these commands was unpacked; all versions are whole then."""
    host.archive(version, release(version, **commands))
    host.unpack(version)
    assert [host.problems(each) for each in host.states] == [[]] * len(host.states)
    return host.directory.command("hello").read_bytes()


@pytest.mark.parametrize("name", ["name.sh", "cluster/cluster.sh"])
def test_our_commands_say_their_revision(name: str) -> None:
    """Those that this version builds are newer than those from before."""
    assert command_files.revision(TEMPLATES / name) >= 2


@pytest.mark.parametrize("kind", ["archive", "delta"])
def test_an_old_command_is_brought_up_to_date(host: Host, kind: str) -> None:
    """Whether the version comes as an archive or as a delta; it can be executed, and nothing is left next to it."""
    new = command(2)
    getattr(host, kind)("1.1", release("1.1", hello=new))

    host.unpack("1.1")

    file = host.directory.command("hello")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (new.content, 0o755)
    assert os.listdir(host.directory.bin) == ["hello"]
    assert host.problems("1.0") == host.problems("1.1") == []


def test_an_older_version_does_not_take_a_newer_command_back(host: Host) -> None:
    """Nor one of the same revision with other contents: whoever was first stays."""
    first = command(3, "first")

    assert brought(host, "1.3", hello=first) == first.content
    assert brought(host, "1.1", hello=command(2)) == first.content
    assert brought(host, "1.2", hello=command(3, "second")) == first.content
    assert brought(host, "1.4", hello=OLD) == first.content
    assert brought(host, "1.5", hello=command(10)) == command(10).content


def test_the_command_of_a_cluster_too(host: Host) -> None:
    """And no other file that versions share: those are of whoever came first."""
    files = {"cluster": command(1, "cluster"), "tool": command(1, "tool")}
    brought(host, "1.1", **files)
    brought(host, "1.2", **{name: command(2, name) for name in files})

    assert (host.directory.bin / "cluster").read_bytes() == command(2, "cluster").content
    assert (host.directory.bin / "tool").read_bytes() == command(1, "tool").content


def test_a_command_that_was_damaged_is_repaired_by_a_newer_one(host: Host) -> None:
    """One that says nothing of itself counts as the first; a link that somebody has put there is his."""
    place = host.directory.command("hello")
    place.write_bytes(b"damaged")
    assert brought(host, "1.1", hello=command(2)) == command(2).content
    place.unlink()
    place.symlink_to("elsewhere")
    host.archive("1.2", release("1.2", hello=command(3)))

    host.unpack("1.2")

    assert os.readlink(place) == "elsewhere"


def test_when_the_version_that_brought_it_is_removed_it_stays(host: Host) -> None:
    """It is known to the releases that stay, which are whole."""
    brought(host, "1.1", hello=command(2))
    brought(host, "1.2", hello=OLD)

    remove(host.handler, "1.1")

    assert host.directory.command("hello").read_bytes() == command(2).content
    assert host.problems("1.0") == host.problems("1.2") == []


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("dies", ["releases/1.1", "bin/hello"])
def test_a_dead_unpack_leaves_one_or_the_other(host: Host, dies: str) -> None:
    """Killed as it renames the version, or the command: it is whole, and the next transaction does what is left."""
    host.archive("1.1", release("1.1", hello=command(2)))
    child = os.fork()
    if not child:
        target = str(host.root / dies)
        sys.addaudithook(lambda event, found: os._exit(9) if event == "os.rename" and str(found[1]) == target else None)
        try:
            host.unpack("1.1")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    file = host.directory.command("hello")
    assert file.read_bytes() == OLD.content

    host.unpack("1.1")

    assert file.read_bytes() == command(2).content
    assert host.problems("1.0") == host.problems("1.1") == []
    assert not host.directory.transaction.exists()


def test_a_dry_run_leaves_it(host: Host) -> None:
    """It changes nothing."""
    host.archive("1.1", release("1.1", hello=command(2)))

    host.unpack("1.1", dry_run=True)

    assert host.directory.command("hello").read_bytes() == OLD.content
