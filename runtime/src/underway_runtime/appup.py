"""How one application comes from other versions to its own, and back: what an ``appup.py`` says, after OTP's appup.

::

    from underway_runtime.appup import Advanced, Appup, Update

    appup = Appup(version="0.2.0", up={"0.1.0": [Update("chat.rooms", Advanced())]}, down={"0.1.0": []})

What is not said is found by `underway relup`, which compares the two. docs/reference/appup.md has each instruction.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from .release import plain_values
from .release.errors import UnderwayError, listing
from .release.instruction_json import from_json, to_json
from .release.instructions import (
    ApplicationLoad,
    ApplicationStart,
    ApplicationStop,
    ApplicationUnload,
    Apply,
    CodeChange,
    Instruction,
    Load,
    LoadObjectCode,
    PointOfNoReturn,
    Purge,
    PurgeMethod,
    Remove,
    RestartEmulator,
    RestartNewEmulator,
    Resume,
    Start,
    Stop,
    Suspend,
    SyncNodes,
    Timeout,
)
from .release.references import find

__all__ = [
    "AddApplication",
    "AddModule",
    "Advanced",
    "ApplicationLoad",
    "ApplicationStart",
    "ApplicationStop",
    "ApplicationUnload",
    "Apply",
    "Appup",
    "CodeChange",
    "DeleteModule",
    "Keep",
    "Load",
    "LoadModule",
    "LoadObjectCode",
    "Pin",
    "PointOfNoReturn",
    "Purge",
    "Remove",
    "RemoveApplication",
    "Reset",
    "RestartApplication",
    "RestartEmulator",
    "RestartNewEmulator",
    "Resume",
    "Start",
    "Stop",
    "Suspend",
    "SyncNodes",
    "Update",
]

FORMAT = 1


@dataclass(frozen=True)
class Advanced:
    """Live state is carried over by ``code_change``, which is given `extra`: plain data."""

    extra: Any = None


@dataclass(frozen=True)
class Update:
    """Suspend a module, load it, carry its state over where that is `Advanced`, and resume it; after those in `deps`."""

    module: str
    change: Literal["soft", "supervisor"] | Advanced = "soft"
    deps: Sequence[str] = ()
    pre: PurgeMethod = "brutal"
    post: PurgeMethod = "brutal"
    timeout: Timeout = "default"
    static: bool = False
    """On the way down its state is carried over after the older code is loaded, not before."""


@dataclass(frozen=True)
class LoadModule:
    """Load a module without suspending it."""

    module: str
    deps: Sequence[str] = ()
    pre: PurgeMethod = "brutal"
    post: PurgeMethod = "brutal"


@dataclass(frozen=True)
class AddModule:
    """Load a module that the other version does not have."""

    module: str
    deps: Sequence[str] = ()


@dataclass(frozen=True)
class DeleteModule:
    """Remove a module that the version which comes does not have."""

    module: str
    deps: Sequence[str] = ()


@dataclass(frozen=True)
class AddApplication:
    """Load an application, and start it unless its mode is ``load`` or ``none``."""

    application: str
    mode: Literal["permanent", "transient", "temporary", "load", "none"] = "permanent"


@dataclass(frozen=True)
class RemoveApplication:
    """Stop an application, remove its modules, and forget it."""

    application: str


@dataclass(frozen=True)
class RestartApplication:
    """Stop an application and start the other version of it."""

    application: str


@dataclass(frozen=True)
class Keep:
    """A global keeps its value though its initialiser changes; or a file may change, since whoever reads it reads it again.

    A file is named as it is in the package: ``Keep("chat", "page.html")``.
    """

    module: str
    name: str


@dataclass(frozen=True)
class Reset:
    """A global is made again, as its initialiser says, while the application is suspended."""

    module: str
    name: str


@dataclass(frozen=True)
class Pin:
    """A module is never changed in place: any change of it takes a fresh interpreter."""

    module: str


HighLevel: TypeAlias = (
    Update | LoadModule | AddModule | DeleteModule | AddApplication | RemoveApplication | RestartApplication | Keep
    | Reset | Pin
)  # fmt: skip
Step: TypeAlias = HighLevel | Instruction
Version: TypeAlias = "str | re.Pattern[str]"
"""A version, or a pattern that matches all of it."""


@dataclass(frozen=True)
class Appup:
    """What to do to come to `version` from others, and to go down to them: the first that fits is taken."""

    version: str
    up: Mapping[Version, Sequence[Step]] = field(default_factory=dict)
    down: Mapping[Version, Sequence[Step]] = field(default_factory=dict)

    def steps(self, way: Literal["up", "down"], version: str) -> tuple[Step, ...] | None:
        """What is said for another version; None when nothing is."""
        for given, steps in getattr(self, way).items():
            if given == version or (isinstance(given, re.Pattern) and given.fullmatch(version)):
                return tuple(steps)
        return None


def evaluate() -> None:
    """Print the compiled appup that standard input names, as JSON: of a ``file``, or by its ``reference``, ``"module:attribute"``.

    Run by the tool, with the interpreter and the code of the release that is built; ends with status 1 and what is wrong.
    """
    try:
        sys.stdout.write(f"\n{json.dumps(dump(_made(json.load(sys.stdin))))}\n")
    except UnderwayError as error:
        sys.exit(str(error))


def _made(question: Mapping[str, str]) -> Appup:
    where = question.get("file") or question["reference"]
    try:
        value = runpy.run_path(where).get("appup") if "file" in question else find(where)
        made = value() if callable(value) else value
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f", line {frame.lineno}" for frame in frames[::-1] if frame.filename == where), "")
        raise UnderwayError(f"{where}{line} raised {type(error).__name__}: {error}") from None
    if problems := problems_of(made):
        raise UnderwayError(listing(f"{where} makes no appup:", problems))
    assert isinstance(made, Appup)
    return made


def problems_of(appup: Any) -> list[str]:
    """What is wrong with the types in what an ``appup.py`` made."""
    if not isinstance(appup, Appup):
        return [f"appup is an Appup, not {appup!r}"]
    problems = [] if isinstance(appup.version, str) else [f"version is a string, not {appup.version!r}"]
    for way in ("up", "down"):
        for version, steps in getattr(appup, way).items():
            if not isinstance(version, (str, re.Pattern)):
                problems.append(f"{way}: {version!r} is neither a version nor a pattern")
            for step in [] if isinstance(steps, (str, bytes)) or not isinstance(steps, Iterable) else steps:
                problems += [f"{way} {_shown(version)}: {problem}" for problem in _problems_of_step(step)]
    return problems


def dump(appup: Appup) -> str:
    """Return the text of a compiled appup. Raises ValueError for what is in it that is not plain."""
    document: dict[str, Any] = {"format": FORMAT, "version": appup.version}
    for way in ("up", "down"):
        document[way] = [
            {**_version_to_json(version), "instructions": [_to_json(step) for step in steps]}
            for version, steps in getattr(appup, way).items()
        ]
    return json.dumps(document, indent=1) + "\n"


def parse(text: str) -> Appup:
    """Read the appup of this text. Raises ValueError with what is wrong with it."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this version reads format {FORMAT}")
        ways = {
            way: {_version(entry): tuple(map(_from_json, entry["instructions"])) for entry in document[way]}
            for way in ("up", "down")
        }
        return Appup(str(document["version"]), **ways)
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except (TypeError, AttributeError, re.error) as error:
        raise ValueError(str(error)) from None


_HIGH: Mapping[str, type[HighLevel]] = {
    "update": Update,
    "load_module": LoadModule,
    "add_module": AddModule,
    "delete_module": DeleteModule,
    "add_application": AddApplication,
    "remove_application": RemoveApplication,
    "restart_application": RestartApplication,
    "keep": Keep,
    "reset": Reset,
    "pin": Pin,
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "pre": ("soft", "brutal"),
    "post": ("soft", "brutal"),
    "mode": ("permanent", "transient", "temporary", "load", "none"),
    "static": (True, False),
}


def _problems_of_step(step: Any) -> list[str]:
    if type(step) not in _HIGH.values():
        try:
            from_json(to_json(step))
        except (StopIteration, ValueError, TypeError, AttributeError) as error:
            return [f"{step!r} is not an instruction{f': {error}' if str(error) else ''}"]
        return []
    try:
        _from_json(_to_json(step))
    except (ValueError, TypeError, AttributeError) as error:
        return [str(error)]
    return []


def _to_json(step: Step) -> dict[str, Any]:
    name = next((name for name, kind in _HIGH.items() if type(step) is kind), None)
    if name is None:
        return to_json(step)  # type: ignore[arg-type]
    first, *rest = fields(step)
    document = {name: getattr(step, first.name)}
    for option in rest:
        value = getattr(step, option.name)
        if isinstance(value, Advanced):
            value = {"advanced": plain_values.encode(value.extra)}
        document[option.name] = list(value) if isinstance(value, tuple) else value
    return document


def _from_json(document: Any) -> Step:
    if not isinstance(document, dict) or not document:
        raise ValueError(f"an instruction is an object, not {document!r}")
    name = next(iter(document))
    if name not in _HIGH:
        return from_json(document)
    first, *rest = fields(_HIGH[name])
    if unknown := set(document) - {name} - {option.name for option in rest}:
        raise ValueError(f"{name} has no {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {first.name: document[name]}
    for option in rest:
        if option.name in document:
            values[option.name] = _READ.get(option.name, lambda value: value)(document[option.name])
    for key, value in values.items():
        if key in ("module", "application", "name") and not isinstance(value, str):
            raise ValueError(f"{name}: {key} is a string, not {value!r}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ValueError(f"{name}: {key} is one of {', '.join(map(str, _CHOICES[key]))}, not {value!r}")
    return _HIGH[name](**values)


def _change(value: Any) -> Any:
    match value:
        case "soft" | "supervisor":
            return value
        case {"advanced": extra}:
            return Advanced(plain_values.decode(extra))
    raise ValueError(f"a change is soft, supervisor or Advanced(extra), not {value!r}")


def _deps(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"deps are names of modules, not {value!r}")
    return tuple(value)


_READ: Mapping[str, Callable[[Any], Any]] = {"change": _change, "deps": _deps}


def _version_to_json(version: Version) -> dict[str, str]:
    return {"pattern": version.pattern} if isinstance(version, re.Pattern) else {"version": version}


def _version(entry: Mapping[str, Any]) -> Version:
    return re.compile(entry["pattern"]) if "pattern" in entry else str(entry["version"])


def _shown(version: Version) -> str:
    return version.pattern if isinstance(version, re.Pattern) else version
