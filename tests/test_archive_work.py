"""What a small file may cost: work is bounded by the bytes of a file, whatever it announces.

Each file here would take minutes, or gigabytes, without the bound that refuses it; a child that took more than its share of the
processor or of memory would be ended by the system.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from archive_helpers import DATE, make_tree
from underway_runtime.release.archives import archive, compression, delta, tar_layout
from underway_runtime.release.manifest import Manifest, ManifestEntry, dump

PROCESSOR = 30
"""Seconds of it: what is measured here takes less than three."""
MEMORY = 1 << 30
EMPTY = ManifestEntry(hashlib.sha256(b"").hexdigest(), 0)
ZEROS = 1 << 30

_CHECK = """\
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CPU, ({processor}, {processor}))
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
from underway_runtime.release.archives import archive, delta
from underway_runtime.release.errors import UnderwayError
try:
    if sys.argv[2:]:
        delta.check(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        archive.check(Path(sys.argv[1]))
except UnderwayError as error:
    print(str(error)[:3000])
"""


def checked(file: Path, *base: Path) -> str:
    """What a child says that reads it, within its limits."""
    script = _CHECK.format(processor=PROCESSOR, memory=MEMORY)
    done = subprocess.run([sys.executable, "-c", script, file, *base], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def zeros(path: str, entry: ManifestEntry) -> Iterator[bytes]:
    left = entry.size
    while left:
        yield bytes(min(left, 1 << 20))
        left -= min(left, 1 << 20)


def manifest_of(files: Mapping[str, ManifestEntry]) -> Manifest:
    return Manifest("hello", "1.0", "x86_64-linux-gnu", "3.11.2", dict(sorted(files.items())))


def written(place: Path, manifest: Manifest, text: bytes | None = None) -> Path:
    """An archive of a manifest, or of a text in its place, packed as small as can be."""
    encoder = compression.encoder(".zst")
    with place.open("wb") as file:
        if text is None:
            for piece in tar_layout.tar(manifest, DATE, zeros):
                file.write(encoder.compress(piece))
        else:
            head = tar_layout.header(tar_layout.manifest_path("1.0"), tar_layout.manifest_entry(text), DATE)
            file.write(encoder.compress(head + text + tar_layout.padding(len(text))))
        file.write(encoder.flush())
    return place


def deep(files: int, names: int) -> dict[str, ManifestEntry]:
    return {f"lib/{number:05}/{'a/' * (names - 3)}x": EMPTY for number in range(files)}


ANNOUNCED: dict[str, tuple[Callable[[], Mapping[str, ManifestEntry]], str]] = {
    "deep": (lambda: deep(20_000, 500), "is 500 names deep; 64 is the limit"),
    "as deep as may be": (lambda: deep(8_000, 64), "are in more than 50000 directories"),
    "accents": (
        lambda: {f"lib/{n:05}/" + "/".join(["\u0315\u0300" * 60] * 4): EMPTY for n in range(10_000)},
        "",
    ),
    "many files": (
        lambda: {f"lib/x/{number}": EMPTY for number in range(100_000)},
        "and announces 100000 files: more than one for 16",
    ),
    "all below one": (lambda: {"lib": EMPTY, **deep(20_000, 60)}, "is below 'lib', which is a file"),
    "the same in capitals": (
        lambda: {f"{top}/{'a/' * 50}{number:05}": EMPTY for number in range(10_000) for top in ("lib", "LIB")},
        "differ only in case or accents",
    ),
}
"""Made where they are asked for: they are large, and all workers import this."""


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("kind", list(ANNOUNCED))
def test_names_cost_what_they_are_long_however_deep(tmp_path: Path, kind: str) -> None:
    """A manifest of thousands of files, each below hundreds of directories, is refused, or read, in no time."""
    files, said = ANNOUNCED[kind]
    file = written(tmp_path / "x.tar.zst", manifest_of(files()))

    assert file.stat().st_size < 1 << 20
    assert said in checked(file)


def test_bytes_that_are_announced_are_bounded_by_those_that_are_there(tmp_path: Path) -> None:
    """Some kilobytes that would unpack to 32 GiB of zeros are refused by the manifest, before any of them."""
    sha256 = hashlib.sha256(bytes(1)).hexdigest()
    manifest = manifest_of({f"lib/{number}": ManifestEntry(sha256, 1 << 30) for number in range(32)})
    text = dump(manifest).encode()

    assert "and announces 34359738368: more than 100 times as many" in checked(
        written(tmp_path / "x.tar.zst", manifest, text)
    )


TEXTS: dict[str, bytes] = {
    "brackets": b"[" * (16 << 20) + b"]" * (16 << 20),
    "lists": b"[" + b"[]," * (10 << 20) + b"[]]",
    "objects": b"[" + b"{}," * (10 << 20) + b"{}]",
    "numbers": b"[" + b"0," * (16 << 20) + b"0]",
    "strings": b"[" + b'"",' * (10 << 20) + b'""]',
    "nested objects": b'{"a":' * (6 << 20) + b"0" + b"}" * (6 << 20),
    "one key": b"{" + b'"a":0,' * (5 << 20) + b'"a":0}',
    "entries": b'{"files":{' + b'"a":{"link":"b"},' * (1 << 20) + b'"a":{}}}',
}


@pytest.mark.parametrize("kind", list(TEXTS))
def test_a_manifest_that_is_none_is_not_made_objects_of(tmp_path: Path, kind: str) -> None:
    """32 MiB of brackets would be a gigabyte of lists: what can't be a manifest of ours is refused as text."""
    text = TEXTS[kind][: 32 << 20]

    assert "its manifest" in checked(written(tmp_path / "x.tar.zst", manifest_of({}), text))


def test_a_long_number_is_refused_as_text(tmp_path: Path) -> None:
    """Digits without end, which take the square of their count to read."""
    text = b'{"release_id":"","format":' + b"9" * (8 << 20) + b"}"

    assert "its manifest" in checked(written(tmp_path / "x.tar.zst", manifest_of({}), text))


def test_the_builder_hears_of_it_first(tmp_path: Path) -> None:
    """What no node would unpack is not packed, and leaves nothing."""
    root = tmp_path / "hello"
    root.mkdir()
    sha256, size = hashlib.sha256(), (1 << 30) + 1
    with (root / "x").open("wb") as file:
        file.truncate(size)
    for _ in range(64):
        sha256.update(bytes(1 << 24))
    sha256.update(bytes(1))

    with pytest.raises(
        archive.ArchiveRefused, match=r"no node would unpack it: it has .* bytes, and announces 1073741825"
    ):
        archive.write(tmp_path / "x.tar.zst", root, manifest_of({"x": ManifestEntry(sha256.hexdigest(), size)}))
    assert sorted(os.listdir(tmp_path)) == ["hello"]


def test_a_delta_makes_no_more_of_what_is_here_than_four_times(tmp_path: Path) -> None:
    """It would copy one old file a hundred thousand times: the sum is bounded by what the old release is."""
    old = make_tree(tmp_path / "hello")
    entry = next(entry for path, entry in old.files.items() if path.startswith("lib/") and entry.link is None)
    copies = {f"lib/copies/{number}": entry for number in range(100_000)}
    new = Manifest("hello", "2.0", old.target, old.interpreter, dict(sorted(copies.items())))
    limits = archive.Limits(few=1 << 20, small=1 << 40)
    delta.create(tmp_path / "x.delta", (tmp_path / "hello", old), (tmp_path / "hello", new), DATE, limits)

    assert (tmp_path / "x.delta").stat().st_size < 1 << 20
    assert "and announces 100000 files" in checked(tmp_path / "x.delta", tmp_path / "hello")


def test_a_header_of_a_delta_asks_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    """Eight gigabytes of a first frame are neither read nor made room for."""
    old = make_tree(tmp_path / "hello")
    header = {
        "format": 1,
        "name": "hello",
        "from": {"version": "1.0", "release_id": old.release_id},
        "to": {"version": "2.0", "release_id": "0" * 64},
        "date": DATE,
        "manifest": 100,
        "packed": tar_layout.LARGEST,
        "prefix": 0,
        "body": 0,
    }
    line = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    (tmp_path / "x.delta").write_bytes(delta.MAGIC + line + b"\n" + bytes(100))

    assert "is refused" in checked(tmp_path / "x.delta", tmp_path / "hello")


def test_the_limits_are_those_of_the_documentation() -> None:
    """docs/reference/archive.md says them."""
    assert (archive.LIMITS.expands, archive.LIMITS.small, archive.LIMITS.few, archive.LIMITS.each) == (
        100,
        ZEROS,
        20_000,
        16,
    )
    assert (tar_layout.DEEPEST, tar_layout.MOST_DIRECTORIES) == (64, 50_000)
