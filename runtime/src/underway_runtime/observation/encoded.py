"""Pictures in files: data that is read with limits, holds no values, and is the same for the same picture.

A line that says what it is, then JSON, compressed. Texts are in one table, nodes in columns: how many edges each node has, and
then all edges in a row. Numbers of nodes are told from the node that leads to them, so that they are small.

==============  =======================================================================================================
``python``      of which interpreter the digests of code are
``texts``       types, names and labels
``types``       of each node, the number of a text; so ``names``
``digests``     of the nodes that have one, joined
``flags``       of each node; 256 and more where it has a digest
``edges``       how many each node has
``labels``      of each edge, the number of a text; so ``targets``, relative to the node
==============  =======================================================================================================
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import platform
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, TypeAlias

from ..release.errors import DamagedRelease
from .node import DIGITS, Node, Path
from .picture import Picture

MAGIC = b"underway picture 1\n"
MOST_BYTES = 1 << 29
"""What a picture may be when it is unpacked."""
MOST_NODES = 1 << 23

HAS_DIGEST = 256
"""A flag of nodes in columns: the next of the digests is theirs."""

Document: TypeAlias = dict[str, Any]
"""A picture as it is in a file: columns, by name."""


@dataclass(frozen=True)
class Observation:
    """What was seen of the import of one version."""

    picture: Picture
    ran: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """By module, the functions that ran while modules were imported, each with the globals that it may have read."""
    outside: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What import did outside of the heap, by kind."""
    python: str = field(default_factory=platform.python_version)
    """The interpreter that it was seen with; digests of code are only comparable within one."""


def dump(observation: Observation, level: int = 6) -> bytes:
    """Write an observation as the contents of a file; the same observation gives the same. `level` is that of `zlib`."""
    return pack(document(observation), level)


def load(content: bytes, name: str = "the picture") -> Observation:
    """Read what `dump` made this of. Raises DamagedRelease, which says what is wrong with it, when it is anything else."""
    document = unpack(content, name)
    with checked(name):
        return of_document(document)


def pack(document: Document, level: int = 6) -> bytes:
    """The contents of a file, of a document."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    return MAGIC + zlib.compress(text.encode("ascii"), level)


def unpack(content: bytes, name: str = "the picture") -> Document:
    """Unpack the document in a file, nothing of which is checked yet. Raises DamagedRelease where it has none."""
    if not content.startswith(MAGIC):
        head = content[:20].split(b"\n")[0]
        raise DamagedRelease(f"{name} is not one: it begins with {head!r}, not {MAGIC.strip().decode()!r}")
    with checked(name):
        stream = zlib.decompressobj()
        text = stream.decompress(content[len(MAGIC) :], MOST_BYTES)
        if not stream.eof or stream.unused_data:
            raise ValueError("it is cut off, goes on after its end, or is too large")
        found_document: Document = json.loads(text)
        return found_document


@contextmanager
def checked(name: str) -> Iterator[None]:
    """Raise DamagedRelease for whatever of a document makes no sense in this block."""
    try:
        yield
    except (zlib.error, ValueError, TypeError, KeyError, IndexError, RecursionError, AttributeError) as error:
        raise DamagedRelease(f"{name} is damaged: {type(error).__name__}: {error}") from None


def read(path: pathlib.Path) -> Observation:
    """Read a file. Raises DamagedRelease when it is not a picture, OSError when it can't be read."""
    return load(path.read_bytes(), str(path))


def digest(content: bytes) -> str:
    """The digest of a file, as the manifest has it."""
    return hashlib.sha256(content).hexdigest()


def document(observation: Observation) -> Document:
    """The columns of a picture, and what was seen besides."""
    picture, texts = observation.picture, dict[str, int]()
    nodes = picture.nodes
    return {
        "python": observation.python,
        "modules": [[name, number] for name, number in picture.modules.items()],
        "missing": dict(picture.missing),
        "noise": [list(path) for path in picture.noise],
        "types": [texts.setdefault(node.type, len(texts)) for node in nodes],
        "names": [texts.setdefault(node.name, len(texts)) for node in nodes],
        "digests": "".join([node.digest for node in nodes if len(node.digest) == DIGITS]),
        "others": [[number, node.digest] for number, node in enumerate(nodes) if len(node.digest) not in (0, DIGITS)],
        "flags": [node.flags | (HAS_DIGEST if len(node.digest) == DIGITS else 0) for node in nodes],
        "edges": [len(node.edges) for node in nodes],
        "labels": [texts.setdefault(label, len(texts)) for node in nodes for label, _ in node.edges],
        "targets": [to - number for number, node in enumerate(nodes) for _, to in node.edges],
        "texts": list(texts),
        "ran": {module: {name: list(read) for name, read in ran.items()} for module, ran in observation.ran.items()},
        "outside": {kind: list(names) for kind, names in observation.outside.items()},
    }


def of_document(document: Document) -> Observation:
    """What a document says. Raises ValueError, TypeError, KeyError or IndexError where it does not make sense."""
    texts = _of(str, document["texts"])
    nodes = list(_nodes(document, texts))
    modules = {str(name): _within(number, nodes) for name, number in document["modules"]}
    picture = Picture(
        modules=modules,
        nodes=nodes,
        missing={str(name): str(why) for name, why in document["missing"].items()},
        noise=tuple(Path(_of(str, path)) for path in document["noise"]),
    )
    ran = {str(name): {str(f): _of(str, read) for f, read in ran.items()} for name, ran in document["ran"].items()}
    outside = {str(kind): _of(str, names) for kind, names in document["outside"].items()}
    return Observation(picture, ran, outside, str(document["python"]))


def _nodes(document: Any, texts: list[str]) -> Iterator[Node]:
    columns = {name: _of(int, document[name]) for name in ("types", "names", "flags", "edges", "labels", "targets")}
    count = len(columns["types"])
    if any(min(columns[name], default=0) < 0 for name in ("types", "names", "flags", "edges", "labels")):
        raise ValueError("a number in it is negative")
    if count > MOST_NODES or any(len(columns[name]) != count for name in ("names", "flags", "edges")):
        raise ValueError(f"its columns are not of one length, or it has more than {MOST_NODES} nodes")
    if len(columns["labels"]) != len(columns["targets"]) or len(columns["labels"]) != sum(columns["edges"]):
        raise ValueError("it has other edges than its nodes say")
    others = {int(number): str(other) for number, other in document["others"]}
    labels = [texts[label] for label in columns["labels"]]
    targets = [n + to for n, to in zip(_repeated(columns["edges"]), columns["targets"], strict=True)]
    if targets and not 0 <= min(targets) <= max(targets) < count:
        raise ValueError(f"it leads to {min(targets)} and {max(targets)}, and has {count} nodes")
    edges = list(zip(labels, targets, strict=True))
    digests, of_digests, at = str(document["digests"]), 0, 0
    rows = zip(*(columns[name] for name in ("types", "names", "flags", "edges")), strict=True)
    for number, (kind, name, flags, length) in enumerate(rows):
        digest = others.get(number, "")
        if flags & HAS_DIGEST:
            digest, of_digests = digests[of_digests : of_digests + DIGITS], of_digests + DIGITS
        yield Node(texts[kind], texts[name], digest, flags & ~HAS_DIGEST, tuple(edges[at : at + length]))
        at += length


def _repeated(counts: Sequence[int]) -> Iterator[int]:
    """The number of the node of each edge."""
    return chain.from_iterable(repeat(number, count) for number, count in enumerate(counts))


def _within(number: Any, row: Sequence[Any]) -> int:
    if type(number) is not int or not 0 <= number < len(row):
        raise ValueError(f"it leads to {number!r}, and has {len(row)} nodes")
    return number


def _of(kind: type, values: Any) -> list[Any]:
    if type(values) is not list or not {*map(type, values)} <= {kind}:
        raise TypeError(f"a list of {kind.__name__} was expected")
    return values
