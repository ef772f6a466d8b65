"""``releases/V/relup``: how a node comes to version V from others, and how it goes back to them, as JSON.

One file holds an entry for each version that it leads from, and for each that it leads to; entries are exact: they name the
release that they were made from by its id, and none is chained to another. After OTP's relup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from .errors import DamagedRelease
from .instructions import Instruction, from_json, to_json

FORMAT = 1

Verdict: TypeAlias = Literal["HOT", "MIGRATE", "RESTART", "REFUSE"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""From the mildest: swapped in place; and live state is carried over; a fresh interpreter; a person must decide."""


@dataclass(frozen=True)
class Row:
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


@dataclass(frozen=True)
class RelupEntry:
    """The way from one version to another."""

    version: str
    """Of the other release: where it comes from on the way up, where it goes to on the way down."""
    id: str
    """The other's release id, of all but its own relup."""
    description: str
    verdict: Verdict
    changes: tuple[Row, ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Relup:
    """The ways to one version and back."""

    name: str
    version: str
    target_id: str
    """The release id of that version, of all but this file."""
    interpreter: str
    """The version of the interpreter that the code in it is for."""
    magic: str
    """The magic number of its compiled code, hexadecimal."""
    up: tuple[RelupEntry, ...] = ()
    down: tuple[RelupEntry, ...] = ()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The severest; HOT of none."""
    return max(verdicts, key=VERDICTS.index, default="HOT")


def dump(relup: Relup) -> str:
    """The text of a relup; the same gives the same. Raises ValueError for values in it that are not plain."""
    document = {
        "format": FORMAT,
        **{key: getattr(relup, key) for key in ("name", "version", "target_id", "interpreter", "magic")},
        "up": [_entry_to_json("from", entry) for entry in relup.up],
        "down": [_entry_to_json("to", entry) for entry in relup.down],
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
    """The relup of this text. Raises ValueError with what is wrong with it."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this runtime reads format {FORMAT}")
        texts = {key: _text(document[key]) for key in ("name", "version", "target_id", "interpreter", "magic")}
        return Relup(
            **texts,
            up=tuple(_entry_from_json("from", entry) for entry in document["up"]),
            down=tuple(_entry_from_json("to", entry) for entry in document["down"]),
        )
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _entry_to_json(key: str, entry: RelupEntry) -> dict[str, Any]:
    return {
        key: entry.version,
        "id": entry.id,
        "description": entry.description,
        "verdict": entry.verdict,
        "changes": [asdict(row) for row in entry.changes],
        "instructions": [to_json(instruction) for instruction in entry.instructions],
    }


def _entry_from_json(key: str, document: Any) -> RelupEntry:
    return RelupEntry(
        version=_text(document[key]),
        id=_text(document["id"]),
        description=_text(document["description"]),
        verdict=_verdict(document["verdict"]),
        changes=tuple(map(_row, document["changes"])),
        instructions=tuple(map(from_json, document["instructions"])),
    )


def _row(document: Any) -> Row:
    texts = {key: _text(document[key]) for key in ("module", "definition", "change", "reason", "file")}
    if type(document["line"]) is not int:
        raise ValueError(f"{document['line']!r} is not a line")
    cause = _text(document.get("cause", ""))  # relups that were made before there was one
    return Row(verdict=_verdict(document["verdict"]), line=document["line"], cause=cause, **texts)


def _verdict(value: Any) -> Verdict:
    for verdict in VERDICTS:
        if value == verdict:
            return verdict
    raise ValueError(f"{value!r} is not a verdict; there are {', '.join(VERDICTS)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value
