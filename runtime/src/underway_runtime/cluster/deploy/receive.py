"""What ``bin/cluster deploy`` asks of a host through the release that is there: not for people."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
_LONGEST = 8 << 20


def run(mode: str, words: Sequence[str], settings: Settings) -> int:
    """Do it; raises an UnderwayError."""
    match (mode, *words):
        case ("place", directory, release_id):
            move_into_place(settings, Path(directory), release_id)
        case ("certificate", "request", node, host):
            from .. import certificates

            directory_of_node = settings.var.cluster_node(node).certificates
            sys.stdout.buffer.write(certificates.request(directory_of_node, host))
        case ("certificate", "install", node, limit):
            from .. import certificates

            sent = Certificates.read(_arrived(sys.stdin.fileno(), float(limit)))
            certificates.install(
                settings.var.cluster_node(node).certificates, sent.leaf.encode(), sent.authority.encode(), sent.revoked
            )
            taken_up(settings.var, node, settings.name)
        case _:
            raise UsageError(f"{mode} is a command of `deploy` itself, and does not take {' '.join(words)!r}")
    return 0


@dataclass(frozen=True)
class Certificates:
    """What a node is sent: its certificate and that of its authority, in PEM, and the list of removed hosts."""

    leaf: str
    authority: str
    revoked: str

    def dump(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @classmethod
    def read(cls, data: bytes) -> Certificates:
        """Read what `dump` has made. Raises UnderwayError where that is not whole."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError):
            raise UnderwayError("what has arrived is not a whole certificate; nothing was changed") from None


def _arrived(descriptor: int, seconds: float) -> bytes:
    """Read to the end. Raises UnderwayError when that does not come in time, or is too far: who is cut off hears nothing by itself."""
    data, end = bytearray(), _now() + seconds
    while (left := end - _now()) > 0 and len(data) <= _LONGEST:
        if select.select([descriptor], [], [], left)[0]:
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                return bytes(data)
            data += piece
    raise UnderwayError(f"what was to be read has not come within {seconds:g} s, or is too long")


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
