"""What the commands that compare two releases have in common: how those are named, and what may be needed between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from underway_runtime.release.errors import RestartError
from underway_runtime.release.relup import VERDICTS, Verdict

from ..errors import PlanRefused
from .environment import takes_environment

LEVELS: dict[str, Verdict] = {"hot": "HOT", "migrate": "MIGRATE", "restart": "RESTART"}


def takes_two_releases(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its arguments `old` and `new`, and the options `at_least`, `release` and `env`."""
    for parameter in (
        takes_environment,
        click.option("--release", metavar="NAME", help="Which release of the project; default its default release."),
        click.option(
            "--at-least",
            type=click.Choice([*LEVELS]),
            default="restart",
            help="Exit with 3 if more than this is needed.",
        ),
        click.argument("new", required=False, metavar="[TO]"),
        click.argument("old", required=False, metavar="[FROM]"),
    ):
        command = parameter(command)
    return command


def judge(verdict: Verdict, at_least: str, refused: str, hint: str = "") -> None:
    """Raise what ends with the documented status where the verdict is more than was asked for.

    `refused` is what follows from a change that is refused, `hint` is added where a change takes more.
    """
    if verdict == "REFUSE":
        raise PlanRefused(f"a change is refused, {refused}")
    if VERDICTS.index(verdict) > VERDICTS.index(LEVELS[at_least]):
        raise RestartError(f"the change is {verdict}, and at least {LEVELS[at_least]} was asked for{hint}")
