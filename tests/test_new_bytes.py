"""Files of a release are changed as a whole."""

from __future__ import annotations

import os
from pathlib import Path

from underway.toolchain.new_bytes import rewrite


def test_other_names_of_a_file_keep_their_bytes(tmp_path: Path) -> None:
    """What is a hard link to a cache's is another file afterwards, of the same mode; only it is changed."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.write_bytes(b"#!a script")
    theirs.chmod(0o750)
    os.link(theirs, ours)

    assert rewrite(ours, b"#!", bytes.upper)

    assert (ours.read_bytes(), theirs.read_bytes()) == (b"#!A SCRIPT", b"#!a script")
    assert ours.stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_what_begins_otherwise_or_stays_the_same_is_left_alone(tmp_path: Path) -> None:
    """A file of another kind, a link, and bytes that come out as they were: the file is the same one."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"#!A")
    link.symlink_to("file")
    before = file.stat().st_ino

    assert not rewrite(file, b"\x7fELF", bytes.lower)
    assert not rewrite(file, b"#!", bytes.upper)
    assert not rewrite(link, b"#!", bytes.lower)
    assert (file.stat().st_ino, link.is_symlink()) == (before, True)
