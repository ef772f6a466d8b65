"""What ``bin/cluster deploy`` asks of a host through the release that is there: not for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..node.settings import Settings
from ..release.errors import DamagedRelease, UnderwayError, UsageError, listing
from ..release.files import sync_directory, sync_tree
from ..release.manifest import read
from ..release.verify import verify


def run(mode: str, words: Sequence[str], settings: Settings) -> int:
    """Do it; raises an UnderwayError."""
    match (mode, *words):
        case ("place", directory, release_id):
            place(settings, Path(directory), release_id)
        case ("certificate", "request", node, host):
            from . import certificates

            own = settings.var.cluster_node(node).certificates
            sys.stdout.buffer.write(certificates.request(own, host))
        case ("certificate", "install", node):
            from . import certificates

            leaf, _, authority = sys.stdin.buffer.read(1 << 20).partition(b"\n\n")
            certificates.install(settings.var.cluster_node(node).certificates, leaf, authority)
        case _:
            raise UsageError(f"{mode} is asked for by `deploy`, and not so: {' '.join(words)!r}")
    return 0


def place(settings: Settings, directory: Path, release_id: str) -> None:
    """Rename this very release, which stands beside its place, into that once it is whole.

    Raises DamagedRelease when it is not, or is another than was sent, and UnderwayError when something is there already.
    """
    if problems := verify(settings.root, settings.version):
        raise DamagedRelease(listing("what has arrived is not whole:", problems[:20]))
    found = read(settings.place.manifest).release_id
    if found != release_id:
        raise DamagedRelease(f"what has arrived has the release id {found}, and {release_id} was sent")
    sync_tree(settings.root)
    try:
        os.rename(settings.root, directory)
    except OSError as error:
        raise UnderwayError(
            f"{directory} can't be put in its place: {error.strerror}; is another deploy at it?"
        ) from None
    sync_directory(directory.parent)
