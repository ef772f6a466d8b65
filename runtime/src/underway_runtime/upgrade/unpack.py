"""unpack: from an archive or delta to a version that could be installed; nothing of it is executed.

===========================  =======================================================================================
step                         a process that dies after it leaves
===========================  =======================================================================================
look: signature, digest,     nothing
manifest, space, conflicts
extract to ``.transaction``  that; the next transaction deletes it
rename each new unit into    units that no version has; the next transaction deletes them, by the manifest in
its place                    ``.transaction``
rename ``releases/V``        the version, whole, with its manifest; it is unpacked
rename a newer ``bin/NAME``  the same; the next transaction does it, from ``.transaction``
write the ledger             the same
===========================  =======================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..release import ledger, verify
from ..release.archives import archive, delta, signature, tar_layout
from ..release.directory import ReleaseDirectory, VarDirectory
from ..release.errors import BusyError, DamagedRelease, UnderwayError, listing
from ..release.filesystem import openat, ownership
from ..release.filesystem.atomic_files import sync_tree
from ..release.ledger import Record
from ..release.manifest import Manifest, ManifestEntry
from ..release.precedence import is_older
from . import command_files, tree
from .handler import Handler, changing, mark_failed, settle
from .trust import Basis, By
from .trust import Trust as Trust

_SUFFIXES = (".tar.zst", ".tar.gz", ".delta")


class UnpackRefused(UnderwayError):
    """A version does not fit what is here."""


class _IsHere(Exception):
    """The very release is here already."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest


@dataclass(frozen=True)
class UnpackPlan:
    """What unpacking a release will do."""

    manifest: Manifest
    add: tuple[str, ...]
    """Units and shared files, in order; ``releases/V`` comes after them."""
    replace: tuple[str, ...]
    """Those of them in whose place something is that no version has."""
    keep: tuple[str, ...]
    """Units that another version has brought, and that are whole."""
    commands: tuple[str, ...] = ()
    """Commands that are here with other contents; those that are newer come in the place of these."""

    @property
    def files(self) -> dict[str, ManifestEntry]:
        """What is extracted."""
        prefix = f"{tree.version_unit(self.manifest)}/"
        added = {*self.add, *self.commands}
        return {
            path: entry
            for path, entry in self.manifest.files.items()
            if path in added or path.startswith(prefix) or tree.unit(path) in added
        }


@dataclass(frozen=True)
class Admitted:
    """The file that a version was unpacked from, why it was believed, and what came of it."""

    basis: Basis
    sha256: str
    plan: UnpackPlan


@dataclass(frozen=True)
class UnpackResult:
    """What unpacking has come to."""

    version: str
    state: ledger.State
    release_id: str
    failed: str | None = None
    """Why it is not to be chosen again, where it is here already and has failed."""
    admitted: Admitted | None = None
    """None where it was here already."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``unpack --json`` prints it."""
        result = {
            "version": self.version,
            "state": self.state,
            "release_id": self.release_id,
            "was_here": self.admitted is None,
            "failed": self.failed,
        }
        if self.admitted is not None:
            basis, done = self.admitted.basis, self.admitted.plan
            result |= {"signer": basis.signer, "sha256": self.admitted.sha256, "file": basis.file, "by": basis.by}
            result |= {"added": done.add, "replaced": done.replace, "kept": done.keep}
        return result


def unpack(handler: Handler, what: str, trust: Trust, *, again: bool = False, dry_run: bool = False) -> UnpackResult:
    """Unpack a version, or a file; a version that is here already is verified.

    `again` forgets that it has failed. Raises what `signature.admit`, `archive.extract` and `delta.apply` raise, UnpackRefused with
    everything that does not fit, DamagedRelease for what is here and damaged, and OSError.
    """
    with changing(handler, f"unpack {what}", dry_run):
        known = settle(handler, dry_run)
        here = tree.known(handler.directory)
        try:
            if what in here.manifests:
                raise _IsHere(here.manifests[what])
            file, admission = _admitted(handler, what, trust, here)
            oldest = None if trust.allow_downgrade or admission.signer is None else _newest(handler, known)
            made = _bring_in(handler, what, file, admission, here, known, oldest, dry_run=dry_run)
        except _IsHere as found:
            return _verified(handler, found.manifest, known, forget=again and not dry_run)
        version = made.manifest.version
        if not dry_run:
            before = {name: record for name, record in known.items() if name != version}
            after = ledger.after(before, "unpack", version, handler.now(), made.manifest.release_id)
            ledger.write(handler.var, after)
    by: By = "signature" if admission.signer is not None else "digest" if trust.sha256 is not None else "owner"
    admitted = Admitted(Basis(by, str(file), admission.signer), admission.sha256, made)
    return UnpackResult(version, "unpacked", made.manifest.release_id, admitted=admitted)


def plan(directory: ReleaseDirectory, manifest: Manifest, here: tree.Known, known: Mapping[str, Record]) -> UnpackPlan:
    """Find out what is to do for a release. Raises UnpackRefused with all that does not fit what is here, and for want of space."""
    problems: list[str] = [*_host_python(manifest)]
    add, leftover, keep = [], [], []
    mine, theirs = tree.by_unit(manifest), {name: tree.by_unit(other) for name, other in here.manifests.items()}
    for unit, entries in mine.items():
        owners = {name: units[unit] for name, units in theirs.items() if unit in units}
        if not os.path.lexists(directory.root / unit):
            add.append(unit)
        elif not owners:
            leftover.append(unit)
        elif conflicts := list(_conflicts(unit, entries, owners)):
            problems += conflicts
        else:
            only = replace(manifest, files=entries)
            problems += [f"{problem}, and is in use" for problem in verify.verify_below(directory.root, unit, only)]
            keep.append(unit)
    for path in tree.shared_files(manifest):
        if not os.path.lexists(directory.root / path):
            add.append(path)
        elif not any(path in other.files for other in here.manifests.values()):
            wrong = verify.verify_below(directory.root, path, replace(manifest, files={path: manifest.files[path]}))
            problems += [f"{problem}; it is of no release: move it away" for problem in wrong]
    version_unit = tree.version_unit(manifest)
    if os.path.lexists(directory.root / version_unit):
        if (record := known.get(manifest.version)) is not None and record.state == "permanent":
            problems.append(
                f"{version_unit} is damaged, and is the version that boots; restore it from its archive by hand"
            )
        leftover.append(version_unit)
    if leftover:
        problems += [
            f"{why}: so it can't be said whose {leftover[0]} is; remove {version} first"
            for version, why in here.damaged.items()
            if version != manifest.version
        ]
    if problems:
        raise UnpackRefused(listing(f"{manifest.name}-{manifest.version} does not fit what is here:", problems))
    made = UnpackPlan(
        manifest, (*add, *(unit for unit in leftover if unit != version_unit)), tuple(leftover), tuple(keep)
    )
    made = replace(made, commands=tuple(command_files.differing(directory, manifest)))
    _check_space(directory.root, made)
    return made


def _conflicts(
    unit: str, mine: Mapping[str, ManifestEntry], owners: Mapping[str, Mapping[str, ManifestEntry]]
) -> Iterator[str]:
    for version, theirs in owners.items():
        if different := sorted(path for path in mine.keys() | theirs if mine.get(path) != theirs.get(path)):
            count = f" and {len(different) - 1} more" if len(different) > 1 else ""
            yield (
                f"{unit} is in {version} too, with other contents ({different[0]}{count}); a changed application needs a"
                " version of its own"
            )


def _host_python(manifest: Manifest) -> Iterator[str]:
    """What is wrong with the interpreter of this host that a release without one names."""
    links = {entry.link for path, entry in manifest.files.items() if tar_layout.is_host_python(path, entry)}
    for link in sorted(filter(None, links)):
        try:
            way = ownership.way(Path(link))
        except OSError as error:
            yield f"it runs with the interpreter {link} of this host, which can't be used: {error.strerror}"
            continue
        yield from (f"it runs with the interpreter {link} of this host, and {why}" for why in ownership.problems(way))


def _check_space(root: Path, made: UnpackPlan) -> None:
    room, name = os.statvfs(root), f"{made.manifest.name}-{made.manifest.version}"
    blocks = sum(-(-entry.size // room.f_frsize) for entry in made.files.values())
    if blocks > room.f_bavail:
        needed, free = (number * room.f_frsize / 1e6 for number in (blocks, room.f_bavail))
        raise UnpackRefused(
            f"{name} takes {needed:.1f} MB, and {root} has {free:.1f} MB free: make room, or remove an old version"
        )
    if room.f_files and len(made.files) > room.f_favail:
        raise UnpackRefused(f"{name} has {len(made.files)} new files, and {root} has inodes for {room.f_favail}")


def _admitted(handler: Handler, what: str, trust: Trust, here: tree.Known) -> tuple[Path, signature.Admission]:
    """The file that is meant, once its signature or digest says that it may be opened."""
    manifest = here.manifests.get(handler.own_version)
    if manifest is None:
        raise DamagedRelease(f"{handler.directory.version(handler.own_version).manifest} can't be read; restore it")
    file = _find(handler.var, manifest.name, what, here.manifests)
    return file, signature.admit(
        file,
        allowed_signers=trust.allowed_signers,
        sha256=trust.sha256,
        of_owner=trust.of_owner,
        root=handler.directory.root,
        name=manifest.name,
        target=manifest.target,
    )


def _newest(handler: Handler, known: Mapping[str, Record]) -> str:
    """Of what boots and what runs, the later version: what is offered for the first time is not to be older."""
    newest = ledger.permanent(known)
    with suppress(BusyError):
        running = handler.running_version()
        newest = running if running is not None and is_older(newest, running) else newest
    return newest


def _names_file(what: str) -> bool:
    """Whether a file is meant, and not a version: what has a ``/`` is a path, whatever it is called."""
    return "/" in what or what.endswith(_SUFFIXES)


def _find(var: VarDirectory, name: str, what: str, versions: Iterable[str]) -> Path:
    incoming = var.incoming
    if _names_file(what):
        file = Path(what).absolute()
        if "/" in what and not os.path.lexists(file):
            raise UnpackRefused(f"{file} can't be read: No such file or directory")
        if "/" in what or file.exists():
            return file
        _is_in(var, incoming / what)  # or it is said why not
        return incoming / what
    archives = [archive.path(incoming, name, what, kind) for kind in ("zst", "gz")]
    candidates = [*archives, *(delta.path(incoming, name, version, what) for version in versions)]
    for file in candidates:
        if _is_in(var, file):
            return file
    raise UnpackRefused(
        f"version {what} is neither here nor in {incoming}: there is no {candidates[0].name} and no delta to it"
    )


def _is_in(var: VarDirectory, file: Path) -> bool:
    """Whether it is in ``var/incoming``, and not a link or a device that the service's user has put there."""
    try:
        return openat.is_file(var.path, file)
    except OSError as error:
        raise UnpackRefused(f"{error.filename or file} can't be taken: {error.strerror}") from None


def _bring_in(
    handler: Handler,
    what: str,
    file: Path,
    admission: signature.Admission,
    here: tree.Known,
    known: Mapping[str, Record],
    oldest: str | None,
    *,
    dry_run: bool,
) -> UnpackPlan:
    """Read the file, into its place unless it is a dry run; no version that is older than `oldest`. Raises _IsHere too."""
    directory, plans = handler.directory, []

    def accept(manifest: Manifest) -> dict[str, ManifestEntry]:
        admission.accept(manifest)
        if not _names_file(what) and manifest.version != what:
            raise UnpackRefused(f"{file} holds version {manifest.version}, not {what}")
        other = here.manifests.get(manifest.version)
        if other is not None and other.release_id == manifest.release_id:
            raise _IsHere(other)
        if other is not None:
            raise UnpackRefused(
                f"another {manifest.name}-{manifest.version} is here, with the release id {other.release_id}; that of {file} is"
                f" {manifest.release_id}: remove the one, or give the other a version of its own"
            )
        if oldest is not None and is_older(manifest.version, oldest):
            raise UnpackRefused(
                f"{file} is signed, and older than {oldest}, which is in use here: {manifest.version}; --allow-downgrade takes it all"
                " the same"
            )
        plans.append(plan(directory, manifest, here, known))
        return plans[0].files

    is_delta = delta.is_delta(file)
    if dry_run and is_delta:
        delta.check(file, directory.root, accept=accept, sha256=admission.sha256)
    elif dry_run:
        archive.check(file, accept=accept, sha256=admission.sha256)
    else:
        into = directory.transaction / "tree"
        try:
            into.parent.mkdir(mode=0o700)
            if is_delta:
                delta.apply(file, directory.root, into, accept=accept, sha256=admission.sha256)
            else:
                archive.extract(file, into, accept=accept, sha256=admission.sha256)
            _move_in(directory, into, plans[0])
            command_files.bring_up_to_date(directory, into, [plans[0].manifest])
        finally:
            tree.clear(directory)
    return plans[0]


def _move_in(directory: ReleaseDirectory, source: Path, made: UnpackPlan) -> None:
    names = (*made.add, tree.version_unit(made.manifest))
    for name in names:
        sync_tree(source / name)  # what is renamed has its contents, also after a power cut
    for number, name in enumerate(made.replace):
        (directory.transaction / "old").mkdir(exist_ok=True)
        os.rename(directory.root / name, directory.transaction / "old" / str(number))
    for name in names:
        tree.move(source / name, directory.root / name)


def _verified(handler: Handler, manifest: Manifest, known: Mapping[str, Record], *, forget: bool) -> UnpackResult:
    """The outcome for a version that is here. Raises DamagedRelease when it is not whole."""
    if problems := verify.look(handler.directory.root, manifest.version).damage:
        heading = f"version {manifest.version} is here already, and damaged; remove it and unpack it again:"
        raise DamagedRelease(listing(heading, problems))
    record = known[manifest.version]
    if forget and record.failed:
        mark_failed(handler, manifest.version, None)
        record = replace(record, failed=None)
    return UnpackResult(manifest.version, record.state, manifest.release_id, record.failed)
