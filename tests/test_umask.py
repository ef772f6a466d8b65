"""Modes of what underway makes: nobody but the owner writes there, whatever the umask of who began it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from node_helpers import MakeNode, recorder
from underway_runtime.upgrade.remove import remove
from upgrade_helpers import make_host, release_files, with_file


@pytest.mark.parametrize(
    ("umask", "mode"),
    [(0o000, 0o750), (0o002, 0o750), (0o022, 0o755), (0o027, 0o750), (0o077, 0o700), (0o777, 0o700), (0o307, 0o750)],
)
def test_nobody_else_writes_in_var_whatever_the_umask(make: MakeNode, umask: int, mode: int) -> None:
    """Of all that a daemon and a command make there; var, run and log are for the owner, whatever it takes from him, and for others at
    most to look at."""
    node = make(recorder("one"))
    assert node.run("daemon", umask=umask).returncode == 0
    assert node.run("rpc", "1", umask=umask).returncode == 0

    found = {
        place: place.lstat().st_mode & 0o777 for place in (node.var, *node.var.rglob("*")) if not place.is_symlink()
    }

    assert {place for place, bits in found.items() if bits & 0o022} == set()
    assert [found[node.var / name] for name in ("", "run", "log")] == [mode] * 3
    assert node.run("stop").returncode == 0


STRANGER = 22896


@pytest.mark.parametrize("kind", ["setgid", "ACL"])
def test_what_a_directory_hands_down_lets_nobody_write(make: MakeNode, kind: str) -> None:
    """Where `var` is made in a directory of a group's, or with a default ACL that lets another write: that is read, at most."""
    node = make(recorder("one"))
    above = node.root.parent / "above"
    above.mkdir()
    if kind == "setgid":
        os.chown(above, -1, STRANGER)
        above.chmod(0o2777)
    else:
        entries = ((1, 7, -1), (2, 7, STRANGER), (4, 7, -1), (0x10, 7, -1), (0x20, 7, -1))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(above, "system.posix_acl_default", acl)
    node.environ["RELEASE_VAR"] = str(above / "var")

    assert node.run("daemon", umask=0).returncode == 0
    assert node.run("rpc", "1", umask=0).returncode == 0

    made = [above / "var", *(above / "var").rglob("*")]
    assert len(made) > 5
    assert [path for path in made if path.lstat().st_mode & 0o022] == []
    assert node.run("stop").returncode == 0


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_directories_of_the_tree_are_for_others_to_read(tmp_path: Path, umask: int) -> None:
    """Those that unpack and remove make too: nobody but the owner puts code there."""
    host = make_host(tmp_path)
    host.var.incoming.mkdir()
    before = os.umask(umask)
    try:
        host.archive("1.1", with_file(release_files("1.1"), "etc/hello/more/file", b"1"))
        host.unpack("1.1")
        remove(host.handler, "1.1")
        host.archive("1.2", with_file(release_files("1.2"), "etc/hello/more/file", b"1"))
        host.unpack("1.2")
    finally:
        os.umask(before)

    modes = {place: place.stat().st_mode & 0o777 for place in host.root.rglob("*") if place.is_dir()}
    assert {place for place, mode in modes.items() if mode & 0o022} == set()
    assert [modes[host.root / name] for name in ("etc", "etc/hello", "etc/hello/more")] == [0o755] * 3
