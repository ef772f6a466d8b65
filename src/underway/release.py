"""A release as a value, after Elixir's ``Mix.Release`` (hexdocs.pm/mix/Mix.Release.html). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from underway_runtime.release.boot_script import Mode
from underway_runtime.release.directory import application_directory
from underway_runtime.release.display import one_line

from .project.options import DEFAULTS, STEPS, Options, problem_of

Step: TypeAlias = "Callable[[Release], Release]"

READ_ONLY = (
    *("name", "version", "path", "version_path", "applications", "interpreter_source", "interpreter_version"),
    "context",
)
"""Fields that a step may read and must not change; Mix.Release draws the same line."""


@dataclass(frozen=True)
class Application:
    """One locked distribution, as it was installed for this release."""

    name: str
    """Its normalized name with underscores: ``typing_extensions``."""
    version: str
    requires: tuple[str, ...] = ()
    """Applications of this release that it depends on, sorted; environment markers are evaluated."""
    source: Path = Path()
    """The site-packages directory that it was installed into."""
    dist_info: str = ""
    """The name of its ``.dist-info`` directory below ``source``."""
    modules: tuple[str, ...] = ()
    """Dotted names of the modules to import before the start when code is preloaded; of what starts only."""
    start: Mapping[str, Any] | None = None
    """What starts it, in the form of ``underway_runtime.release.boot_script.Load``; None for a library."""
    local: bool = False
    """Built from source in this project or workspace, not downloaded."""
    home: str = ""
    """Its directory in ``lib`` where it shares that with others; empty where it has its own."""
    interpreter: str = ""
    """The version of the interpreter that it is compiled for, where the release has that."""

    @property
    def directory(self) -> str:
        """The name of its directory in ``lib``. Of another interpreter it is another one: both may be in one tree."""
        home = self.home or application_directory(self.name, self.version)
        return f"{home}-py{self.interpreter}" if self.interpreter else home


@dataclass(frozen=True)
class Artefact:
    """What a locked application is downloaded as."""

    hashes: Mapping[str, str]
    """Algorithm -> digest, as the lock has them."""
    url: str = ""
    """Where from, without a user's name and password; empty where that is nobody else's business."""


@dataclass(frozen=True)
class BuildContext:
    """What is known of a build besides what its project asks for."""

    project: Path = Path()
    """The project's root."""
    project_application: str = ""
    """The application that the project itself is."""
    interpreter: Path | None = None
    """The interpreter that the release is built for: what it is copied from, or what the target has."""
    target: str = ""
    """The platform, as Debian names it: ``x86_64-linux-gnu``."""
    artefacts: Mapping[str, Artefact] = field(default_factory=dict)
    """What each application that is not built here is downloaded as, by its name."""


@dataclass(frozen=True)
class Release:
    """What is being released. Steps take one and return one.

    The first group of fields is read-only for steps; the second may be changed as long as the types stay.
    """

    name: str
    version: str
    path: Path
    """The root of the release while it is assembled. It is moved to its final place when every step has run,
    so nothing inside may name it."""
    version_path: Path
    """``path/releases/version``."""
    applications: Mapping[str, Application]
    interpreter_source: Path | None
    """The interpreter to copy, an executable; None when the release does not include one."""
    interpreter_version: str
    context: BuildContext = field(default_factory=BuildContext, kw_only=True)

    boot_scripts: Mapping[str, tuple[tuple[str, Mode], ...]]
    """Boot script name -> applications with their modes, in start order."""
    config_providers: tuple[tuple[str, Any], ...] = ()
    """``("module:Class", argument)``, in the order in which they load at boot."""
    options: Options = field(default_factory=Options)
    """Every other option of the release, under its name in pyproject.toml, with the contents of
    ``[tool.underway.releases.NAME.options]`` merged in for custom steps. A step may put any mapping in its place."""
    runtime_start: Mapping[str, Any] | None = None
    """What the runtime itself starts, in the form of `Application.start`."""
    runtime_modules: tuple[str, ...] = ()
    """Modules of the runtime's that are imported before those of every application."""
    overlays: tuple[str, ...] = ()
    """Paths that steps added, relative to the root. Archive and manifest include these and nothing unlisted;
    a directory stands for all that is in it."""
    steps: tuple[str, ...] = STEPS
    """The steps that are still to run, each ``"module:function"``; a step finds itself removed already and may
    change what follows."""

    def __post_init__(self) -> None:
        given: object = self.options
        if isinstance(given, Mapping) and not isinstance(given, Options):
            object.__setattr__(self, "options", Options.of(given))


def type_problems(release: Release) -> list[str]:
    """What is wrong with the types of the fields that steps may change; empty when all is well."""
    problems = []
    checks: dict[str, Callable[[Any], bool]] = {
        "boot_scripts": _is_boot_scripts,
        "config_providers": lambda v: isinstance(v, tuple) and all(_is_provider(p) for p in v),
        "options": lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v),
        "overlays": lambda v: isinstance(v, tuple) and all(isinstance(p, str) for p in v),
        "steps": lambda v: isinstance(v, tuple) and all(isinstance(s, str) for s in v),
    }
    for name, holds in checks.items():
        value = getattr(release, name)
        if not holds(value):
            problems.append(f"{name} must be {_WANTED[name]}, not {shown(value)}")
        elif name == "options":
            problems += _option_problems(value)
    return problems


def _option_problems(options: Options) -> Iterator[str]:
    """What is wrong with the options that are not the default; a path that was made absolute is one still."""
    for name, value in options.items():
        if name in DEFAULTS and value != DEFAULTS[name] and (problem := problem_of(name, value)):
            yield problem


def changed_read_only(before: Release, after: Release) -> list[str]:
    """The names of read-only fields in which the two differ, in the order of the fields."""
    return [
        f.name for f in fields(Release) if f.name in READ_ONLY and getattr(before, f.name) != getattr(after, f.name)
    ]


def change(before: Any, after: Any) -> str:
    """In words, after "it was changed": from what to what, or of a mapping at which keys.

    >>> change("1.0", "2.0")
    " from '1.0' to '2.0'"
    >>> change({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    " at 'b', 'c'"
    """
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return f" from {shown(before)} to {shown(after)}"
    keys = [key for key in {**before, **after} if key not in before or key not in after or before[key] != after[key]]
    more = [f"{len(keys) - _KEYS} more"] if len(keys) > _KEYS else []
    return f" at {', '.join([*map(shown, keys[:_KEYS]), *more])}"


def shown(value: Any) -> str:
    """A value as it is in an error, which may be anything that a step has made; bounded."""
    return one_line(repr(value), _WIDEST)


_KEYS = 5
_WIDEST = 300
"""Keys, and characters of a value, that an error shows."""

_WANTED = {
    "boot_scripts": 'a mapping of script name to a tuple of (application, mode), as in {"start": (("chat", "permanent"),)}',
    "config_providers": 'a tuple of ("module:Class", argument)',
    "options": "a mapping with string keys",
    "overlays": "a tuple of paths relative to the root, as strings",
    "steps": 'a tuple of "module:function"',
}


def _is_provider(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


def _is_boot_scripts(value: Any) -> bool:
    from underway_runtime.release.boot_script import MODES

    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and isinstance(entries, tuple)
        and all(isinstance(entry, tuple) and len(entry) == 2 and entry[1] in MODES for entry in entries)
        for name, entries in value.items()
    )
