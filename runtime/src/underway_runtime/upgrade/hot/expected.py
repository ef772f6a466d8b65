"""What a process is to be like once it has become the newer version: excerpts of pictures of fresh starts, as small as may be.

`fresh_starts` makes them when it is asked, in a process of its own; `proof` compares this process with them. A picture of all that
modules reach takes tens of megabytes to be read, and the process that serves would keep the holes that these leave. An excerpt has
the nodes that are looked at, without the edges of those that are told by what they are alone.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...observation.node import Node, Path
from ...release.directory import VersionDirectory
from ...release.instruction_json import to_json
from ...release.instructions import Instruction
from .rehearsed import Unobservable

WITHIN = 120.0
"""Seconds for all that is asked of one version."""

_PROGRAM = "from underway_runtime.upgrade.hot.fresh_starts import main; main()"


@dataclass(frozen=True)
class Check:
    """One path at which this process is looked at."""

    kind: Literal["same", "gone", "row", "order"]
    """``same``: what is there is a node; ``gone``: nothing is; ``row``: its elements are these, and no more; ``order``: so are labels."""
    path: Path
    node: int = 0
    elements: tuple[tuple[str, int], ...] = ()
    """Labels, and nodes; of an order the labels count."""


@dataclass(frozen=True)
class Excerpt:
    """A part of the picture of some modules. What a node holds is compared where it has edges here."""

    modules: tuple[str, ...]
    nodes: tuple[Node, ...] = ()
    checks: tuple[Check, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "nodes": self.nodes,
            "checks": [[*vars(check).values()] for check in self.checks],
        }


@dataclass(frozen=True)
class Expected:
    """What was found out of two versions on this host."""

    made: Excerpt
    """What the older one has made, of what is to be bound to something else."""
    fresh: Excerpt
    """What a fresh start of the newer one has, and that of the older one has not."""
    problems: tuple[str, ...] = ()
    """Why the older one does not become what a fresh start of the newer one is."""

    def as_json(self) -> dict[str, Any]:
        return {"made": self.made.as_json(), "fresh": self.fresh.as_json(), "problems": self.problems}


@dataclass(frozen=True)
class Surroundings:
    """A version, and what it is started with here."""

    place: VersionDirectory
    environ: Mapping[str, str]
    configuration: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "place": str(self.place.path)}


def ask(old: Surroundings, new: Surroundings, instructions: Sequence[Instruction], modules: Sequence[str]) -> Expected:
    """Have another process find out what this one is to be like, of these modules. Raises Unobservable."""
    asked = {
        "old": old.as_json(),
        "new": new.as_json(),
        "instructions": [to_json(instruction) for instruction in instructions],
        "modules": list(modules),
    }
    with subprocess.Popen(
        [old.place.python, "-B", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=old.environ,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(4 * WITHIN, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{json.dumps(asked)}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            raise Unobservable("the process that compares fresh starts on this host has ended") from None
        finally:
            timer.cancel()
            process.kill()
    if "unobservable" in answer:
        raise Unobservable(answer["unobservable"])
    return _expected(answer)


def _expected(document: Mapping[str, Any]) -> Expected:
    return Expected(_excerpt(document["made"]), _excerpt(document["fresh"]), tuple(document["problems"]))


def _excerpt(document: Mapping[str, Any]) -> Excerpt:
    nodes = (Node(kind, name, digest, flags, _edges(edges)) for kind, name, digest, flags, edges in document["nodes"])
    checks = (Check(kind, Path(path), node, _edges(elements)) for kind, path, node, elements in document["checks"])
    return Excerpt(tuple(document["modules"]), tuple(nodes), tuple(checks))


def _edges(edges: Sequence[Sequence[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((label, number) for label, number in edges)
