"""What a trial of a version has found: made in an interpreter of that version, written as JSON, and read from there.

The reader may be root, and the writer any code of the service's user: a report is decoded, cut to a size and made printable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ...release.decode import Invalid, decode
from ...release.display import many_lines, one_line

_MOST = 1000
"""Rows of each field that are taken."""
_WIDEST = 300
"""Characters of a text in a row."""
_SIDES = {"added": ("after",), "removed": ("before",), "changed": ("before", "after")}

ChangeKind: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class ConfigurationChange:
    """A key of the configuration that differs; a value that is a secret is redacted."""

    key: str
    change: ChangeKind
    before: Any = None
    """Not of one that is added."""
    after: Any = None
    """Not of one that is removed."""

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "change": self.change, **{side: getattr(self, side) for side in _SIDES[self.change]}}

    def printable(self) -> ConfigurationChange:
        """The same to be shown; its values are shown as JSON."""
        return replace(self, key=one_line(self.key, _WIDEST))


@dataclass(frozen=True)
class AddressChange:
    """An address that one of two versions listens on, or both."""

    address: str
    application: str
    change: Literal["same", "new", "gone"]

    def printable(self) -> AddressChange:
        """The same to be shown."""
        return replace(self, address=one_line(self.address, _WIDEST), application=one_line(self.application, _WIDEST))


@dataclass(frozen=True)
class TrialReport:
    """Everything that one trial has found."""

    problems: tuple[str, ...] = ()
    """Why the version must not be installed."""
    notes: tuple[str, ...] = ()
    configuration: tuple[ConfigurationChange, ...] | None = None
    """None where the two can't be compared."""
    untold: tuple[str, ...] | None = None
    """Why the change of configuration takes a new interpreter; None where it was not compared."""
    addresses: tuple[AddressChange, ...] = ()
    providers: tuple[str, ...] = ()
    schemas: Mapping[str, str] = field(default_factory=dict)
    """By application, the name of its schema."""
    alone: tuple[str, ...] = ()
    """The applications that must not run in two nodes at once."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, from which `read` makes the same."""
        changes = None if self.configuration is None else [row.as_json() for row in self.configuration]
        return {**asdict(self), "configuration": changes}


def read(data: object) -> TrialReport:
    """Read the report in plain data that a trial has written. What is not one is a report of that, as the only problem."""
    try:
        report = decode(TrialReport, data, ignore_unknown=True)
    except Invalid as error:
        wrong = dict.fromkeys(".".join(problem.path[:1]) for problem in error.problems)
        return TrialReport(problems=(f"its trial has reported what makes no sense: {one_line(', '.join(wrong))}",))
    untold, changes = report.untold, report.configuration
    return TrialReport(
        problems=_texts(report.problems),
        notes=_texts(report.notes),
        configuration=None if changes is None else tuple(row.printable() for row in changes[:_MOST]),
        untold=None if untold is None else _texts(untold),
        addresses=tuple(row.printable() for row in report.addresses[:_MOST]),
        providers=_texts(report.providers),
        schemas={one_line(name, 200): one_line(schema, _WIDEST) for name, schema in [*report.schemas.items()][:_MOST]},
        alone=_texts(report.alone),
    )


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(many_lines(text) for text in [*texts][:_MOST])
