"""Copies of both releases that can be run here: with addresses of their own, sealed again, and with the way between them."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from underway_runtime.release import manifest, relup
from underway_runtime.release.archives import archive
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.relup import RelupEntry

from ..errors import BuildError
from ..planner.plan import plan
from ..planner.releases import Opened


@dataclass(frozen=True)
class Stage:
    """What is needed for one rehearsal."""

    name: str
    old: Opened
    new: Opened
    archive: Path
    """Of the new release, with its relup."""
    entry: RelupEntry
    """The way to it."""
    addresses: tuple[tuple[str, int], ...]
    """Where both listen, in the order of their applications."""


def set_up(old: Opened, new: Opened, scratch: Path) -> Stage:
    """Copy both below `scratch` and plan the way. Raises BuildError where no application of them declares where it listens."""
    listens = {name: len(start["listen"]) for name, start in _listening(new)}
    listens |= {name: max(len(start["listen"]), listens.get(name, 0)) for name, start in _listening(old)}
    if not listens:
        raise BuildError(
            "no application of the release declares where it listens, so nobody can ask it: `listen` in [tool.underway] does"
        )
    ports = iter(free_ports(sum(listens.values())))
    chosen = {name: [next(ports) for _ in range(count)] for name, count in listens.items()}
    one, other = (_copied(side, scratch / which, chosen) for which, side in (("old", old), ("new", new)))
    made = plan(other, [one], [one])
    other.place.relup.write_text(relup.dump(made), encoding="utf-8")
    other = _sealed(other, other.place.relup)
    file = archive.path(scratch, other.manifest.name, other.manifest.version, "gz")
    archive.write(file, other.root, other.manifest)
    addresses = tuple(("127.0.0.1", port) for number in chosen.values() for port in number)
    return Stage(made.name, one, other, file, made.up[0], addresses)


def _listening(side: Opened) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name, start in side.starts.items():
        if isinstance(start, dict) and start.get("listen"):
            yield name, start


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _copied(side: Opened, scratch: Path, ports: dict[str, list[int]]) -> Opened:
    for path, entry in side.manifest.files.items():
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        if entry.link is not None:
            os.symlink(entry.link, scratch / path)
        elif not path.endswith("/relup"):
            _link(side.root / path, scratch / path)
    config = ReleaseDirectory(scratch).version(side.manifest.version).sys_config
    document = json.loads(config.read_text(encoding="utf-8"))
    for name, chosen in ports.items():
        document.setdefault("config", {}).setdefault(name, {})["listen"] = [
            f"tcp://127.0.0.1:{port}" for port in chosen
        ]
    config.unlink()
    config.write_text(json.dumps(document), encoding="utf-8")
    return _sealed(Opened(scratch, side.manifest, side.date, scratch.parent), config)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _sealed(side: Opened, changed: Path) -> Opened:
    """The same, with one file as it is now; a relup that is not there is not in it."""
    path = changed.relative_to(side.root).as_posix()
    files = {name: entry for name, entry in side.manifest.files.items() if not name.endswith("/relup")}
    sealed = replace(side.manifest, files=dict(sorted({**files, **manifest.survey(side.root, [path])}.items())))
    file = ReleaseDirectory(side.root).version(sealed.version).manifest
    file.write_text(manifest.dump(sealed), encoding="utf-8")
    return replace(side, manifest=sealed)
