"""Archives as an attacker would have them: each is refused, and nothing of it is ever on disk."""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive_helpers import (
    DATE,
    File,
    Jail,
    Member,
    changed,
    files,
    forge,
    look,
    make_tree,
    manifest_of,
    member,
    members,
    mutate,
    packed,
    save,
    tar_of,
    unpack_tar,
    write_archive,
)
from underway_runtime.release.archives import archive, compression, tar_layout
from underway_runtime.release.archives.archive import ArchiveRefused, Limits
from underway_runtime.release.errors import UnderwayError
from underway_runtime.release.manifest import Manifest, dump

FILES = files()
MANIFEST = manifest_of(FILES)
EVIL = "lib/hello-1.0/hello/hello.py"
BEFORE_EVIL = "lib/hello-1.0/hello/__init__.py"


class Refuser(Jail):
    """Unpacks what must be refused."""

    def refuses(self, data: bytes, match: str, limits: Limits = archive.LIMITS) -> None:
        """Reading and unpacking are refused with these words, and around the place nothing has changed."""
        file = save(self.place.parent / "incoming", data)
        with pytest.raises(ArchiveRefused, match=match):
            archive.check(file, limits)
        with pytest.raises(ArchiveRefused, match=match):
            archive.extract(file, self.into, limits)
        self.check_untouched()


@pytest.fixture
def jail(tmp_path: Path) -> Refuser:
    """A place to unpack in, next to things that must never change."""
    return Refuser(tmp_path / "jail")


def with_member(path: str, *instead: Member | bytes) -> bytes:
    """The archive, with something else where a member should be."""
    parts: list[Member | bytes] = []
    for one in members(FILES):
        parts += instead if one.info.name == path else [one]
    return packed(forge(MANIFEST, parts))


def the(path: str) -> Member:
    return member(path, FILES[path])


def test_what_is_forged_here_would_be_taken_without_the_attack(tmp_path: Path) -> None:
    """The forger of these tests makes good archives too: what is refused is refused for the attack."""
    archive.extract(save(tmp_path, packed(forge(MANIFEST, members(FILES)))), tmp_path / "out")

    make_tree(tmp_path / "hello")
    assert look(tmp_path / "out") == look(tmp_path / "hello")


# What is not a file and no link.


def test_a_hard_link_is_refused(jail: Refuser) -> None:
    """A hard link could make a file outside a file of the release."""
    link = changed(the(EVIL), type=tarfile.LNKTYPE, linkname="../../etc/passwd", size=0)
    jail.refuses(with_member(EVIL, replace(link, content=b"")), "it has a hard link, 'lib/hello-1.0/hello/hello.py'")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE], ids=["character", "block"])
def test_a_device_is_refused(jail: Refuser, kind: bytes) -> None:
    """A device would give whoever unpacks as root a way to the disk or the memory."""
    device = changed(the(EVIL), type=kind, devmajor=1, devminor=3, size=0)
    jail.refuses(with_member(EVIL, replace(device, content=b"")), "it has a device")


def test_a_fifo_is_refused(jail: Refuser) -> None:
    """A pipe would stop whoever reads it."""
    jail.refuses(with_member(EVIL, replace(changed(the(EVIL), type=tarfile.FIFOTYPE, size=0), content=b"")), "a fifo")


def test_a_directory_as_member_is_refused(jail: Refuser) -> None:
    """A directory's mode and owner are nobody's to give."""
    directory = Member(
        changed(the(EVIL), name="lib/hello-1.0/hello/sub/", type=tarfile.DIRTYPE, mode=0o777, size=0).info
    )
    jail.refuses(with_member(EVIL, directory, the(EVIL)), "it has a directory")


def test_an_unknown_kind_of_member_is_refused(jail: Refuser) -> None:
    """What tar programs treat as a file, whatever its type says, is none."""
    jail.refuses(with_member(EVIL, changed(the(EVIL), type=b"7")), "the header of .* does not fit the manifest")


# Modes and other fields of a header.


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1644, 0o666, 0o777, 0o755, 0o600, 0])
def test_any_other_mode_is_refused(jail: Refuser, mode: int) -> None:
    """No setuid, no setgid, nothing writable, nothing that the manifest does not call executable."""
    jail.refuses(
        with_member(EVIL, changed(the(EVIL), mode=mode)), "the header of .*hello.py' does not fit the manifest"
    )


@pytest.mark.parametrize("fields", [{"uid": 1000}, {"gid": 5}, {"uname": "root"}, {"mtime": DATE + 1}], ids=str)
def test_owners_and_dates_of_single_members_are_refused(jail: Refuser, fields: dict[str, Any]) -> None:
    """There is one way to write a header; a field that is another's is a sign of another writer."""
    jail.refuses(with_member(EVIL, changed(the(EVIL), **fields)), "does not fit the manifest")


def test_a_wrong_checksum_of_a_header_is_refused(jail: Refuser) -> None:
    """A header that is damaged is not guessed at."""
    block = bytearray(the(EVIL).dump())
    block[150] ^= 1
    jail.refuses(with_member(EVIL, bytes(block)), "there is no member where 'lib/hello-1.0/hello/hello.py' should be")


# Names.


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../etc/passwd", "lib/../../x", "./bin/hello", "lib//x", "var/COOKIE"]
)
def test_a_name_that_leaves_the_release_is_refused(jail: Refuser, name: str) -> None:
    """A member by such a name is in no manifest."""
    jail.refuses(with_member(EVIL, changed(the(EVIL), name=name)), "which the manifest does not list")


def test_a_member_that_is_not_listed_is_refused(jail: Refuser) -> None:
    """One file more than the manifest lists, anywhere."""
    evil = member("lib/hello-1.0/evil.pth", File(b"import os"))
    jail.refuses(
        with_member(EVIL, evil, the(EVIL)), "it has 'lib/hello-1.0/evil.pth', which the manifest does not list"
    )
    jail.refuses(packed(forge(MANIFEST, [*members(FILES), evil])), "does not list, at its end")


def test_a_member_twice_is_refused(jail: Refuser) -> None:
    """The second would replace the first, after it was checked."""
    jail.refuses(with_member(EVIL, the(EVIL), the(EVIL)), "each member comes once, sorted by path")


def test_a_manifest_twice_is_refused(jail: Refuser) -> None:
    """There is one manifest, the one that was read."""
    text = dump(MANIFEST).encode()
    again = member("releases/1.0/manifest.json", File(text))
    jail.refuses(with_member("releases/1.0/start.script", again, the("releases/1.0/start.script")), "does not list")


def test_members_out_of_order_are_refused(jail: Refuser) -> None:
    """Each comes in its place; none is waited for."""
    jail.refuses(with_member(EVIL, the("releases/start.data"), the(EVIL)), "it has 'releases/start.data' where")


@pytest.mark.parametrize("path", list(FILES))
def test_a_missing_member_is_refused(jail: Refuser, path: str) -> None:
    """An archive that lacks a file, the first, the last or any other, is none."""
    jail.refuses(with_member(path), "each member comes once|it ends where")


# Links.


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "libpython.so.2", ""])
def test_a_link_elsewhere_is_refused(jail: Refuser, target: str) -> None:
    """A link leads where the manifest says."""
    path = "python-3.11.2/lib/libpython.so"
    jail.refuses(with_member(path, changed(the(path), linkname=target)), "does not fit the manifest")


def test_a_link_in_the_place_of_a_file_is_refused(jail: Refuser) -> None:
    """What is listed as a file is one."""
    link = Member(changed(the(EVIL), type=tarfile.SYMTYPE, linkname="hello", size=0).info)
    jail.refuses(with_member(EVIL, link), "it has a symbolic link")


def test_a_file_in_the_place_of_a_link_is_refused(jail: Refuser) -> None:
    """What is listed as a link is one."""
    path = "python-3.11.2/lib/libpython.so"
    jail.refuses(with_member(path, member(path, File(b"library"))), "does not fit the manifest")


def test_a_link_with_content_is_refused(jail: Refuser) -> None:
    """Some programs skip what follows a link by its size, and some do not: a member hidden from one of the two."""
    path = "python-3.11.2/lib/libpython.so"
    jail.refuses(
        with_member(path, replace(changed(the(path), size=512), content=b"x" * 512)), "does not fit the manifest"
    )


# Overrides: what one reader of tars obeys and another does not.


def pax(**records: str) -> bytes:
    return b"".join(tar_layout._record(key.encode(), value.encode()) for key, value in records.items())


def extended(kind: bytes, content: bytes, name: str = "././@PaxHeader") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.mtime = kind, len(content), 0o644, DATE
    return Member(info, content)


@pytest.mark.parametrize(
    "records",
    [{"path": "../../etc/passwd"}, {"linkpath": "/etc"}, {"size": "0"}, {"size": "99999999999"}, {"mode": "4755"}, {}],
    ids=str,
)
@pytest.mark.parametrize("kind", [b"x", b"g"], ids=["one", "all"])
def test_pax_overrides_are_refused(jail: Refuser, records: dict[str, str], kind: bytes) -> None:
    """A pax record could give the member another name, target or size than its header says."""
    jail.refuses(with_member(EVIL, extended(kind, pax(**records)), the(EVIL)), "it has a pax header")


def test_a_pax_record_for_the_right_name_is_refused(jail: Refuser) -> None:
    """Even one that says nothing new: a name that fits has none."""
    jail.refuses(with_member(EVIL, extended(b"x", pax(path=EVIL)), the(EVIL)), "it has a pax header")


@pytest.mark.parametrize("more", [{"size": "0"}, {"path": "etc/passwd"}, {"linkpath": "x"}], ids=str)
def test_a_pax_record_for_a_long_name_holds_nothing_else(jail: Refuser, more: dict[str, str]) -> None:
    """Where a record is needed, it is exactly the one that is needed; the last of two would win elsewhere."""
    path = "lib/" + "n" * 120
    contents = {path: File(b"content")}
    record, name = pax(path=path), path[:100]
    good = [extended(b"x", record), changed(member(name, File(b"content")))]
    assert forge(manifest_of(contents), good) == tar_of(contents)

    evil = [extended(b"x", record + pax(**more)), good[1]]
    jail.refuses(packed(forge(manifest_of(contents), evil)), "it has a pax header")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK], ids=["name", "link"])
def test_gnu_long_names_are_refused(jail: Refuser, kind: bytes) -> None:
    """GNU's own way to override a name or a target."""
    long = extended(kind, b"../../etc/passwd\0", "././@LongLink")
    jail.refuses(with_member(EVIL, long, the(EVIL)), "it has a GNU long")


def test_a_sparse_file_is_refused(jail: Refuser) -> None:
    """A sparse map makes terabytes of a few bytes."""
    jail.refuses(with_member(EVIL, changed(the(EVIL), type=tarfile.GNUTYPE_SPARSE)), "it has a sparse file")


def test_a_gnu_header_is_refused(jail: Refuser) -> None:
    """GNU's own kind of header, with sizes in base 256, is not ours."""
    jail.refuses(with_member(EVIL, replace(the(EVIL), format=tarfile.GNU_FORMAT)), "does not fit the manifest")


# Contents and sizes.


def test_another_content_is_refused(jail: Refuser) -> None:
    """One byte of a file is enough."""
    evil = b"x" + FILES[EVIL].content[1:]
    jail.refuses(with_member(EVIL, replace(the(EVIL), content=evil)), "is not what the manifest says: its sha256 is")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 8**11 - 1], ids=str)
def test_another_size_is_refused(jail: Refuser, size: int) -> None:
    """A header can't claim more or less than the manifest lists, however huge."""
    jail.refuses(with_member(EVIL, changed(the(EVIL), size=size)), "does not fit the manifest")


def test_a_negative_size_is_refused(jail: Refuser) -> None:
    """A size in base 256 may be negative, and would send a reader back."""
    block = bytearray(the(EVIL).dump())
    block[124:136] = b"\xff" * 12
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:512]) + 256)
    jail.refuses(with_member(EVIL, bytes(block)), "does not fit the manifest")


def test_what_fills_a_block_is_zeros(jail: Refuser) -> None:
    """No bytes hide behind a file."""
    hidden = the(EVIL).dump()[:-4] + b"evil"
    jail.refuses(with_member(EVIL, hidden), "the last block of 'lib/hello-1.0/hello/hello.py' is not filled with zeros")


# The end.


@pytest.mark.parametrize("kind", [".zst", ".gz"])
def test_bytes_behind_the_archive_are_refused(jail: Refuser, kind: str) -> None:
    """Nothing follows the compressed data, neither a byte nor a second stream, which some readers would go on with."""
    good = packed(tar_of(FILES), kind)
    for more in (b"\0", b"PK\3\4", good, packed(b"", kind), packed(tar_of(files(hello=b"evil")), kind)):
        jail.refuses(good + more, "something follows its compressed data")


@pytest.mark.parametrize(
    "more", [b"\0" * 512, bytes(9 * 1024), b"x", None], ids=["a block", "a record", "a byte", "a tar"]
)
def test_bytes_behind_the_end_are_refused(jail: Refuser, more: bytes | None) -> None:
    """The tar ends with two blocks of zeros, and so does what was compressed."""
    more = tar_of(FILES) if more is None else more
    jail.refuses(packed(tar_of(FILES) + more), "it goes on after its end")


def test_a_skippable_frame_is_refused(jail: Refuser) -> None:
    """zstd's frames for other people's data could hide anything before or behind."""
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"evil"
    jail.refuses(skippable + packed(tar_of(FILES)), "it is neither a .tar.zst nor a .tar.gz")
    jail.refuses(packed(tar_of(FILES)) + skippable, "something follows its compressed data")


@pytest.mark.parametrize(
    "end", [b"", bytes(512), bytes(1023), b"\1" + bytes(1023)], ids=["none", "one", "short", "other"]
)
def test_another_end_is_refused(jail: Refuser, end: bytes) -> None:
    """A tar whose end is missing, half there or not zeros is not whole."""
    jail.refuses(packed(forge(MANIFEST, members(FILES), end)), "it is cut off at its end|there is no member at its end")


@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.drill)])
@pytest.mark.parametrize("kind", [".zst", ".gz"])
def test_a_truncated_archive_is_refused(jail: Refuser, kind: str, every: int) -> None:
    """Cut off anywhere, it is refused."""
    good = packed(tar_of(FILES), kind)
    for size in range(0, len(good), every):
        jail.refuses(good[:size], "it is cut off|it is neither")


@pytest.mark.parametrize("every", [512, pytest.param(16, marks=pytest.mark.drill)])
def test_a_truncated_tar_is_refused(jail: Refuser, every: int) -> None:
    """Cut off within, and compressed as if it were whole, it is refused."""
    tar = tar_of(FILES)
    for size in range(0, len(tar), every):
        jail.refuses(packed(tar[:size]), "cut off|it ends|does not begin|is not filled with zeros")


# Sizes that are meant to hurt.


def test_a_bomb_behind_the_end_is_not_unpacked(jail: Refuser) -> None:
    """A gigabyte of zeros in a few kilobytes: what the manifest does not announce is not decompressed."""
    encoder = compression.encoder(".zst")
    bomb = encoder.compress(tar_of(FILES)) + b"".join(encoder.compress(bytes(1 << 20)) for _ in range(1024))
    bomb += encoder.flush()
    assert len(bomb) < 1 << 18

    jail.refuses(bomb, "it goes on after its end")


def test_a_huge_manifest_is_refused_by_its_size(jail: Refuser) -> None:
    """The one member that is read into memory is bounded before it is read."""
    path = tar_layout.manifest_path("1.0")
    head = tar_layout.header(path, replace(tar_layout.manifest_entry(b""), size=tar_layout.LARGEST), DATE)
    jail.refuses(packed(head + bytes(1 << 20)), "its manifest has 8589934591 bytes; 33554432 is the limit")


def test_too_many_files_are_refused_by_the_manifest(jail: Refuser) -> None:
    """The count is bounded before a file is written."""
    jail.refuses(packed(tar_of(FILES)), "it lists 10 files; 9 is the limit", Limits(files=9))


def test_too_many_bytes_are_refused_by_the_manifest(jail: Refuser) -> None:
    """The sum of all sizes is bounded before a byte is written."""
    jail.refuses(packed(tar_of(FILES)), "its files have 12.* bytes; 1000 is the limit", Limits(total=1000))
    huge = replace(MANIFEST, files={p: replace(e, size=tar_layout.LARGEST) for p, e in MANIFEST.files.items()})
    jail.refuses(packed(forge(huge, [])), r"its files have \d+ bytes; 34359738368 is the limit")


def test_a_large_window_is_refused(jail: Refuser) -> None:
    """A frame that asks the reader for more than 8 MiB of memory is not begun."""
    module = compression.zstd()
    options = {module.CompressionParameter.window_log: 24}
    encoder = module.ZstdCompressor(options=options)
    large = encoder.compress(tar_of(FILES)) + encoder.flush()
    jail.refuses(large, "it can't be decompressed: .*(memory|window)")


def test_a_frame_that_wants_a_dictionary_is_refused(jail: Refuser) -> None:
    """An archive stands alone."""
    module = compression.zstd()
    encoder = module.ZstdCompressor(zstd_dict=module.ZstdDict(tar_of(FILES), is_raw=True).as_prefix)
    jail.refuses(encoder.compress(tar_of(FILES)) + encoder.flush(), "it can't be decompressed|does not begin")


# gzip's own corners.


def test_fields_of_a_gzip_header_are_refused(jail: Refuser) -> None:
    """A name or comment in the header of gzip is a place for bytes that nobody checks."""
    body = packed(tar_of(FILES), ".gz")[10:]
    jail.refuses(b"\x1f\x8b\x08\x08" + bytes(6) + b"name\0" + body, "it is neither")


def test_a_wrong_checksum_of_gzip_is_refused(jail: Refuser) -> None:
    """gzip's own checksum counts as well."""
    good = packed(tar_of(FILES), ".gz")
    jail.refuses(good[:-8] + struct.pack("<I", zlib.crc32(b"evil")) + good[-4:], "it can't be decompressed")


@pytest.mark.parametrize("data", [b"", b"\x28", b"BZh9", b"PK\3\4" + bytes(100), tar_of(FILES)], ids=range(5))
def test_other_files_are_refused(jail: Refuser, data: bytes) -> None:
    """An empty file, a zip, a bzip2, a tar that is not compressed."""
    jail.refuses(data, "it is neither a .tar.zst nor a .tar.gz that underway made")


# Manifests.


def of_paths(*paths: str) -> bytes:
    """An archive whose manifest and members are as they should be, but for their names."""
    contents = {path: File(path.encode("utf-8", "replace")) for path in paths}
    manifest = manifest_of(contents)
    try:
        return packed(tar_of(contents))
    except UnicodeEncodeError:
        return packed(forge(manifest, []))


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("/etc/passwd", "is absolute"),
        ("//etc/passwd", "is absolute"),
        ("../etc/passwd", "has a part that is empty, '.' or '..'"),
        ("lib/../../etc/passwd", "has a part"),
        ("..", "has a part"),
        (".", "has a part"),
        ("./lib/x", "has a part"),
        ("lib/./x", "has a part"),
        ("lib//x", "has a part"),
        ("lib/x/", "has a part"),
        ("", "has a part"),
        ("lib\\..\\x", "holds a backslash or a control character"),
        ("lib/a\0b", "holds a backslash or a control character"),
        ("lib/a\nb", "holds a backslash or a control character"),
        ("lib/a\x1b[2Jb", "holds a backslash or a control character"),
        ("lib/\x7f", "holds a backslash or a control character"),
        ("lib/\x85", "holds a backslash or a control character"),
        ("lib/\udcff", "is not UTF-8"),
        ("var/COOKIE", "is in var/, which belongs to the node"),
        (".transaction/tree/x", "belongs to the node"),
        ("releases/shared.json", "belongs to the node"),
        ("var", "is in var/"),
        ("VAR/start.data", "is in var/"),
        ("v\u200bar/start.data", "is in var/"),
        ("\ufeff.transaction/tree/x", "belongs to the node"),
        ("releases\u2060/0.9/start.script", "is of another version"),
        ("releases/0.9/start.script", "is of another version"),
        ("Releases/1.0/start.script", "is of another version"),
        ("releases/1.0/manifest.json", "is the manifest"),
        ("releases/1.0/MANIFEST.json", "differ only in case"),
        ("lib/" + "x" * 256, "has a part of more than 255 bytes"),
        ("x/" * 512 + "y", "is longer than 1024 bytes"),
        ("x/" * 64 + "y", "is 65 names deep; 64 is the limit"),
    ],
)
def test_a_manifest_may_not_list_such_a_name(jail: Refuser, path: str, match: str) -> None:
    """Whatever the archive looks like otherwise: the name alone refuses it."""
    jail.refuses(of_paths(path), match)


@pytest.mark.parametrize(
    "paths",
    [
        ("lib/README", "lib/readme"),
        ("lib/stra\u00dfe", "lib/STRASSE"),
        ("lib/\u00e9", "lib/e\u0301"),
        ("A/b", "a/B"),
        ("lib/a\u200db", "lib/ab"),
        ("lib/\U000e0041", "lib/\ufe0f"),
        ("lib/\u0345\u0308", "lib/\u0308\u0345"),
    ],
    ids=["case", "ss", "accents", "directories", "joiner", "nothing else", "order of accents"],
)
def test_names_that_some_file_systems_take_for_one_are_refused(jail: Refuser, paths: tuple[str, str]) -> None:
    """The second would be written over the first there."""
    jail.refuses(of_paths(*paths), "differ only in case or accents")


@pytest.mark.parametrize("name", ["lib/a/b", "lib/A/b", "lib/a/b/c"])
def test_a_name_below_a_link_is_refused(jail: Refuser, name: str) -> None:
    """A file that would be written through a link, also where the file system does not care for case."""
    contents = {"lib/a": File(link="../bin"), name: File()}
    jail.refuses(packed(tar_of(contents)), f"'{name}' is below 'lib/a', which is a link")


def test_a_name_below_a_file_is_refused(jail: Refuser) -> None:
    """No file is a directory too, the manifest itself included."""
    jail.refuses(of_paths("lib/a", "lib/a/b"), "'lib/a/b' is below 'lib/a', which is a file")
    jail.refuses(of_paths("releases/1.0/manifest.json/x"), "is below 'releases/1.0/manifest.json', which is a file")


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../../etc",
        "../../..",
        "a/../../../..",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "",
        "a\\b",
        "a\nb",
        "\udcff",
    ],
)
def test_a_link_that_may_leave_the_release_is_refused(jail: Refuser, target: str) -> None:
    """Targets are relative, go up only at their beginning, and stay inside."""
    manifest = manifest_of({"lib/a/link": File(link=target)})
    jail.refuses(packed(forge(manifest, [])), "does not plainly stay inside|is a link to nothing|the target of")


def test_links_that_leave_the_release_together_are_refused(jail: Refuser) -> None:
    """Each looks fine alone: up from where the other leads is outside."""
    contents = {"a/b/up": File(link=".."), "escape": File(link="a/b/up/../../etc/passwd")}
    jail.refuses(packed(tar_of(contents)), "'escape' is a link to .* does not plainly stay inside")


def test_links_may_lead_through_links(tmp_path: Path) -> None:
    """What is inside is allowed: up, into a directory, on through another link."""
    contents = {
        "a/b/up": File(link=".."),
        "a/file": File(b"content"),
        "through": File(link="a/b/up/file"),
    }
    archive.extract(save(tmp_path, packed(tar_of(contents))), tmp_path / "out")

    assert (tmp_path / "out/through").read_bytes() == b"content"


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The archive with another text of its manifest; the release id fits again unless it was edited itself."""
    document = json.loads(dump(MANIFEST))
    before = document["release_id"]
    change(document)
    if document.get("release_id") == before:
        del document["release_id"]
        digest = json.dumps(document, sort_keys=True).encode()
        document = {"release_id": hashlib.sha256(digest).hexdigest(), **document}
    return with_manifest((json.dumps(document, indent=1) + "\n").encode())


def with_manifest(text: bytes) -> bytes:
    head = tar_layout.header(tar_layout.manifest_path("1.0"), tar_layout.manifest_entry(text), DATE)
    following = b"".join(part.dump() for part in members(FILES))
    return packed(head + text + tar_layout.padding(len(text)) + following + tar_layout.END)


def entry(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["files"][EVIL].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(format=2),
        lambda document: document.update(name=None),
        lambda document: document.update(files=[]),
        lambda document: document.update(files=None),
        lambda document: document["files"].update({EVIL: None}),
        lambda document: document["files"].update({EVIL: []}),
        lambda document: document["files"].update({EVIL: {}}),
        lambda document: document["files"][EVIL].pop("sha256"),
        lambda document: document.pop("target"),
        lambda document: document.update(release_id="0" * 64),
        entry(size="12"),
        entry(size=-1),
        entry(size=1.5),
        entry(size=True),
        entry(size=10**30),
        entry(size=float("inf")),
        entry(sha256="../../x"),
        entry(sha256="A" * 64),
        entry(executable=1),
        entry(executable=False),
        entry(executable="yes"),
        entry(mode=0o4755),
        entry(link="x"),
        entry(link=None),
        lambda document: document.update(extra="x"),
    ],
    ids=range(25),
)
def test_a_manifest_with_other_types_is_refused(jail: Refuser, change: Callable[[dict[str, Any]], object]) -> None:
    """Every field is of its type, or the manifest is none."""
    jail.refuses(edited(change), "its manifest can't be read|is not written as underway|bytes; .* is the limit")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"files":' * 50_000,
        b"\xff\xfe{}",
        dump(MANIFEST).encode("utf-16"),
        dump(MANIFEST).encode() + b" ",
        json.dumps(json.loads(dump(MANIFEST))).encode(),
        dump(MANIFEST).replace('"bin/hello": {', '"bin/hello": {"size": 1,', 1).encode(),
        dump(MANIFEST).replace('"files": {', '"files": {"bin/hello": {"link": "x"},', 1).encode(),
        b"9" * 5000,
    ],
    ids=range(11),
)
def test_a_manifest_in_another_notation_is_refused(jail: Refuser, text: bytes) -> None:
    """There is one text for one manifest: no duplicate keys, no other encodings, nothing that overflows the parser."""
    jail.refuses(with_manifest(text), "its manifest can't be read|is not written as underway")


def test_a_manifest_that_is_not_sorted_is_refused(jail: Refuser) -> None:
    """The order of the manifest is that of the members."""
    turned = replace(MANIFEST, files=dict(sorted(MANIFEST.files.items(), reverse=True)))
    jail.refuses(packed(forge(turned, members(FILES))), "is not written as underway")


@pytest.mark.parametrize(("field", "value"), [("name", "../x"), ("name", ""), ("version", "..\\x")], ids=str)
def test_a_manifest_with_an_odd_name_is_refused(jail: Refuser, field: str, value: str) -> None:
    """Name and version become names of files."""
    manifest = replace(MANIFEST, **{field: value})  # type: ignore[arg-type]  # a field by its name
    jail.refuses(packed(forge(manifest, [])), f"its {field} is|does not begin with the manifest")


@pytest.mark.parametrize(
    "path", ["manifest.json", "/releases/1.0/manifest.json", "releases/../manifest.json", "releases/2.0/manifest.json"]
)
def test_a_manifest_in_another_place_is_refused(jail: Refuser, path: str) -> None:
    """The manifest stands where its version says."""
    text = dump(MANIFEST).encode()
    tar = tar_layout.header(path, tar_layout.manifest_entry(text), DATE) + text + tar_layout.padding(len(text))
    jail.refuses(packed(tar), "does not begin with the manifest|is of version '1.0' and stands at")


def test_a_manifest_that_is_not_first_is_refused(jail: Refuser) -> None:
    """Nothing can be checked before the manifest is known."""
    text = dump(MANIFEST).encode()
    manifest = member("releases/1.0/manifest.json", File(text)).dump()
    jail.refuses(packed(the("bin/hello").dump() + manifest + tar_layout.END), "does not begin with the manifest")


def test_a_manifest_as_a_link_is_refused(jail: Refuser) -> None:
    """Its header is as plain as that of any other file."""
    info = tarfile.TarInfo("releases/1.0/manifest.json")
    info.type, info.linkname, info.mtime = tarfile.SYMTYPE, "/etc/passwd", DATE
    jail.refuses(packed(info.tobuf() + tar_layout.END), "as a plain file")


def test_everything_wrong_with_a_manifest_is_listed_once(jail: Refuser) -> None:
    """One refusal names all bad names, and stops naming them after twenty."""
    jail.refuses(of_paths("/a", "lib/../b", "var/c"), "(?s)'/a' is absolute.*'lib/../b'.*'var/c' is in var/")
    jail.refuses(of_paths(*(f"/{number}" for number in range(50))), "and 30 more")


# All of it, at random.


def fuzz(place: Path, data: bytes, wanted: dict[str, tuple[int, str]], seeds: range) -> tuple[int, int]:
    """How many mutations were taken, and refused. One that is taken must be the release, byte for byte."""
    jail = Jail(place / "jail")
    tar, manifest = unpack_tar(data), dump(MANIFEST).encode()
    taken = refused = 0
    for seed in seeds:
        match seed % 3:
            case 0:
                evil = mutate(data, seed)
            case 1:
                evil = packed(mutate(tar, seed))
            case _:
                evil = with_manifest(mutate(manifest, seed))
        try:
            archive.extract(save(place, evil), jail.into)
        except UnderwayError:
            refused += 1
            jail.check_untouched()
        else:
            taken += 1
            assert jail.take() == wanted, f"seed {seed}"
    return taken, refused


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [range(150), pytest.param(range(1000, 11_000), marks=pytest.mark.drill)], ids=len)
@pytest.mark.parametrize("kind", ["zst", "gz"])
def test_no_mutation_is_taken_for_another_release(tmp_path: Path, kind: str, seeds: range) -> None:
    """Archives damaged in every way: refused in words, or the very release; never a byte outside."""
    file = write_archive(tmp_path / "good", tmp_path / "hello", make_tree(tmp_path / "hello"), kind)

    taken, refused = fuzz(tmp_path / "fuzz", file.read_bytes(), look(tmp_path / "hello"), seeds)
    assert (refused > 0.85 * len(seeds), taken + refused) == (True, len(seeds))


def test_nothing_that_a_manifest_may_list_is_refused_by_the_reader(tmp_path: Path) -> None:
    """The rules refuse what is dangerous and nothing that real wheels hold."""
    names = [
        "lib/a b/c (1).txt",
        "lib/.hidden/x",
        "lib/ü/日本.py",
        "static/~x",
        "a/...",
        "lib/a..b",
        "C:/x",
        "lib/#x%20",
    ]
    contents = {name: File(b"x") for name in names}
    manifest: Manifest = make_tree(tmp_path / "hello", contents=contents)
    archive.extract(write_archive(tmp_path, tmp_path / "hello", manifest), tmp_path / "out")

    assert look(tmp_path / "out") == look(tmp_path / "hello")
