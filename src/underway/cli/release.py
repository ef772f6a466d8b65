"""underway release: from a project to a release."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..build.build import Built, build
from ..build.plan import BuildPlan, plan
from ..errors import BuildError
from ..review import text
from .deployments import deployments, over_hosts
from .environment import takes_environment


@click.command()
@click.argument("name", required=False)
@click.option("--path", type=click.Path(path_type=Path), help="Where to put it; default build/release/NAME.")
@click.option("--version", metavar="VERSION", help="The version of the release; default the project's.")
@click.option("--overwrite", is_flag=True, help="Replace this version where it is there already.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output.")
@click.option("--dry-run", is_flag=True, help="Check everything that can be checked, show the plan, write nothing.")
@takes_environment
@click.option("--python", metavar="PYTHON", help="The interpreter to include, as uv names it: 3.12, a path.")
@click.option("--sign-key", type=click.Path(path_type=Path), help="Sign the archive with this SSH key.")
@click.option(
    "--upgrade-from",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="An archive or release to plan the way from, and back to; default what stands at the path.",
)
@click.option("--target", metavar="PLATFORM", help="The platform to build for; only this machine's can be built here.")
def release(
    name: str | None,
    path: Path | None,
    version: str | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    dry_run: bool,
    env: str | None,
    python: str | None,
    sign_key: Path | None,
    upgrade_from: tuple[Path, ...],
    target: str | None,
) -> None:
    """Make a release of the project in this directory.

    NAME is one of [tool.underway.releases]; without one, the default release.
    """
    given = {
        "path": path and str(path.absolute()),
        "version": version,
        "env": env or None,
        "python": python,
        "sign-key": sign_key and str(sign_key.absolute()),
        "upgrade-from": [str(older.absolute()) for older in upgrade_from] or None,
    }
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    overrides |= {key: True for key, value in (("overwrite", overwrite), ("quiet", quiet)) if value}
    planned = plan(Path.cwd(), name, overrides, target)
    quiet = quiet or planned.definition.options.quiet
    if dry_run:
        _show_plan(planned, as_json)
        return
    planned = _ask_to_overwrite(planned, as_json)
    with _reporting(quiet) as report:
        built = build(planned, report)
    if as_json:
        ready = deployments(built.release.name, built.archives)
        click.echo(json.dumps({**built.summary(), "deploy": [deployment.summary() for deployment in ready]}, indent=1))
    elif not quiet:
        _announce(built)


@contextmanager
def _reporting(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Tells what is being done: on a terminal on one line that goes, elsewhere on a line each."""
    if quiet:
        yield lambda _: None
    elif not os.isatty(2):
        yield lambda what: click.echo(f"* {what}", err=True)
    else:
        from rich.console import Console  # a tenth of the time that a rebuild takes, for a terminal only

        with Console(stderr=True, highlight=False).status("", spinner="line") as status:
            yield status.update


def _ask_to_overwrite(planned: BuildPlan, as_json: bool) -> BuildPlan:
    """Ask on a terminal before a version is replaced, as Mix does; elsewhere the flag decides."""
    if planned.overwrites and not planned.overwrite:
        question = f"Release {planned.definition.name}-{planned.version} is already at {planned.target}. Overwrite?"
        if as_json or not (os.isatty(0) and os.isatty(2)):
            raise BuildError(
                f"version {planned.version} is already at {planned.target}; use --overwrite to build it again"
            )
        click.confirm(question, default=True, abort=True, err=True)
        return planned.overwriting()
    return planned


def _show_plan(planned: BuildPlan, as_json: bool) -> None:
    summary = planned.summary()
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return
    for key, value in summary.items():
        click.echo(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def _announce(built: Built) -> None:
    """Say what to type next, as Mix does."""
    path = os.path.relpath(built.release.path)
    command = os.path.join(path, "bin", built.release.name)
    ready = deployments(built.release.name, built.archives)
    lines = [
        "",
        f"Release {built.release.name}-{built.release.version} created at {path}",
        *(f"Archive at {os.path.relpath(deployment.file)}, sha256 {deployment.sha256}" for deployment in ready),
        *(text.upgrade_lines(built.planned) if built.planned else ()),
        *(f"note: {note}" for note in built.notes),
        "",
        "    # To start your system",
        f"    {command} start",
        "",
        "Once the release is running:",
        "",
        "    # To stop it gracefully (you may also send SIGINT/SIGTERM)",
        f"    {command} stop",
        "",
        *(line for deployment in ready for line in deployment.lines()),
        *over_hosts(built.release),
        "To list all commands:",
        "",
        f"    {command}",
        "",
    ]
    click.echo("\n".join(lines))
