"""``releases/V/relup``: how a node comes to version V from others, and how it goes back to them, as JSON.

One file holds an entry for each version that it leads from, and for each that it leads to; entries are exact: they name the
release that they were made from by its id, and none is chained to another. After OTP's relup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from ..frozen import Frozen
from .decode import Invalid, Problem, Reader, content_of, decode
from .errors import DamagedRelease
from .instruction_json import from_json, to_json
from .instructions import Instruction

FORMAT = 1

Verdict: TypeAlias = Literal["HOT", "MIGRATE", "RESTART", "REFUSE"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""From the mildest: swapped in place; and live state is carried over; a fresh interpreter; a person must decide."""

PROVEN: Mapping[str, int] = {"3.11": 0, "3.12": 0, "3.13": 0, "3.14": 5, "3.15": 2}
"""The minor versions of Python with which upgrades in place were tried, each from its first micro version that does.

3.15 was first tried as 3.15.2. 3.14.0 to 3.14.4 have a collector that goes over old objects step by step: what is
young, and since when, can't be asked there.
"""

Direction: TypeAlias = Literal["up", "down"]
_NUMBERS = re.compile("[0-9]+")
_OTHER: Mapping[Direction, str] = {"up": "from", "down": "to"}
"""By the direction of an entry, the key that has the other version."""


def unproven(version: str) -> str | None:
    """Why nothing is upgraded in place with a version of Python, such as 3.13.1; None where it may be.

    >>> unproven("3.14.5"), unproven("3.16.0")
    (None, 'an upgrade in place was never tried with Python 3.16')
    """
    major, minor, micro = _NUMBERS.findall(version)[:3]
    python = f"{major}.{minor}"
    if (first := PROVEN.get(python)) is None:
        return f"an upgrade in place was never tried with Python {python}"
    return (
        None
        if int(micro) >= first
        else f"Python {python} is upgraded in place from {python}.{first} on, and not {version}"
    )


class Row(Frozen):
    """One change between two versions, and what it takes."""

    module: str
    definition: str
    """A name in it, or the module itself where this is empty."""
    change: str
    """What kind of change it is: body, signature, value, added, removed…"""
    verdict: Verdict
    reason: str
    file: str = ""
    """In the newer version, below ``lib``; in the older one where it is gone."""
    line: int = 0
    cause: str = ""
    """``module:definition`` of the change that this follows from; empty where it is one by itself."""


class RelupEntry(Frozen):
    """The way from one version to another."""

    version: str
    """Of the other release: where it comes from on the way up, where it goes to on the way down."""
    id: str
    """The other's release id, of all but its own relup."""
    description: str
    verdict: Verdict
    changes: tuple[Row, ...]
    instructions: tuple[Annotated[Instruction, Reader(from_json)], ...]


def entry_from_json(direction: Direction, document: Any) -> RelupEntry:
    """What `entry_to_json` has made. Raises Invalid."""
    key = _OTHER[direction]
    if isinstance(document, Mapping):
        if key not in document:
            raise Invalid([Problem((key,), "missing", wanted="a version")])
        document = {**document, "version": document[key]}
    return decode(RelupEntry, document, ignore_unknown=True)


_Up: TypeAlias = Annotated[RelupEntry, Reader(partial(entry_from_json, "up"))]
_Down: TypeAlias = Annotated[RelupEntry, Reader(partial(entry_from_json, "down"))]


class Relup(Frozen):
    """The ways to one version and back."""

    name: str
    version: str
    target_id: str
    """The release id of that version, of all but this file."""
    interpreter: str
    """The version of the interpreter that the code in it is for."""
    magic: str
    """The magic number of its compiled code, hexadecimal."""
    up: tuple[_Up, ...] = ()
    down: tuple[_Down, ...] = ()


class RelupPath(Frozen):
    """What to do, and with whose code."""

    entry: RelupEntry
    direction: Direction
    magic: str
    """Of the compiled code in it."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The severest; HOT of none."""
    return max(verdicts, key=VERDICTS.index, default="HOT")


def dump(relup: Relup) -> str:
    """Return the text of a relup; the same gives the same. Raises ValueError for values in it that are not plain."""
    document = {
        "format": FORMAT,
        **{key: getattr(relup, key) for key in ("name", "version", "target_id", "interpreter", "magic")},
        "up": [entry_to_json("up", entry) for entry in relup.up],
        "down": [entry_to_json("down", entry) for entry in relup.down],
    }
    return json.dumps(document, indent=1) + "\n"


def read(path: Path) -> Relup:
    """Read a relup. Raises DamagedRelease, naming the file and what is wrong, when it is missing or not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DamagedRelease(f"there is no {path}; `underway relup` makes one") from None
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}") from None
    try:
        return parse(text)
    except ValueError as error:
        raise DamagedRelease(f"{path} is not a relup: {error}") from None


def parse(text: str) -> Relup:
    """Read the relup of this text. Raises ValueError with what is wrong with it."""
    try:
        return decode(Relup, content_of(json.loads(text), FORMAT), ignore_unknown=True)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def entry_to_json(direction: Direction, entry: RelupEntry) -> dict[str, Any]:
    """An entry as it is in the file, among those of a direction. Raises ValueError for values in it that are not plain."""
    return {
        _OTHER[direction]: entry.version,
        "id": entry.id,
        "description": entry.description,
        "verdict": entry.verdict,
        "changes": [asdict(row) for row in entry.changes],
        "instructions": [to_json(instruction) for instruction in entry.instructions],
    }
