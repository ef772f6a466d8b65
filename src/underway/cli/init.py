"""underway init: the templates of a release, for the project to edit."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import BuildError, listing, place_of
from ..project.project import definition, read, release_names
from ..steps.boot import USER_TEMPLATES, shipped_template


@click.command()
@click.option("--force", is_flag=True, help="Replace templates that are there already.")
def init(force: bool) -> None:
    """Write the templates of a release into the project, as `mix release.init` does.

    They go to rel/, or wherever rel-templates-path says; the next `underway release` uses them.
    """
    project = read(Path.cwd())
    [directory] = definition(project, release_names(project)[0]).paths("rel-templates-path")
    existing = [str(directory / name) for name in USER_TEMPLATES if (directory / name).exists()]
    if existing and not force:
        raise BuildError(listing("these are there already; --force replaces them:", existing))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in USER_TEMPLATES:
            (directory / name).write_bytes(shipped_template(name).read_bytes())
            click.echo(f"* {directory / name}")
    except OSError as error:
        raise BuildError(f"{place_of(error)} can't be written: {error.strerror}") from error
