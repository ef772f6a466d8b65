"""What can go wrong while building. It grows from the runtime's errors, so a user meets one family."""

from __future__ import annotations

from underway_runtime.release.errors import (
    EXIT_REFUSED,
    BusyError,
    UnderwayError,
    UsageError,
    did_you_mean,
    listing,
    place_of,
)

__all__ = [
    "BuildError",
    "BusyError",
    "PlanRefused",
    "ProjectError",
    "StepError",
    "UnderwayError",
    "UsageError",
    "did_you_mean",
    "listing",
    "place_of",
]


class ProjectError(UnderwayError):
    """The project, its configuration or its lock does not describe a release: the developer must edit them."""


class StepError(UnderwayError):
    """A step broke its contract: the step's author must act."""


class BuildError(UnderwayError):
    """A release that is well described could not be built on this machine."""


class PlanRefused(UnderwayError):
    """A change between two releases is one that a person must decide on."""

    exit_code = EXIT_REFUSED
