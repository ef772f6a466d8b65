"""What ``bin/cluster deploy`` asks of a host through the release that is there: not for people."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic as _now

from ...process import lock
from ...process.settings import Settings
from ...release.directory import VarDirectory
from ...release.errors import DamagedRelease, UnderwayError, UsageError, listing
from ...release.filesystem.atomic_files import sync_directory, sync_tree
from ...release.manifest import read
from ...release.verify import verify
from .. import peer_auth

_TO_TAKE_UP = 20.0


def run(mode: str, words: Sequence[str], settings: Settings) -> int:
    """Do it; raises an UnderwayError."""
    match (mode, *words):
        case ("place", directory, release_id):
            move_into_place(settings, Path(directory), release_id)
        case ("certificate", "request", node, host):
            from .. import certificates

            directory_of_node = settings.var.cluster_node(node).certificates
            sys.stdout.buffer.write(certificates.request(directory_of_node, host))
        case ("certificate", "install", node):
            from .. import certificates

            leaf, authority, revoked = [*sys.stdin.buffer.read(8 << 20).split(b"\n\n", 2), b"", b"", b""][:3]
            certificates.install(
                settings.var.cluster_node(node).certificates, leaf + b"\n", authority + b"\n", revoked.decode() or None
            )
            taken_up(settings.var, node, settings.name)
        case _:
            raise UsageError(f"{mode} is a command of `deploy` itself, and does not take {' '.join(words)!r}")
    return 0


def taken_up(var: VarDirectory, node: str, name: str) -> None:
    """Return when a node of a cluster that runs obeys the certificate and the list of removed hosts that are in its directory now; at
    once where it does not run. Raises UnderwayError where it does not obey them in time."""
    cluster_node, wanted, end = (
        var.cluster_node(node),
        peer_auth.digest(var.cluster_node(node).certificates),
        _now() + _TO_TAKE_UP,
    )
    while lock.find(cluster_node, name) is not None:
        with suppress(OSError):
            if cluster_node.certificate.read_text(encoding="ascii").strip() == wanted:
                return
        if _now() > end:
            raise UnderwayError(
                f"{node} runs, and has not taken up its new certificate and the list of removed hosts within {_TO_TAKE_UP:g} s: its log"
                " says why, or it is of an older version; a restart takes them up"
            )
        time.sleep(0.1)


def move_into_place(settings: Settings, directory: Path, release_id: str) -> None:
    """Rename this very release, which stands next to its place, into that once it is whole.

    Raises DamagedRelease when it is not, or is not what was sent, and UnderwayError when something is there already.
    """
    if problems := verify(settings.root, settings.version):
        raise DamagedRelease(listing("the copy is not whole:", problems[:20]))
    copied = read(settings.place.manifest).release_id
    if copied != release_id:
        raise DamagedRelease(f"the copy has the release id {copied}, and {release_id} was sent")
    sync_tree(settings.root)
    try:
        os.rename(settings.root, directory)
    except OSError as error:
        raise UnderwayError(
            f"{directory} can't be put in its place: {error.strerror}; is another deploy running?"
        ) from None
    sync_directory(directory.parent)
