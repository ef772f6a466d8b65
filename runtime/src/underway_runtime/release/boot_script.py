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
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from ..frozen import Frozen
from .decode import Choice, Invalid, Rule, content_of, decode
from .errors import DamagedRelease, listing

FORMAT = 1

Mode: TypeAlias = Literal["permanent", "transient", "temporary", "load", "none"]
MODES: tuple[Mode, ...] = get_args(Mode)
STARTING_MODES: tuple[Mode, ...] = ("permanent", "transient", "temporary")


class CodePath(Frozen):
    """Directories of the applications in this script."""

    directories: tuple[str, ...] = field(metadata={"key": "path"})


class PrimLoad(Frozen):
    """Modules of an application to import before anything starts."""

    application: str = field(metadata={"key": "prim_load"})
    modules: tuple[str, ...]


class Load(Frozen):
    """An application as the node knows it."""

    application: str = field(metadata={"key": "load"})
    version: str
    requires: tuple[str, ...] = ()
    start: Mapping[str, Any] | None = None
    """What starts it, exactly one of: ``{"class": "mod:Class"}``, ``{"asgi": "mod:app", "listen": [...]}``,
    ``{"wsgi": "mod:app", "listen": [...]}``, ``{"main": "mod:func", "args": [...]}``, which may have ``listen`` too; each but
    a class may have ``"overlap": false`` and ``"processes": N``, and a main ``"ready": "…"``. None for a library."""
    config_schema: str | None = None
    """``mod:Class`` that its configuration has to fit; an Application class names its own."""


class Start(Frozen):
    """Start a loaded application."""

    application: str = field(metadata={"key": "start"})
    mode: Annotated[Mode, Rule(f"one of {', '.join(STARTING_MODES)}", STARTING_MODES.__contains__)]


class Progress(Frozen):
    """A landmark."""

    name: str = field(metadata={"key": "progress"})


Instruction: TypeAlias = CodePath | PrimLoad | Load | Start | Progress

_KINDS: Mapping[str, type[Instruction]] = {
    "path": CodePath,
    "prim_load": PrimLoad,
    "load": Load,
    "start": Start,
    "progress": Progress,
}
"""By the key that says what an instruction is, and has the value of its first field."""


def _kind_of(entry: Any) -> type[Instruction]:
    """The kind of an instruction as it is in the file. Raises ValueError."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"an instruction is an object, not {entry!r}")
    name = next((name for name in _KINDS if name in entry), None)
    if name is None:
        raise ValueError(f"unknown instruction {json.dumps(entry)}; there are {', '.join(_KINDS)}")
    return _KINDS[name]


class BootScript(Frozen):
    """The instructions of one boot script of one version of a release."""

    name: str = field(metadata={"key": "script"})
    release: str
    version: str
    instructions: tuple[Annotated[Instruction, Choice(_kind_of)], ...] = ()


def dump(script: BootScript) -> str:
    """Return the text of a ``.script`` file; the same script gives the same text."""
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
        return decode(BootScript, content_of(document, FORMAT), ignore_unknown=True)
    except Invalid as error:
        raise DamagedRelease(listing(f"the boot script {path} is not one:", map(str, error.problems))) from None
    except ValueError as error:
        raise DamagedRelease(f"the boot script {path} is not one: {error}") from None


def _to_json(instruction: Instruction) -> dict[str, Any]:
    name, _ = next((name, kind) for name, kind in _KINDS.items() if type(instruction) is kind)
    first, *others = fields(instruction)
    entry = {name: getattr(instruction, first.name)} | {
        field.name: getattr(instruction, field.name) for field in others
    }
    return {key: value for key, value in entry.items() if key != "config_schema" or value is not None}


def resolve(directory: str, lib: str | os.PathLike[str]) -> Path:
    """Resolve the place on disk of ``$RELEASE_LIB/NAME-VERSION``."""
    prefix = "$RELEASE_LIB/"
    if not directory.startswith(prefix) or "/" in directory[len(prefix) :] or directory.endswith(".."):
        raise DamagedRelease(f"a boot script names applications as $RELEASE_LIB/NAME-VERSION, not {directory!r}")
    return Path(lib, directory[len(prefix) :])


def check_code_path(directories: Iterable[str], lib: Path) -> None:
    """Raise DamagedRelease, listing the directories of a boot script that are missing."""
    missing = [str(directory) for entry in directories if not (directory := resolve(entry, lib)).is_dir()]
    if missing:
        raise DamagedRelease(listing("applications are missing; restore them from the release's archive:", missing))


def check_code_paths(script: BootScript, lib: Path) -> None:
    """Do the same for all code paths of a boot script."""
    for instruction in script.instructions:
        if isinstance(instruction, CodePath):
            check_code_path(instruction.directories, lib)
