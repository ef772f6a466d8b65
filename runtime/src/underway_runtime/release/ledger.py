"""The ledger ``var/RELEASES``: which versions are here, and what each of them is. The table is that of OTP's release_handler.

=============  ==========  ===========  ============  ============  ============  ==========  ========
a version is   unpack      install      commit        upgrade       rollback      restart     remove
=============  ==========  ===========  ============  ============  ============  ==========  ========
not here       unpacked
unpacked                   current                    permanent                   unpacked    not here
current                    current      permanent                                 unpacked
permanent                  permanent    permanent     permanent                   permanent
old                        current                    permanent     permanent     old         not here
=============  ==========  ===========  ============  ============  ============  ==========  ========

An empty field is refused. The upgrade is that of a service that is stopped; of one that runs it is unpack, install and commit. To the
others: install makes the one that is current ``old``; commit, upgrade and rollback make the one that is permanent ``old``. So there is
always one permanent version, and at most one current. OTP removes what is current too; we don't, for it runs.

Each fact has one place that decides it, and the ledger adds what none of them knows: what is old, and what has failed.

==============================  ==================================================================================
whether a version is here       ``releases/V/manifest.json``, which comes last and goes first
which one is permanent          ``var/start.data``, else ``releases/start.data``: what boots
which one is current            the node that runs; never written, for after a restart it is unpacked again
whether it failed afterwards    ``var/journal/replaced``: the keeper, which has started the permanent one then
==============================  ==================================================================================

So the rename of ``start.data`` is the whole of a commit. A ledger that a dead process left behind it says what was permanent
before; `read` puts it right, and a release that has none is as its tree says. One that can't be read is an error: to forget
the others silently would be to forget which of them failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..frozen import Frozen
from . import display, manifest, names
from .decode import content_of
from .directory import ReleaseDirectory, VarDirectory
from .errors import DamagedRelease, UnderwayError
from .filesystem import atomic_files, openat

FORMAT = 1

State: TypeAlias = Literal["unpacked", "current", "permanent", "old"]
Event: TypeAlias = Literal["unpack", "install", "commit", "upgrade", "rollback", "restart", "remove"]
States: TypeAlias = Mapping[str, State]

ROLLED_BACK = "rolled back to "
"""How a record says that somebody has gone back from a version."""

_GONE = None
_BECOMES: Mapping[tuple[State | None, Event], State | None] = {
    (_GONE, "unpack"): "unpacked",
    ("unpacked", "install"): "current",
    ("unpacked", "remove"): _GONE,
    ("current", "install"): "current",
    ("current", "commit"): "permanent",
    ("permanent", "install"): "permanent",
    ("permanent", "commit"): "permanent",
    ("unpacked", "upgrade"): "permanent",
    ("permanent", "upgrade"): "permanent",
    ("old", "upgrade"): "permanent",
    ("old", "install"): "current",
    ("old", "rollback"): "permanent",
    ("old", "remove"): _GONE,
}
_LEAVES: Mapping[Event, State] = {
    "install": "current",
    "commit": "permanent",
    "upgrade": "permanent",
    "rollback": "permanent",
}
"""The state that the version of an event takes from another, which becomes old."""

_HINTS = {
    (_GONE, "unpack"): "",
    ("unpacked", "commit"): "it was unpacked and does not run; install it first",
    ("old", "commit"): "it is old and does not run; install it first",
    ("unpacked", "rollback"): "it was never committed; install it",
    ("current", "rollback"): "it runs, and was never committed",
    ("permanent", "rollback"): "it is the permanent one",
    ("current", "remove"): "it runs; install another one first",
    ("permanent", "remove"): "it is the permanent one, which boots; commit another one first",
}


class StateRefused(UnderwayError):
    """A version is not in the state for what was asked."""


class Record(Frozen):
    """What is known of a version."""

    state: State
    release_id: str
    """Empty where its manifest can't be read."""
    when: str
    """Since when it is in this state."""
    committed: bool = False
    """Whether it has ever been permanent."""
    failed: str | None = None
    """Why it is not to be chosen again, unless it is asked for."""
    installed: str | None = None
    """The id of its last install, while that is not committed."""
    left: str | None = None
    """That somebody has gone back from it, and whereto: `previous` passes it over, and nothing else does."""


Ledger: TypeAlias = Mapping[str, Record]
"""By version, the one that changed last at the end."""


def transition(states: States, event: Event, version: str | None = None) -> dict[str, State]:
    """The states after an event; of all events but ``restart`` of `version`. Raises StateRefused by the table above."""
    if event == "restart":
        return {name: "unpacked" if state == "current" else state for name, state in states.items()}
    if version is None:
        raise StateRefused(f"{event} needs a version")
    before = states.get(version)
    if (before, event) not in _BECOMES:
        if before is None:
            known = ", ".join(states) or "none"
            raise StateRefused(f"there is no version {version} here to {event}; here are: {known}")
        reason = _HINTS.get((before, event), f"it is {before}")
        raise StateRefused(f"{event} {version} is refused: {reason}")
    after = dict(states)
    becomes = _BECOMES[before, event]
    after.update({name: "old" for name, state in states.items() if state == _LEAVES.get(event) and name != version})
    if becomes is None:
        del after[version]
    else:
        after[version] = becomes
    return after


def after(ledger: Ledger, event: Event, version: str, now: str, release_id: str = "") -> dict[str, Record]:
    """The ledger after an event of a version. Raises StateRefused."""
    states = transition({name: record.state for name, record in ledger.items()}, event, version)
    changed = {name: record for name, record in ledger.items() if states.get(name) == record.state}
    for name in sorted(states.keys() - changed.keys(), key=lambda name: name == version):
        record = ledger.get(name) or Record(states[name], release_id, now)
        if states[name] == "permanent":
            record = replace(record, committed=True, failed=None, installed=None, left=None)
        changed[name] = replace(record, state=states[name], when=now)
    return changed


def with_running(ledger: Ledger, version: str | None) -> dict[str, Record]:
    """The ledger as it is while `version` runs: unless it is permanent, it is current."""
    return {
        name: replace(record, state="current") if name == version and record.state != "permanent" else record
        for name, record in ledger.items()
    }


def permanent(ledger: Ledger) -> str:
    """The version that boots."""
    return next(name for name, record in ledger.items() if record.state == "permanent")


def previous(ledger: Ledger) -> str | None:
    """The version that was permanent before, without those that have failed, or that somebody has gone back from."""
    candidates = [
        name
        for name, record in ledger.items()
        if record.state == "old" and record.committed and not record.failed and not record.left
    ]
    return candidates[-1] if candidates else None


def read(directory: ReleaseDirectory, var: VarDirectory) -> dict[str, Record]:
    """Read the ledger, as the tree and the start data have it. Writes nothing.

    Raises DamagedRelease when it can't be read or what boots is not here, saying how to make it again.
    """
    return _settled(_noted(recorded(var), var), directory, boots(directory, var))


def recorded(var: VarDirectory) -> dict[str, Record]:
    """The ledger as it was written last, by itself; empty where there is none. Raises DamagedRelease as `read` does."""
    try:
        return _parse(openat.read(var.path, var.ledger))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedRelease(
            f"the ledger {var.ledger} can't be read: {reason}; `create-releases` makes it again from releases/*/manifest.json and"
            " start.data, and then knows neither which versions are old nor which have failed"
        ) from None


def rebuilt(directory: ReleaseDirectory, version: str) -> dict[str, Record]:
    """A ledger made of nothing but the tree, in which `version` boots. Raises DamagedRelease when that is not here."""
    return _settled({}, directory, version)


def write(var: VarDirectory, ledger: Ledger) -> None:
    """Write the ledger; all of it or nothing. What is current is written as unpacked."""
    atomic_files.replace(var.ledger, dump(ledger), 0o644)


def dump(ledger: Ledger) -> str:
    """Return it as it is written. What was `left` stands next to the records: runtimes that don't know it read those as they are."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "releases": {name: _fields(record) for name, record in ledger.items()},
    }
    if left := {name: record.left for name, record in ledger.items() if record.left}:
        document["left"] = left
    return json.dumps(document, indent=1) + "\n"


def boots(directory: ReleaseDirectory, var: VarDirectory) -> str:
    """The version that the start data names, as ``bin/NAME`` reads it. Raises DamagedRelease."""
    base, file, committed = var.path, var.start_data, False
    try:
        with suppress(NotADirectoryError):
            committed = openat.is_there(base, file)
        if not committed:
            base, file = directory.releases, directory.start_data
        words = words_of(openat.read(base, file, _LARGEST_START_DATA))
    except OSError as error:
        raise DamagedRelease(f"{file} can't be read: {error.strerror}; {_SAY_IT}") from None
    if words is None:
        raise DamagedRelease(f"{file} does not say which version boots; {_SAY_IT}")
    return words[1]


def words_of(data: bytes) -> tuple[str, str] | None:
    """The versions of the interpreter and of the release in start data, as ``bin/NAME`` reads them; None where that is not so."""
    line, _, _ = data.partition(b"\n")
    words = [word.decode("latin-1") for word in line.replace(b"\t", b" ").split(b" ") if word]
    if len(words) != 2 or not all(map(names.is_version, words)):
        return None
    return words[0], words[1]


def write_start_data(file: Path, interpreter: str, version: str) -> None:
    """Write ``var/start.data`` or ``releases/start.data``: from here on `version` boots."""
    atomic_files.replace(file, f"{interpreter} {version}\n", 0o644)


def now() -> str:
    """The time as the ledger has it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_LARGEST_START_DATA = 4096
_LARGEST_NOTE = 65536
"""Bytes of what the keeper notes; its messages have no more."""

_SAY_IT = "`RELEASE_VSN=V bin/NAME create-releases --permanent V` says it, V being the version that is to boot"


def _settled(ledger: Ledger, directory: ReleaseDirectory, version: str) -> dict[str, Record]:
    """The ledger of what is here, with `version` permanent."""
    manifests = sorted(directory.releases.glob("*/manifest.json"))
    here = {file.parent.name: file for file in manifests if names.is_version(file.parent.name)}
    if version not in here:
        raise DamagedRelease(
            f"version {version} is to boot, and {directory.version(version).manifest} is missing; restore it from its"
            f" archive, or choose another: {_SAY_IT}"
        )
    settled = {name: record for name, record in ledger.items() if name in here}
    settled |= {name: _record_of_tree(file) for name, file in here.items() if name not in settled}
    for name, record in list(settled.items()):
        if record.state == "permanent" and name != version:
            settled[name] = replace(settled.pop(name), state="old")
    if settled[version].state != "permanent":
        settled[version] = replace(settled.pop(version), state="permanent", committed=True, installed=None)
    return settled


def _noted(ledger: Ledger, var: VarDirectory) -> Ledger:
    """The ledger, with what the keeper has written of the install that it has undone last."""
    try:
        text = openat.read(var.path, var.replaced, _LARGEST_NOTE).decode(errors="replace")
        upgrade_id, version, why = text.split(maxsplit=2)
    except (OSError, ValueError):
        return ledger
    record = ledger.get(version)
    if record is None or record.installed != upgrade_id:
        return ledger  # of an install that was settled since
    return {**ledger, version: replace(record, failed=display.one_line(" ".join(why.split())), installed=None)}


def _record_of_tree(file: Path) -> Record:
    """Of a version that is here and in no ledger."""
    when = datetime.fromtimestamp(int(os.stat(file).st_mtime), UTC).isoformat().replace("+00:00", "Z")
    try:
        return Record("unpacked", manifest.read(file).release_id, when)
    except DamagedRelease as error:
        return Record("unpacked", "", when, failed=str(error))


def _fields(record: Record) -> dict[str, Any]:
    fields = asdict(replace(record, state="unpacked" if record.state == "current" else record.state))
    return {name: value for name, value in fields.items() if value not in (None, False) and name != "left"}


def _parse(data: bytes) -> dict[str, Record]:
    try:
        document = content_of(json.loads(data), FORMAT)
        left = {**document.get("left", {})}
        ledger = {name: Record(**fields, left=left.get(name)) for name, fields in document["releases"].items()}
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not a ledger: {error}") from None
    for name, record in ledger.items():
        if not names.is_version(name):
            raise ValueError(f"it names {names.shown(name)}, which is not a version")
        texts = (record.release_id, record.when, record.failed or "", record.installed or "", record.left or "")
        if record.state not in ("unpacked", "permanent", "old") or not all(map(_is_text, texts)):
            raise ValueError(f"what it says of {name!r} is not a record")
    return {name: _by_hand(_printable(record)) for name, record in ledger.items()}


def _by_hand(record: Record) -> Record:
    """Earlier runtimes wrote as a failure that somebody had gone back."""
    if record.failed is not None and record.failed.startswith(ROLLED_BACK):
        return replace(record, failed=None, left=record.failed)
    return record


def _printable(record: Record) -> Record:
    """What it says to people, as a terminal may have it; the file is the service's."""
    failed, left = (None if text is None else display.one_line(text) for text in (record.failed, record.left))
    return replace(record, when=display.one_line(record.when, 40), failed=failed, left=left)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
