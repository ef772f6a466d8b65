"""underway rehearse: an upgrade with the project's traffic, before it is done for real."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from underway_runtime.release.errors import EXIT_FAILED, UsageError

from ..errors import BuildError
from ..rehearsal.asking import asking
from ..rehearsal.player import Deadline
from ..rehearsal.rehearsal import Outcome, Phase
from ..rehearsal.rehearsal import rehearse as carry_out
from ..rehearsal.stage import set_up
from ..review.sides import Project, open_sides
from ..toolchain.held import held
from .two_releases import judge, takes_two_releases

SCRATCH = "underway-rehearsal-"
MOST_SHOWN = 20
"""Differences of one phase that are printed; the others are counted."""

_NAMES = {"before": "before the upgrade", "upgraded": "after the upgrade", "rolled back": "after the rollback"}


@click.command(short_help="Upgrade one release to another in a scratch directory, under the project's traffic.")
@click.option("--traffic", required=True, metavar="FILE|MODULE:FUNCTION", help="What to ask: a file, or a function.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="A place of an answer that may differ.")
@click.option(
    "--set", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the release's environment."
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=600.0,
    metavar="SECONDS",
    help="Seconds that all of it may take; default 600.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output.")
@takes_two_releases
def rehearse(
    old: str | None,
    new: str | None,
    traffic: str,
    ignore: tuple[str, ...],
    variables: tuple[str, ...],
    timeout: float,
    as_json: bool,
    at_least: str,
    release: str | None,
    env: str | None,
) -> None:
    """Run FROM on free ports, ask it, upgrade it to TO, ask again, roll back, ask once more; compare with fresh starts.

    FROM and TO are as for `underway plan`. Exits with 0 if all is as after a fresh start; with 1 where an answer or an object is not, or
    there is no answer; with what `bin/NAME upgrade` ended with where that failed; with 3 and 6 as `underway plan`, and nothing is run then.
    """
    root = Path.cwd()
    ask, environ = asking(traffic, root), dict(_variables(variables))
    deadline = Deadline(time.monotonic() + timeout)
    with ExitStack() as cleanup:
        say = lambda what: click.echo(f"* {what}", err=True)  # noqa: E731
        sides = open_sides(Project(root, release, {"env": env} if env else {}), old, new, cleanup, say)
        scratch = cleanup.enter_context(held(SCRATCH))
        stage = set_up(sides[0].opened, sides[1].opened, scratch)
        judge(
            stage.entry.verdict,
            at_least,
            "so there is nothing to rehearse; `underway plan` says which",
            "; `underway plan` says why",
        )
        try:
            outcome = carry_out(stage, scratch, ask, environ, deadline, ignore, say)
        except TimeoutError as error:
            raise BuildError(str(error)) from None
    click.echo(json.dumps(_as_json(outcome), indent=1) if as_json else "\n".join(_lines(outcome)))
    if not outcome.ok:
        sys.exit(outcome.status or EXIT_FAILED)


def _variables(given: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in given:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise UsageError(f"--set {text} is not NAME=VALUE")
        yield name, os.environ[value[1:]] if value.startswith("$") and value[1:] in os.environ else value


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {"ok": outcome.ok, **asdict(outcome)}


def _lines(outcome: Outcome) -> Iterator[str]:
    way = "in the process that ran" if outcome.in_place else "by a fresh interpreter"
    yield f"{outcome.verdict}, {way}" if not outcome.problem else f"{outcome.verdict}: {outcome.problem}"
    yield from (f"  {line}" for line in outcome.said if line)
    for phase in outcome.phases:
        yield from _phase(phase)
    yield "All is as after a fresh start" if outcome.ok else "Not all is as after a fresh start"


def _phase(phase: Phase) -> Iterator[str]:
    wrong = len(phase.failed) + len(phase.differences)
    differences = [*phase.differences, *phase.objects]
    yield f"{_NAMES[phase.name]}: {phase.exchanges} answers, {f'{wrong} are not as' if wrong else 'all as'} after a fresh start"
    yield from (f"  {failure}" for failure in phase.failed[:MOST_SHOWN])
    if phase.objects:
        yield f"{_NAMES[phase.name]}: {len(phase.objects)} objects of modules are not as after a fresh start"
    for difference in differences[:MOST_SHOWN]:
        where = f"{difference.exchange}: {difference.place or 'the answer'}"
        yield f"  {where} is {difference.found}, and after a fresh start {difference.wanted}"
    if len(differences) > MOST_SHOWN:
        yield f"  and more; --json has all {len(differences)}"
