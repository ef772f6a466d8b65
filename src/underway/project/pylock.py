"""A pylock.toml (PEP 751) as data: which artefact of each package one interpreter installs, and what is wrong with it.

Reads and writes no file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from packaging.markers import Environment
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from ..errors import did_you_mean

Kind: TypeAlias = Literal["wheel", "sdist", "local"]

SHOWN_TAGS = 4
"""How many of a package's wheels an error names."""


@dataclass(frozen=True)
class Locked:
    """One distribution to install: the one artefact of it that was chosen."""

    name: str
    """Normalized: ``typing-extensions``."""
    version: str | None
    """None for a project of this repository, which says so only when it is built."""
    kind: Kind
    project: Path | None = None
    """The directory to build, for kind ``local``."""
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Its table in a pylock.toml, with that one artefact; empty for kind ``local``."""


@dataclass(frozen=True)
class Wanted:
    """What a release takes from a lock: the options of the same names, and the interpreter to install for."""

    python: Path
    environment: Mapping[str, str]
    """Its PEP 508 environment."""
    tags: Sequence[Tag]
    """What it can install, best first."""
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    build_sdists: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    """Members of the workspace to ship; empty for the project itself."""


def select(document: Mapping[str, Any], root: Path, wanted: Wanted) -> tuple[list[Locked], list[str]]:
    """The packages of a lock to install, and everything that is wrong with them or with the lock.

    `document` is a pylock.toml of version 1, parsed; paths in it are relative to `root`.
    """
    tables = document.get("packages")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [], ["it has no list of packages"]
    try:
        lock = Pylock.from_dict({**document, "packages": []})
    except PylockValidationError as error:
        return [], [str(error)]
    problems = [*_environment_problems(lock, wanted), *_choice_problems(lock, wanted)]
    chosen: dict[str, Locked] = {}
    for table in tables:
        # Each package on its own, so that one that is wrong does not hide the next.
        try:
            one = Pylock.from_dict({"lock-version": "1.0", "created-by": "", "packages": [table]})
            picked = list(_pick(one, lock, wanted))
        except PylockValidationError as error:
            problems.append(_validation_problem(table, error))
            continue
        except PylockSelectError:
            problems.append(_unfit(one.packages[0], wanted))
            continue
        for package, artefact in picked:
            if package.name in chosen:
                problems.append(f"{package.name} is there twice for this interpreter; its markers must tell them apart")
            elif problem := _problem(package, artefact, wanted):
                problems.append(problem)
            else:
                chosen[package.name] = _locked(package, artefact, table, root)
    return list(chosen.values()), problems


def pylock_text(packages: Sequence[Locked]) -> str:
    """A pylock.toml that names one artefact for each package and leaves nothing to choose."""
    lines = ['lock-version = "1.0"', 'created-by = "underway"']
    if not packages:
        lines.append("packages = []")
    for package in packages:
        lines += ["", "[[packages]]", *(f"{key} = {_toml(value)}" for key, value in package.entry.items())]
    return "\n".join(lines) + "\n"


_Artefact: TypeAlias = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist


def _pick(one: Pylock, lock: Pylock, wanted: Wanted) -> Iterator[tuple[Package, _Artefact]]:
    to_build = {canonicalize_name(name) for name in wanted.build_sdists}
    return one.select(
        environment=cast("Environment", dict(wanted.environment)),
        tags=wanted.tags,
        extras=wanted.extras,
        # The default groups of a lock stand for what the project itself depends on; PEP 751 names them so.
        dependency_groups={*wanted.groups, *(lock.default_groups or ())},
        prefer_sdist_predicate=lambda name: name in to_build,
    )


def _environment_problems(lock: Pylock, wanted: Wanted) -> Iterator[str]:
    python = _python(wanted)
    if lock.requires_python and not lock.requires_python.contains(python, prereleases=True):
        yield f"it is for Python {lock.requires_python}, and the interpreter is {python} ({wanted.python})"
    markers = lock.environments or ()
    if markers and not any(marker.evaluate(cast("dict[str, str]", dict(wanted.environment))) for marker in markers):
        yield f"it is for other environments than this one: {'; '.join(map(str, markers))}"


def _choice_problems(lock: Pylock, wanted: Wanted) -> Iterator[str]:
    for what, names, listed in (
        ("group", wanted.groups, lock.dependency_groups or ()),
        ("extra", wanted.extras, lock.extras or ()),
    ):
        for name in names:
            if canonicalize_name(name) not in map(canonicalize_name, listed):
                yield f"it has no {what} {name!r}{did_you_mean(name, listed)}"


def _validation_problem(table: Mapping[str, Any], error: PylockValidationError) -> str:
    where = (error.context or "").removeprefix("packages[0]").lstrip(".")
    what = f"{table.get('name', 'a package without a name')} {table.get('version', '')}".rstrip()
    if where.endswith("hashes"):
        artefact = where.partition(".hashes")[0].partition("[")[0].removesuffix("s")
        return f"{what} has {_a(artefact)} without a hash; make the lock with hashes, as `uv export` does"
    return f"{what}: {error.message}{f' ({where})' if where else ''}"


def _a(word: str) -> str:
    return f"an {word}" if word.startswith(("archive", "sdist")) else f"a {word}"


def _unfit(package: Package, wanted: Wanted) -> str:
    """Why nothing of a package can be chosen."""
    python = _python(wanted)
    if package.requires_python and not package.requires_python.contains(python, prereleases=True):
        return f"{_named(package)} is for Python {package.requires_python}, and the interpreter is {python}"
    return _no_wheel(package, [_tags(wheel.filename) for wheel in package.wheels or ()], wanted)


def _problem(package: Package, artefact: _Artefact, wanted: Wanted) -> str | None:
    """Why what was chosen of a package may not be installed."""
    to_build = package.name in {canonicalize_name(name) for name in wanted.build_sdists}
    match artefact:
        case PackageVcs():
            return (
                f"{_named(package)} comes from {artefact.type} ({artefact.url or artefact.path}), which no hash pins;"
                " lock a wheel of it, or make it part of this project"
            )
        case PackageArchive() if _file(artefact).endswith(".whl"):
            tags = _tags(_file(artefact))
            return _no_wheel(package, [tags], wanted) if tags.isdisjoint(wanted.tags) else None
        case PackageSdist() if package.wheels and not to_build:
            return _no_wheel(package, [_tags(wheel.filename) for wheel in package.wheels], wanted)
        case PackageSdist() | PackageArchive() if not to_build:
            return (
                f"{_named(package)} has no wheel, only source; to have it built here, write"
                f' build-sdists = ["{package.name}"]'
            )
        case PackageWheel() | PackageDirectory() if to_build:
            return f"{_named(package)} is named in build-sdists, and the lock has no sdist of it"
    return None


def _no_wheel(package: Package, wheels: Sequence[Collection[Tag]], wanted: Wanted) -> str:
    available = sorted({_short(tags) for tags in wheels})
    more = f" and {len(available) - SHOWN_TAGS} more" if len(available) > SHOWN_TAGS else ""
    hint = f'; to build it from its sdist, write build-sdists = ["{package.name}"]' if package.sdist else ""
    return (
        f"{_named(package)} has no wheel for this interpreter, which takes {wanted.tags[0]} and what is older or more"
        f" general; the lock has {', '.join(available[:SHOWN_TAGS])}{more}{hint}"
    )


def _locked(package: Package, artefact: _Artefact, table: Mapping[str, Any], root: Path) -> Locked:
    version = None if package.version is None else str(package.version)
    match artefact:
        case PackageDirectory():
            project = Path(root.absolute(), artefact.path, artefact.subdirectory or ".").resolve()
            return Locked(package.name, version, "local", project)
        case PackageArchive():
            kind: Kind = "wheel" if _file(artefact).endswith(".whl") else "sdist"
            return Locked(package.name, version, kind, entry=_entry(table, "archive", table["archive"], root))
        case PackageWheel():
            index = list(package.wheels or ()).index(artefact)
            return Locked(package.name, version, "wheel", entry=_entry(table, "wheels", [table["wheels"][index]], root))
        case _:
            return Locked(package.name, version, "sdist", entry=_entry(table, "sdist", table["sdist"], root))


def _entry(table: Mapping[str, Any], key: str, artefact: Any, root: Path) -> dict[str, Any]:
    fields = {name: table[name] for name in ("name", "version") if name in table}
    return {**fields, key: [_placed(file, root) for file in artefact] if key == "wheels" else _placed(artefact, root)}


def _placed(file: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """An artefact without dates, its path absolute: the text is written elsewhere than the lock it comes from."""
    fields = {name: value for name, value in file.items() if not isinstance(value, datetime | date | time)}
    return {**fields, "path": str(root.absolute() / fields["path"])} if "path" in fields else fields


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # What JSON writes for a string, a number or a truth value means the same in TOML, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _named(package: Package) -> str:
    return f"{package.name} {package.version or ''}".rstrip()


def _python(wanted: Wanted) -> str:
    return wanted.environment["python_full_version"].rstrip("+")


def _file(archive: PackageArchive) -> str:
    return (archive.url or archive.path or "").partition("#")[0].partition("?")[0].rpartition("/")[2]


def _tags(file: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(file.replace("%2B", "+"))[3]
    except ValueError:
        return frozenset()


def _short(tags: Collection[Tag]) -> str:
    parts = [sorted({getattr(tag, part) for tag in tags}) for part in ("interpreter", "abi", "platform")]
    return "-".join(".".join(part) for part in parts)
