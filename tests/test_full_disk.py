"""A version is removed to make room, so nothing of that may need any."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dying
from disks import small_disk
from projects import run
from underway_runtime.control.client.client import Place
from underway_runtime.release import ledger
from underway_runtime.release.errors import UndoneError, place_of
from underway_runtime.upgrade import watch_gates
from underway_runtime.upgrade.handler import rollback
from underway_runtime.upgrade.install import InstallResult
from underway_runtime.upgrade.remove import remove
from upgrade_helpers import Host, make_host

pytestmark = [
    pytest.mark.needs_tool("mount", "mount"),
    pytest.mark.needs_tool("mkfs.ext4", "e2fsprogs"),
    pytest.mark.timeout(300),
]


@contextmanager
def ext4(place: Path) -> Iterator[Path]:
    """A small disk with a file system that needs a block for a directory."""
    image = place.with_suffix(".image")
    image.touch()
    os.truncate(image, 4 << 20)
    place.mkdir()
    if run(["/sbin/mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal,^metadata_csum", image]).returncode != 0:
        pytest.skip("needs mkfs.ext4")
    if run(["/bin/mount", "-o", "loop", image, place]).returncode != 0:
        pytest.skip("needs the right to mount a file")
    try:
        yield place
    finally:
        run(["/bin/umount", place])


def fill(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass


def here(host: Host) -> None:
    """hello-1.0 runs, and 1.1 was unpacked."""
    archive = host.archive("1.1")
    host.unpack(str(archive), archive)


def removed(host: Host) -> None:
    assert host.states == {"1.0": "permanent"}
    assert host.problems("1.0") == []
    assert not [path for path in host.root.rglob("*") if "1.1" in path.name and "incoming" not in path.parts]


@pytest.mark.parametrize("is_first", [False, True], ids=["after other commands", "as the first command"])
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_version_is_removed_from_a_full_disk(tmp_path: Path, kind: str, is_first: bool) -> None:
    """On a disk without a free byte `remove` does what it does elsewhere."""
    with small_disk(tmp_path / "disk", "size=2m") if kind == "tmpfs" else ext4(tmp_path / "disk") as disk:
        host = make_host(disk)
        here(host)
        if is_first:
            host.var.transaction.unlink()
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (host.var.path / "more").write_bytes(bytes(1 << 16))
        (host.var.path / "more").unlink(missing_ok=True)
        remove(host.handler, "1.1")
        removed(host)


def test_a_version_is_removed_where_there_are_no_inodes(tmp_path: Path) -> None:
    """Not even a directory can be made, and the version goes all the same."""
    with small_disk(tmp_path / "disk", "size=2m,nr_inodes=120") as disk:
        host = make_host(disk)
        here(host)
        try:
            for number in range(200):
                (disk / f"file{number}").touch()
        except OSError:
            pass
        assert os.statvfs(disk).f_ffree == 0
        remove(host.handler, "1.1")
        removed(host)


def test_a_version_is_removed_where_var_alone_is_full(tmp_path: Path) -> None:
    """The ledger keeps what it said, which whoever reads it knows better; the next command with room writes it."""
    with small_disk(tmp_path / "disk", "size=256k") as disk:
        host = make_host(tmp_path)
        host.var.path.rmdir()
        host.var.path.symlink_to(disk)
        builder = Host(tmp_path / "elsewhere")
        archive = builder.archive("1.1")
        host.unpack(str(archive), archive)
        fill(disk)
        remove(host.handler, "1.1")
        assert host.states == {"1.0": "permanent"}
        assert "1.1" in ledger.recorded(host.var)
        (disk / "filler").unlink()
        archive = builder.archive("1.2")
        host.unpack(str(archive), archive)
        assert [*ledger.recorded(host.var)] == ["1.0", "1.2"]


def test_what_boots_a_copy_is_named_on_a_full_disk_too(tmp_path: Path) -> None:
    """Where releases/start.data names what goes, it names what is permanent afterwards."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        host = make_host(disk)
        host.upgrade("1.1")
        host.runs = "1.1"
        fill(disk)
        remove(host.handler, "1.0")
        assert host.directory.start_data.read_text().split()[1] == "1.1"
        assert host.problems("1.1") == []


def test_what_has_changed_before_there_was_no_room_is_said(tmp_path: Path) -> None:
    """A commit that could only write what boots says so, and is completed by the same command."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        host = make_host(disk)
        here(host)
        host.var.transaction.touch()
        fill(disk)
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 4096)
        done = dying.release(host.root, ["commit"], "1.1", tmp_path, runs="1.1")
        assert done.status == 1
        assert (
            f"commit could not go on: No space left on device: {host.var.ledger}; 1.1 runs and 1.1 boots" in done.output
        )
        (disk / "filler").unlink()
        assert dying.release(host.root, ["commit"], "1.1", tmp_path, runs="1.1").status == 0
        host.runs = "1.1"
        assert host.states == {"1.0": "old", "1.1": "permanent"}


def test_what_was_not_committed_is_gone_back_from_on_a_full_disk(tmp_path: Path) -> None:
    """It may be what has filled it; that it was left is not remembered."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        host = make_host(disk)
        here(host)
        host.runs = "1.1"
        fill(disk)
        changes: list[tuple[str, str]] = []
        rollback(host.handler, change=lambda *versions: changes.append(versions))
    assert changes == [("1.1", "1.0")]


def test_a_failure_that_can_not_be_written_down_is_undone_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate fails after the switch, of a version that has filled the disk: the version before takes over again."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        host = make_host(disk)
        here(host)
        fill(disk)
        taken_over: list[object] = []
        monkeypatch.setattr(watch_gates, "connect", lambda place: io.BytesIO())
        monkeypatch.setattr(watch_gates, "_missed", lambda connection, version: ["/ready answers 500"])
        monkeypatch.setattr(watch_gates, "hand_over", lambda place, version, *_: taken_over.append(version))
        place = Place({"RELEASE_ROOT": str(host.root), "RELEASE_NAME": "hello", "RELEASE_VSN": "1.0"})
        installed = InstallResult("1.1", "1.0", "unpacked", "handover", id="0")
        with pytest.raises(UndoneError, match=r"1\.1 has failed, and 1.0 has taken over again"):
            watch_gates.watch(host.handler, place, installed)
    assert taken_over == ["1.0"]
    assert "RELEASES can't be written (No space left on device), and does not say how" in capsys.readouterr().err


@pytest.mark.parametrize("copy", [shutil.copyfile, shutil.copy2])
def test_what_can_not_be_copied_is_named_by_where_it_was_to_go(tmp_path: Path, copy: Callable[..., object]) -> None:
    """Not by what was read, whose disk may have all the room there is."""
    (tmp_path / "source").write_bytes(bytes(1 << 20))
    with small_disk(tmp_path / "disk", "size=8k") as disk:
        with pytest.raises(OSError, match="No space left") as caught:
            copy(tmp_path / "source", disk / "target")
        assert str(place_of(caught.value)) == str(disk / "target")
    with pytest.raises(OSError, match="No such file") as caught:
        copy(tmp_path / "none", tmp_path / "target")
    assert str(place_of(caught.value)) == str(tmp_path / "none")


def test_what_finds_no_room_is_named(tmp_path: Path) -> None:
    """An error for want of room names the file that was to be written."""
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        host = make_host(disk)
        here(host)
        fill(disk)
        with pytest.raises(OSError, match="No space left") as caught:
            ledger.write(host.var, ledger.read(host.directory, host.var))
        assert caught.value.filename == str(host.var.ledger)
