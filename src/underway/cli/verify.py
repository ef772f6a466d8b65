"""underway verify: is an archive, a delta or a release whole, and who made it?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from underway_runtime.release import verify as trees
from underway_runtime.release.archives import archive, delta, signature
from underway_runtime.release.errors import UsageError

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("what", type=_FILE, metavar="ARCHIVE|DIRECTORY")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output.")
@click.option(
    "--allowed-signers", type=_FILE, help="Require a signature by one of these, in OpenSSH's allowed_signers format."
)
@click.option("--digest", metavar="SHA256", help="Require this SHA-256 of the archive.")
@click.option("--from", "base", type=_FILE, help="For a delta: the release that it starts from.")
def verify(
    what: Path,
    as_json: bool,
    allowed_signers: Path | None,
    digest: str | None,
    base: Path | None,
) -> None:
    """Check ARCHIVE, a delta or the release in DIRECTORY against its manifest, to the last byte.

    Reads only; executes nothing of it and unpacks nothing. Exits with 1 if something is wrong.
    """
    if what.is_dir():
        if allowed_signers or digest or base:
            raise UsageError(f"{what} is a directory; --allowed-signers, --digest and --from go with an archive")
        outcomes = [trees.report(what, version) for version in trees.versions(what)]
        if as_json:
            click.echo(json.dumps(outcomes, indent=1))
        else:
            click.echo("\n".join(line for outcome in outcomes for line in trees.lines(outcome)))
        if not all(outcome["ok"] for outcome in outcomes):
            sys.exit(1)
        return
    outcome = _check(what, allowed_signers, digest, base)
    click.echo(json.dumps(outcome, indent=1) if as_json else _sentence(outcome))


def _check(file: Path, allowed_signers: Path | None, digest: str | None, base: Path | None) -> dict[str, Any]:
    admission = None
    if allowed_signers or digest:
        admission = signature.admit(file, allowed_signers=allowed_signers, sha256=digest)
    accept, sha256 = (admission.accept, admission.sha256) if admission else (None, None)
    is_delta = delta.is_delta(file)
    if is_delta and base is None:
        raise UsageError(
            f"{file} is a delta, from version {delta.inspect(file).old_version}; name that release by --from"
        )
    if base is not None and not is_delta:
        raise UsageError(f"{file} is not a delta; --from goes with one")
    checked = (
        archive.check(file, accept=accept, sha256=sha256)
        if base is None
        else delta.check(file, base, accept=accept, sha256=sha256)
    )
    return {
        "name": checked.manifest.name,
        "version": checked.manifest.version,
        "target": checked.manifest.target,
        "release_id": checked.manifest.release_id,
        "files": len(checked.manifest.files),
        "sha256": checked.sha256,
        "signer": admission and admission.signer,
        "ok": True,
    }


def _sentence(outcome: dict[str, Any]) -> str:
    signer = f"signed by {outcome['signer']}" if outcome["signer"] else "no signature was asked for"
    return (
        f"{outcome['name']}-{outcome['version']}: {outcome['files']} files, release id {outcome['release_id']},"
        f" sha256 {outcome['sha256']}, {signer}, ok"
    )
