"""underway new: a project to begin with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import BuildError, place_of
from ..project.new import TEMPLATES, make


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--template", type=click.Choice(TEMPLATES), default="service", help="The kind of project; default service."
)
@click.option("--module", metavar="NAME", help="The name of its module; default that of the directory.")
@click.option(
    "--develop", type=click.Path(path_type=Path), help="Take the runtime from this checkout of underway, or its wheel."
)
@click.option("--no-lock", is_flag=True, help="Don't make uv.lock, for which uv needs an index.")
def new(path: Path, template: str, module: str | None, develop: Path | None, no_lock: bool) -> None:
    """Make a new project at PATH, named after its last part: with configuration, tests, a lock, and a README that explains
    each file.

    A service is an ASGI application. A stream counts words over a cluster: its release has bin/cluster.
    """
    try:
        checkout = develop and develop.resolve()
        made = make(Path(os.path.abspath(path)), template, module, develop=checkout, lock=not no_lock)
    except OSError as error:
        raise BuildError(f"{place_of(error)} can't be written: {error.strerror}") from error
    for file in made:
        click.echo(f"* {path / file}")
    click.echo(f"\nNext:\n\n    cd {path}\n    underway release\n\nREADME.md says what each file is.")
