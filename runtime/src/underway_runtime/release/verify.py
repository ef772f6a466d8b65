"""Is a release on disk still what its manifest says? Reads, and executes nothing of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import strays
from .directory import ReleaseDirectory
from .display import one_line
from .errors import DamagedRelease
from .manifest import Manifest, ManifestEntry, read
from .strays import Stray

_PIECE = 1 << 18
_STRAY = " is in no manifest; remove it"
_MOST = 20
"""Of these so many are named to people."""


@dataclass(frozen=True)
class Found:
    """What a look at a version has found."""

    problems: list[str]
    """What is not as its manifest says."""
    strays: list[Stray]
    """What no version has brought, in the directories that code is loaded from."""

    @property
    def damage(self) -> list[str]:
        """What speaks against the version: all that is wrong, and strays that would be loaded instead of what it has."""
        return [*self.problems, *strays.damage(self.strays)]

    @property
    def notes(self) -> list[str]:
        """What of the strays is worth a word."""
        return strays.notes(self.strays)


def verify(root: Path, version: str) -> list[str]:
    """Return what is wrong with a version of the release at `root`, and each stray; empty when it is whole and alone."""
    outcome = look(root, version)
    return [*outcome.problems, *map(_stray_line, outcome.strays)]


def look(root: Path, version: str) -> Found:
    """Compare a version of the release at `root` with its manifest.

    Every file of that must be there with its digest, mode and link. Files in ``lib``, ``python-V`` and
    ``releases/VERSION`` that are in no manifest of the release are the strays. ``var`` is not looked at. Of what several versions
    share by name, ``bin`` for one, any version's will do, also one's that was removed.
    """
    directory = ReleaseDirectory(root)
    manifests, problems = _manifests(root)
    manifest = manifests.get(version)
    if manifest is None:
        missing = not directory.version(version).manifest.is_file()
        return Found([*([f"{directory.version(version).manifest} is missing"] if missing else []), *problems], [])
    tops = [_relative(root, directory.lib), _relative(root, directory.version(version).path)]
    tops += sorted(entry.name for entry in os.scandir(root) if entry.name.startswith("python-"))
    accounts = dict(manifests)
    if directory.shared.exists():
        try:
            accounts[""] = read(directory.shared)
        except DamagedRelease as error:
            problems.append(str(error))
    problems += _file_problems(root, manifest.files, accounts)
    problems += _linked(root, tops)
    return Found(problems, _strays(root, tops, manifests))


def verify_below(root: Path, top: str, manifest: Manifest) -> list[str]:
    """Return what speaks against one directory of a version, ``lib/hello-0.1.0`` for one."""
    files = {path: entry for path, entry in manifest.files.items() if f"{path}/".startswith(f"{top}/")}
    problems = [*_file_problems(root, files, {}), *_linked(root, [top])]
    return [*problems, *strays.damage(_strays(root, [top], {manifest.version: manifest}))]


def versions(root: Path) -> list[str]:
    """The versions that a release holds, sorted. Raises DamagedRelease when there is none."""
    versions_here = sorted(file.parent.name for file in ReleaseDirectory(root).releases.glob("*/manifest.json"))
    if not versions_here:
        raise DamagedRelease(f"{root} is not a release: there is no releases/VERSION/manifest.json")
    return versions_here


def report(root: Path, version: str) -> dict[str, object]:
    """Return the outcome as plain data, for ``--json``."""
    problems = verify(root, version)
    try:
        manifest = read(ReleaseDirectory(root).version(version).manifest)
    except DamagedRelease:
        return {"version": version, "ok": False, "problems": problems}
    return {
        "name": manifest.name,
        "version": version,
        "target": manifest.target,
        "release_id": manifest.release_id,
        "files": len(manifest.files),
        "ok": not problems,
        "problems": problems,
    }


def lines(outcome: Mapping[str, object]) -> list[str]:
    """The same for people."""
    if outcome["ok"]:
        return [
            f"{outcome['name']}-{outcome['version']}: {outcome['files']} files, release id {outcome['release_id']}, ok"
        ]
    problems = outcome["problems"]
    assert isinstance(problems, list)
    known = [problem for problem in problems if not problem.endswith(_STRAY)]
    heading = f"version {outcome['version']} is damaged; restore it from its archive:"
    if not known:
        heading = (
            f"version {outcome['version']} has all of its files, and there are others that no version has brought:"
        )
    others = [problem for problem in problems if problem.endswith(_STRAY)]
    rest = (
        [f"  - {len(others) - _MOST} more that are in no manifest; --json names them all"]
        if len(others) > _MOST
        else []
    )
    return [heading, *(f"  - {one_line(problem)}" for problem in (*known, *others[:_MOST])), *rest]


def run(root: Path, version: str, *, as_json: bool = False) -> int:
    """Print the outcome, for ``bin/NAME verify [--json]``, and return the exit status."""
    outcome = report(root, version)
    print(json.dumps(outcome, indent=1) if as_json else "\n".join(lines(outcome)))
    return 0 if outcome["ok"] else 1


def _manifests(root: Path) -> tuple[dict[str, Manifest], list[str]]:
    """Of every version; those that can't be read are problems."""
    manifests, problems = {}, []
    for file in sorted(ReleaseDirectory(root).releases.glob("*/manifest.json")):
        try:
            manifests[file.parent.name] = read(file)
        except DamagedRelease as error:
            problems.append(str(error))
    return manifests, problems


def _file_problems(root: Path, files: Mapping[str, ManifestEntry], manifests: Mapping[str, Manifest]) -> Iterator[str]:
    parents: dict[str, str | None] = {"": None}
    for path, entry in files.items():
        if (problem := _parent_problem(root, os.path.dirname(path), parents)) is not None:
            yield f"{path}: {problem}"
            continue
        accepted = [entry]
        if not _is_of_one_version(path):
            accepted += [other.files[path] for other in manifests.values() if path in other.files]
        differences = [_difference(root / path, allowed) for allowed in dict.fromkeys(accepted)]
        if all(differences):
            yield f"{path} {differences[0]}"


def _parent_problem(root: Path, directory: str, known: dict[str, str | None]) -> str | None:
    """What is wrong with the directories on the way: a link among them leads elsewhere."""
    if directory not in known:
        above = _parent_problem(root, os.path.dirname(directory), known)
        if above is None and (root / directory).is_symlink():
            above = f"{directory} is a link and should be a directory"
        known[directory] = above
    return known[directory]


def _is_of_one_version(path: str) -> bool:
    """Whether a path belongs to one version or has the same bytes in each."""
    top, _, rest = path.partition("/")
    return top == "lib" or top.startswith("python-") or (top == "releases" and "/" in rest)


def _difference(file: Path, entry: ManifestEntry) -> str | None:
    try:
        status = os.lstat(file)
        if entry.link is not None:
            if not stat.S_ISLNK(status.st_mode):
                return f"should be a link to {entry.link}"
            return None if os.readlink(file) == entry.link else f"is a link to {os.readlink(file)}, not to {entry.link}"
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file"
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH):
            return f"has the mode {stat.S_IMODE(status.st_mode):04o}"
        if bool(status.st_mode & 0o111) != entry.executable:
            return f"should {'' if entry.executable else 'not '}be executable"
        if status.st_size != entry.size:
            return f"has {status.st_size} bytes, not {entry.size}"
        return None if _digest(file) == entry.sha256 else "has been changed: its sha256 differs"
    except FileNotFoundError:
        return "is missing"
    except NotADirectoryError:
        return "is missing: a file is in the place of its directory"
    except OSError as error:
        return f"can't be read: {error.strerror}"


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while piece := os.read(descriptor, _PIECE):
            digest.update(piece)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _linked(root: Path, tops: Iterable[str]) -> Iterator[str]:
    for top in tops:
        if os.path.islink(root / top):
            yield f"{top} is a link and should be a directory"


def _strays(root: Path, tops: Iterable[str], manifests: Mapping[str, Manifest]) -> list[Stray]:
    listed = {path for manifest in manifests.values() for path in manifest.files}
    listed |= {_relative(root, ReleaseDirectory(root).version(version).manifest) for version in manifests}
    strays_here = [
        path for top in tops if not os.path.islink(root / top) for path in _files(root, top) if path not in listed
    ]
    if not strays_here:
        return []
    judge = strays.Judge(root, listed)
    return [judge.stray(path) for path in strays_here]


def _stray_line(stray: Stray) -> str:
    return f"{stray.path}{_STRAY}"


def _files(root: Path, top: str) -> Iterator[str]:
    """Everything below a directory but directories; links are not followed."""
    for directory, directories, names in os.walk(root / top):
        directories.sort()
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        for name in sorted([*names, *links]):
            yield os.path.relpath(os.path.join(directory, name), root)


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
