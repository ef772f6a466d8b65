"""underway plan: what the way from one release to another takes, seen before it is taken."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import click

from underway_runtime.release.filesystem.atomic_files import replace

from ..errors import BuildError
from ..review import page, text
from ..review.review import as_json, review
from ..review.sides import Project, open_sides
from .two_releases import judge, takes_two_releases


@click.command()
@click.option("--json", "printed_as_json", is_flag=True, help="Print it as JSON on standard output.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write it to FILE too, as a page.", metavar="FILE"
)
@takes_two_releases
def plan(
    old: str | None,
    new: str | None,
    printed_as_json: bool,
    html: Path | None,
    at_least: str,
    release: str | None,
    env: str | None,
) -> None:
    """Compare FROM and TO, and show each change with its verdict, its reason and its place.

    FROM and TO are archives, releases, releases/VERSION within one, directories of projects, or git revisions of this one. Without
    FROM it is the release that stands at the project's path; without TO the project as it is. What is not built yet is built in a
    scratch directory; nothing is left in the project. Exits with 0; with 3 if more is needed than --at-least says; with 6 if a
    change is refused.
    """
    project = Project(Path.cwd(), release, {"env": env} if env else {})
    with ExitStack() as cleanup:
        sides = open_sides(project, old, new, cleanup, lambda what: click.echo(f"* {what}", err=True))
        comparison = review(*sides)
        if html is not None:
            _write(html, page.text(comparison))
        click.echo(json.dumps(as_json(comparison), indent=1) if printed_as_json else "\n".join(text.lines(comparison)))
    judge(comparison.verdict, at_least, "as the plan says; no release can come from the other")


def _write(file: Path, content: str) -> None:
    try:
        replace(file, content, 0o644)
    except OSError as error:
        raise BuildError(f"{file} can't be written: {error.strerror}") from error
    click.echo(f"* page at {os.path.relpath(file)}", err=True)
