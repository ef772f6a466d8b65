"""The allowed signers: a file of OpenSSH's own format that says whose releases are opened here.

It is believed as sshd believes its own files: nobody but root and who reads it could change it, see `ownership`. And it is never
inside a release: who could write that could name himself.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from ..errors import UnderwayError, listing
from ..filesystem import ownership

LONGEST = 1 << 20
"""Bytes of a signers file."""


class SignatureRefused(UnderwayError):
    """An archive is not from one who may say what runs here, or nothing proves that it is."""


def read(file: Path, root: Path | None = None) -> list[bytes]:
    """Read the lines of a signers file that name somebody; `root` is the release here. Raises SignatureRefused with all that is wrong."""
    try:
        way = ownership.way(file)
        descriptor = os.open(way[-1][0], os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SignatureRefused(f"the allowed signers {file} can't be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SignatureRefused(f"the allowed signers {file} are not a file")
        _refuse_inside(file, way, root)
        if problems := ownership.problems([*way[:-1], (way[-1][0], status)]):
            heading = f"the allowed signers {file} are not believed, for others could change them:"
            raise SignatureRefused(listing(heading, problems))
        if status.st_size > LONGEST:
            raise SignatureRefused(f"the allowed signers {file} have {status.st_size} bytes; {LONGEST} is the limit")
        with open(descriptor, "rb", closefd=False) as opened:
            lines = opened.read(LONGEST).split(b"\n")
    finally:
        os.close(descriptor)
    return [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]


def _refuse_inside(file: Path, way: ownership.Way, root: Path | None) -> None:
    ours = () if root is None else (os.path.abspath(root), os.path.realpath(root))
    # As it is named and as it is: who could change a link on the way could name himself too.
    for where, _ in way[:-1]:
        if where in ours or _is_release(where):
            raise SignatureRefused(f"the allowed signers {file} are inside the release {where}; keep them outside")


def _is_release(where: str) -> bool:
    return next(Path(where, "releases").glob("*/manifest.json"), None) is not None


def about(lines: list[bytes], key: bytes) -> list[bytes]:
    """Those of these lines that may name the owner of a public key: a key may have several. ssh-keygen says whether they do."""
    text, is_certificate = base64.b64encode(key), b"-cert-v01@openssh.com" in key[:64]
    return [line for line in lines if text in line.split() or (is_certificate and b"cert-authority" in line.lower())]
