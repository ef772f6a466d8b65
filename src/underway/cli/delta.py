"""underway delta: what leads from one release to another."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import click

from underway_runtime.release.archives import delta as deltas
from underway_runtime.release.archives import signature

from ..errors import BuildError
from ..planner.releases import open_release
from .deployments import deployments

_FILE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("old", type=_FILE, metavar="FROM")
@click.argument("new", type=_FILE, metavar="TO")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file to write; default NAME-FROM-TO.delta next to TO."
)
@click.option("--sign-key", type=_FILE, help="Sign it with this SSH key; the signature is OUTPUT.sig.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output.")
def delta(old: Path, new: Path, output: Path | None, sign_key: Path | None, as_json: bool) -> None:
    """Write the difference between FROM and TO, for nodes that have FROM.

    Each is an archive, a release directory, or releases/VERSION within one.

    Archives are checked and unpacked into a temporary directory; nothing of either is executed.
    """
    with ExitStack() as cleanup:
        one, other = (open_release(path, cleanup) for path in (old, new))
        name, versions = other.manifest.name, (one.manifest.version, other.manifest.version)
        file = output or deltas.path(other.parent, name, *versions)
        try:
            header = deltas.create(file, (one.root, one.manifest), (other.root, other.manifest), other.date)
        except OSError as error:
            raise BuildError(f"{file} can't be written: {error.strerror}") from error
        if sign_key is not None:
            signature.sign(file, other.manifest, sign_key)
    size, [deployment] = file.stat().st_size, deployments(name, [file])
    if as_json:
        outcome = {
            "name": name,
            "from": {"version": header.old_version, "release_id": header.old_id},
            "to": {"version": header.new_version, "release_id": header.new_id},
            "path": str(file),
            "bytes": size,
            "signed": sign_key is not None,
            "deploy": deployment.summary(),
        }
        click.echo(json.dumps(outcome, indent=1))
    else:
        click.echo(
            f"Delta {name} {versions[0]} -> {versions[1]} at {os.path.relpath(file)}, {size / 1000:.1f} kB, sha256 {deployment.sha256}"
        )
        click.echo("\n".join(["", *deployment.lines()]), nl=False)
