"""Wheels made on the spot, and the locks that name them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from underway.packages import wheel_record

GENERATED = {"WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}


def write_wheel(
    directory: Path,
    name: str,
    files: Mapping[str, str | bytes],
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    entry_points: str = "",
    tag: str = "py3-none-any",
) -> Path:
    """A wheel that holds `files`; what begins with ``data/`` or ``scripts/`` goes into the prefix."""
    base = f"{name.replace('-', '_')}-{version}"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {text}" for text in requires]
    content: dict[str, bytes] = {}
    for path, given in files.items():
        place = f"{base}.data/{path}" if path.startswith(("data/", "scripts/")) else path
        content[place] = given.encode() if isinstance(given, str) else given
    content[f"{base}.dist-info/METADATA"] = ("\n".join(lines) + "\n").encode()
    content[f"{base}.dist-info/WHEEL"] = GENERATED["WHEEL"].encode()
    if entry_points:
        content[f"{base}.dist-info/entry_points.txt"] = entry_points.encode()
    rows = [(path, wheel_record.digest(data), len(data)) for path, data in content.items()]
    record = f"{base}.dist-info/RECORD"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
    content[record] = text.getvalue().encode()

    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{base}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in content.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (0o755 if "/scripts/" in path else 0o644) << 16
            archive.writestr(member, data)
    return wheel


def locked_project(root: Path, files: Sequence[Path], *, lines: str = "", packages: str = "") -> Path:
    """A virtual project whose pylock.toml names these wheels or sdists, with their hashes. Returns `root`."""
    names = [path.name.split("-")[0].replace("_", "-") for path in files]
    text = f'lock-version = "1.0"\ncreated-by = "tests"\n{lines}\n'
    for name, path in zip(names, files, strict=True):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        version = path.name.removesuffix(".tar.gz").split("-")[1]
        relative = Path(os.path.relpath(path, root)).as_posix()
        text += (
            f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
            f'archive = {{ path = "{relative}", hashes = {{ sha256 = "{digest}" }} }}\n\n'
        )
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "{root.name}"\nversion = "1"\ndependencies = {names}\n', encoding="utf-8"
    )
    (root / "pylock.toml").write_text(text + packages, encoding="utf-8")
    return root


def write_dist_info(
    site_packages: Path,
    name: str,
    files: Mapping[str, str] | None = None,
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    entry_points: str = "",
) -> None:
    """An installed distribution, as an installer leaves it, in a site-packages directory."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {text}" for text in requires]
    written = {**(files or {}), f"{info}/METADATA": "\n".join(lines) + "\n"}
    if entry_points:
        written[f"{info}/entry_points.txt"] = entry_points
    for path, text in written.items():
        (site_packages / path).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / path).write_text(text, encoding="utf-8")
    wheel_record.write(site_packages, info, written)
