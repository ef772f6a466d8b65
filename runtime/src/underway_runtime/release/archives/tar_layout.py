"""The tar of a release: one sequence of bytes for one manifest, its files and one date.

=============================  ==================================================================
member                         is
=============================  ==================================================================
``releases/V/manifest.json``   the text of the manifest; first, so that a reader can check the rest
each path of the manifest      a regular file, 0644 or 0755, or a symbolic link; sorted by path
two blocks of zeros            the end
=============================  ==================================================================

Owner and group are 0, every date is the same, directories are not members. Headers are plain ustar; only a name or
target that does not fit gets one pax record before it. Nothing of a header is left to choice, so a reader computes the
headers that it must find from the manifest, and never has to interpret one that somebody else wrote.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

from .. import names
from ..errors import UsageError
from ..manifest import Manifest, ManifestEntry, dump

BLOCK = 512
END = bytes(2 * BLOCK)

EARLIEST = 315532800
"""1980-01-01, what a zip can hold at the earliest; the date of every member unless SOURCE_DATE_EPOCH says another."""

LARGEST = 8**11 - 1
"""The largest file and the latest date that a ustar header holds."""

LONGEST = 1024
"""Bytes of the longest path or target of a link."""

DEEPEST = 64
"""Names in a path."""

MOST_DIRECTORIES = 50_000
"""That all paths of a manifest are in."""

_UNFIT = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")

Content = Callable[[str, ManifestEntry], Iterable[bytes]]
"""Gives the bytes of a file of the manifest."""


def source_date(environ: Mapping[str, str]) -> int:
    """The date of everything in an archive: SOURCE_DATE_EPOCH, else 1980. Raises UsageError when it is not a date."""
    given = environ.get("SOURCE_DATE_EPOCH") or str(EARLIEST)
    if not re.fullmatch(r"[0-9]{1,11}", given) or int(given) > LARGEST:
        raise UsageError(f"SOURCE_DATE_EPOCH is {given!r}; it must be a number of seconds since 1970")
    return int(given)


def manifest_path(version: str) -> str:
    """Where the manifest is, from the root."""
    return f"releases/{version}/manifest.json"


def manifest_entry(text: bytes) -> ManifestEntry:
    """The manifest as a member; it can't list itself."""
    return ManifestEntry(hashlib.sha256(text).hexdigest(), len(text))


def tar(manifest: Manifest, date: int, content: Content) -> Iterator[bytes]:
    """The bytes of the tar, in pieces. `content` gives each regular file's, exactly as many as its entry says."""
    text = dump(manifest).encode()
    itself = manifest_entry(text)
    yield header(manifest_path(manifest.version), itself, date) + text + padding(itself.size)
    for path in sorted(manifest.files):
        entry = manifest.files[path]
        yield header(path, entry, date)
        if entry.link is None:
            yield from content(path, entry)
            yield padding(entry.size)
    yield END


def header(path: str, entry: ManifestEntry, date: int) -> bytes:
    """The blocks that precede the content of a member."""
    name, link = path.encode(), (entry.link or "").encode()
    records = b""
    if (parts := _split(name)) is None:
        records += _record(b"path", name)
        parts = b"", name[:100]
    if len(link) > 100:
        records += _record(b"linkpath", link)
    block = _block(parts, entry.size, date, b"0" if entry.link is None else b"2", link[:100], _mode(entry))
    if not records:
        return block
    extended = _block((b"", b"././@PaxHeader"), len(records), date, b"x", b"", 0o644)
    return extended + records + padding(len(records)) + block


_HOST_PYTHON = re.compile(r"releases/[^/]+/bin/python(3(\.[0-9]+)?)?")
_HOSTS = re.compile(r"/(?!(?:tmp|var|run|dev|proc|sys)/)(?:[^/]+/)*bin/python3(\.[0-9]+)?")
"""The one link out of a release: its interpreter, where it includes none. Nothing can be below it or replace it. What is there on a
host is looked at where it is unpacked; here, that it is not a place which others than the owner of a host fill."""

_OF_THE_NODE = ("var", ".transaction")


def padding(size: int) -> bytes:
    """The zeros that fill the last block of a content."""
    return bytes(-size % BLOCK)


def problems(manifest: Manifest) -> Iterator[str]:
    """Why a manifest can't be unpacked, or packed: each path that could leave the root or meet another.

    The same on every file system: names that differ only in case are one name on some. The work goes with the bytes of the paths,
    and with no product of how many they are and how deep.
    """
    for field, value in (("name", manifest.name), ("version", manifest.version)):
        if not names.is_version(value):
            yield f"its {field} is {names.shown(value)}"
    itself = manifest_path(manifest.version)
    seen, folded = {_folded(itself): itself}, {}
    for path, entry in manifest.files.items():
        if wrong := _path_problem(path, manifest.version) or _entry_problem(path, entry, manifest.version):
            yield wrong
            continue
        name = folded[path] = _folded(path)
        if (other := seen.setdefault(name, path)) != path:
            yield f"{path!r} and {other!r} differ only in case or accents, or in what is not seen"
        elif path == itself:
            yield f"{path!r} is the manifest, which can't list itself"
    directories: dict[str, str | None] = {"": None}
    for path, name in folded.items():
        if (parent := _file_above(name, seen, directories)) is not None:
            kind = "link" if manifest.files.get(parent, ManifestEntry()).link is not None else "file"
            yield f"{path!r} is below {parent!r}, which is a {kind}"
        if len(directories) > MOST_DIRECTORIES:
            yield f"its files are in more than {MOST_DIRECTORIES} directories"
            return


def _file_above(name: str, seen: Mapping[str, str], directories: dict[str, str | None]) -> str | None:
    """What is not a directory on the way to a path; each directory is asked about once."""
    new = []
    while (name := name.rpartition("/")[0]) not in directories:
        new.append(name)
    file = directories[name]
    for ancestor in reversed(new):
        file = file or seen.get(ancestor)
        directories[ancestor] = file
    return file


def is_host_python(path: str, entry: ManifestEntry) -> bool:
    """Whether this is the link of a release without an interpreter to the host's."""
    return entry.link is not None and entry.link.startswith("/") and bool(_HOST_PYTHON.fullmatch(path))


def _path_problem(path: str, version: str) -> str | None:
    if problem := _text_problem(path):
        return f"the path {path!r} {problem}"
    parts = path.split("/")
    if len(parts) > DEEPEST:
        return f"the path {path!r} is {len(parts)} names deep; {DEEPEST} is the limit"
    if path.startswith("/"):
        return f"the path {path!r} is absolute"
    if not {"", ".", ".."}.isdisjoint(parts):
        return f"the path {path!r} has a part that is empty, '.' or '..'"
    if max(len(part.encode()) for part in parts) > 255:
        return f"the path {path!r} has a part of more than 255 bytes"
    if _folded(parts[0]) == "var":
        return f"the path {path!r} is in var/, which belongs to the node"
    if _folded(parts[0]) == ".transaction" or _folded(path) == "releases/shared.json":
        return f"the path {path!r} belongs to the node"
    if _folded(parts[0]) == "releases" and len(parts) > 2 and parts[:2] != ["releases", version]:
        return f"the path {path!r} is of another version"
    return None


def _entry_problem(path: str, entry: ManifestEntry, version: str) -> str | None:
    if entry.link is None:
        return f"{path!r} has {entry.size} bytes; a tar holds 8 GiB" if entry.size > LARGEST else None
    if not entry.link:
        return f"{path!r} is a link to nothing"
    if problem := _text_problem(entry.link):
        return f"the target of {path!r}, {entry.link!r}, {problem}"
    if is_host_python(path, entry):
        if _HOSTS.fullmatch(entry.link) and {".", ".."}.isdisjoint(entry.link.split("/")):
            return None
        return f"{path!r} is a link to {entry.link!r}; an interpreter of the host is /DIRECTORY/bin/python3, not below /tmp or /var"
    # Up first and then down: a '..' after a name that is itself a link would go up from wherever that leads.
    target = entry.link.split("/")
    ups = next((i for i, part in enumerate(target) if part != ".."), len(target))
    if ups > path.count("/") or not {"", ".", ".."}.isdisjoint(target[ups:]):
        return f"{path!r} is a link to {entry.link!r}, which does not plainly stay inside the release"
    above = path.split("/")[:-1]
    leads = [_folded(part) for part in (*above[: len(above) - ups], *target[ups:])]
    if not leads or leads[0] in _OF_THE_NODE or leads == ["releases", "shared.json"]:
        return (
            f"{path!r} is a link to {entry.link!r}, {'the whole release' if not leads else 'which belongs to the node'}"
        )
    if leads[0] == "releases" and leads[1:2] != [_folded(version)]:
        return f"{path!r} is a link to {entry.link!r}, which is not of this version"
    return None


def _text_problem(text: str) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if size > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if _UNFIT.search(text):
        return "holds a backslash or a control character"
    return None


_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that Unicode has ignored (Default_Ignorable_Code_Point), as file systems without case do, ext4's and Apple's."""


def _folded(path: str) -> str:
    """The name as a file system sees it that cares neither for case, nor for how accents are written, nor for what is not seen."""
    if path.isascii():
        return path.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", _UNSEEN.sub("", path)).casefold())


def _mode(entry: ManifestEntry) -> int:
    return 0o777 if entry.link is not None else 0o755 if entry.executable else 0o644


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """The name as ustar's prefix and name; None when it does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101)
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= 155 and cut < len(name) - 1 else None


def _record(key: bytes, value: bytes) -> bytes:
    """Return a pax record, which begins with its own length."""
    size = len(key) + len(value) + 3
    digits = len(str(size))
    while len(str(size + digits)) != digits:
        digits += 1
    return b"%d %s=%s\n" % (size + digits, key, value)


def _block(parts: tuple[bytes, bytes], size: int, date: int, kind: bytes, link: bytes, mode: int) -> bytes:
    prefix, name = parts
    before = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, 0, 0, size, date)
    after = b"%s%s" % (kind, link.ljust(100, b"\0")) + b"ustar\x0000" + bytes(80) + prefix.ljust(155, b"\0")
    whole = before + b" " * 8 + after
    return (before + b"%06o\0 " % sum(whole) + after).ljust(BLOCK, b"\0")
