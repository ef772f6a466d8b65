"""Before anything is changed: what each host is like, and everything that speaks against a deploy there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...release import names
from ...release.directory import ReleaseDirectory
from ...release.manifest import Manifest
from .. import answers
from ..inventory import Host, Limits

_BLOCK = 4096
_ONCE = ("clock", "system", "machine", "directory", "var", "end")
"""What a whole answer says exactly once."""
_OWN_GLIBC = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Facts:
    """What a host says of itself."""

    directory: str
    """Of the release, absolute."""
    var: str
    """Where what changes is kept, absolute: the host's own RELEASE_VAR, or in that directory."""
    system: str
    machine: str
    skew: float
    """Seconds by which its clock is off, at least."""
    address: str
    """Its own, as SSH reached it."""
    client: str
    """That of the deploying machine, as the host sees it."""
    tools: frozenset[str]
    loader: bool
    glibc: str | None
    """None where it is of 2.32 or before, which can't be asked."""
    space: int | None
    """Bytes."""
    releases: Mapping[str, str]
    """Version -> release id."""
    nodes: Mapping[str, int]
    """Those that run, with their pids."""
    listening: frozenset[int]
    occupied: str | None
    """What is in the way of the directory."""
    signers: str | None = None
    """The file that says whose releases it takes, where it has one: then what it gets has to be signed."""
    authorities: Mapping[str, str] = field(default_factory=dict)
    """Node -> the certificate of the authority that its own is of, without spaces and line breaks."""


def loader_of(root: Path, version: str) -> str:
    """The path of the loader that a release names, empty where it runs with any C library."""
    try:
        return ReleaseDirectory(root).version(version).glibc.read_text(encoding="utf-8").split()[1]
    except (OSError, IndexError):
        return ""


def read(text: str, before: float, after: float) -> Facts:
    """Read the facts in what the script prints; it was asked between these moments, in seconds since 1970.

    Raises ValueError for anything else.
    """
    if not text.strip():
        raise ValueError("its answer can't be understood: it says nothing; is what it has for `sh` a POSIX shell?")
    lines: dict[str, list[str]] = {}
    for line in text.split("\n"):
        key, _, value = line.partition(" ")
        lines.setdefault(key, []).append(value)
    try:
        [clock], [system], [machine], [directory], [var], [_] = (lines.get(key, []) for key in _ONCE)
        now = float(clock)
        connection = [*lines.get("connection", [""])[0].split(), "", "", ""]
        pairs = map(_pair, lines.get("release", ()))
        releases = {version: release_id.strip('",') for version, release_id in pairs if names.is_version(version)}
        nodes = {node: int(pid) for pid, node in map(_pair, lines.get("node", ()))}
        authorities = {node: pem for pem, node in map(_pair, lines.get("authority", ()))}
        listening = frozenset(int(port, 16) for port in lines.get("listening", ()))
    except ValueError:
        raise ValueError(f"its answer can't be understood, it says:\n{answers.printable(text)}") from None
    space = re.search(r"\s(\d+)\s+\d+%\s", lines.get("space", [""])[-1])
    glibc = _OWN_GLIBC.findall(lines.get("glibc", [""])[0])
    return Facts(
        directory=directory,
        var=var,
        system=system,
        machine=machine,
        skew=max(0.0, now - after, before - now - 1),  # it counts whole seconds
        address=connection[2],
        client=connection[0],
        tools=frozenset(lines.get("tool", ())),
        loader="loader" in lines,
        glibc=glibc[-1] if glibc else None,
        space=int(space[1]) * 1024 if space else None,
        releases=releases,
        nodes=nodes,
        listening=listening,
        occupied=next(iter(lines.get("occupied", ())), None),
        signers=next(iter(lines.get("signers", ())), None),
        authorities=authorities,
    )


def problems(
    facts: Facts, manifest: Manifest, host: Host, *, needed: int, port: int, starts: bool, limits: Limits
) -> Iterator[str]:
    """All that speaks against this release on this host.

    `needed` are bytes that it takes there; with `starts` its node is to be started, at `port` or at any that is free.
    """
    machine, _, _ = manifest.target.partition("-")
    if facts.system != "Linux" or facts.machine != machine:
        yield f"it is {facts.machine} with {facts.system}, and the release is for {manifest.target}; build one there"
    elif manifest.glibc and not facts.loader:
        yield f"it has no glibc of its kind, and the release needs {manifest.glibc} or later"
    elif manifest.glibc and _number(facts.glibc or "2.32") < _number(manifest.glibc):
        has = facts.glibc or "2.32 or older"
        yield f"it has glibc {has}, and the release needs {manifest.glibc}; build on a system as old as this host"
    other = facts.releases.get(manifest.version, manifest.release_id)
    if other != manifest.release_id:
        yield f"it has another {manifest.name}-{manifest.version}, {other[:12]}; give this one a version of its own"
    if not facts.releases and not {"tar"} <= facts.tools:
        yield "it has no tar"
    if not facts.releases and not {"gzip", "zstd"} & facts.tools:
        yield "it has neither gzip nor zstd"
    if facts.occupied:
        yield f"{facts.occupied}; say another directory"
    if facts.space is not None and needed > facts.space:
        yield f"{needed / 1e6:.1f} MB are needed below {facts.directory}, and {facts.space / 1e6:.1f} MB are free"
    if facts.skew > limits.clock:
        yield f"its clock is off by {facts.skew:.0f} s; certificates have dates, and {limits.clock:g} s are the limit"
    node = host.node(manifest.name)
    if starts and node in facts.nodes:
        yield f"{node} runs there already (pid {facts.nodes[node]}); `deploy --stop` stops it"
    elif starts and port in facts.listening:
        yield f"port {port} is taken, and the {host.role} is to listen there"


def of_another_authority(facts: Facts, node: str, authority: str) -> str | None:
    """Why a node gets no certificate of this authority, whose own is `authority`, in PEM, or empty: it has those of another cluster."""
    theirs = facts.authorities.get(node)
    if theirs is None or theirs == "".join(authority.split()):
        return None
    return (
        f"{node} has certificates of another authority there: it was deployed from elsewhere, or by another user; deploy it from"
        f" there, or, where that cluster is no more, remove {facts.var}/cluster/{node}/certificates on that host"
    )


def size_of(manifest: Manifest, other: Manifest | None) -> int:
    """The bytes on disk of what a host lacks that has this other version, or none."""
    known = other.files if other is not None else {}
    return sum(-(-entry.size // _BLOCK) * _BLOCK for path, entry in manifest.files.items() if known.get(path) != entry)


def _pair(line: str) -> tuple[str, str]:
    first, _, second = line.partition(" ")
    return first, second


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
