"""underway init: what a project needs to be released, found in its files and written into its pyproject.toml."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..discovery import report, table
from ..discovery.proposal import Proposal, check, propose
from ..errors import BuildError, ProjectError, UsageError, listing, place_of
from ..project.options import problem_of
from ..project.project import definition, read, release_names
from ..steps.boot import USER_TEMPLATES, shipped_template


@click.command()
@click.option(
    "--start",
    metavar="[KIND=]MODULE:NAME",
    help="Take this one of what is found, or FILE:LINE; KIND is asgi, wsgi or main.",
)
@click.option("--listen", metavar="ADDRESS", help="Where it listens, as tcp://127.0.0.1:8000.")
@click.option("--dry-run", is_flag=True, help="Show what is found, and write nothing.")
@click.option("--json", "printed_as_json", is_flag=True, help="Print it as JSON on standard output.")
@click.option("--templates", is_flag=True, help="Write the templates of a release, env.sh for example, instead.")
@click.option("--force", is_flag=True, help="With --templates: replace those that are there already.")
def init(
    start: str | None, listen: str | None, dry_run: bool, printed_as_json: bool, templates: bool, force: bool
) -> None:
    """Find what starts the project in this directory, and write [tool.underway] into its pyproject.toml.

    It reads command lines (Procfile, Dockerfile, compose, systemd units, Makefile), [project.scripts] and the code, and imports
    and runs nothing of it. Each line is shown with where it comes from. Where several things may be meant none is taken;
    --start says which. A table that is there is never changed.
    """
    if templates:
        if start or listen or dry_run or printed_as_json:
            raise UsageError("--templates takes no option but --force")
        _write_templates(force)
        return
    if force:
        raise UsageError("--force is for --templates; a [tool.underway] that is there is never replaced")
    if listen and (problem := problem_of("listen", [listen])):
        raise UsageError(problem)
    _init(Path.cwd(), start, listen, dry_run, printed_as_json)


def _init(root: Path, start: str | None, listen: str | None, dry_run: bool, printed_as_json: bool) -> None:
    proposal = propose(root, start, listen)
    is_new = proposal.present is None
    writes = is_new and bool(proposal.lines) and not proposal.missing
    if writes:
        check(root, proposal.table)
    written = str(table.add(root, proposal.table)) if writes and not dry_run else None
    if printed_as_json:
        click.echo(json.dumps(report.as_json(proposal, written), indent=1))
    else:
        for line in report.lines(proposal):
            click.echo(line)
        click.echo(f"\n{_outcome(proposal, written, dry_run)}")
        if proposal.next:
            click.echo("\nNext:\n")
            for command in proposal.next:
                click.echo(f"    {command}")
    if is_new and not writes:
        raise ProjectError(_why_not(proposal))


def _outcome(proposal: Proposal, written: str | None, dry_run: bool) -> str:
    if proposal.present is not None:
        differences = _differences(proposal)
        if not differences:
            return "pyproject.toml has a [tool.underway] that says this; nothing is changed"
        return listing("pyproject.toml has a [tool.underway], which is not changed; what differs:", differences)
    if written:
        return f"* [tool.underway] written to {written}"
    return "nothing is written" + (", as --dry-run says" if dry_run and proposal.lines and not proposal.missing else "")


def _differences(proposal: Proposal) -> list[str]:
    present = proposal.present
    if not isinstance(present, dict):
        return ["it is not a table"]
    if "releases" in present:
        return ["it has tables of releases, which are not compared"]
    starts = [key for key in ("asgi", "wsgi", "main") if key in present]
    differences = [
        f"{row.key} is {present.get(row.key)!r}, and {row.value!r} was found ({row.source})"
        if row.key in present
        else f"{row.key} is not there, and {row.value!r} was found ({row.source})"
        for row in proposal.lines
        if present.get(row.key) != row.value and row.sure != "assumed"
    ]
    return differences + [
        f"{key} is {present[key]!r}" for key in starts if proposal.lines and key not in proposal.table
    ]


def _why_not(proposal: Proposal) -> str:
    if proposal.missing:
        return listing("[tool.underway] is not written:", proposal.missing)
    return f"[tool.underway] is not written: {proposal.choice.reason}"


def _write_templates(force: bool) -> None:
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
