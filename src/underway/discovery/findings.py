"""What was found in a project, each with the line that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Sure(StrEnum):
    """How sure a finding is."""

    CERTAIN = "certain"
    """A command line of the project's deployment starts it, and its module has it."""
    LIKELY = "likely"
    """The code has it, or a command for development does, and nothing says otherwise."""
    POSSIBLE = "possible"
    """It is one of several, or only its form says so."""


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file of the project."""

    file: str
    """Relative to the project's root."""
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Start:
    """Something that may be what the project starts."""

    kind: str
    """asgi, wsgi or main."""
    reference: str
    """module:attribute."""
    place: Place
    how: str
    """What was found there, for a person."""
    rank: int
    """Who says it: see `DEPLOYED`, `SCRIPT`, `CODE`, `HELPER`."""
    framework: str = ""
    args: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    """Addresses that it is told to listen on; empty where nothing says."""
    workers: str = ""
    """How many processes it is told to be."""
    problem: str = ""
    """Why a release can't start it as it is; empty where it can."""
    sure: Sure = Sure.POSSIBLE
    notes: tuple[str, ...] = ()
    server: str = ""
    """The program that serves it, where a command line says."""

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What makes it the same start as another."""
        return self.kind, self.reference, self.args


DEPLOYED, SCRIPT, CODE, HELPER = range(4)
"""Who says how a project is started: its deployment, [project.scripts], its code, or what is for development."""


@dataclass(frozen=True)
class Setting:
    """A variable of the environment that the code reads; never its value."""

    name: str
    place: Place
    is_required: bool
    """Whether the code fails where it is not set, as far as the line tells."""


@dataclass(frozen=True)
class Migration:
    """A tool that changes a database with the versions of the project."""

    tool: str
    place: Place
    command: str
    """What does it in a release."""


@dataclass(frozen=True)
class Below:
    """A project in a directory of this one."""

    directory: str
    starts: tuple[Start, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that was found in a project."""

    root: Path
    starts: tuple[Start, ...] = ()
    settings: tuple[Setting, ...] = ()
    env_files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """File -> the names that it sets."""
    migrations: tuple[Migration, ...] = ()
    relative: tuple[tuple[Place, str], ...] = ()
    """Directories that the code names relative to the working directory."""
    below: tuple[Below, ...] = ()
    read: int = 0
    """How many files were read."""
    unread: tuple[str, ...] = ()
    """Files that could not be read or understood, each with its reason."""
