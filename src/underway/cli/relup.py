"""underway relup: how a node comes from one version to another, and back."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click

from underway_runtime.release import relup as relups
from underway_runtime.release.errors import UsageError
from underway_runtime.release.filesystem.atomic_files import replace

from ..errors import BuildError, PlanRefused
from ..planner import report
from ..planner.plan import plan
from ..planner.releases import open_release

_RELEASE = click.Path(path_type=Path, exists=True)


@click.command()
@click.option("--target", type=_RELEASE, required=True, metavar="T", help="The release that the relup is for.")
@click.option("--fromto", type=_RELEASE, multiple=True, metavar="F", help="A release to come from, and to go back to.")
@click.option("--upfrom", type=_RELEASE, multiple=True, metavar="F", help="A release to come from.")
@click.option("--downto", type=_RELEASE, multiple=True, metavar="F", help="A release to go back to.")
@click.option("--outdir", type=click.Path(path_type=Path, file_okay=False), help="Where to write it; default here.")
@click.option("--json", "as_json", is_flag=True, help="Print the relup as JSON on standard output.")
@click.option("--dry-run", is_flag=True, help="Show the plan, write nothing.")
def relup(
    target: Path,
    fromto: tuple[Path, ...],
    upfrom: tuple[Path, ...],
    downto: tuple[Path, ...],
    outdir: Path | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Compare releases and write `relup`, for the next `underway release` to put into the release that it is for.

    T and each F is an archive, a release directory that holds one version, or releases/VERSION within one:
    build/release/chat/releases/0.2.0. None of their code is executed, only the interpreter of the newer one, to compare modules.
    Exits with 6 if a change is refused, and with 1 if there is no plan; nothing is written then.
    """
    if not (fromto or upfrom or downto):
        raise UsageError("name at least one release by --fromto, --upfrom or --downto")
    with ExitStack() as cleanup:
        opened = {path: open_release(path, cleanup) for path in dict.fromkeys((target, *fromto, *upfrom, *downto))}
        up = [opened[path] for path in dict.fromkeys((*fromto, *upfrom))]
        down = [opened[path] for path in dict.fromkeys((*fromto, *downto))]
        made = plan(opened[target], up, down)
    text = relups.dump(made)
    click.echo(text if as_json else "\n".join(report.lines(made)), nl=not as_json)
    if any(entry.verdict == "REFUSE" for entry in (*made.up, *made.down)):
        raise PlanRefused("there is no relup: a change is refused, as the plan says; nothing was written")
    if dry_run:
        return
    file = (outdir or Path()) / "relup"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, text, 0o644)
    except OSError as error:
        raise BuildError(f"{file} can't be written: {error.strerror}") from error
    click.echo(f"Relup {made.name} {made.version} at {os.path.relpath(file)}", err=as_json)
