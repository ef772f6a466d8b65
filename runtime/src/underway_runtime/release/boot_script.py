"""The boot script: what the boot obeys, as the tool writes it and the node reads it.

A JSON file of instructions, in order, after OTP's ``.script`` files (erlang/otp, ``lib/sasl/doc/src/script.xml``):

=================  =====================================================================================
``path``           directories of applications, each ``$RELEASE_LIB/NAME-VERSION``; all must exist
``prim_load``      import these modules now (only when ``RELEASE_MODE`` is ``embedded``)
``load``           make an application known: its version, what it requires, what starts it, the schema of its
                   configuration
``start``          start a loaded application in a mode: permanent, transient or temporary
``progress``       a landmark, for logs
=================  =====================================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from .errors import DamagedRelease

FORMAT = 1

Mode: TypeAlias = Literal["permanent", "transient", "temporary", "load", "none"]
MODES: tuple[Mode, ...] = get_args(Mode)
STARTING_MODES: tuple[Mode, ...] = ("permanent", "transient", "temporary")


@dataclass(frozen=True)
class CodePath:
    """Directories of the applications in this script."""

    directories: tuple[str, ...]


@dataclass(frozen=True)
class PrimLoad:
    """Modules of an application to import before anything starts."""

    application: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Load:
    """An application as the node knows it."""

    application: str
    version: str
    requires: tuple[str, ...] = ()
    start: Mapping[str, Any] | None = None
    """What starts it, exactly one of: ``{"class": "mod:Class"}``, ``{"asgi": "mod:app", "listen": [...]}``,
    ``{"wsgi": "mod:app", "listen": [...]}``, ``{"main": "mod:func", "args": [...]}``, which may have ``listen`` too; each but
    a class may have ``"overlap": false``, and a main ``"ready": "…"``. None for a library."""
    config_schema: str | None = None
    """``mod:Class`` that its configuration has to fit; an Application class names its own."""


@dataclass(frozen=True)
class Start:
    """Start a loaded application."""

    application: str
    mode: Mode


@dataclass(frozen=True)
class Progress:
    """A landmark."""

    name: str


Instruction: TypeAlias = CodePath | PrimLoad | Load | Start | Progress


@dataclass(frozen=True)
class BootScript:
    """The instructions of one boot script of one version of a release."""

    name: str
    release: str
    version: str
    instructions: tuple[Instruction, ...] = field(default=())


def dump(script: BootScript) -> str:
    """The text of a ``.script`` file; the same script gives the same text."""
    document = {
        "format": FORMAT,
        "script": script.name,
        "release": script.release,
        "version": script.version,
        "instructions": [_to_json(instruction) for instruction in script.instructions],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> BootScript:
    """Read a ``.script`` file.

    Raises DamagedRelease, naming the file and what is wrong, when it is missing or not a boot script.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedRelease(
            f"the boot script {path} is missing; restore it from the release's archive, or name another with"
            " RELEASE_BOOT_SCRIPT"
        ) from None
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"the boot script {path} can't be read: {error}") from None
    try:
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this runtime reads format {FORMAT}")
        return BootScript(
            name=_text(document["script"]),
            release=_text(document["release"]),
            version=_text(document["version"]),
            instructions=tuple(_from_json(entry) for entry in document["instructions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedRelease(f"the boot script {path} is not one: {what}") from None


def _to_json(instruction: Instruction) -> dict[str, Any]:
    match instruction:
        case CodePath(directories):
            return {"path": list(directories)}
        case PrimLoad(application, modules):
            return {"prim_load": application, "modules": list(modules)}
        case Load(application, version, requires, start, config_schema):
            entry = {"load": application, "version": version, "requires": list(requires), "start": start}
            return entry if config_schema is None else {**entry, "config_schema": config_schema}
        case Start(application, mode):
            return {"start": application, "mode": mode}
        case Progress(name):
            return {"progress": name}


def _from_json(entry: Any) -> Instruction:
    if not isinstance(entry, dict):
        raise ValueError(f"an instruction is an object, not {entry!r}")
    match entry:
        case {"path": directories}:
            return CodePath(_texts(directories))
        case {"prim_load": application, "modules": modules}:
            return PrimLoad(_text(application), _texts(modules))
        case {"load": application, "version": version, "requires": requires, "start": start}:
            if not (start is None or isinstance(start, dict)):
                raise ValueError(f"what starts {application!r} is an object or null, not {start!r}")
            schema = entry.get("config_schema")
            return Load(
                _text(application), _text(version), _texts(requires), start, None if schema is None else _text(schema)
            )
        case {"start": application, "mode": mode}:
            if mode not in STARTING_MODES:
                raise ValueError(f"{application!r} has mode {mode!r}; it can start as {', '.join(STARTING_MODES)}")
            return Start(_text(application), mode)
        case {"progress": name}:
            return Progress(_text(name))
    raise ValueError(f"unknown instruction {json.dumps(entry)}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{values!r} is not a list")
    return tuple(_text(value) for value in values)


def resolve(directory: str, lib: str | os.PathLike[str]) -> Path:
    """The place on disk of ``$RELEASE_LIB/NAME-VERSION``."""
    prefix = "$RELEASE_LIB/"
    if not directory.startswith(prefix) or "/" in directory[len(prefix) :] or directory.endswith(".."):
        raise DamagedRelease(f"a boot script names applications as $RELEASE_LIB/NAME-VERSION, not {directory!r}")
    return Path(lib, directory[len(prefix) :])
