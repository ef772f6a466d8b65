"""The allowed signers: a file of OpenSSH's own format that says whose releases are opened here.

It is believed as sshd believes its own files: it, each directory above it and each link on the way belong to root or to
who reads it, and nobody else may write there. A directory that anyone may write to does if it is sticky, as ``/tmp`` is:
nobody renames or replaces in there what is not his. And it is never inside a release: who could write that could name himself.
"""

from __future__ import annotations

import base64
import os
import pwd
import stat
from pathlib import Path

from .errors import UnderwayError, listing

LONGEST = 1 << 20
"""Bytes of a signers file."""
_MOST_LINKS = 40
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class SignatureRefused(UnderwayError):
    """An archive is not from one who may say what runs here, or nothing proves that it is."""


def read(file: Path, root: Path | None = None) -> list[bytes]:
    """The lines of a signers file that name somebody; `root` is the release here. Raises SignatureRefused with all that is wrong."""
    way = _way(file)
    try:
        descriptor = os.open(way[-1][0], os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SignatureRefused(f"the allowed signers {file} can't be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SignatureRefused(f"the allowed signers {file} are not a file")
        _refuse_inside(file, way, root)
        problems = [problem for where, found in way[:-1] if (problem := _problem(where, found))]
        problems += [problem] if (problem := _problem(way[-1][0], status)) else []
        if problems:
            heading = f"the allowed signers {file} are not believed, for others could change them:"
            raise SignatureRefused(listing(heading, problems))
        if status.st_size > LONGEST:
            raise SignatureRefused(f"the allowed signers {file} have {status.st_size} bytes; {LONGEST} is the limit")
        with open(descriptor, "rb", closefd=False) as opened:
            lines = opened.read(LONGEST).split(b"\n")
    finally:
        os.close(descriptor)
    return [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")]


def _way(file: Path) -> list[tuple[str, os.stat_result]]:
    """Every directory and link that leads to a file, from the top, and in the end itself, through all links."""
    todo = list(reversed(os.path.abspath(file).split("/")[1:]))
    way = [("/", os.lstat("/"))]
    place, links = "/", 0
    try:
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                place = os.path.dirname(place)
                continue
            here = os.path.join(place, part)
            found = os.lstat(here)
            way.append((here, found))
            if not stat.S_ISLNK(found.st_mode):
                place = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise SignatureRefused(f"the allowed signers {file} can't be read: too many links")
            target = os.readlink(here)
            place = "/" if target.startswith("/") else place
            todo += reversed(target.split("/"))
    except OSError as error:
        raise SignatureRefused(f"the allowed signers {file} can't be read: {error.strerror}") from None
    if way[-1][0] != place:  # the last that was met was a directory that a link led up from
        way.append((place, os.lstat(place)))
    return way


def _problem(where: str, found: os.stat_result) -> str | None:
    """Who else could change what is there."""
    if found.st_uid not in (0, os.geteuid()):
        return f"{where} belongs to {_user(found.st_uid)}, neither to root nor to {_user(os.geteuid())}"
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OTHERS:
        return None
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None
    who, fix = ("anyone", "go-w") if found.st_mode & stat.S_IWOTH else ("its group", "g-w")
    return f"{who} may write to {where}; chmod {fix} it"


def _refuse_inside(file: Path, way: list[tuple[str, os.stat_result]], root: Path | None) -> None:
    ours = () if root is None else (os.path.abspath(root), os.path.realpath(root))
    # As it is named and as it is: who could change a link on the way could name himself too.
    for where, _ in way[:-1]:
        if where in ours or _is_release(where):
            raise SignatureRefused(f"the allowed signers {file} are inside the release {where}; keep them outside")


def _is_release(where: str) -> bool:
    return next(Path(where, "releases").glob("*/manifest.json"), None) is not None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def about(lines: list[bytes], key: bytes) -> list[bytes]:
    """Those of these lines that may name the owner of a public key: a key may have several. ssh-keygen says whether they do."""
    text, is_certificate = base64.b64encode(key), b"-cert-v01@openssh.com" in key[:64]
    return [line for line in lines if text in line.split() or (is_certificate and b"cert-authority" in line.lower())]
