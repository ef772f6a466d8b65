"""What a pair consists of, below a directory that is kept: both versions, what they need, and the tests of the newer one."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

HERE = Path(__file__).parent
UV = Path(sys.executable).with_name("uv")
TIMEOUT = 600
"""Seconds that an installation may take."""

TOOLS = ("pytest", "pytest-timeout")
"""What runs the tests, whatever they need besides."""

INSIDE = "@"
"""Instead of a directory of the source distribution: the package itself contains its tests."""


@dataclass(frozen=True)
class Package:
    """What packages.toml says of one."""

    name: str
    modules: Sequence[str] = ()
    """The names that are imported."""
    tests: str = "tests"
    needs: Sequence[str] = ()
    options: Sequence[str] = ()
    """Of pytest."""
    leave: Mapping[str, str] = field(default_factory=dict)
    """Tests that are left out -> why."""


@dataclass(frozen=True)
class Pair:
    """A row of pairs.json."""

    package: Package
    old: str
    new: str
    uploaded: date
    wheels: Mapping[str, str]
    """Version -> the SHA-256 of its wheel."""
    url: str
    sha256: str
    """Of the source distribution of the newer version."""

    @property
    def name(self) -> str:
        """As the table and the cache call it."""
        return f"{self.package.name}-{self.old}-{self.new}"


@dataclass(frozen=True)
class Sources:
    """Directories with what a pair consists of."""

    versions: Mapping[str, Path]
    """Version -> where its wheel is installed, and nothing else."""
    libraries: Path
    tests: Path
    """The source distribution of the newer version, without the package."""


def packages(file: Path = HERE / "packages.toml") -> dict[str, Package]:
    """The packages by name."""
    rows: Mapping[str, Mapping[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: Package(name, **{"modules": [name], **row}) for name, row in rows.items()}


def pairs(known: Mapping[str, Package], file: Path = HERE / "pairs.json") -> list[Pair]:
    """The pairs of a table; a package that is not known is taken for an ordinary one."""
    return [
        Pair(
            known.get(row["package"], Package(row["package"], [row["package"].replace("-", "_")])),
            row["from"],
            row["to"],
            date.fromisoformat(row["uploaded"]),
            row["wheels"],
            row["source"]["url"],
            row["source"]["sha256"],
        )
        for row in json.loads(file.read_text(encoding="utf-8"))
    ]


def sources(pair: Pair, cache: Path) -> Sources:
    """Fetch what is not there yet. Raises CalledProcessError, OSError and ValueError: for what is not what the table says."""
    name = pair.package.name
    versions = {
        version: _made_once(cache / f"{name}-{version}", partial(_wheel, pair, version))
        for version in (pair.old, pair.new)
    }
    return Sources(
        versions,
        _made_once(cache / f"{pair.name}-libraries", partial(_libraries, pair)),
        _made_once(cache / f"{name}-{pair.new}-tests", partial(_tests, pair)),
    )


def _made_once(place: Path, make: Callable[[Path], object]) -> Path:
    """A directory that is made whole, or not at all."""
    with _locks[place]:  # two pairs next to each other have a version in common
        if not place.exists():
            half = place.with_name(f"{place.name}.part")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            make(half)
            half.rename(place)
    return place


_locks: defaultdict[Path, Lock] = defaultdict(Lock)


def _wheel(pair: Pair, version: str, place: Path) -> None:
    wanted = place.with_name(f"{place.name}.txt")
    wanted.write_text(f"{pair.package.name}=={version} --hash=sha256:{pair.wheels[version]}\n", encoding="utf-8")
    try:
        _install(place, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(wanted))
    finally:
        wanted.unlink()


def _libraries(pair: Pair, place: Path) -> None:
    """What the newer version and its tests need, without itself."""
    before = pair.uploaded + timedelta(days=1)
    package = f"{pair.package.name}=={pair.new}"
    _install(place, "--exclude-newer", f"{before}T00:00:00Z", package, *TOOLS, *pair.package.needs)
    normal = pair.package.name.replace("-", "_").lower()
    for info in place.glob("*.dist-info"):
        if info.name.lower().startswith(f"{normal}-"):
            with (info / "RECORD").open(encoding="utf-8", newline="") as record:
                paths = [row[0] for row in csv.reader(record)]
            for path in paths:
                (place / path).unlink(missing_ok=True)
            shutil.rmtree(info, ignore_errors=True)
    for top in pair.package.modules:
        if (place / top).is_dir() and not any(each.is_file() for each in (place / top).rglob("*")):
            shutil.rmtree(place / top)
    compiling: list[str | Path] = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        place,
    ]
    subprocess.run(compiling, timeout=TIMEOUT)  # some libraries carry files that are no Python of today


def _install(place: Path, *arguments: str) -> None:
    command: list[str | Path] = [
        UV,
        "pip",
        "install",
        "--no-config",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        place,
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise ValueError(f"uv: {done.stderr.strip()}")


def _only_tests(package: Path) -> None:
    for file in [each for each in package.rglob("*") if each.is_file()]:
        if "tests" not in file.relative_to(package).parts[:-1]:
            file.unlink()


def _tests(pair: Pair, place: Path) -> None:
    with urllib.request.urlopen(pair.url, timeout=TIMEOUT) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != pair.sha256:
        raise ValueError(f"{pair.url} is not what the table says")
    archive = place / "source.tar.gz"
    archive.write_bytes(content)
    with tarfile.open(archive) as opened:
        opened.extractall(place, filter="data")
    archive.unlink()
    (inner,) = place.iterdir()
    for top in pair.package.modules:
        for copy in (inner / top, inner / "src" / top):
            copy.with_suffix(".py").unlink(missing_ok=True)
            if pair.package.tests == INSIDE and copy.is_dir():
                _only_tests(copy)
            else:
                shutil.rmtree(copy, ignore_errors=True)
    for each in inner.iterdir():
        each.rename(place / each.name)
    inner.rmdir()
