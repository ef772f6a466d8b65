"""Writes pairs.json: the pairs that the rule chooses, from the index as it was on a day."""

from __future__ import annotations

import argparse
import io
import json
import platform
import re
import tarfile
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

HERE = Path(__file__).parent
INDEX = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json"
TIMEOUT = 60
"""Seconds for one answer of the index."""

_WHEEL = re.compile(r"[^-]+-([^-]+)-py[^-]*3[^-]*-none-any\.whl")
_SOURCE = re.compile(r".+-([^-]+)\.tar\.gz")
_TEST = re.compile(r"/(test_[^/]*|[^/]*_test|tests)\.py")


def chosen(package: str, day: str, count: int) -> Iterator[dict[str, Any]]:
    """The pairs of a package."""
    found: list[tuple[Version, Mapping[str, Any]]] = []
    for version, files in sorted(_releases(package, day).items(), reverse=True):
        if len(found) <= count and len(files) == 2 and _carries_tests(files["source"]["url"]):
            found.append((version, files))
    for (old, before), (new, after) in pairwise(reversed(found)):
        yield {
            "package": package,
            "from": str(old),
            "to": str(new),
            "uploaded": after["source"]["upload-time"][:10],
            "wheels": {str(old): before["wheel"]["hashes"]["sha256"], str(new): after["wheel"]["hashes"]["sha256"]},
            "source": {"url": after["source"]["url"], "sha256": after["source"]["hashes"]["sha256"]},
        }


def _releases(package: str, day: str) -> dict[Version, dict[str, Any]]:
    """Version -> its wheel and its source distribution, as the index tells of them."""
    request = urllib.request.Request(f"{INDEX}/{package}/", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        files = json.load(answer)["files"]
    found: dict[Version, dict[str, Any]] = {}
    for file in files:
        for kind, pattern in (("wheel", _WHEEL), ("source", _SOURCE)):
            match = pattern.fullmatch(file["filename"])
            if match is None or file["yanked"] or file["upload-time"] >= day:
                continue
            try:
                version, wanted = Version(match[1]), SpecifierSet(file.get("requires-python") or "")
            except InvalidVersion:
                continue
            if not version.is_prerelease and wanted.contains(platform.python_version()):
                found.setdefault(version, {})[kind] = file
    return found


def _carries_tests(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        content = io.BytesIO(answer.read())
    with tarfile.open(fileobj=content) as archive:
        return any(_TEST.search(name) and "test" in name.rpartition("/")[0] for name in archive.getnames())


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask the index about each package, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=date.fromisoformat, required=True, help="the first day that is not looked at")
    parser.add_argument("--pairs", type=int, default=2, help="how many of each package")
    parser.add_argument("--only", nargs="*", help="these packages alone; default: those of packages.toml")
    parser.add_argument("--output", type=Path, default=HERE / "pairs.json")
    options = parser.parse_args(arguments)
    packages = options.only or tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
    with ThreadPoolExecutor(4) as pool:
        tables = pool.map(lambda package: list(chosen(package, str(options.before), options.pairs)), packages)
    rows = [row for table in tables for row in table]
    options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} pairs of {len({row['package'] for row in rows})} packages")


if __name__ == "__main__":
    main()
