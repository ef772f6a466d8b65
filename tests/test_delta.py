"""Deltas: what is on the node, and a little, becomes the new release; or nothing does."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from archive_helpers import (
    DATE,
    File,
    Jail,
    files,
    look,
    make_tree,
    manifest_of,
    mutate,
    packed,
    save,
    tar_of,
    write_archive,
)
from underway_runtime.release.archives import archive, compression, delta
from underway_runtime.release.archives.archive import ArchiveRefused, Limits
from underway_runtime.release.errors import DamagedRelease, UnderwayError
from underway_runtime.release.manifest import Manifest, dump

OLD = files("1.0")
NEW = {
    **files("1.1", hello=b"def hello():\n    return 'good day'\n", data=bytes(range(256)) * 40 + b"more"),
    "lib/added-1/added.py": File(b"added = True\n" * 50),
}


@dataclass(frozen=True)
class Pair:
    """Two releases and the delta between them."""

    old: Path
    new: Path
    old_manifest: Manifest
    new_manifest: Manifest
    file: Path
    header: delta.Header


def make_pair(place: Path, old: dict[str, File] = OLD, new: dict[str, File] = NEW) -> Pair:
    one, other = make_tree(place / "old", "1.0", old), make_tree(place / "new", "1.1", new)
    file = delta.path(place, "hello", "1.0", "1.1")
    header = delta.create(file, (place / "old", one), (place / "new", other), DATE)
    return Pair(place / "old", place / "new", one, other, file, header)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """hello-1.0, hello-1.1 and hello-1.0-1.1.delta."""
    return make_pair(tmp_path)


class Refuser(Jail):
    """Applies what must be refused."""

    def refuses(self, data: bytes, root: Path, match: str, limits: Limits = archive.LIMITS) -> None:
        """Applying is refused with these words, and around the place nothing has changed, nor in the old release."""
        file = save(self.place.parent / "incoming", data, "evil.delta")
        before = look(root)
        with pytest.raises(ArchiveRefused, match=match):
            delta.check(file, root, limits)
        with pytest.raises(ArchiveRefused, match=match):
            delta.apply(file, root, self.into, limits)
        self.check_untouched()
        assert look(root) == before


@pytest.fixture
def jail(tmp_path: Path) -> Refuser:
    """A place to unpack in, next to things that must never change."""
    return Refuser(tmp_path / "jail")


def test_the_new_release_comes_out_of_the_old(pair: Pair, tmp_path: Path) -> None:
    """Contents, modes and links are those of the new release, and the old one is as it was."""
    before = look(pair.old)

    made = delta.apply(pair.file, pair.old, tmp_path / "out")

    assert (made.manifest, made.date) == (pair.new_manifest, DATE)
    assert look(tmp_path / "out") == look(pair.new)
    assert look(pair.old) == before
    assert delta.check(pair.file, pair.old) == made


def test_the_archive_of_what_comes_out_is_that_of_the_new_release(pair: Pair, tmp_path: Path) -> None:
    """A node that applied a delta can pass on the whole archive, the same to the byte."""
    made = delta.apply(pair.file, pair.old, tmp_path / "out")

    one = write_archive(tmp_path / "a", tmp_path / "out", made.manifest)
    other = write_archive(tmp_path / "b", pair.new, pair.new_manifest)
    assert one.read_bytes() == other.read_bytes()


def test_only_what_changed_is_in_it(tmp_path: Path) -> None:
    """A megabyte that both have, under another name even, costs nothing; a line of it costs little."""
    noise = random.Random(1).randbytes(1 << 20)
    old = {**OLD, "lib/noise-1/noise.bin": File(noise), "lib/text-1/text.py": File(noise[: 1 << 18])}
    new = {**NEW, "lib/noise-2/noise.bin": File(noise), "lib/text-2/text.py": File(b"# new\n" + noise[: 1 << 18])}

    made = make_pair(tmp_path, old, new)

    assert made.file.stat().st_size < 4000
    assert made.header.prefix < (1 << 18) + 20_000
    delta.apply(made.file, made.old, tmp_path / "out")
    assert look(tmp_path / "out") == look(made.new)


def test_the_same_releases_give_the_same_delta(pair: Pair, tmp_path: Path) -> None:
    """Neither paths nor dates of files are in it."""
    assert make_pair(tmp_path / "elsewhere").file.read_bytes() == pair.file.read_bytes()


@pytest.mark.parametrize(
    "new", [{"bin/hello": File(b"x")}, {path: OLD[path] for path in list(OLD)[:4]}, {}], ids=range(3)
)
def test_a_release_that_only_shrinks(tmp_path: Path, new: dict[str, File]) -> None:
    """A delta may carry next to nothing."""
    made = make_pair(tmp_path, OLD, new)

    delta.apply(made.file, made.old, tmp_path / "out")
    assert look(tmp_path / "out") == look(made.new)


def test_from_next_to_nothing(tmp_path: Path) -> None:
    """A delta may start from a release that shares nothing."""
    made = make_pair(tmp_path, {"bin/hello": File(b"x")}, NEW)

    delta.apply(made.file, made.old, tmp_path / "out")
    assert look(tmp_path / "out") == look(made.new)


def test_what_versions_share_by_name_is_not_read_from_the_old_tree(pair: Pair, tmp_path: Path) -> None:
    """Another version may have put its own start.data and bin/hello into the node's tree; the delta still applies."""
    (pair.old / "releases/start.data").write_text("3.11.2 0.9\n")
    (pair.old / "bin/hello").write_text("of another version")

    delta.apply(pair.file, pair.old, tmp_path / "out")
    assert look(tmp_path / "out") == look(pair.new)


# What can't be made.


def test_two_builds_of_one_version_have_no_delta(tmp_path: Path) -> None:
    """On a node the one would be in the other's place."""
    one = make_tree(tmp_path / "old", "1.0")
    other = make_tree(tmp_path / "new", "1.0", files(hello=b"x"))

    with pytest.raises(UnderwayError, match=r"both are version 1\.0"):
        delta.create(tmp_path / "x.delta", (tmp_path / "old", one), (tmp_path / "new", other), DATE)
    assert not (tmp_path / "x.delta").exists()


@pytest.mark.parametrize("field", ["name", "target"])
def test_two_different_services_have_no_delta(pair: Pair, tmp_path: Path, field: str) -> None:
    """Neither from chat to datasette nor from one platform to another."""
    other = replace(pair.new_manifest, **{field: "other"})  # type: ignore[arg-type]  # a field by its name

    with pytest.raises(UnderwayError, match="are not one release"):
        delta.create(tmp_path / "x.delta", (pair.old, pair.old_manifest), (pair.new, other), DATE)


def test_too_much_is_sent_as_an_archive(pair: Pair, tmp_path: Path) -> None:
    """A delta that a node would refuse for its memory is not made."""
    both = (pair.old, pair.old_manifest), (pair.new, pair.new_manifest)
    with pytest.raises(UnderwayError, match="too much for a delta; send the archive"):
        delta.create(tmp_path / "x.delta", *both, DATE, Limits(memory=1000))


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_damaged_release_gives_no_delta(pair: Pair, tmp_path: Path, which: str) -> None:
    """What is read for it is compared with the manifest, on either side."""
    (tmp_path / which / "lib/data-3/data/data.bin").write_bytes(bytes(range(256)) * 40 + b"evil")

    both = (pair.old, pair.old_manifest), (pair.new, pair.new_manifest)
    with pytest.raises(DamagedRelease, match=r"data\.bin is not what the manifest"):
        delta.create(tmp_path / "x.delta", *both, DATE)
    assert not list(tmp_path.glob("*x.delta*"))


# What does not fit the node.


@pytest.mark.parametrize("path", ["lib/hello-1.0/hello/hello.py", "python-3.11.2/bin/python3.11"])
def test_a_damaged_old_release_is_named(pair: Pair, tmp_path: Path, path: str) -> None:
    """A file of the node that was changed, whether it is copied or only compared with, stops the delta by name."""
    (pair.old / path).write_bytes(b"evil")

    with pytest.raises(DamagedRelease, match=f"{path} is not what the manifest"):
        delta.apply(pair.file, pair.old, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "missing"])
def test_only_files_are_copied_from_the_old_release(pair: Pair, tmp_path: Path, kind: str) -> None:
    """A link in the place of a file of the node is not followed, and a pipe does not make it wait."""
    place = pair.old / "python-3.11.2/lib/libpython.so.1"
    shutil.copy(place, tmp_path / "copy")
    place.unlink()
    if kind == "link":
        place.symlink_to(tmp_path / "copy")
    elif kind == "fifo":
        os.mkfifo(place)

    with pytest.raises(DamagedRelease, match=r"libpython\.so\.1 (can't be read|is not what)"):
        delta.apply(pair.file, pair.old, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_delta_for_another_version_is_refused(pair: Pair, jail: Refuser, tmp_path: Path) -> None:
    """A node that does not hold FROM is told to use the archive."""
    make_tree(tmp_path / "other", "0.9", files("0.9"))

    jail.refuses(pair.file.read_bytes(), tmp_path / "other", r"it starts from version 1\.0, which is not at")


def test_a_delta_for_another_build_is_refused(pair: Pair, jail: Refuser, tmp_path: Path) -> None:
    """The same version with another release id is another release."""
    make_tree(tmp_path / "other", "1.0", files(hello=b"built again"))

    jail.refuses(pair.file.read_bytes(), tmp_path / "other", "with the release id .*; use the whole archive")


def test_an_old_manifest_that_is_damaged_is_an_error(pair: Pair, tmp_path: Path) -> None:
    """The node's own manifest is not believed unread."""
    place = pair.old / "releases/1.0/manifest.json"
    place.write_text(place.read_text().replace("hello.py", "jello.py"))

    with pytest.raises(DamagedRelease, match="its release id does not fit"):
        delta.apply(pair.file, pair.old, tmp_path / "out")


def test_a_delta_that_takes_too_much_memory_is_refused(pair: Pair, jail: Refuser) -> None:
    """A node has its own limit."""
    jail.refuses(pair.file.read_bytes(), pair.old, "MiB is the limit", Limits(memory=5000))
    jail.refuses(pair.file.read_bytes(), pair.old, "MiB is the limit", Limits(manifest=100))


# Attacks.


@dataclass(frozen=True)
class Parts:
    """A delta, taken apart."""

    header: dict[str, Any]
    packed: bytes
    frame: bytes

    def dump(self) -> bytes:
        line = json.dumps(self.header, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        return delta.MAGIC + line + self.packed + self.frame


def take_apart(data: bytes) -> Parts:
    line, _, rest = data.removeprefix(delta.MAGIC).partition(b"\n")
    header = json.loads(line)
    return Parts(header, rest[: header["packed"]], rest[header["packed"] :])


def evil_delta(pair: Pair, new: Manifest, data: bytes, **numbers: int) -> bytes:
    """A delta to a manifest of the attacker's, with a body of his."""
    old = dump(pair.old_manifest).encode()
    text = dump(new).encode()
    first = compression.patch_encoder(old, len(text))
    head = first.compress(text) + first.flush()
    prefix = delta._join(pair.old, delta._gone(pair.old_manifest, new))
    second = compression.patch_encoder(prefix, len(data))
    document = {
        "format": 1,
        "name": new.name,
        "from": {"version": "1.0", "release_id": pair.old_manifest.release_id},
        "to": {"version": new.version, "release_id": new.release_id},
        "date": DATE,
        "manifest": len(text),
        "packed": len(head),
        "prefix": len(prefix),
        "body": len(data),
        **numbers,
    }
    return Parts(document, head, second.compress(data) + second.flush()).dump()


def body_of(pair: Pair, contents: dict[str, File], manifest: Manifest) -> bytes:
    return b"".join(contents[path].content for path in delta._carried(pair.old_manifest, manifest))


def test_what_is_forged_here_would_be_taken_without_the_attack(pair: Pair, tmp_path: Path) -> None:
    """The forger makes the very delta that we make."""
    assert evil_delta(pair, pair.new_manifest, body_of(pair, NEW, pair.new_manifest)) == pair.file.read_bytes()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "lib//x", "var/COOKIE", "lib/a\nb", "lib/\udcff", "lib/DATA-3/data/data.bin"]
)
def test_a_name_that_an_archive_may_not_have_is_refused(pair: Pair, jail: Refuser, path: str) -> None:
    """A delta's manifest obeys the rules of an archive's."""
    new = manifest_of({**NEW, path: File(b"evil")}, "1.1")

    jail.refuses(evil_delta(pair, new, b"evil"), pair.old, "its manifest can't be unpacked")


def test_a_link_that_leaves_the_release_is_refused(pair: Pair, jail: Refuser) -> None:
    """So do its links."""
    new = manifest_of({**NEW, "lib/link": File(link="/etc/passwd")}, "1.1")

    jail.refuses(evil_delta(pair, new, b""), pair.old, "does not plainly stay inside")


@pytest.mark.parametrize("change", [b"x", b"", None], ids=["other", "less", "more"])
def test_another_body_is_refused(pair: Pair, jail: Refuser, change: bytes | None) -> None:
    """What comes out is held against its manifest: other bytes, fewer, or more."""
    good = body_of(pair, NEW, pair.new_manifest)
    evil = good + b"evil" if change is None else change + good[1:]

    match = "it goes on after its end|is not what the manifest|ends within|is cut off|can't be decompressed"
    jail.refuses(evil_delta(pair, pair.new_manifest, evil, body=len(good)), pair.old, match)


@pytest.mark.parametrize("number", ["manifest", "packed", "prefix", "body"])
@pytest.mark.parametrize("by", [-1, 1, 1000, 1 << 32])
def test_other_sizes_are_refused(pair: Pair, jail: Refuser, number: str, by: int) -> None:
    """No size of a header is believed."""
    parts = take_apart(pair.file.read_bytes())
    evil = replace(parts, header={**parts.header, number: parts.header[number] + by})

    match = (
        "the limit|its sizes are not|it goes on|cut off|can't be (read|decompressed)|something follows|not written as"
    )
    jail.refuses(evil.dump(), pair.old, match)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"name": "../x"},
        {"name": None},
        {"name": "other"},
        {"from": {"version": "../../x", "release_id": "0" * 64}},
        {"from": {"version": "1.0", "release_id": "0" * 64}},
        {"from": None},
        {"to": {"version": "1.1", "release_id": "0" * 64}},
        {"to": {"version": "9", "release_id": "0" * 64}},
        {"to": []},
        {"date": -1},
        {"date": "now"},
        {"date": 8**11},
        {"body": True},
        {"body": 1.0},
        {"extra": 1},
        {"extra": "x" * 5000},
    ],
    ids=range(17),
)
def test_another_header_is_refused(pair: Pair, jail: Refuser, change: dict[str, Any]) -> None:
    """Every field of a header is checked, and there are no others."""
    parts = take_apart(pair.file.read_bytes())
    evil = replace(parts, header={**parts.header, **change}).dump()

    jail.refuses(evil, pair.old, "its header is not|it starts from|it holds another release|it is cut off, or not")


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"x", b"[" * 4000, b"\xff", b'{"format":1,"format":1}', b" " * 10_000], ids=range(8)
)
def test_a_header_in_another_notation_is_refused(pair: Pair, jail: Refuser, line: bytes) -> None:
    """There is one text for one header."""
    jail.refuses(delta.MAGIC + line + b"\n", pair.old, "its header is not|it is cut off, or not")


def test_bytes_behind_are_refused(pair: Pair, jail: Refuser) -> None:
    """Nothing follows the second frame, nor stands between the two."""
    good = pair.file.read_bytes()
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"evil"
    for more in (b"\0", skippable, packed(b"x"), good):
        jail.refuses(good + more, pair.old, "something follows its compressed data")
    parts = take_apart(good)
    between = Parts({**parts.header, "packed": parts.header["packed"] + 12}, parts.packed + skippable, parts.frame)
    jail.refuses(between.dump(), pair.old, "something follows its compressed data")


@pytest.mark.parametrize("every", [41, pytest.param(1, marks=pytest.mark.drill)])
def test_a_truncated_delta_is_refused(pair: Pair, jail: Refuser, every: int) -> None:
    """Cut off anywhere, it is refused."""
    good = pair.file.read_bytes()
    for size in range(0, len(good), every):
        jail.refuses(good[:size], pair.old, "it is cut off|not a delta")


def test_an_archive_is_no_delta(pair: Pair, jail: Refuser) -> None:
    """And a delta is not an archive."""
    jail.refuses(packed(tar_of(NEW)), pair.old, "it is not a delta that underway made")
    with pytest.raises(ArchiveRefused, match="it is neither"):
        archive.check(pair.file)


def test_a_bomb_is_not_unpacked(pair: Pair, jail: Refuser) -> None:
    """A body of a gigabyte where a kilobyte is announced is not decompressed."""
    module = compression.zstd()
    encoder = module.ZstdCompressor()
    bomb = b"".join(encoder.compress(bytes(1 << 20)) for _ in range(1024)) + encoder.flush()
    parts = take_apart(pair.file.read_bytes())

    jail.refuses(replace(parts, frame=bomb).dump(), pair.old, "it can't be decompressed|is not what the manifest")
    evil = Parts({**parts.header, "packed": len(bomb)}, bomb, parts.frame)
    jail.refuses(evil.dump(), pair.old, "its manifest can't be read|it can't be decompressed")


def test_who_refuses_the_manifest_is_asked_first(pair: Pair, tmp_path: Path) -> None:
    """`accept` sees the new manifest before anything is written, and a delta with another digest leaves nothing."""

    def accept(manifest: Manifest) -> None:
        raise UnderwayError(f"not {manifest.version}")

    with pytest.raises(UnderwayError, match=r"not 1\.1"):
        delta.apply(pair.file, pair.old, tmp_path / "out", accept=accept)
    with pytest.raises(ArchiveRefused, match="its sha256 is"):
        delta.apply(pair.file, pair.old, tmp_path / "out", sha256="0" * 64)
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_an_error_in_words(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that runs out of memory says so, and leaves nothing."""

    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(compression, "patched", full)
    with pytest.raises(UnderwayError, match="not enough memory"):
        delta.apply(pair.file, pair.old, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def fuzz(pair: Pair, place: Path, seeds: range) -> tuple[int, int]:
    """How many mutations were taken, and refused. One that is taken must give the new release, byte for byte."""
    jail, good, wanted = Jail(place / "jail"), pair.file.read_bytes(), look(pair.new)
    parts, text = take_apart(good), dump(pair.new_manifest).encode()
    body = body_of(pair, NEW, pair.new_manifest)
    old = look(pair.old)
    taken = refused = 0
    for seed in seeds:
        match seed % 4:
            case 0:
                evil = mutate(good, seed)
            case 1:
                evil = evil_delta(pair, pair.new_manifest, mutate(body, seed), body=len(body))
            case 2:
                changed = mutate(text, seed)
                encoder = compression.patch_encoder(dump(pair.old_manifest).encode(), len(changed))
                head = encoder.compress(changed) + encoder.flush()
                header = {**parts.header, "packed": len(head), "manifest": len(changed)}
                evil = Parts(header, head, parts.frame).dump()
            case _:
                line = json.dumps(parts.header, sort_keys=True, separators=(",", ":")).encode()
                evil = delta.MAGIC + mutate(line, seed) + b"\n" + parts.packed + parts.frame
        try:
            delta.apply(save(place, evil, "evil.delta"), pair.old, jail.into)
        except UnderwayError:
            refused += 1
            jail.check_untouched()
        else:
            taken += 1
            assert jail.take() == wanted, f"seed {seed}"
    assert look(pair.old) == old
    return taken, refused


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(1000, 11_000), marks=pytest.mark.drill)], ids=len)
def test_no_mutation_gives_another_release(pair: Pair, tmp_path: Path, seeds: range) -> None:
    """Deltas damaged in every way: refused in words, or the very release; never a byte outside."""
    taken, refused = fuzz(pair, tmp_path / "fuzz", seeds)
    assert (refused > 0.8 * len(seeds), taken + refused) == (True, len(seeds))


def test_a_patch_that_reaches_far_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where long-distance matching takes over, prefix and body still give the body."""
    monkeypatch.setattr(compression, "_FAR", 1000)
    prefix = bytes(range(256)) * 4000
    encoder = compression.patch_encoder(prefix, len(prefix))
    data = encoder.compress(prefix) + encoder.flush()

    assert len(data) < 200
    assert compression.patched(io.BytesIO(data), prefix, len(prefix)).read_exactly(len(prefix) + 1) == prefix
