"""remove: a version that neither runs nor boots, and the files that no other has.

===============================  ===================================================================================
step                             a process that dies after it leaves
===============================  ===================================================================================
``releases/start.data`` names    nothing that differs
what is permanent;
``releases/shared.json`` has
what stays of it
rename ``releases/V`` into       a version that is not here; the next transaction deletes the rest, by the manifest
``.transaction``                 in there
delete what only it had          the same, and a ledger that says more than is here, as whoever reads it knows
write the ledger                 nothing
===============================  ===================================================================================

On a full disk, which is what a version is removed for, what only it had in ``lib`` goes before all of that: who dies then leaves
a version that is damaged and still here, which `remove` takes away. What is written to be remembered and finds no room is left out:
the next command that changes the releases makes it good.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..process import facts
from ..release import ledger, manifest, verify
from ..release.directory import ReleaseDirectory
from ..release.filesystem import atomic_files
from ..release.filesystem.atomic_files import sync_directory
from ..release.manifest import Manifest
from . import tree
from .handler import Handler, changing, settle
from .transaction import is_full, where_there_is_room


@dataclass(frozen=True)
class RemoveResult:
    """What was removed with a version."""

    version: str
    deleted: tuple[str, ...]
    """Paths within the release."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``remove --json`` prints it."""
        return {"version": self.version, "deleted": self.deleted}


def remove(handler: Handler, version: str, *, dry_run: bool = False) -> RemoveResult:
    """Delete a version and what only it has.

    Raises StateRefused for one that runs, boots or is not here, and DamagedRelease when it can't be said what is still in use.
    """
    directory = handler.directory
    with changing(handler, f"remove {version}", dry_run) as act:
        known = settle(handler, dry_run)
        here = tree.known(directory)
        if act.unfinished.get("removes") == version and version not in known:
            return RemoveResult(version, ())
        running = ledger.with_running(known, handler.running_version())
        ledger.transition({name: record.state for name, record in running.items()}, "remove", version)  # or raises
        if version == handler.own_version:
            raise ledger.StateRefused(f"remove {version} is refused: this command runs from it")
        if version == handler.started_as():
            raise ledger.StateRefused(f"remove {version} is refused: the node was started from it; restart it first")
        tree.check_known(here, leaving=version)
        others = {name: other for name, other in here.manifests.items() if name != version}
        gone = here.manifests.get(version)
        version_directory = directory.version(version).path
        deleted = [] if gone is None else tree.only_of(gone, others)
        if used := [unit for unit in deleted if unit in _units_of(handler.keeper(), directory)]:
            raise ledger.StateRefused(
                f"remove {version} is refused: the keeper, which was started with it, runs from {' and '.join(used)}; stop"
                " and start once"
            )
        if not dry_run:
            with where_there_is_room():
                act.announce(removes=version)

            def take_out() -> None:
                _name_permanent(directory, version, ledger.permanent(known))
                if gone is not None:
                    _account_for_what_stays(directory, gone, others)
                gone_place = directory.transaction / "gone"
                for path in (directory.transaction, gone_place):
                    path.mkdir(mode=0o700, exist_ok=True)
                tree.move(version_directory, gone_place / "releases" / version)

            try:
                take_out()
            except OSError as error:
                if not is_full(error):
                    raise
                _make_room(directory, version_directory, deleted)
                take_out()
            sync_directory(directory.releases)
            left = {name: record for name, record in known.items() if name != version}
            tree.clear(directory)
            with where_there_is_room():
                ledger.write(handler.var, left)
    return RemoveResult(version, (*deleted, version_directory.relative_to(directory.root).as_posix()))


def _make_room(directory: ReleaseDirectory, version_directory: Path, deleted: Sequence[str]) -> None:
    """Delete what may go before the version itself does: what only it had, and in ``releases/V`` all but its manifest."""
    for name in deleted:
        if tree.unit(name) is not None:
            tree.discard(directory.root / name)
    for path in version_directory.iterdir() if version_directory.is_dir() else ():
        if path != directory.version(version_directory.name).manifest:
            tree.discard(path)


def _units_of(pid: int | None, directory: ReleaseDirectory) -> set[str | None]:
    """The units that a process was started from: its interpreter, and the files that its command line names."""
    paths = [Path(os.path.realpath(word)) for word in facts.command_line(pid) if word.startswith("/")]
    root = directory.root.resolve()
    return {tree.unit(str(path.relative_to(root))) for path in paths if path.is_relative_to(root)}


def _name_permanent(directory: ReleaseDirectory, version: str, permanent: str) -> None:
    """See that a copy of the tree without ``var`` still boots: something other than what goes."""
    if directory.start_data.read_text(encoding="utf-8").split()[1:] == [version]:
        interpreter = manifest.read(directory.version(permanent).manifest).interpreter
        ledger.write_start_data(directory.start_data, interpreter, permanent)


def _account_for_what_stays(directory: ReleaseDirectory, gone: Manifest, others: Mapping[str, Manifest]) -> None:
    """Let `verify` know the files that others list too, with other contents: they stay as this version has brought them."""
    staying = {name for other in others.values() for name in tree.shared_files(other)}
    staying.discard(directory.start_data.relative_to(directory.root).as_posix())
    left = {
        path: gone.files[path]
        for path in staying & gone.files.keys()
        if gone.files[path] not in [other.files.get(path) for other in others.values()]
        and not verify.verify_below(directory.root, path, gone)
    }
    if left:
        before = manifest.read(directory.shared).files if directory.shared.exists() else {}
        text = manifest.dump(replace(gone, files=dict(sorted({**before, **left}.items()))))
        atomic_files.replace(directory.shared, text, 0o644)
